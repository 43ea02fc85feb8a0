"""The adapters on AWS: what they ask of it, what they make of its answers, and that no error of its own leaves them."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    TokenRetrievalError,
)
from botocore.stub import ANY, Stubber
from moto import mock_aws

from chalicelib.aws.auth_tokens import RdsAuthTokens
from chalicelib.aws.bastion_host import Ec2BastionHost
from chalicelib.aws.clients import client as shared_client
from chalicelib.aws.executions import StepFunctionsExecutions
from chalicelib.aws.instances import RdsDirectory
from chalicelib.aws.invocations import LambdaInvocations
from chalicelib.aws.secrets import SlackSecrets, read_slack_secrets
from chalicelib.aws.tunnels import SsmTunnels
from chalicelib.domain.bastions import STAGE_TAG, TAG, InstanceStatus, Launch, next_step_to_run
from chalicelib.domain.errors import (
    AccessError,
    BastionCapacityError,
    BastionNotReadyError,
    DatabaseNotFoundError,
    DatabaseUnavailableError,
    LedgerUnavailableError,
    SettingsError,
)
from chalicelib.domain.executions import Progress
from chalicelib.domain.instances import DatabaseInstances, Endpoint, require_own_endpoints
from chalicelib.domain.locations import BastionGroup, DatabaseKind
from chalicelib.domain.tunnels import Tunnel
from chalicelib.ports import BastionHost, Executions
from chalicelib.workflow.drive_bastion import drive_bastion
from local.ec2_delays import Ec2Delays
from local.strict_asl import installed
from tests.factories import FRIDAY_NOON, WRITER, a_launch
from tests.fakes import FakeBastionHost, FakeExecutions, World

REGION = "eu-west-1"
_numbers = count()
MACHINE = f"arn:aws:states:{REGION}:123456789012:stateMachine:drawbridge"
EXECUTION = f"arn:aws:states:{REGION}:123456789012:execution:drawbridge:R-ABC234"


@pytest.fixture(scope="module", autouse=True)
def aws() -> Iterator[None]:
    with mock_aws():
        yield
    # Clients are shared by the process; those of other tests belong to other endpoints.
    shared_client.cache_clear()


def make(service: str) -> Any:
    """A client that tries once."""
    return boto3.client(service, region_name=REGION, config=Config(retries={"total_max_attempts": 1}))  # type: ignore[call-overload]  # by name


def stubbed(service: str) -> tuple[Any, Stubber]:
    """A client whose answers are declared in order, each checked against AWS's own model of the operation."""
    client = make(service)
    stubber = Stubber(client)
    stubber.activate()
    return client, stubber


@pytest.fixture(scope="module")
def subnets() -> tuple[str, ...]:
    """Two subnets, and the launch template that the deployment makes."""
    ec2 = make("ec2")
    image = make("ssm").get_parameter(Name="/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64")
    ec2.create_launch_template(
        LaunchTemplateName="drawbridge-example-main",
        LaunchTemplateData={
            "ImageId": image["Parameter"]["Value"],
            "InstanceType": "t4g.nano",
            "TagSpecifications": [
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": TAG, "Value": "main"}, {"Key": STAGE_TAG, "Value": "example"}],
                }
            ],
        },
    )
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return tuple(
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"] for number in range(2)
    )


