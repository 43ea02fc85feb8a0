"""Deploying as its operator meets it, against moto: what is made, what is left alone, what is refused, what is asked."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.cloudformation.models import cloudformation_backends
from slack_sdk import WebClient

from chalicelib.domain.errors import CatalogueError, SettingsError
from chalicelib.domain.grants import GrantState
from deployment.account import DeploymentError
from deployment.artifacts import Artifacts
from deployment.deploy import fill_parameters
from deployment.prompts import Terminal
from local.functions import environment
from local.slack.api import SlackStandIn
from tests.deployment.cloud import (
    ACCOUNT,
    BOT_TOKEN,
    BUCKET,
    DEFINITION,
    REGION,
    SIGNING_SECRET,
    STAGE,
    Operator,
    Screen,
    World,
    a_template,
    a_world,
    client,
)
from tests.deployment.slack_workspace import a_workspace

OTHER_LOCATION = """
[locations.reports]
cluster = "my-aurora"
database = "reports"
region = "eu-west-1"
environment = "prod"
bastion = "main"
port = 56790
levels = { r = { who = "*", automatic = true } }
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


def find_stack() -> str | None:
    """The stack's status, None when there is none."""
    try:
        found = client("cloudformation").describe_stacks(StackName=f"drawbridge-{STAGE}")["Stacks"][0]
    except ClientError:
        return None
    return str(found["StackStatus"])


def stored_secret(world: World) -> dict[str, str]:
    value = client("secretsmanager").get_secret_value(SecretId=world.physical("SlackSecret"))
    secret: dict[str, str] = json.loads(value["SecretString"])
    return secret


