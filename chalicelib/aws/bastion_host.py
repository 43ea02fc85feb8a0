"""Bastion instances on EC2, and whether Session Manager reaches them."""

from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.clients import error_code, translated
from chalicelib.domain.bastions import TAG, InstanceStatus
from chalicelib.domain.errors import BastionCapacityError, BastionNotReadyError
from chalicelib.domain.locations import BastionGroup

_NO_ROOM = {"InsufficientInstanceCapacity", "InsufficientFreeAddressesInSubnet", "Unsupported"}
_UNKNOWN = {"InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"}


class Ec2BastionHost:
    """Raises BastionNotReadyError when EC2 or SSM does not answer: the caller asks again."""

    def __init__(self, *, ec2: Any, ssm: Any, launch_template: str) -> None:
        self._ec2 = ec2
        self._ssm = ssm
        self._launch_template = launch_template

    def status(self, instance_id: str) -> InstanceStatus:
        """What EC2 says, and for a running instance what Session Manager says."""
        with _answering(f"look at the bastion {instance_id}"):
            state = self._find_state(instance_id)
            if state != "running":
                return InstanceStatus(ec2=state)
            connection = self._ssm.get_connection_status(Target=instance_id)
            agents = self._ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": [instance_id]}])
        return InstanceStatus(
            ec2=state,
            is_connected=connection["Status"] == "connected",
            agent_version=next((agent["AgentVersion"] for agent in agents["InstanceInformationList"]), None),
        )

    def _find_state(self, instance_id: str) -> str | None:
        try:
            answer = self._ec2.describe_instances(InstanceIds=[instance_id])
        except ClientError as error:
            if error_code(error) in _UNKNOWN:
                return None
            raise
        instances = [instance for group in answer["Reservations"] for instance in group["Instances"]]
        return instances[0]["State"]["Name"] if instances else None

    def launch(self, group: BastionGroup, *, generation: int) -> str:
        """One instance per bastion and generation, in the subnet that is this generation's turn.

        The client token makes a repeated or concurrent call return the same instance. Raises BastionCapacityError when the
        subnet has no room; the next generation tries the next subnet.
        """
        tags = [{"Key": TAG, "Value": group.name}, {"Key": "Name", "Value": f"drawbridge-{group.name}"}]
        with _answering(f"launch the bastion {group.name}"):
            try:
                answer = self._ec2.run_instances(
                    LaunchTemplate={"LaunchTemplateName": self._launch_template, "Version": "$Default"},
                    SubnetId=group.subnets[generation % len(group.subnets)],
                    ClientToken=f"drawbridge-{group.name}-{generation}",
                    MinCount=1,
                    MaxCount=1,
                    TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
                )
            except ClientError as error:
                if error_code(error) in _NO_ROOM:
                    raise BastionCapacityError(
                        f"AWS has no room for the bastion {group.name} in this subnet; the next one is tried."
                    ) from error
                raise
        return str(answer["Instances"][0]["InstanceId"])

    def start(self, instance_id: str) -> None:
        """Start a stopped instance; starting a started one is nothing."""
        with _answering(f"start the bastion {instance_id}"):
            self._ec2.start_instances(InstanceIds=[instance_id])

    def stop(self, instance_id: str) -> None:
        """Stop an instance, whatever anybody else thinks of it."""
        with _answering(f"stop the bastion {instance_id}"):
            self._ec2.stop_instances(InstanceIds=[instance_id])

    def terminate(self, instance_id: str) -> None:
        """End an instance for good."""
        with _answering(f"terminate the bastion {instance_id}"):
            self._ec2.terminate_instances(InstanceIds=[instance_id])


def _answering(what: str) -> Any:
    return translated(BastionNotReadyError, f"AWS did not answer when asked to {what}; it is asked again")