class TestBastionHost:
    def host(self, ec2: Any = None, ssm: Any = None) -> Ec2BastionHost:
        return Ec2BastionHost(ec2=ec2 or make("ec2"), ssm=ssm or make("ssm"), launch_template="drawbridge-example")

    def test_a_launch_is_from_the_bastions_own_template_and_has_its_tags(self, subnets: tuple[str, ...]) -> None:
        """IAM lets us stop and terminate only what carries it."""
        instance_id = self.host().launch(a_launch(subnets[0]))

        (group,) = make("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"]
        (instance,) = group["Instances"]
        tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
        assert ("main", "t4g.nano", subnets[0]) == (
            tags[TAG],
            instance["InstanceType"],
            instance["SubnetId"],
        )

    @pytest.mark.parametrize(
        ("instance_type", "said"), [("t4g.nano", {}), ("t4g.micro", {"InstanceType": "t4g.micro"})]
    )
    def test_a_launch_says_its_place_and_nothing_that_the_template_says(
        self, instance_type: str, said: dict[str, str]
    ) -> None:
        """IAM refuses to have the template overridden; the one thing that it allows is the other type."""
        ec2, stubber = stubbed("ec2")
        expected = {
            "LaunchTemplate": {"LaunchTemplateName": "drawbridge-example-main", "Version": "$Latest"},
            "SubnetId": "subnet-b",
            "ClientToken": ANY,
            "MinCount": 1,
            "MaxCount": 1,
            **said,
        }
        stubber.add_response("run_instances", {"Instances": [{"InstanceId": "i-1"}]}, expected)

        assert "i-1" == self.host(ec2).launch(a_launch("subnet-b", instance_type=instance_type))
        stubber.assert_no_pending_responses()

    def test_each_generation_of_each_bastion_of_each_stage_has_its_own_token(self) -> None:
        """The token makes two launches of one generation one instance, and an account's stages share their tokens."""
        tokens = []
        client = SimpleNamespace(
            run_instances=lambda **asked: tokens.append(asked["ClientToken"]) or {"Instances": [{"InstanceId": "i-1"}]}
        )
        for stage, bastion, generation in [
            ("a", "main", 0), ("a", "main", 0), ("a", "main", 1), ("a", "other", 0), ("b", "main", 0), ("a" * 40, "b" * 63, 9)
        ]:  # fmt: skip
            host = Ec2BastionHost(ec2=client, ssm=None, launch_template=f"drawbridge-{stage}")
            host.launch(a_launch(bastion=bastion, group=bastion, generation=generation))

        assert tokens[0] == tokens[1]
        assert 5 == len(set(tokens))
        assert {64} == {len(token) for token in tokens}

    @pytest.mark.parametrize(
        "code", ["InsufficientInstanceCapacity", "InsufficientFreeAddressesInSubnet", "Unsupported"]
    )
    def test_no_room_is_named_as_such(self, code: str) -> None:
        """So that the next subnet is tried."""
        ec2, stubber = stubbed("ec2")
        stubber.add_client_error("run_instances", code, http_status_code=500)

        with pytest.raises(BastionCapacityError, match="no room for the bastion main"):
            self.host(ec2).launch(a_launch())

    @pytest.mark.parametrize("code", ["UnauthorizedOperation", "VcpuLimitExceeded", "IdempotentParameterMismatch"])
    def test_any_other_failure_to_launch_keeps_only_its_code(self, code: str) -> None:
        """AWS's text names accounts and roles."""
        ec2, stubber = stubbed("ec2")
        stubber.add_client_error("run_instances", code, "arn:aws:sts::123456789012:assumed-role/x may not")

        with pytest.raises(BastionNotReadyError, match=code) as caught:
            self.host(ec2).launch(a_launch())
        assert "arn:" not in str(caught.value)

    @pytest.mark.parametrize("instance_id", ["i-0123456789abcdef0", "no-instance"])
    def test_an_unknown_instance_is_no_instance(self, instance_id: str) -> None:
        """It was terminated long ago."""
        assert InstanceStatus(ec2=None) == self.host().status(instance_id)

    def test_an_instance_that_is_listed_no_more_is_no_instance(self) -> None:
        """Some hours after its end."""
        ec2, stubber = stubbed("ec2")
        stubber.add_response("describe_instances", {"Reservations": []}, {"InstanceIds": ["i-1"]})

        assert InstanceStatus(ec2=None) == self.host(ec2).status("i-1")

    def test_a_second_bastion_is_launched_by_its_groups_template(self) -> None:
        """With a token of its own: it is another instance."""
        asked: list[dict[str, Any]] = []
        client = SimpleNamespace(
            run_instances=lambda **given: asked.append(given) or {"Instances": [{"InstanceId": "i-1"}]}
        )
        for name in ("main", "main.2"):
            self.host(client).launch(a_launch(bastion=name))

        assert {"drawbridge-example-main"} == {each["LaunchTemplate"]["LaunchTemplateName"] for each in asked}
        assert 2 == len({each["ClientToken"] for each in asked})

    def test_agents_are_asked_after_fifty_at_a_time(self) -> None:
        """As many as Session Manager answers at once."""
        ssm, stubber = stubbed("ssm")
        names = [f"i-{number:04}" for number in range(120)]
        for start in (0, 50, 100):
            page = [
                {"InstanceId": name, "PingStatus": "Online" if name.endswith("7") else "ConnectionLost"}
                for name in names[start : start + 50]
            ]
            stubber.add_response(
                "describe_instance_information",
                {"InstanceInformationList": page},
                {"Filters": [{"Key": "InstanceIds", "Values": names[start : start + 50]}], "MaxResults": 50},
            )

        assert {name for name in names if name.endswith("7")} == self.host(ssm=ssm).find_online(names)
        stubber.assert_no_pending_responses()

    def test_an_instance_goes_through_ec2s_states(self, subnets: tuple[str, ...]) -> None:
        """Stopped, started and terminated, each safe to repeat; SSM is asked only about a running one."""
        host = self.host(ssm=NoCalls())
        instance_id = host.launch(a_launch(subnets[0], generation=17))
        host.stop(instance_id)
        host.stop(instance_id)
        states = [host.status(instance_id).ec2]
        host.start(instance_id)
        host.start(instance_id)
        host.terminate(instance_id)
        host.terminate(instance_id)
        states.append(host.status(instance_id).ec2)

        assert ["stopped", "terminated"] == states

    @pytest.mark.parametrize(
        ("status", "agents", "expected"),
        [
            (
                "connected",
                [{"AgentVersion": "3.3.859.0"}],
                InstanceStatus(ec2="running", is_connected=True, agent_version="3.3.859.0"),
            ),
            ("notconnected", [], InstanceStatus(ec2="running")),
            ("connected", [], InstanceStatus(ec2="running", is_connected=True)),
        ],
    )
    def test_a_running_instance_is_ready_when_session_manager_says_so(
        self, status: str, agents: list[dict[str, str]], expected: InstanceStatus
    ) -> None:
        """Its agent's version comes with it, once it is known."""
        (ec2, ec2_stubber), (ssm, ssm_stubber) = stubbed("ec2"), stubbed("ssm")
        running = {"Reservations": [{"Instances": [{"State": {"Name": "running"}}]}]}
        ec2_stubber.add_response("describe_instances", running, {"InstanceIds": ["i-1"]})
        ssm_stubber.add_response("get_connection_status", {"Target": "i-1", "Status": status}, {"Target": "i-1"})
        ssm_stubber.add_response(
            "describe_instance_information",
            {"InstanceInformationList": agents},
            {"Filters": [{"Key": "InstanceIds", "Values": ["i-1"]}]},
        )

        assert self.host(ec2, ssm).status("i-1") == expected


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """One implementation of the instances. ``settle`` lets pass the time that EC2 needs for what it was told."""

    host: BastionHost
    settle: Callable[[], object]
    declare_no_room: Callable[[str], object]


