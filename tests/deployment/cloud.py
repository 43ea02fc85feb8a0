"""An AWS account with a VPC and an Aurora cluster, a small stack named like the real one, and an operator at a terminal."""

import argparse
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
from slack_sdk import WebClient

from chalicelib.aws.clients import client as shared_client
from chalicelib.aws.grant_ledger import DynamoGrantLedger
from chalicelib.aws.table import Table
from chalicelib.defaults import DURATIONS
from chalicelib.domain.catalogue_text import load_catalogue, pack_catalogue
from chalicelib.domain.grants import Grant, new_grant
from deployment import deploy, destroy
from deployment.prompts import Terminal
from local.aws import LocalAws
from local.functions import environment
from tests.deployment.moto_cloudformation import complete_cloudformation
from tests.factories import a_request

REGION, ACCOUNT, STAGE = "eu-west-1", "123456789012", "example"
BUCKET = f"drawbridge-{ACCOUNT}-{REGION}"
SIGNING_SECRET, BOT_TOKEN = "0123456789abcdef" * 2, "xoxb-1234567890-abcdefghijk"
CATALOGUE = """
[slack]
team = "T0EXAMPLE"
approvals_channel = "C0APPROVALS"

[people]
alice = {{ slack = "U0ALICE" }}
bob = {{ slack = "U0BOB" }}

[bastions.main]
subnets = [{subnets}]

[locations.my-aurora-location]
cluster = "my-aurora"
database = "depotpostgres"
region = "eu-west-1"
environment = "prod"
bastion = "main"

[locations.my-aurora-location.levels]
r = {{ who = "*", automatic = true }}
o = {{ who = ["alice"], approvers = ["bob"] }}
"""
DEFINITION = {
    "StartAt": "EndAccess",
    "States": {
        "EndAccess": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": "EndAccess", "Payload": {"request_id.$": "$.request_id"}},
            "End": True,
        }
    },
}
ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ssm:StartSession", "Resource": "*"}]}
ANY_FUNCTION = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}],
}


def client(service: str) -> Any:
    make: Any = boto3.client
    return make(service, region_name=REGION)


@dataclass(kw_only=True)
class Cloud:
    """What was there before Drawbridge came."""

    vpc: str
    subnets: list[str]
    database_group: str

    def catalogue(self, more: str = "") -> str:
        """The TOML of one location."""
        return CATALOGUE.format(subnets=", ".join(f'"{each}"' for each in self.subnets)) + more

    def give_addresses(self, are_given: bool) -> None:
        """Whether every instance in the subnets gets a public address."""
        for subnet in self.subnets:
            client("ec2").modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": are_given})


def a_cloud(*, groups: int = 1, route: str = "nat") -> Cloud:
    """A VPC of two subnets in two zones with a way out, and an Aurora cluster behind one security group or several."""
    ec2, rds = client("ec2"), client("rds")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"][
            "SubnetId"
        ]
        for number, zone in enumerate("ab")
    ]
    add_route(vpc, subnets[0], route)
    guards = [
        ec2.create_security_group(GroupName=f"database-{number}", Description="The database", VpcId=vpc)["GroupId"]
        for number in range(groups)
    ]
    rds.create_db_cluster(
        DBClusterIdentifier="my-aurora",
        Engine="aurora-postgresql",
        EngineVersion="16.4",
        MasterUsername="master",
        MasterUserPassword="not-used-here",
        Port=5432,
        EnableIAMDatabaseAuthentication=True,
        VpcSecurityGroupIds=guards,
    )
    rds.create_db_instance(
        DBInstanceIdentifier="my-aurora-1",
        DBInstanceClass="db.serverless",
        Engine="aurora-postgresql",
        DBClusterIdentifier="my-aurora",
    )
    return Cloud(vpc=vpc, subnets=subnets, database_group=guards[0])


