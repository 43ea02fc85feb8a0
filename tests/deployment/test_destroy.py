"""Destroying as its operator meets it, against moto: first every access ends with its receipt, then everything goes."""

import argparse
import io
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.cloudformation.models import cloudformation_backends

from chalicelib.domain.grants import GrantState
from deployment.account import DeploymentError
from deployment.destroy import Destruction
from deployment.prompts import Terminal
from local.functions import environment
from tests.deployment.cloud import (
    ACCOUNT,
    BUCKET,
    DEFINITION,
    REGION,
    STAGE,
    Operator,
    World,
    a_template,
    a_world,
    client,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A deployed stage, whose workflow ends access when it is started."""
    with a_world(tmp_path) as made:

        def end_access(event: Any, _: object) -> dict[str, Any]:
            made.started.append(event["request_id"])
            for grant in made.grants.open_grants():
                if grant.facts.request_id == event["request_id"]:
                    made.grants.replace_grant(grant, replace(grant, state=GrantState.GONE))
            return {}

        made.handlers["EndAccess"] = end_access
        made.deploy()
        yield made


def exists(call: Any, **named: Any) -> bool:
    try:
        answer = call(**named)
    except ClientError:
        return False
    return bool(answer)


def left() -> dict[str, bool]:
    """What there is of the stage."""
    tables, logs = client("dynamodb").list_tables()["TableNames"], client("logs").describe_log_groups()["logGroups"]
    secrets = client("secretsmanager").list_secrets()["SecretList"]
    running = client("ec2").describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["pending", "running", "stopped", "stopping"]}]
    )["Reservations"]
    return {
        "stack": exists(client("cloudformation").describe_stacks, StackName=f"drawbridge-{STAGE}"),
        "table": bool(tables),
        "logs": bool(logs),
        "secret": bool(secrets),
        "bucket": exists(client("s3").head_bucket, Bucket=BUCKET),
        "bastions": bool(running),
    }


NOTHING = dict.fromkeys(("stack", "table", "logs", "secret", "bucket", "bastions"), False)
EVERYTHING = dict.fromkeys(NOTHING, True) | {"bastions": False}


class TestEverythingGoes:
    def test_with_all_that_the_stack_would_keep(self, world: World) -> None:
        """Ledger, audit log and secret too; the table's deletion protection is taken off by us alone."""
        world.launch()
        run = world.destroy()

        assert (0, NOTHING) == (run.status, left())
        assert "The stage 'example' is gone. Its bucket too." in run.saw

    def test_of_a_stack_that_was_never_whole_the_ledger_goes_too(self, world: World) -> None:
        """Rolling back the failed creation has left it, empty and protected, and says so of it."""
        (stack,) = cloudformation_backends[ACCOUNT][REGION].stacks.values()
        stack.status = "ROLLBACK_COMPLETE"
        run = world.destroy()

        assert (0, NOTHING) == (run.status, left())
        assert "Removed Ledger: " in run.saw

    def test_the_list_is_shown_first(self, world: World) -> None:
        """By the names under which the operator finds each thing."""
        instance, table = world.launch(), world.table
        run = world.destroy()

        shown = run.saw.partition("Type the stage's name")[0]
        assert [] == [
            each
            for each in (instance, table, "drawbridge/example/slack", "1 Logs::LogGroup", "2 objects")
            if each not in shown
        ]

    def test_a_second_run_finds_nothing(self, world: World) -> None:
        world.destroy()
        run = world.destroy()

        assert 0 == run.status
        assert "There is nothing of a stage 'example' in account 123456789012, eu-west-1." in run.saw

    def test_what_is_another_stages_stays(self, world: World) -> None:
        client("s3").put_object(Bucket=BUCKET, Key="prod/theirs.zip", Body=b"theirs")
        theirs = world.launch(**{"drawbridge:stage": "prod"})
        run = world.destroy()

        assert NOTHING | {"bucket": True, "bastions": True} == left()
        assert f"The bucket {BUCKET} stays: other stages use it." in run.saw
        assert theirs not in run.saw

    def test_a_stage_whose_name_begins_alike_stays(self, world: World) -> None:
        """Stacks are ours by their tag."""
        client("cloudformation").create_stack(
            StackName=f"drawbridge-{STAGE}-two",
            TemplateBody='{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}',
            Tags=[{"Key": "drawbridge:stage", "Value": f"{STAGE}-two"}],
        )
        world.destroy()

        assert exists(client("cloudformation").describe_stacks, StackName=f"drawbridge-{STAGE}-two")


class TestAgreement:
    def test_another_name_destroys_nothing(self, world: World) -> None:
        run = world.destroy(operator=Operator(types="prod\n"))

        assert (1, EVERYTHING) == (run.status, left())
        assert "That is not its name. Nothing was destroyed." in run.saw

    def test_without_a_terminal_it_takes_a_flag(self, world: World) -> None:
        run = world.destroy(operator=Operator(is_there=False))

        assert (1, EVERYTHING) == (run.status, left())
        assert "add --yes" in run.saw

    def test_with_the_flag_nobody_is_asked(self, world: World) -> None:
        run = world.destroy("--yes", operator=Operator(is_there=False))

        assert (0, NOTHING) == (run.status, left())


class TestAccess:
    def test_it_ends_with_its_receipt_before_anything_goes(self, world: World) -> None:
        """The workflow ends it, and the operator sees what is waited for."""
        grant = world.give()
        run = world.destroy()

        assert (0, NOTHING) == (run.status, left())
        assert [grant.facts.request_id] == world.started
        assert "live access, ended first: R-ABC234: alice, o on my-aurora-location, live" in run.saw
        assert "  1 without a receipt" in run.saw
        assert "  1 ended, no receipt is missing" in run.saw

    def test_without_a_receipt_nothing_goes(self, world: World) -> None:
        """The operator learns whose, and what to do."""
        world.handlers["EndAccess"] = lambda event, context: {}
        world.give()

        with pytest.raises(
            DeploymentError, match=r"There is no receipt yet for:\n  R-ABC234: alice.*\nNothing was destroyed"
        ):
            world.destroy("--receipts-within", "3")
        assert EVERYTHING == left()

    def test_it_is_tried_again_and_again_until_then(self, world: World) -> None:
        """Each try is an execution of its own, and none of reconciliation's names."""
        world.handlers["EndAccess"] = lambda event, context: world.started.append(event["request_id"])
        world.give()
        with pytest.raises(DeploymentError):
            world.destroy("--receipts-within", "3")

        assert 8 <= len(world.started) <= 10

    def test_a_later_run_completes_it(self, world: World) -> None:
        ends = world.handlers["EndAccess"]
        world.handlers["EndAccess"] = lambda event, context: {}
        world.give()
        with pytest.raises(DeploymentError):
            world.destroy("--receipts-within", "1")
        world.handlers["EndAccess"] = ends
        world.wait(60)

        assert (0, NOTHING) == (world.destroy().status, left())

    def test_nobody_can_ask_meanwhile(self, world: World) -> None:
        """The function that answers Slack is closed while access ends, and stays so."""
        function, concurrency = world.physical("APIHandler"), list[Any]()
        ends = world.handlers["EndAccess"]

        def look(event: Any, context: Any) -> Any:
            answer = client("lambda").get_function_concurrency(FunctionName=function)
            concurrency.append(answer.get("ReservedConcurrentExecutions"))
            return ends(event, context)

        world.handlers["EndAccess"] = look
        world.give()
        world.destroy()

        assert [0] == concurrency

    def test_slack_is_answered_again_if_it_stops(self, world: World) -> None:
        """People with access that still lives need their End Now."""
        world.handlers["EndAccess"] = lambda event, context: {}
        world.give()
        with pytest.raises(DeploymentError, match="Slack is answered again"):
            world.destroy("--receipts-within", "1")

        answer = client("lambda").get_function_concurrency(FunctionName=world.physical("APIHandler"))
        assert "ReservedConcurrentExecutions" not in answer

    def test_what_came_in_before_the_door_was_closed_is_waited_for(self, world: World) -> None:
        """A grant that appears a moment later ends as well."""
        begun = world.now
        appeared = list[str]()

        def wait(seconds: float) -> None:
            world.now += timedelta(seconds=seconds)
            if not appeared and world.now >= begun + timedelta(seconds=10):
                appeared.append(world.give().facts.request_id)

        world.wait = wait  # type: ignore[method-assign]  # the clock of this world
        run = world.destroy()

        assert (appeared, NOTHING) == (world.started, left())
        assert "  1 ended, no receipt is missing" in run.saw


class TestRefusals:
    def test_a_policy_that_somebody_holds(self, world: World) -> None:
        """AWS would stop halfway, after everybody's access is gone."""
        iam = client("iam")
        iam.create_role(RoleName="Developers", AssumeRolePolicyDocument="{}")
        iam.attach_role_policy(RoleName="Developers", PolicyArn=world.physical("UserPolicy"))

        with pytest.raises(DeploymentError, match=r"DrawbridgeUser-example is attached to role Developers.*Detach it"):
            world.destroy()
        assert EVERYTHING == left()

    def test_a_stack_that_somebody_changes(self, world: World) -> None:
        """CloudFormation would refuse to delete it, after everybody's access is gone."""
        (stack,) = cloudformation_backends[ACCOUNT][REGION].stacks.values()
        stack.status = "UPDATE_IN_PROGRESS"

        with pytest.raises(DeploymentError, match=r"drawbridge-example is being changed.*Nothing was destroyed"):
            world.destroy()
        assert EVERYTHING == left()

    def test_something_kept_that_it_knows_no_way_to_remove(self, world: World) -> None:
        """It is named, rather than left behind unsaid."""
        kept = a_template(definition=DEFINITION)
        kept["Resources"]["Queue"] = {"Type": "AWS::SQS::Queue", "DeletionPolicy": "Retain", "Properties": {}}
        world.template = kept
        world.deploy()

        with pytest.raises(
            DeploymentError, match=r"would leave Queue \(AWS::SQS::Queue\) behind.*Nothing was destroyed"
        ):
            world.destroy()
        assert EVERYTHING == left()


class TestInterruption:
    """Whatever was begun is completed by the next run."""

    @pytest.mark.parametrize("removed", ["table", "secret", "logs", "bastions"])
    def test_after_some_of_it_went(self, world: World, removed: str) -> None:
        if removed == "table":
            client("dynamodb").update_table(TableName=world.table, DeletionProtectionEnabled=False)
            client("dynamodb").delete_table(TableName=world.table)
        elif removed == "secret":
            client("secretsmanager").delete_secret(
                SecretId=world.physical("SlackSecret"), ForceDeleteWithoutRecovery=True
            )
        elif removed == "logs":
            client("logs").delete_log_group(logGroupName="audit")

        assert (0, NOTHING) == (world.destroy().status, left())

    def test_after_the_stack_went(self, world: World) -> None:
        """What it kept went before it; bastions and artifacts are found by themselves."""
        world.destroy()
        instance = world.launch()
        client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        client("s3").put_object(Bucket=BUCKET, Key=f"{STAGE}/old.zip", Body=b"old")
        run = world.destroy()

        assert (0, NOTHING) == (run.status, left())
        assert f"Terminating {instance}" in run.saw

    def test_by_the_operator_while_receipts_are_waited_for(self, world: World) -> None:
        world.handlers["EndAccess"] = lambda event, context: {}
        world.give()

        def interrupt(_: float) -> None:
            raise KeyboardInterrupt

        world.wait = interrupt  # type: ignore[method-assign]  # whoever waits presses Ctrl-C
        run = world.destroy()

        assert (130, EVERYTHING) == (run.status, left())
        assert "Ended by you. Nothing was destroyed. Whose end was asked for is losing access now" in run.saw

    def test_a_stage_that_is_not_there(self, tmp_path: Path) -> None:
        with a_world(tmp_path) as nowhere:
            run = nowhere.destroy()

        assert 0 == run.status
        assert "There is nothing of a stage 'example'" in run.saw


def test_the_region_has_to_come_from_somewhere(world: World) -> None:
    """From the flag, the catalogue or the environment."""
    given = argparse.Namespace(stage=STAGE, region="", locations="", receipts_within=1, yes=True)
    with environment({"AWS_DEFAULT_REGION": None, "AWS_REGION": None, "AWS_CONFIG_FILE": os.devnull}):
        run = Destruction(given, terminal=Terminal(shown=io.StringIO()), pause=world.wait, clock=lambda: world.now)

        with pytest.raises(DeploymentError, match="Say --region, or name the catalogue with --locations"):
            run.run()
