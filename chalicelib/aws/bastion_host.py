"""Bastion instances on EC2, and whether Session Manager reaches them."""

from collections.abc import Collection, Sequence
from hashlib import sha256
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.errors import error_code, translated
from chalicelib.domain.bastions import INSTANCE_TYPES, STAGE_TAG, InstanceStatus, Launch, ListedInstance
from chalicelib.domain.errors import BastionCapacityError, BastionNotReadyError

_NO_ROOM = {"InsufficientInstanceCapacity", "InsufficientFreeAddressesInSubnet", "Unsupported"}
_PAGE = 1000
_AGENTS_PAGE = 50
"""Most that DescribeInstanceInformation answers at once."""
_UNKNOWN = {"InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"}


class Ec2BastionHost:
    """Raises BastionNotReadyError when EC2 or SSM does not answer: the caller asks again.

    Each group has a launch template, ``<launch_template>-<group>``, which says everything but the place: tags too.
    """

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

    def list_instances(self, stage: str) -> Sequence[ListedInstance]:
        """Every instance with the stage's tag, for about an hour after its end too."""
        with _answering("list the bastions"):
            pages = self._ec2.get_paginator("describe_instances").paginate(
                Filters=[{"Name": f"tag:{STAGE_TAG}", "Values": [stage]}], PaginationConfig={"PageSize": _PAGE}
            )
            return [
                ListedInstance(
                    instance_id=instance["InstanceId"],
                    ec2=instance["State"]["Name"],
                    started_at=instance["LaunchTime"],
                )
                for page in pages
                for reservation in page["Reservations"]
                for instance in reservation["Instances"]
            ]

    def find_online(self, instance_ids: Collection[str]) -> Collection[str]:
        """By the agents' pings, many at once: a hint for what ``status`` asks of each."""
        asked, online = sorted(instance_ids), set()
        with _answering("list the bastions' agents"):
            for start in range(0, len(asked), _AGENTS_PAGE):
                pages = self._ssm.get_paginator("describe_instance_information").paginate(
                    Filters=[{"Key": "InstanceIds", "Values": asked[start : start + _AGENTS_PAGE]}],
                    PaginationConfig={"PageSize": _AGENTS_PAGE},
                )
                for page in pages:
                    agents = page["InstanceInformationList"]
                    online |= {agent["InstanceId"] for agent in agents if agent["PingStatus"] == "Online"}
        return online

    def launch(self, launch: Launch) -> str:
        """One instance per bastion and generation: the client token makes a repeated or concurrent call return the same.

        Raises BastionCapacityError when this type has no room in this subnet.
        """
        template = f"{self._launch_template}-{launch.group}"
        dearer = {} if launch.instance_type == INSTANCE_TYPES[0] else {"InstanceType": launch.instance_type}
        with _answering(f"launch the bastion {launch.bastion}"):
            try:
                answer = self._ec2.run_instances(
                    # CloudFormation adds versions and leaves the default at the first one.
                    LaunchTemplate={"LaunchTemplateName": template, "Version": "$Latest"},
                    SubnetId=launch.subnet,
                    ClientToken=_client_token(f"{self._launch_template}-{launch.bastion}", launch.generation),
                    MinCount=1,
                    MaxCount=1,
                    **dearer,
                )
            except ClientError as error:
                if error_code(error) in _NO_ROOM:
                    raise BastionCapacityError(
                        f"AWS has no room for the bastion {launch.bastion}, as a {launch.instance_type} in this subnet."
                    ) from error
                raise
        return str(answer["Instances"][0]["InstanceId"])

    def start(self, instance_id: str) -> None:
        """Start a stopped instance; starting a started one is nothing."""
        with _answering(f"start the bastion {instance_id}"):
            self._ec2.start_instances(InstanceIds=[instance_id])

    def reboot(self, instance_id: str) -> None:
        """Reboot a running instance."""
        with _answering(f"reboot the bastion {instance_id}"):
            self._ec2.reboot_instances(InstanceIds=[instance_id])

    def stop(self, instance_id: str) -> None:
        """Stop an instance, whatever anybody else thinks of it."""
        with _answering(f"stop the bastion {instance_id}"):
            self._ec2.stop_instances(InstanceIds=[instance_id])

    def terminate(self, instance_id: str) -> None:
        """End an instance for good."""
        with _answering(f"terminate the bastion {instance_id}"):
            self._ec2.terminate_instances(InstanceIds=[instance_id])


def _client_token(bastion: str, generation: int) -> str:
    """Tokens are shared by all stages of an account and region, and have 64 characters at most (EC2 API: RunInstances)."""
    return sha256(f"{bastion}-{generation}".encode()).hexdigest()


def _answering(what: str) -> Any:
    return translated(BastionNotReadyError, f"AWS did not answer when asked to {what}; it is asked again")