@pytest.fixture(params=["fake", "ec2"])
def hosted(request: pytest.FixtureRequest, subnets: tuple[str, ...]) -> Iterator[Hosted]:
    if request.param == "fake":
        fake = FakeBastionHost()
        yield Hosted(host=fake, settle=lambda: (fake.boot(), fake.land()), declare_no_room=fake.declare_no_room)
        return
    now = [0.0]
    delays = Ec2Delays(pending_seconds=5, stopping_seconds=5, clock=lambda: now[0])
    ssm: Any = SimpleNamespace(
        get_connection_status=lambda Target: {"Status": "connected"},  # noqa: N803  SSM's name
        describe_instance_information=lambda Filters: {"InstanceInformationList": []},  # noqa: N803
    )
    with installed(delays.mends):
        yield Hosted(
            host=Ec2BastionHost(ec2=make("ec2"), ssm=ssm, launch_template="drawbridge-example"),
            settle=lambda: now.append(now.pop() + 10),
            declare_no_room=lambda subnet: delays.fail_capacity(subnet, 1),
        )


class TestTheContractOfHosts:
    """What the fake of the unit tests and the real host do alike."""

    @pytest.fixture
    def launch(self, subnets: tuple[str, ...]) -> Launch:
        return a_launch(subnets[0], generation=100 + 10 * next(_numbers))

    def test_one_instance_per_bastion_and_generation(self, hosted: Hosted, launch: Launch) -> None:
        """However often it is launched."""
        following = replace(launch, generation=launch.generation + 1)
        launched = [hosted.host.launch(each) for each in (launch, launch, following, following)]

        assert launched[0] == launched[1] != launched[2] == launched[3]

    def test_an_instance_passes_through_its_states(self, hosted: Hosted, launch: Launch) -> None:
        """None of them is skipped, and none is reached before its time."""
        instance_id = hosted.host.launch(launch)
        states = []
        for act in (lambda _: None, hosted.host.stop, hosted.host.start, hosted.host.terminate):
            act(instance_id)
            states.append(hosted.host.status(instance_id).ec2)
            hosted.settle()
            states.append(hosted.host.status(instance_id).ec2)

        assert [
            "pending", "running", "stopping", "stopped", "pending", "running", "shutting-down", "terminated",
        ] == states  # fmt: skip

    def test_only_a_running_instance_is_connected(self, hosted: Hosted, launch: Launch) -> None:
        """Whatever Session Manager remembers."""
        instance_id = hosted.host.launch(launch)
        is_connected = [hosted.host.status(instance_id).is_connected]
        hosted.settle()
        is_connected.append(hosted.host.status(instance_id).is_connected)

        assert [False, True] == is_connected

    def test_every_call_is_safe_to_repeat(self, hosted: Hosted, launch: Launch) -> None:
        """Before and after it has been carried out."""
        instance_id = hosted.host.launch(launch)
        hosted.settle()
        for act in (hosted.host.stop, hosted.host.start, hosted.host.terminate):
            for _ in range(2):
                act(instance_id)
                act(instance_id)
                hosted.settle()

        assert "terminated" == hosted.host.status(instance_id).ec2

    @pytest.mark.parametrize("before", ["pending", "stopping", "terminated"])
    def test_what_ec2_refuses_is_an_error(self, hosted: Hosted, launch: Launch, before: str) -> None:
        """A pending instance cannot be stopped, and a stopping or dead one not started."""
        instance_id = hosted.host.launch(launch)
        if before != "pending":
            hosted.settle()
            (hosted.host.stop if before == "stopping" else hosted.host.terminate)(instance_id)
        if before == "terminated":
            hosted.settle()

        with pytest.raises(BastionNotReadyError):
            (hosted.host.stop if before == "pending" else hosted.host.start)(instance_id)

    def test_every_instance_of_the_stage_is_listed_by_its_state(self, hosted: Hosted, launch: Launch) -> None:
        """Those that run, and those that have ended a moment ago."""
        up, down = (hosted.host.launch(each) for each in (launch, replace(launch, generation=launch.generation + 1)))
        hosted.settle()
        hosted.host.terminate(down)

        listed = {each.instance_id: each.ec2 for each in hosted.host.list_instances("example")}
        assert ("running", "shutting-down") == (listed[up], listed[down])

    def test_a_rebooted_instance_goes_on_running(self, hosted: Hosted, launch: Launch) -> None:
        """And one that was never launched cannot be rebooted."""
        instance_id = hosted.host.launch(launch)
        hosted.settle()
        hosted.host.reboot(instance_id)

        assert "running" == hosted.host.status(instance_id).ec2
        with pytest.raises(BastionNotReadyError):
            hosted.host.reboot("i-00000000000000000")

    @pytest.mark.parametrize("full", ["subnet", "instance_type"])
    def test_no_room_is_an_error_of_its_own(
        self, hosted: Hosted, launch: Launch, subnets: tuple[str, ...], full: str
    ) -> None:
        """And the next generation is launched elsewhere, or on something else."""
        launch = replace(launch, instance_type="t4g.micro")
        elsewhere = replace(
            launch, generation=launch.generation + 1, **{full: subnets[1] if full == "subnet" else "t4g.nano"}
        )
        hosted.declare_no_room(getattr(launch, full))

        with pytest.raises(BastionCapacityError):
            hosted.host.launch(launch)
        assert hosted.host.launch(elsewhere)

    def test_what_was_never_launched_is_unknown(self, hosted: Hosted) -> None:
        """And no error."""
        assert InstanceStatus(ec2=None) == hosted.host.status("i-00000000000000000")