class TestStack:
    def test_the_first_run_makes_the_stack(self, world: World) -> None:
        """And says every resource, and the outputs."""
        run = world.deploy()

        assert (0, "CREATE_COMPLETE") == (run.status, find_stack())
        assert "drawbridge-example is new: 11 made" in run.saw
        assert "  1/11  Ledger  AWS::DynamoDB::Table  made" in run.saw
        assert "ApiAddress: https://abc123.execute-api.eu-west-1.amazonaws.com/api" in run.saw

    def test_a_name_that_is_another_stages_is_refused(self, world: World) -> None:
        """The stage prod-far would take the stack in which the stage prod has its provisioner far."""
        client("cloudformation").create_stack(
            StackName=f"drawbridge-{STAGE}",
            TemplateBody=json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}),
            Tags=[{"Key": "drawbridge:stage", "Value": "another"}],
        )

        with pytest.raises(DeploymentError, match="belongs to the stage another"):
            world.deploy()

    def test_the_stack_bears_the_stage(self, world: World) -> None:
        """By which everything of it is found again."""
        world.deploy()

        assert [{"Key": "drawbridge:stage", "Value": STAGE}] == world.stack()["Tags"]

    def test_what_rds_says_is_what_the_template_is_told(self, world: World) -> None:
        """Above all the resource id, which no identifier can stand for."""
        world.deploy()
        (cluster,) = client("rds").describe_db_clusters()["DBClusters"]

        name, told = "DatabaseClusterMyAurora", world.parameters()
        assert (
            world.cloud.vpc,
            world.cloud.database_group,
            "5432",
            cluster["DbClusterResourceId"],
            cluster["Endpoint"],
        ) == (
            told["Vpc"],
            *(told[f"{name}{part}"] for part in ("SecurityGroup", "Port", "ResourceId", "Host")),
        )

    def test_a_second_run_changes_nothing_and_says_so(self, world: World) -> None:
        """That is success."""
        world.deploy()
        events = client("cloudformation").describe_stack_events(StackName=f"drawbridge-{STAGE}")["StackEvents"]
        run = world.deploy()

        after = client("cloudformation").describe_stack_events(StackName=f"drawbridge-{STAGE}")["StackEvents"]
        assert (0, events) == (run.status, after)
        assert "No changes: everything is deployed as it is here." in run.saw
        assert "is there already" in run.saw

    def test_a_catalogue_alone_is_deployed_past_live_access(self, world: World) -> None:
        """The grant is what it was, and the functions have the new catalogue."""
        world.deploy()
        grant, before = world.give(), world.parameters()["ArtifactKey"]
        world.write(world.cloud.catalogue(OTHER_LOCATION))
        run = world.deploy()

        assert (0, "UPDATE_COMPLETE") == (run.status, find_stack())
        assert before != world.parameters()["ArtifactKey"]
        assert [grant] == list(world.grants.open_grants())

    def test_what_is_taken_away_is_shown_as_such(self, world: World) -> None:
        """Before anything happens, and by name."""
        world.deploy()
        world.template = a_template(definition=DEFINITION, without=["AuditLog"])
        run = world.deploy("--ask")

        assert (1, "CREATE_COMPLETE") == (run.status, find_stack())
        assert "! AuditLog (AWS::Logs::LogGroup) is removed" in run.saw
        assert "To go on without being asked, add --yes." in run.saw

    def test_flags_that_are_not_repeated_stay(self, world: World) -> None:
        """Who deploys a catalogue need not know how the network was set up."""
        world.deploy("--public-subnets")
        run = world.deploy()

        assert "yes" == world.parameters()["PublicSubnets"]
        assert "No changes" in run.saw

    def test_a_flag_is_taken_back_by_name(self, world: World) -> None:
        world.deploy("--public-subnets")
        world.deploy("--no-public-subnets")

        assert "no" == world.parameters()["PublicSubnets"]

    def test_a_stack_that_was_never_whole_is_not_built_on(self, world: World) -> None:
        """CloudFormation could not update it anyway."""
        world.deploy()
        (stack,) = cloudformation_backends[ACCOUNT][REGION].stacks.values()
        stack.status = "ROLLBACK_COMPLETE"

        with pytest.raises(DeploymentError, match=r"ROLLBACK_COMPLETE.*Destroy it, repair the cause, and deploy again"):
            world.deploy()

    def test_session_preferences_with_a_key_and_a_bucket_are_told_to_the_template(self, world: World) -> None:
        """Else the agent could open no session."""
        key = client("kms").create_key()["KeyMetadata"]
        inputs = {"kmsKeyId": key["KeyId"], "s3BucketName": "session-logs"}
        content = {"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": inputs}
        client("ssm").create_document(
            Name="SSM-SessionManagerRunShell", DocumentType="Session", Content=json.dumps(content)
        )
        world.template["Parameters"] |= {"SessionKeyArn": {"Type": "String"}, "SessionLogBucketArn": {"Type": "String"}}
        world.deploy()

        told = world.parameters()
        assert (key["Arn"], "arn:aws:s3:::session-logs") == (told["SessionKeyArn"], told["SessionLogBucketArn"])

    def test_a_parameter_that_nothing_gives_is_named(self) -> None:
        with pytest.raises(DeploymentError, match=r"asks for New, which nothing gives"):
            fill_parameters({"Parameters": {"New": {"Type": "String"}, "Old": {"Default": "x"}}}, {})


class TestBucket:
    def test_it_is_closed_to_everybody_else(self, world: World) -> None:
        """Nothing public, nothing without TLS, encrypted."""
        world.deploy()
        s3 = client("s3")
        (statement,) = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
        blocked = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
        (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]

        assert {True} == set(blocked.values())
        assert ("Deny", {"Bool": {"aws:SecureTransport": "false"}}) == (statement["Effect"], statement["Condition"])
        assert "AES256" == rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]

    def test_nothing_in_it_expires_by_age(self, world: World) -> None:
        """An update that is undone fetches the earlier code from it."""
        world.deploy()
        (rule,) = client("s3").get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]

        assert "Expiration" not in rule

    def test_only_what_is_deployed_is_kept(self, world: World) -> None:
        """The package and the template; another stage's things are its own."""
        world.deploy()
        client("s3").put_object(Bucket=BUCKET, Key="prod/theirs.zip", Body=b"theirs")
        world.write(world.cloud.catalogue(OTHER_LOCATION))
        world.deploy()

        keys = {each["Key"] for each in client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]}
        assert {"prod/theirs.zip", world.parameters()["ArtifactKey"]} < keys
        assert 3 == len(keys)