def add_route(vpc: str, subnet: str, kind: str) -> None:
    """Lead everything from the VPC's main route table through a NAT, an internet gateway, or nowhere."""
    ec2 = client("ec2")
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(VpcId=vpc, InternetGatewayId=gateway)
    (main,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    through = {}
    if kind == "nat":
        nat = ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType="private")["NatGateway"]["NatGatewayId"]
        through = {"NatGatewayId": nat}
    elif kind == "internet":
        through = {"GatewayId": gateway}
    if through:
        ec2.create_route(RouteTableId=main["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", **through)


def a_template(*, definition: Mapping[str, Any], without: Iterable[str] = ()) -> dict[str, Any]:
    """A stack of the real one's names: the ledger, the secret, the workflow, a function, the path, a policy, logs."""
    name, kind = "AttributeName", "AttributeType"
    keys = [("pk", "HASH"), ("sk", "RANGE")], [("watch", "HASH"), ("ends_at", "RANGE")]
    main, watch = ([{"AttributeName": each, "KeyType": key} for each, key in pair] for pair in keys)
    group = {"GroupDescription": "Ours", "VpcId": {"Ref": "Vpc"}}
    database = "DatabaseClusterMyAurora"

    def ingress(source: str) -> dict[str, Any]:
        return {
            "Type": "AWS::EC2::SecurityGroupIngress",
            "Properties": {
                "GroupId": {"Ref": f"{database}SecurityGroup"},
                "IpProtocol": "tcp",
                "FromPort": {"Ref": f"{database}Port"},
                "ToPort": {"Ref": f"{database}Port"},
                "SourceSecurityGroupId": {"Ref": source},
            },
        }

    resources: dict[str, Any] = {
        "Ledger": {
            "Type": "AWS::DynamoDB::Table",
            "DeletionPolicy": "Retain",
            "Properties": {
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{name: each, kind: "S"} for each in ("pk", "sk", "watch", "ends_at")],
                "KeySchema": main,
                "GlobalSecondaryIndexes": [
                    {"IndexName": "watch-index", "KeySchema": watch, "Projection": {"ProjectionType": "ALL"}}
                ],
                "DeletionProtectionEnabled": True,
            },
        },
        "AuditLog": {
            "Type": "AWS::Logs::LogGroup",
            "DeletionPolicy": "Retain",
            "Properties": {"LogGroupName": "audit"},
        },
        "SlackSecret": {"Type": "AWS::SecretsManager::Secret", "Properties": {"Name": f"drawbridge/{STAGE}/slack"}},
        "UserPolicy": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"ManagedPolicyName": f"DrawbridgeUser-{STAGE}", "PolicyDocument": ALLOW},
        },
        "WorkflowRole": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": ANY_FUNCTION}},
        "Workflow": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "StateMachineName": f"drawbridge-{STAGE}-access-request",
                "DefinitionString": json.dumps(definition),
                "RoleArn": {"Fn::GetAtt": ["WorkflowRole", "Arn"]},
            },
        },
        "APIHandler": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Code": {"S3Bucket": {"Ref": "ArtifactBucket"}, "S3Key": {"Ref": "ArtifactKey"}},
                "Handler": "app.app",
                "Runtime": "python3.13",
                "Role": {"Fn::GetAtt": ["WorkflowRole", "Arn"]},
            },
        },
        "BastionMainSecurityGroup": {"Type": "AWS::EC2::SecurityGroup", "Properties": group},
        "DatabaseFunctionsSecurityGroup": {"Type": "AWS::EC2::SecurityGroup", "Properties": group},
        "BastionIngress": ingress("BastionMainSecurityGroup"),
        "FunctionsIngress": ingress("DatabaseFunctionsSecurityGroup"),
    }
    texts = ["Stage", "ArtifactBucket", "ArtifactKey", "Vpc", f"{database}SecurityGroup", f"{database}Port"]
    parameters = {each: {"Type": "String"} for each in [*texts, f"{database}Host", f"{database}ResourceId"]}
    return {
        "Parameters": parameters | {"PublicSubnets": {"Type": "String", "Default": "no"}},
        "Resources": {key: value for key, value in resources.items() if key not in without},
        "Outputs": {
            "ApiAddress": {"Value": "https://abc123.execute-api.eu-west-1.amazonaws.com/api"},
            "TableName": {"Value": {"Ref": "Ledger"}},
        },
    }