def test_a_bastion_that_finds_no_room_runs_on_the_next_type(subnets: tuple[str, ...]) -> None:
    """Once each subnet has refused the template's own type; EC2 takes the other one beside the template."""
    delays, world = Ec2Delays(pending_seconds=0, stopping_seconds=0, clock=lambda: 0.0), World()
    world.host = Ec2BastionHost(ec2=make("ec2"), ssm=UnconnectedSsm(), launch_template="drawbridge-example")  # type: ignore[assignment]  # the real one
    world.bastions.take_lease("main", "R-ABC234", until=FRIDAY_NOON)
    for subnet in subnets:
        delays.fail_capacity(subnet, 1)

    with installed(delays.mends):
        world.run(drive_bastion, name="main", group=BastionGroup(name="main", subnets=subnets), plan=next_step_to_run)
    bastion = world.bastions.find_bastion("main")
    described = make("ec2").describe_instances(InstanceIds=[bastion.instance_id])["Reservations"][0]["Instances"][0]

    assert ("t4g.micro", subnets[0]) == (described["InstanceType"], described["SubnetId"])
    assert (2, 0) == (bastion.generation, bastion.refusals)


class UnconnectedSsm:
    """Session Manager, to which no agent has connected yet."""

    def get_connection_status(self, **_: str) -> dict[str, str]:
        return {"Status": "notconnected"}

    def describe_instance_information(self, **_: object) -> dict[str, list[object]]:
        return {"InstanceInformationList": []}


class NoCalls:
    """A client that nobody may use."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was called")


@pytest.fixture(scope="module")
def databases() -> None:
    """Two clusters, one of them without instances, and an instance of its own."""
    rds = make("rds")
    for name in ("orders-cluster", "lonely-cluster"):
        rds.create_db_cluster(
            DBClusterIdentifier=name,
            Engine="aurora-postgresql",
            MasterUsername="master",
            MasterUserPassword="not-used-here",
            Port=5433,
        )
    for number in range(1, 4):
        rds.create_db_instance(
            DBInstanceIdentifier=f"orders-cluster-{number}",
            DBClusterIdentifier="orders-cluster",
            DBInstanceClass="db.serverless",
            Engine="aurora-postgresql",
        )
    rds.create_db_instance(
        DBInstanceIdentifier="orders-db",
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        AllocatedStorage=20,
        MasterUsername="master",
        MasterUserPassword="not-used-here",
        Port=5434,
    )


@pytest.mark.usefixtures("databases")
class TestDirectory:
    def directory(self) -> RdsDirectory:
        return RdsDirectory(lambda region: boto3.client("rds", region_name=region))

    def test_a_cluster_has_its_writer_and_each_readers_own_endpoint(self) -> None:
        """The cluster's reader endpoint balances, so it cannot reach a given one."""
        ports = {"Port": 5433}
        client, stubber = stubbed("rds")
        members = [
            {"DBInstanceIdentifier": f"orders-{number}", "IsClusterWriter": number == 1} for number in range(1, 4)
        ]
        cluster = {
            "Endpoint": WRITER.host,
            "ReaderEndpoint": "orders.cluster-ro-x",
            **ports,
            "DBClusterMembers": members,
            "DbClusterResourceId": "cluster-ABCDEFGHIJ",
        }
        stubber.add_response(
            "describe_db_clusters", {"DBClusters": [cluster]}, {"DBClusterIdentifier": "orders-cluster"}
        )
        for number in (2, 3):
            stubber.add_response(
                "describe_db_instances",
                {
                    "DBInstances": [
                        {"Endpoint": {"Address": f"orders-{number}.abc.{REGION}.rds.amazonaws.com", **ports}}
                    ]
                },
                {"DBInstanceIdentifier": f"orders-{number}"},
            )

        found = RdsDirectory(lambda _: client).find_instances(
            kind=DatabaseKind.CLUSTER, identifier="orders-cluster", region=REGION
        )

        readers = tuple(Endpoint(host=f"orders-{n}.abc.{REGION}.rds.amazonaws.com", port=5433) for n in (2, 3))
        assert found == DatabaseInstances(
            writer=Endpoint(host=WRITER.host, port=5433), readers=readers, resource_id="cluster-ABCDEFGHIJ"
        )

    @pytest.mark.parametrize(
        ("scaling", "may_sleep"),
        [
            ({"ServerlessV2ScalingConfiguration": {"MinCapacity": 0.0, "MaxCapacity": 4.0}}, True),
            ({"ServerlessV2ScalingConfiguration": {"MinCapacity": 0.5, "MaxCapacity": 4.0}}, False),
            ({}, False),
        ],
    )
    def test_a_cluster_whose_capacity_may_go_down_to_nothing_may_sleep(
        self, scaling: dict[str, Any], may_sleep: bool
    ) -> None:
        """Then the first connection wakes it, which takes its time."""
        client, stubber = stubbed("rds")
        cluster = {"Endpoint": WRITER.host, "Port": 5432, "DBClusterMembers": [], **scaling}
        stubber.add_response("describe_db_clusters", {"DBClusters": [cluster]})
        found = RdsDirectory(lambda _: client).find_instances(
            kind=DatabaseKind.CLUSTER, identifier="orders-cluster", region=REGION
        )

        assert may_sleep is found.may_sleep

    @pytest.mark.parametrize("is_multi_az", [False, True])
    def test_an_instance_has_one_endpoint_and_a_resource_id_of_its_own(self, is_multi_az: bool) -> None:
        """Its standby in another zone has no address; after a failover the same one leads there."""
        client, stubber = stubbed("rds")
        host = f"orders-db.abc123.{REGION}.rds.amazonaws.com"
        instance = {
            "DBInstanceIdentifier": "orders-db",
            "Endpoint": {"Address": host, "Port": 5432},
            "DbiResourceId": "db-ABCDEFGHIJ",
            "MultiAZ": is_multi_az,
            "SecondaryAvailabilityZone": "eu-west-1b",
        }
        stubber.add_response(
            "describe_db_instances", {"DBInstances": [instance]}, {"DBInstanceIdentifier": "orders-db"}
        )
        found = RdsDirectory(lambda _: client).find_instances(
            kind=DatabaseKind.INSTANCE, identifier="orders-db", region=REGION
        )

        assert found == DatabaseInstances(writer=Endpoint(host=host, port=5432), resource_id="db-ABCDEFGHIJ")

    def test_an_instance_of_a_cluster_is_no_location(self) -> None:
        """Two locations that share roles without knowing it would put out each other's people."""
        with pytest.raises(DatabaseNotFoundError, match='Write cluster = "orders-cluster"'):
            self.directory().find_instances(kind=DatabaseKind.INSTANCE, identifier="orders-cluster-1", region=REGION)

    @pytest.mark.parametrize(
        ("kind", "identifier", "port"),
        [
            (DatabaseKind.CLUSTER, "orders-cluster", 5433),
            (DatabaseKind.CLUSTER, "lonely-cluster", 5433),
            (DatabaseKind.INSTANCE, "orders-db", 5434),
        ],
    )
    def test_what_rds_lists_passes_the_check_of_the_database_function(
        self, kind: DatabaseKind, identifier: str, port: int
    ) -> None:
        """What is found here is believed there only if it looks like this."""
        found = self.directory().find_instances(kind=kind, identifier=identifier, region=REGION)

        require_own_endpoints(found, kind=kind, identifier=identifier, region=REGION)
        assert found.writer.port == port
        assert found.resource_id is not None

    @pytest.mark.parametrize("kind", DatabaseKind)
    def test_what_rds_does_not_know_is_named_with_the_repair(self, kind: DatabaseKind) -> None:
        """The catalogue is wrong, and asking again would not help."""
        with pytest.raises(DatabaseNotFoundError, match=f"no {kind} 'orders-prdo' in {REGION}. Correct the catalogue"):
            self.directory().find_instances(kind=kind, identifier="orders-prdo", region=REGION)

    def test_the_locations_own_region_is_asked(self) -> None:
        """A location may live elsewhere."""
        with pytest.raises(DatabaseNotFoundError):
            self.directory().find_instances(
                kind=DatabaseKind.CLUSTER, identifier="orders-cluster", region="eu-central-1"
            )

    def test_an_instance_that_is_still_being_made_is_waited_for(self) -> None:
        """It has no endpoint yet."""
        client, stubber = stubbed("rds")
        stubber.add_response("describe_db_instances", {"DBInstances": [{"DBInstanceIdentifier": "orders-db"}]})

        with pytest.raises(DatabaseUnavailableError, match="no endpoint yet"):
            RdsDirectory(lambda _: client).find_instances(
                kind=DatabaseKind.INSTANCE, identifier="orders-db", region=REGION
            )

    def test_a_reader_that_comes_or_goes_is_waited_for_by_nobody(self) -> None:
        """Nobody can be connected to one without an endpoint, and access has to end all the same."""
        members = [
            {"DBInstanceIdentifier": name, "IsClusterWriter": name == "orders-1"}
            for name in ("orders-1", "orders-2", "orders-3", "orders-4")
        ]
        writer = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com"
        reader = "orders-4.abc123.eu-west-1.rds.amazonaws.com"
        client, stubber = stubbed("rds")
        cluster = {"Endpoint": writer, "Port": 5432, "DBClusterMembers": members}
        stubber.add_response("describe_db_clusters", {"DBClusters": [cluster]})
        stubber.add_response("describe_db_instances", {"DBInstances": [{"DBInstanceIdentifier": "orders-2"}]})
        stubber.add_client_error("describe_db_instances", "DBInstanceNotFound")
        made = {"DBInstanceIdentifier": "orders-4", "Endpoint": {"Address": reader, "Port": 5432}}
        stubber.add_response("describe_db_instances", {"DBInstances": [made]})

        found = RdsDirectory(lambda _: client).find_instances(
            kind=DatabaseKind.CLUSTER, identifier="orders", region=REGION
        )

        assert (Endpoint(host=reader, port=5432),) == found.readers