class TestLiveAccess:
    """What it takes to end access may not be deployed away."""

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            ("my-aurora-location", "renamed", "the location my-aurora-location is removed or renamed"),
            ('"depotpostgres"', '"other"', "is moved from my-aurora/depotpostgres to another database"),
            ('bastion = "main"', 'bastion = "second"', "is moved to another bastion"),
        ],
        ids=["renamed", "another database", "another bastion"],
    )
    def test_its_location_stays(self, world: World, old: str, new: str, reason: str) -> None:
        world.deploy()
        world.give()
        before = world.parameters()
        text = world.cloud.catalogue(f'[bastions.second]\nsubnets = ["{world.cloud.subnets[0]}"]\n')
        world.write(text.replace(old, new))

        with pytest.raises(DeploymentError, match=f"R-ABC234: alice, o on my-aurora-location.*{reason}"):
            world.deploy()
        assert before == world.parameters()

    def test_access_that_was_given_while_it_was_packaged_counts(self, world: World) -> None:
        """It is looked at again just before the change, and the change is dropped."""
        world.deploy()
        world.write(world.cloud.catalogue().replace("my-aurora-location", "renamed"))
        before = world.parameters()

        def build(stage: Any) -> Any:
            world.write(world.cloud.catalogue())
            world.give()
            world.write(world.cloud.catalogue().replace("my-aurora-location", "renamed"))
            return world.build(stage)

        with pytest.raises(DeploymentError, match=r"the location my-aurora-location is removed or renamed"):
            world.deploy(build=build)
        assert before == world.parameters()
        assert [] == client("cloudformation").list_change_sets(StackName=f"drawbridge-{STAGE}")["Summaries"][1:]

    def test_access_that_is_gone_hinders_nothing(self, world: World) -> None:
        world.deploy()
        grant = world.give()
        world.grants.replace_grant(grant, replace(grant, state=GrantState.GONE))
        world.write(world.cloud.catalogue().replace("my-aurora-location", "renamed"))

        assert 0 == world.deploy().status

    def test_a_ledger_that_cannot_be_read_stops_it(self, world: World) -> None:
        """Nobody knows then whether somebody holds access."""
        world.deploy()
        dynamodb, table = client("dynamodb"), world.table
        dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
        dynamodb.delete_table(TableName=table)

        with pytest.raises(DeploymentError, match=r"nobody knows whether somebody holds access.*Nothing was changed"):
            world.deploy()