def a_package(
    directory: Path, catalogue_file: Path, template: dict[str, Any], *, missing_certificates: str = ""
) -> Any:
    """What packaging makes, with an archive that holds the catalogue."""
    archive = directory / "drawbridge.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(
            zipfile.ZipInfo("catalogue.json"), pack_catalogue(catalogue_file.read_text(), file="catalogue.toml")
        )
    catalogue = load_catalogue(catalogue_file.read_text(), file="catalogue.toml")
    return SimpleNamespace(
        stage=STAGE,
        catalogue=catalogue,
        directory=directory,
        archive=archive,
        archive_sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        stack=template,
        spokes={},
        missing_certificates=missing_certificates,
    )


class Screen(io.StringIO):
    """A terminal, or none."""

    def __init__(self, text: str = "", *, is_terminal: bool = True) -> None:
        super().__init__(text)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@dataclass(kw_only=True)
class Operator:
    """Somebody at a terminal, who types lines and secrets when asked; an empty list of secrets fails the test."""

    types: str = ""
    secrets: list[str] = field(default_factory=list)
    is_there: bool = True

    def __post_init__(self) -> None:
        self.screen = Screen(is_terminal=self.is_there)
        self.questions: list[str] = []
        self.terminal = Terminal(
            given=Screen(self.types, is_terminal=self.is_there), shown=self.screen, ask_secretly=self._type_secret
        )

    @property
    def saw(self) -> str:
        return self.screen.getvalue()

    def _type_secret(self, question: str) -> str:
        self.questions.append(question)
        return self.secrets.pop(0)


def given(verb: Any, *arguments: str) -> argparse.Namespace:
    """A verb's arguments as its parser reads them."""
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return parser.parse_args(["--stage", STAGE, *arguments])


@dataclass(kw_only=True)
class Agents:
    """The part of Session Manager that says which instances are online."""

    OPERATIONS = frozenset({"DescribeInstanceInformation"})
    known: list[dict[str, Any]] = field(default_factory=list)

    def handle(self, operation: str, request: Mapping[str, Any], access_key_id: str) -> Any:
        (asked,) = request["Filters"]
        return {"InstanceInformationList": [each for each in self.known if each["InstanceId"] in asked["Values"]]}