@pytest.fixture(scope="module")
def machine() -> str:
    """A workflow that does nothing."""
    definition = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
    made = make("stepfunctions").create_state_machine(
        name="drawbridge", definition=json.dumps(definition), roleArn="arn:aws:iam::123456789012:role/workflow"
    )
    return str(made["stateMachineArn"])


def execution_arn(machine: str, name: str) -> str:
    return machine.replace(":stateMachine:", ":execution:") + f":{name}"


@pytest.fixture(params=["fake", "step functions"])
def workflow(request: pytest.FixtureRequest, machine: str) -> Executions:
    return FakeExecutions() if request.param == "fake" else StepFunctionsExecutions(make("stepfunctions"), machine)


class TestTheContractOfExecutions:
    """What the fake of the unit tests and the real workflow do alike."""

    def test_starting_twice_is_starting_once(self, workflow: Executions) -> None:
        """Whatever the second start brings."""
        workflow.start("R-TWICE2", {"request_id": "R-TWICE2"})
        workflow.start("R-TWICE2", {"request_id": "R-OTHER2"})

        assert "R-TWICE2" in workflow.running()
        assert workflow.find_progress("R-TWICE2") is Progress.RUNNING

    def test_what_was_never_started_is_unknown(self, workflow: Executions) -> None:
        """And is no error."""
        assert "R-NEVER2" not in workflow.running()
        assert workflow.find_progress("R-NEVER2") is Progress.UNKNOWN

    def test_a_token_that_nobody_waits_for_is_success(self, workflow: Executions) -> None:
        """It was answered, or never given out."""
        for _ in range(2):
            workflow.wake("AQCEAAAAKgAAAAMAAAAAAAAAAexample")