class TestNetwork:
    @pytest.mark.parametrize(
        ("route", "flags", "said"),
        [
            ("nat", [], "bastions reach Session Manager by a NAT"),
            ("internet", [], "! subnet-.*--public-subnets.*\\$0.005 an hour"),
            (
                "none",
                [],
                "! From subnet-.*nothing leads out.*--interface-endpoints, about \\$21.90 .*\\$43.80 here.*\\$33",
            ),
        ],
    )
    def test_the_way_out_is_found_and_said(self, tmp_path: Path, route: str, flags: list[str], said: str) -> None:
        """With what it costs to have one where there is none."""
        with a_world(tmp_path, route=route) as world:
            run = world.deploy(*flags)

        assert re.search(said, run.saw)

    @pytest.mark.parametrize(
        ("route", "gives_addresses", "flag"),
        [
            ("internet", True, "--public-subnets"),
            ("none", False, "--interface-endpoints"),
            ("nat", True, "--public-subnets"),
        ],
    )
    def test_nothing_is_wrong_once_the_flag_is_given(
        self, tmp_path: Path, route: str, gives_addresses: bool, flag: str
    ) -> None:
        with a_world(tmp_path, route=route) as world:
            world.cloud.give_addresses(gives_addresses)
            run = world.deploy(flag)

        assert "! " not in run.saw.partition("Packaging:")[0]

    @pytest.mark.parametrize(
        ("route", "gives_addresses", "flags", "said"),
        [
            (
                "internet",
                False,
                ["--public-subnets"],
                "! subnet-.* gives instances no public address.* --map-public-ip",
            ),
            ("nat", True, [], "! subnet-.* gives each instance a public address.* --no-map-public-ip"),
            ("none", True, ["--interface-endpoints"], "! subnet-.* gives each instance a public address"),
        ],
    )
    def test_an_address_too_few_or_too_many_is_said(
        self, tmp_path: Path, route: str, gives_addresses: bool, flags: list[str], said: str
    ) -> None:
        """Only the subnet gives one: a launch names none, and the stage's setting merely allows or refuses it."""
        with a_world(tmp_path, route=route) as world:
            world.cloud.give_addresses(gives_addresses)
            run = world.deploy(*flags)

        assert re.search(said, run.saw)

    def test_subnets_that_are_not_there_are_named(self, world: World) -> None:
        """All of them at once. Most likely the account or the region is another."""
        names = ["subnet-00000000000000001", "subnet-00000000000000002"]
        text = world.cloud.catalogue(f'[bastions.second]\nsubnets = ["{names[1]}"]\n')
        world.write(text.replace(world.cloud.subnets[0], names[0]))

        with pytest.raises(
            DeploymentError,
            match=f"There is no {names[0]} and no {names[1]} here.*look whose account and which region this is",
        ):
            world.deploy()

    def test_the_vpc_that_was_named_must_be_the_subnets(self, world: World) -> None:
        with pytest.raises(DeploymentError, match=f"are in {world.cloud.vpc}, not in vpc-0"):
            world.deploy("--vpc", "vpc-0")

    def test_locations_of_two_regions_are_refused(self, world: World) -> None:
        """A stage is in one."""
        world.write(world.cloud.catalogue(OTHER_LOCATION.replace("eu-west-1", "eu-north-1")))

        with pytest.raises(DeploymentError, match=r"eu-north-1 and eu-west-1, and a stage is in one region"):
            world.deploy()

    def test_a_database_in_another_vpc_is_pointed_out(self, world: World) -> None:
        """It may be peered, so it is no refusal."""
        elsewhere = client("ec2").create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
        group = client("ec2").create_security_group(GroupName="there", Description="There", VpcId=elsewhere)["GroupId"]
        run = world.deploy("--database-security-group", f"my-aurora={group}")

        assert f"! my-aurora-location is in {elsewhere} and its bastion in {world.cloud.vpc}" in run.saw


class TestDatabaseGroups:
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        """Two groups guard the database."""
        with a_world(tmp_path, groups=2) as made:
            yield made

    def test_without_a_terminal_the_flag_is_named(self, world: World) -> None:
        with pytest.raises(DeploymentError, match=r"--database-security-group my-aurora=sg-"):
            world.deploy()
        assert find_stack() is None

    def test_the_flag_is_taken(self, world: World) -> None:
        world.deploy("--database-security-group", f"my-aurora={world.cloud.database_group}")

        assert world.cloud.database_group == world.parameters()["DatabaseClusterMyAuroraSecurityGroup"]

    def test_at_a_terminal_it_is_asked_until_it_is_one(self, world: World) -> None:
        group = world.cloud.database_group
        run = world.deploy("--yes", operator=Operator(types=f"the first\n{group}\n", secrets=[]), build=stop)

        assert 2 == run.saw.count("Which one is to let bastions in?")

    def test_what_was_chosen_is_not_asked_again(self, world: World) -> None:
        world.deploy("--database-security-group", f"my-aurora={world.cloud.database_group}")

        assert "No changes" in world.deploy().saw

    def test_a_name_of_no_database_is_refused(self, world: World) -> None:
        with pytest.raises(DeploymentError, match=r"names my-autora, which is no cluster or instance"):
            world.deploy("--database-security-group", "my-autora=sg-0123456789abcdef0")

    def test_something_that_is_no_group_is_refused(self, world: World) -> None:
        with pytest.raises(DeploymentError, match=r"'my-aurora=default' is not NAME=sg-"):
            world.deploy("--database-security-group", "my-aurora=default")


def stop(_: Any) -> Any:
    raise KeyboardInterrupt


class CtrlC(Screen):
    """A terminal at which somebody presses Ctrl-C."""

    def readline(self, *_: Any) -> str:
        raise KeyboardInterrupt