@dataclass(kw_only=True)
class World:
    """The account, a catalogue on disk, what packaging would make of it, and a clock that moves only when somebody waits."""

    cloud: Cloud
    directory: Path
    handlers: dict[str, Any]
    agents: Agents
    template: dict[str, Any] = field(default_factory=dict)
    spokes: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing_certificates: str = ""
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    web: Callable[[str], WebClient] | None = None
    started: list[str] = field(default_factory=list)
    """The requests for which the workflow was started."""

    @property
    def catalogue_file(self) -> Path:
        return self.directory / "catalogue.toml"

    @property
    def table(self) -> str:
        return str(self.stack()["Outputs"][1]["OutputValue"])

    @property
    def grants(self) -> DynamoGrantLedger:
        return DynamoGrantLedger(Table(client("dynamodb"), self.table))

    def write(self, text: str) -> None:
        """Change the catalogue."""
        self.catalogue_file.write_text(text)

    def stack(self, name: str = f"drawbridge-{STAGE}") -> dict[str, Any]:
        """As CloudFormation describes it."""
        found: dict[str, Any] = client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        return found

    def physical(self, logical_id: str) -> str:
        """What AWS calls a resource of the stack."""
        resources = client("cloudformation").list_stack_resources(StackName=f"drawbridge-{STAGE}")
        (found,) = [each for each in resources["StackResourceSummaries"] if each["LogicalResourceId"] == logical_id]
        return str(found["PhysicalResourceId"])

    def parameters(self) -> dict[str, str]:
        """The stack's, as they were given last."""
        return {each["ParameterKey"]: each["ParameterValue"] for each in self.stack()["Parameters"]}

    def deploy(self, *arguments: str, operator: "Operator | None" = None, build: Any = None) -> "Run":
        """Run the verb with a package of the catalogue as it is, with --yes where nobody sits at a terminal."""
        who = operator or Operator(is_there=False)
        yes = () if who.is_there or "--ask" in arguments else ("--yes",)
        taken = given(
            deploy, "--locations", str(self.catalogue_file), *yes, *(each for each in arguments if each != "--ask")
        )
        run = deploy.Deployment(
            taken, build=build or self.build, terminal=who.terminal, web=self.web or _no_slack, pause=self.wait
        )
        return Run(status=run.run(), saw=who.saw)

    def destroy(self, *arguments: str, operator: "Operator | None" = None) -> "Run":
        """Run the verb; the operator types the stage's name."""
        who = operator or Operator(types=f"{STAGE}\n")
        run = destroy.Destruction(
            given(destroy, "--locations", "", "--region", REGION, *arguments),
            terminal=who.terminal,
            pause=self.wait,
            clock=lambda: self.now,
        )
        return Run(status=run.run(), saw=who.saw)

    def wait(self, seconds: float) -> None:
        """Let that time pass."""
        self.now += timedelta(seconds=seconds)

    def give(self, request_id: str = "R-ABC234", **facts: Any) -> Grant:
        """Alice holds the location, until an hour from now."""
        catalogue = load_catalogue(self.catalogue_file.read_text(), file="catalogue.toml")
        location = catalogue.require_location("my-aurora-location")
        request = a_request(request_id=request_id, location=location.name, duration_seconds=3600, **facts)
        return self.grants.create_grant(
            new_grant(request=request, location=location, durations=DURATIONS, now=self.now)
        )

    def launch(self, **tags: str) -> str:
        """An instance with the bastion's tags."""
        named = {"drawbridge:stage": STAGE, "drawbridge:bastion": "main"} | tags
        launched = client("ec2").run_instances(
            MinCount=1,
            MaxCount=1,
            ImageId="ami-12345678",
            SubnetId=self.cloud.subnets[0],
            ClientToken=f"bastion-{len(tags)}",
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in named.items()]}
            ],
        )
        return str(launched["Instances"][0]["InstanceId"])

    def build(self, stage: Any) -> Any:
        """What packaging makes."""
        package = a_package(
            self.directory, self.catalogue_file, self.template, missing_certificates=self.missing_certificates
        )
        package.spokes = self.spokes
        return package


@dataclass(frozen=True, kw_only=True)
class Run:
    """How a verb ended, and what its operator saw."""

    status: int
    saw: str


@contextmanager
def a_world(directory: Path, **cloud: Any) -> Iterator[World]:
    """A world whose workflow runs the handler ``EndAccess`` with the request's id, whatever it is started for."""
    handlers: dict[str, Any] = {}
    agents = Agents()
    with LocalAws(handlers=handlers, ssm=agents) as aws, complete_cloudformation():
        values = {
            "AWS_ENDPOINT_URL": aws.endpoint_url,
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEALICE0000",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": str(directory / "nowhere"),
            "AWS_SHARED_CREDENTIALS_FILE": str(directory / "nowhere"),
            "AWS_PROFILE": None,
        }
        with environment(values):
            shared_client.cache_clear()
            world = World(cloud=a_cloud(**cloud), directory=directory, handlers=handlers, agents=agents)
            world.write(world.cloud.catalogue())
            world.template = a_template(definition=DEFINITION)
            yield world
            shared_client.cache_clear()


def _no_slack(_: str) -> WebClient:
    raise AssertionError("Slack was asked")