class TestExecutions:
    def executions(self, client: Any) -> StepFunctionsExecutions:
        return StepFunctionsExecutions(client, MACHINE)

    def test_an_execution_is_started_once_under_its_name(self, machine: str) -> None:
        """The second start is success, whatever it brings."""
        client = make("stepfunctions")
        executions = StepFunctionsExecutions(client, machine)
        executions.start("R-ABC234", {"request_id": "R-ABC234"})
        executions.start("R-ABC234", {"request_id": "R-ABC234", "more": 1})

        described = client.describe_execution(executionArn=execution_arn(machine, "R-ABC234"))
        assert '{"request_id": "R-ABC234"}' == described["input"]

    def test_it_can_be_asked_where_it_stands(self, machine: str) -> None:
        """One that was stopped is over, and not listed."""
        client = make("stepfunctions")
        executions = StepFunctionsExecutions(client, machine)
        executions.start("R-RUN222", {})
        client.stop_execution(executionArn=execution_arn(machine, "R-RUN222"))

        assert executions.find_progress("R-RUN222") is Progress.OVER
        assert "R-RUN222" not in executions.running()

    def test_all_that_run_are_listed_page_by_page(self) -> None:
        """A page holds a hundred unless more are asked for."""
        client, stubber = stubbed("stepfunctions")
        asked = {"stateMachineArn": MACHINE, "statusFilter": "RUNNING"}
        for number, more in enumerate(({"nextToken": "page-2"}, {})):
            item = {
                "executionArn": EXECUTION,
                "stateMachineArn": MACHINE,
                "name": f"R-PAGE2{number}",
                "status": "RUNNING",
                "startDate": datetime(2026, 11, 20, tzinfo=UTC),
            }
            expected = asked | ({"nextToken": "page-2"} if number else {})
            stubber.add_response("list_executions", {"executions": [item]} | more, expected)

        assert {"R-PAGE20", "R-PAGE21"} == self.executions(client).running()

    @pytest.mark.parametrize(
        ("status", "progress"),
        [
            ("RUNNING", Progress.RUNNING),
            ("SUCCEEDED", Progress.OVER),
            ("TIMED_OUT", Progress.OVER),
            ("ABORTED", Progress.OVER),
        ],
    )
    def test_only_a_running_execution_runs(self, status: str, progress: Progress) -> None:
        """Whatever its end was."""
        client, stubber = stubbed("stepfunctions")
        answer = {
            "executionArn": EXECUTION,
            "stateMachineArn": MACHINE,
            "status": status,
            "startDate": datetime(2026, 11, 20, tzinfo=UTC),
        }
        stubber.add_response("describe_execution", answer, {"executionArn": EXECUTION})

        assert progress is self.executions(client).find_progress("R-ABC234")

    def test_a_waking_carries_no_facts(self) -> None:
        """It means: look at the ledger."""
        client, stubber = stubbed("stepfunctions")
        stubber.add_response("send_task_success", {}, {"taskToken": "token-1", "output": "{}"})

        self.executions(client).wake("token-1")
        stubber.assert_no_pending_responses()

    @pytest.mark.parametrize("code", ["TaskTimedOut", "InvalidToken", "TaskDoesNotExist"])
    def test_a_token_that_waits_no_more_is_success(self, code: str) -> None:
        """It was answered, or timed out, or its execution is over."""
        client, stubber = stubbed("stepfunctions")
        stubber.add_client_error("send_task_success", code)

        self.executions(client).wake("token-1")
        stubber.assert_no_pending_responses()

    @pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException", "StateMachineDoesNotExist"])
    def test_any_other_failure_is_named_and_retried(self, code: str) -> None:
        """A waking that was lost must not look like one that arrived."""
        for operation in ("start_execution", "send_task_success", "describe_execution"):
            client, stubber = stubbed("stepfunctions")
            stubber.add_client_error(operation, code, f"not for {MACHINE}")
            executions = self.executions(client)
            call: dict[str, Callable[[], object]] = {
                "start_execution": lambda executions=executions: executions.start("R-ABC234", {}),
                "send_task_success": lambda executions=executions: executions.wake("token-1"),
                "describe_execution": lambda executions=executions: executions.find_progress("R-ABC234"),
            }

            with pytest.raises(LedgerUnavailableError, match=code) as caught:
                call[operation]()
            assert "arn:" not in str(caught.value)