class TestInterruption:
    def test_before_anything_is_changed(self, world: World) -> None:
        run = world.deploy(build=stop)

        assert (130, None) == (run.status, find_stack())
        assert run.saw.endswith("Ended by you. Nothing was changed.\n")

    def test_before_the_question_is_answered(self, world: World) -> None:
        """The input has ended."""
        with pytest.raises(DeploymentError, match=r"The input ended before the answer"):
            world.deploy(operator=Operator(types=""))

    def test_instead_of_an_answer(self, world: World) -> None:
        """Nothing that was only prepared stays."""
        operator = Operator()
        operator.terminal = Terminal(given=CtrlC(), shown=operator.screen)
        run = world.deploy(operator=operator)

        assert (130, None) == (run.status, find_stack())
        assert "Ended by you. No stack was changed." in run.saw

    def test_a_no_leaves_no_stack(self, world: World) -> None:
        """Nor one that was never carried out and is in the way of the next."""
        run = world.deploy(operator=Operator(types="n\n"))

        assert (1, None) == (run.status, find_stack())
        assert "drawbridge-example was left as it is." in run.saw

    def test_after_a_no_it_can_be_deployed(self, world: World) -> None:
        world.deploy(operator=Operator(types="n\n"))

        assert 0 == world.deploy().status


class TestRefusals:
    def test_a_package_without_certificates(self, world: World) -> None:
        """Its functions could not tell RDS from anybody else."""
        world.missing_certificates = "The RDS certificates could not be fetched; give --certificates."

        with pytest.raises(DeploymentError, match=r"give --certificates. Nothing was changed."):
            world.deploy()
        assert find_stack() is None

    def test_a_catalogue_that_is_not_named(self, world: World) -> None:
        (world.directory / "catalogue.toml").unlink()

        with pytest.raises(CatalogueError, match=r"cannot be read"):
            world.deploy()

    def test_no_credentials_name_the_next_step(self, world: World) -> None:
        nobody = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_EC2_METADATA_DISABLED": "true"}
        with environment(nobody):
            boto3.setup_default_session()
            try:
                with pytest.raises(SettingsError, match=r"Sign in, for example with: aws sso login"):
                    world.deploy()
            finally:
                boto3.setup_default_session()

    def test_a_bucket_of_somebody_else_is_not_used(self) -> None:
        """Whoever knows the account's number may have made one of that name to be handed our code; moto knows no owners."""
        bucket = BucketOfAnother()

        with pytest.raises(DeploymentError, match=r"it is another account's. Nothing was put there"):
            Artifacts(bucket, STAGE).ensure_bucket()  # type: ignore[arg-type]  # an account of one client
        assert [ACCOUNT] == bucket.expected


class BucketOfAnother:
    """An account whose S3 answers as for a bucket that is another one's."""

    number, region = ACCOUNT, REGION

    def __init__(self) -> None:
        self.expected: list[str] = []

    def client(self, service: str) -> "BucketOfAnother":
        return self

    def head_bucket(self, **asked: str) -> None:
        self.expected.append(asked["ExpectedBucketOwner"])
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket")


class TestSlack:
    @pytest.fixture
    def slack(self, world: World) -> Iterator[SlackStandIn]:
        with a_workspace() as workspace:
            world.web = lambda token: WebClient(token=token, base_url=workspace.api_url)
            yield workspace

    @contextmanager
    def operator(self, *secrets: str) -> Iterator[Operator]:
        yield Operator(types="y\n", secrets=list(secrets or (SIGNING_SECRET, BOT_TOKEN)))

    def test_the_secrets_are_asked_tried_and_kept(self, world: World, slack: SlackStandIn) -> None:
        """The app's id is Slack's to say."""
        with self.operator() as operator:
            run = world.deploy(operator=operator)

        assert 0 == run.status
        assert {"app_id": "A0EXAMPLE", "signing_secret": SIGNING_SECRET, "bot_token": BOT_TOKEN} == stored_secret(world)

    def test_the_manifest_bears_the_address(self, world: World, slack: SlackStandIn) -> None:
        with self.operator() as operator:
            run = world.deploy(operator=operator)

        assert '"request_url": "https://abc123.execute-api.eu-west-1.amazonaws.com/api/slack/events"' in run.saw

    def test_no_secret_is_shown(self, world: World, slack: SlackStandIn) -> None:
        with self.operator() as operator:
            run = world.deploy(operator=operator)

        assert [] == [each for each in (SIGNING_SECRET, BOT_TOKEN) if each in run.saw]

    def test_a_second_run_does_not_ask_again(self, world: World, slack: SlackStandIn) -> None:
        with self.operator() as operator:
            world.deploy(operator=operator)
        again = Operator()
        world.deploy(operator=again)

        assert [] == again.questions

    def test_they_are_asked_again_when_told(self, world: World, slack: SlackStandIn) -> None:
        with self.operator() as operator:
            world.deploy(operator=operator)
        with self.operator("f" * 32, BOT_TOKEN) as operator:
            world.deploy("--slack", operator=operator)

        assert "f" * 32 == stored_secret(world)["signing_secret"]

    def test_what_cannot_be_one_is_asked_once_more(self, world: World, slack: SlackStandIn) -> None:
        """Most often the two are exchanged, or it is the user's token."""
        with self.operator(BOT_TOKEN, SIGNING_SECRET, "xoxp-1234567890-abcdefghijk", BOT_TOKEN) as operator:
            run = world.deploy(operator=operator)

        assert (4, 0) == (len(operator.questions), run.status)

    def test_a_token_that_slack_refuses_is_not_stored(self, world: World, slack: SlackStandIn) -> None:
        with (
            self.operator(SIGNING_SECRET, "xoxb-of-somebody-else") as operator,
            pytest.raises(DeploymentError, match=r"invalid_auth.*Nothing was stored"),
        ):
            world.deploy(operator=operator)

    def test_the_app_of_another_workspace_is_not_stored(self, world: World) -> None:
        with a_workspace(team="T0OTHER") as workspace, self.operator() as operator:
            world.web = lambda token: WebClient(token=token, base_url=workspace.api_url)
            with pytest.raises(DeploymentError, match=r"the workspace T0OTHER, and the catalogue's .* T0EXAMPLE"):
                world.deploy(operator=operator)

    def test_without_a_terminal_it_says_what_to_run(self, world: World) -> None:
        run = world.deploy()

        assert "Slack's secrets are not stored. On a terminal, run: python -m deployment deploy" in run.saw
        assert "--slack" in run.saw


class TestSpokes:
    """A provisioner in another VPC has a stack of its own."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        with a_world(tmp_path) as made:
            ec2 = client("ec2")
            vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
            subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
            made.other_vpc = vpc  # type: ignore[attr-defined]  # for the one test that compares it
            made.write(made.cloud.catalogue(f'[bastions.far]\nsubnets = ["{subnet}"]\nprovisioner = "far"\n'))
            group = {"GroupDescription": "Far", "VpcId": {"Ref": "Vpc"}}
            made.spokes = {
                "far": {
                    "Parameters": {"Vpc": {"Type": "String"}},
                    "Resources": {"BastionFarSecurityGroup": {"Type": "AWS::EC2::SecurityGroup", "Properties": group}},
                }
            }
            yield made

    def test_it_is_made_in_its_own_vpc(self, world: World) -> None:
        world.deploy()

        stack = world.stack("drawbridge-example-far")
        assert [world.other_vpc] == [each["ParameterValue"] for each in stack["Parameters"]]  # type: ignore[attr-defined]

    def test_it_goes_when_the_catalogue_names_it_no_more(self, world: World) -> None:
        world.deploy()
        world.write(world.cloud.catalogue())
        world.spokes = {}
        run = world.deploy()

        assert "! drawbridge-example-far is removed" in run.saw
        with pytest.raises(ClientError, match=r"does not exist"):
            world.stack("drawbridge-example-far")

    def test_a_vpc_that_is_not_the_subnets_own_is_refused(self, world: World) -> None:
        text = world.catalogue_file.read_text().replace(
            'provisioner = "far"', 'provisioner = "far"\nvpc = "vpc-0123456789abcdef0"'
        )
        world.write(text)

        with pytest.raises(
            DeploymentError, match=r"\[bastions.far\] names vpc-0123456789abcdef0, and its subnets are in vpc-"
        ):
            world.deploy()

    def test_two_vpcs_with_one_provisioner_are_refused(self, world: World) -> None:
        world.write(world.catalogue_file.read_text().replace('provisioner = "far"', ""))

        with pytest.raises(DeploymentError, match=r"share the provisioner 'main' and are in vpc-.* and vpc-"):
            world.deploy()