class TestTunnels:
    def test_every_session_that_could_carry_bytes_is_a_tunnel(self) -> None:
        """A disconnected one can come back; over every page."""
        client, stubber = stubbed("ssm")
        asked = {"State": "Active", "Filters": [{"key": "Target", "value": "i-1"}], "MaxResults": 200}

        def session(number: int, status: str, **more: Any) -> dict[str, Any]:
            started = {"StartDate": FRIDAY_NOON, "Target": "i-1"}
            return {"SessionId": f"s-{number}", "Status": status, **started, **more}

        first = [
            session(
                1,
                "Connected",
                Owner="arn:aws:iam::123456789012:user/alice",
                Reason="R-ABC234",
                DocumentName="drawbridge-prod-orders",
            ),
            session(2, "Terminating"),
        ]
        second = [session(3, "Disconnected"), session(4, "Terminated"), session(5, "Connecting"), session(6, "Failed")]
        stubber.add_response("describe_sessions", {"Sessions": first, "NextToken": "more"}, asked)
        stubber.add_response("describe_sessions", {"Sessions": second}, asked | {"NextToken": "more"})

        assert [
            Tunnel(
                session_id="s-1",
                instance_id="i-1",
                owner="arn:aws:iam::123456789012:user/alice",
                reason="R-ABC234",
                started_at=FRIDAY_NOON,
                document="drawbridge-prod-orders",
            ),
            Tunnel(session_id="s-3", instance_id="i-1", owner="", reason="", started_at=FRIDAY_NOON),
            Tunnel(session_id="s-5", instance_id="i-1", owner="", reason="", started_at=FRIDAY_NOON),
        ] == list(SsmTunnels(client).open_tunnels("i-1"))

    def test_all_tunnels_are_listed_by_pages_and_know_their_instances(self) -> None:
        """However many bastions there are: no call names one."""
        client, stubber = stubbed("ssm")
        asked = {"State": "Active", "MaxResults": 200}

        def session(number: int) -> dict[str, Any]:
            target = {"Target": f"i-{number}"}
            return {"SessionId": f"s-{number}", "Status": "Connected", "StartDate": FRIDAY_NOON, **target}

        stubber.add_response("describe_sessions", {"Sessions": [session(1)], "NextToken": "more"}, asked)
        stubber.add_response("describe_sessions", {"Sessions": [session(2)]}, asked | {"NextToken": "more"})

        assert [("s-1", "i-1"), ("s-2", "i-2")] == [
            (tunnel.session_id, tunnel.instance_id) for tunnel in SsmTunnels(client).all_open_tunnels()
        ]

    def test_a_tunnel_is_ended_by_its_session(self) -> None:
        """And one that has ended already is success."""
        client, stubber = stubbed("ssm")
        stubber.add_response("terminate_session", {"SessionId": "s-1"}, {"SessionId": "s-1"})
        stubber.add_client_error("terminate_session", "DoesNotExistException")
        stubber.add_client_error("terminate_session", "ValidationException")

        for _ in range(3):
            SsmTunnels(client).end_tunnel("s-1")
        stubber.assert_no_pending_responses()


class TestSecrets:
    def store(self, text: str) -> tuple[Any, str]:
        client = make("secretsmanager")
        return client, str(
            client.create_secret(Name=f"slack-{datetime.now(UTC).timestamp()}", SecretString=text)["ARN"]
        )

    def test_the_app_and_both_its_secrets_are_read_from_one(self) -> None:
        """And neither of them shows when they are printed."""
        text = '{"app_id": "A0EXAMPLE", "signing_secret": "s1", "bot_token": "b1", "more": 1}'
        secrets = read_slack_secrets(*self.store(text))

        assert SlackSecrets(app_id="A0EXAMPLE", signing_secret="s1", bot_token="b1") == secrets
        assert "s1" not in repr(secrets)
        assert "b1" not in repr(secrets)

    @pytest.mark.parametrize(
        "text",
        [
            "hush",
            "[]",
            "null",
            '"hush"',
            "{}",
            '{"signing_secret": "hush", "bot_token": "hush"}',
            '{"app_id": "hush", "bot_token": "hush"}',
            '{"app_id": "hush", "signing_secret": "hush"}',
            '{"app_id": "hush", "signing_secret": "", "bot_token": "hush"}',
            '{"app_id": "hush", "signing_secret": "hush", "bot_token": ""}',
            '{"app_id": "", "signing_secret": "hush", "bot_token": "hush"}',
            '{"app_id": "hush", "signing_secret": null, "bot_token": "hush"}',
            '{"app_id": "hush", "signing_secret": 7, "bot_token": "hush"}',
        ],
    )
    def test_a_secret_that_lacks_a_part_is_refused_without_quoting_it(self, text: str) -> None:
        """Least of all is an empty signing secret taken: anybody could sign with it."""
        with pytest.raises(SettingsError, match="must hold an app_id, a signing_secret and a bot_token") as caught:
            read_slack_secrets(*self.store(text))

        assert "hush" not in f"{caught.value!r} {caught.value.__cause__!r}"
        assert caught.value.__suppress_context__

    def test_a_binary_secret_is_refused_like_one_that_lacks_its_parts(self) -> None:
        """It was stored in another way than ours."""
        client = make("secretsmanager")
        client.create_secret(Name="binary", SecretBinary=b"hush")

        with pytest.raises(SettingsError, match="store it anew"):
            read_slack_secrets(client, "binary")

    def test_a_secret_that_is_not_there_is_an_error_of_the_deployment(self) -> None:
        """Which says what to do."""
        with pytest.raises(SettingsError, match="ResourceNotFoundException"):
            read_slack_secrets(make("secretsmanager"), "no-such-secret")


class TestAuthTokens:
    def test_a_token_is_signed_for_the_endpoint_and_the_user(self) -> None:
        """For 15 minutes, in the location's region, without asking anybody."""
        token = RdsAuthTokens().sign(Endpoint(host=WRITER.host, port=5433), "jit_x_o_alice", "eu-central-1")

        assert token.startswith(f"{WRITER.host}:5433/?")
        assert "DBUser=jit_x_o_alice" in token
        assert "X-Amz-Expires=900" in token
        assert "eu-central-1%2Frds-db" in token
        assert "X-Amz-Signature=" in token


class TestInvocations:
    def test_the_function_is_invoked_and_not_waited_for(self) -> None:
        """It is told who asked, for what and where to show it."""
        client, stubber = stubbed("lambda")
        payload = '{"request_id": "R-ABC234", "view_id": "V0VIEW", "person_id": "T0EXAMPLE/U0ALICE"}'
        stubber.add_response(
            "invoke",
            {"StatusCode": 202},
            {"FunctionName": "IssueToken", "InvocationType": "Event", "Payload": payload},
        )

        LambdaInvocations(client, "IssueToken").issue_token(
            request_id="R-ABC234", view_id="V0VIEW", person_id="T0EXAMPLE/U0ALICE"
        )
        stubber.assert_no_pending_responses()


class Failing:
    """A client of which every call fails in one way: at once, or when its pages are read."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return self._fail

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=self._fail_later)

    def _fail(self, **arguments: Any) -> Any:
        raise self._error

    def _fail_later(self, **arguments: Any) -> Iterator[Any]:
        raise self._error
        yield


TROUBLES = [
    ClientError({"Error": {"Code": "AccessDenied", "Message": f"not for {MACHINE}"}}, "Operation"),
    ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "Operation"),
    ClientError({"Error": {"Code": "InternalError", "Message": ""}}, "Operation"),
    ClientError({"Error": {"Code": "ExpiredTokenException", "Message": "expired"}}, "Operation"),
    ClientError({}, "Operation"),
    EndpointConnectionError(endpoint_url="https://ec2.eu-west-1.amazonaws.com/"),
    ReadTimeoutError(endpoint_url="https://ec2.eu-west-1.amazonaws.com/"),
    NoCredentialsError(),
    TokenRetrievalError(provider="sso", error_msg="secret"),
]
CALLS: dict[str, tuple[type[AccessError], Callable[[Any], object]]] = {
    "status": (BastionNotReadyError, lambda c: bastion_host(c).status("i-1")),
    "launch": (BastionNotReadyError, lambda c: bastion_host(c).launch(a_launch())),
    "list_instances": (BastionNotReadyError, lambda c: bastion_host(c).list_instances("example")),
    "find_online": (BastionNotReadyError, lambda c: bastion_host(c).find_online({"i-1"})),
    "reboot": (BastionNotReadyError, lambda c: bastion_host(c).reboot("i-1")),
    "start": (BastionNotReadyError, lambda c: bastion_host(c).start("i-1")),
    "stop": (BastionNotReadyError, lambda c: bastion_host(c).stop("i-1")),
    "terminate": (BastionNotReadyError, lambda c: bastion_host(c).terminate("i-1")),
    "open_tunnels": (BastionNotReadyError, lambda c: SsmTunnels(c).open_tunnels("i-1")),
    "all_open_tunnels": (BastionNotReadyError, lambda c: SsmTunnels(c).all_open_tunnels()),
    "end_tunnel": (BastionNotReadyError, lambda c: SsmTunnels(c).end_tunnel("s-1")),
    "start_execution": (LedgerUnavailableError, lambda c: StepFunctionsExecutions(c, MACHINE).start("R-ABC234", {})),
    "wake": (LedgerUnavailableError, lambda c: StepFunctionsExecutions(c, MACHINE).wake("token-1")),
    "running": (LedgerUnavailableError, lambda c: StepFunctionsExecutions(c, MACHINE).running()),
    "find_progress": (LedgerUnavailableError, lambda c: StepFunctionsExecutions(c, MACHINE).find_progress("R-ABC234")),
    "find_cluster": (DatabaseUnavailableError, lambda c: find_instances(c, DatabaseKind.CLUSTER)),
    "find_instance": (DatabaseUnavailableError, lambda c: find_instances(c, DatabaseKind.INSTANCE)),
    "read_slack_secrets": (SettingsError, lambda c: read_slack_secrets(c, "slack")),
    "issue_token": (
        LedgerUnavailableError,
        lambda c: LambdaInvocations(c, "IssueToken").issue_token(request_id="R", view_id="V", person_id="P"),
    ),
}


def bastion_host(client: Any) -> Ec2BastionHost:
    return Ec2BastionHost(ec2=client, ssm=client, launch_template="drawbridge-example")


def find_instances(client: Any, kind: DatabaseKind) -> DatabaseInstances:
    return RdsDirectory(lambda _: client).find_instances(kind=kind, identifier="orders", region=REGION)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("call", CALLS)
def test_no_error_of_awss_own_leaves_an_adapter(call: str, trouble: Exception) -> None:
    """Each becomes the one error that the workflow knows what to do about; the cause stays for the log, its text does not."""
    expected, act = CALLS[call]

    with pytest.raises(AccessError) as caught:
        act(Failing(trouble))

    assert expected is type(caught.value)
    assert trouble is caught.value.__cause__
    assert not [
        word for word in ("arn:", "secret", "amazonaws") if word in str(caught.value).replace("Slack's secret", "")
    ]


def test_every_method_of_the_adapters_is_among_those() -> None:
    """A method that is added must be added above."""
    adapters = (Ec2BastionHost, SsmTunnels, StepFunctionsExecutions, LambdaInvocations)
    methods = {name for adapter in adapters for name in vars(adapter) if not name.startswith("_")}

    assert set() == methods - set(CALLS)


def test_a_token_that_cannot_be_signed_is_an_error_of_ours() -> None:
    """A function without credentials; in a process of its own, for credentials are found once per process."""
    program = """
from chalicelib.aws.auth_tokens import RdsAuthTokens
from chalicelib.domain.errors import DatabaseUnavailableError
from chalicelib.domain.instances import Endpoint
try:
    RdsAuthTokens().sign(Endpoint(host="db.example.com", port=5432), "jit_x_o_alice", "eu-west-1")
except DatabaseUnavailableError as error:
    print(error)
"""
    environment = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "HOME": "/nowhere"}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env=environment | {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "No token could be signed; the function has no credentials (NoCredentialsError)." == ended.stdout.strip()


def test_the_shared_clients_are_made_once_and_give_up_soon() -> None:
    """A function has seconds."""
    shared_client.cache_clear()
    first, second, other = (shared_client("rds", region) for region in (REGION, REGION, "eu-central-1"))

    assert first is second is not other
    assert (3, 20) == (first.meta.config.connect_timeout, first.meta.config.read_timeout)
