"""Calls to AWS that a stage makes seldom: first launches, scarcity, age, repairs, waking what waits no more.

What takes hours or days elsewhere is brought about here in the ledger; the calls are made by the functions themselves.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from chalicelib.domain.errors import AccessError
from chalicelib.domain.payloads import to_payload
from local import seed
from local.functions import environment
from local.workspace import Workspace
from tests.e2e.people import People, eventually
from tests.privileges.judge import Judge

BASTION = {"pk": {"S": "BASTION#main"}, "sk": {"S": "BASTION"}}
EMPTY: dict[str, Any] = {"M": {}}


@pytest.fixture
def held(people: People) -> Iterator[str]:
    """Read access to my-aurora-location that bob holds."""
    request_id = people.ask("bob", "my-aurora-location r 30m")
    people.ready("bob", request_id)
    yield request_id
    people.reply("bob", f"/db-access end {request_id}")
    assert "Finished" == people.wait_for_end(request_id)


def test_the_first_access_of_a_stage(people: People, judge: Judge) -> None:
    """There is no bastion yet, and no room for the cheapest: whoever prepares the access launches the next one."""
    _forget_bastion(people.workspace, scarce=True)

    request_id = people.ask("alice", "my-aurora-location r 1s")

    assert "Finished" == people.wait_for_end(request_id)
    assert judge.has_seen("ensure_bastion_running", "dynamodb:PutItem", "BASTION#")
    assert judge.has_seen("ensure_bastion_running", "ec2:RunInstances", "t4g.nano")
    assert judge.has_seen("ensure_bastion_running", "ec2:RunInstances", "t4g.micro")


def test_the_first_request_of_a_stage_that_waits(people: People, judge: Judge) -> None:
    """The same while somebody decides."""
    _forget_bastion(people.workspace, scarce=True)

    request_id = people.ask("alice", "my-aurora-location w 5m")

    eventually("the launch", lambda: judge.has_seen("warm_bastion", "ec2:RunInstances", "t4g.micro"))
    people.reply("alice", f"/db-access cancel {request_id}")
    assert "Cancelled" == people.wait_for_end(request_id)
    assert judge.has_seen("warm_bastion", "ec2:RunInstances", "t4g.nano")
    assert judge.has_seen("warm_bastion", "dynamodb:PutItem", "BASTION#")


@pytest.mark.parametrize(
    ("ask", "function", "end"),
    [("r 1s", "ensure_bastion_running", "Finished"), ("w 5m", "warm_bastion", "Cancelled")],
)
def test_a_stopped_bastion_is_started(people: People, judge: Judge, ask: str, function: str, end: str) -> None:
    """By whoever comes first: the preparation of the access, or the asking."""
    people.wait_for_end(people.ask("carol", "my-aurora-location r 1s"))
    eventually("the stop", lambda: _state_of_bastion() == "stopped" and people.workspace.bastion_state() == "stopped")

    request_id = people.ask("alice", f"my-aurora-location {ask}")

    eventually("the start", lambda: judge.has_seen(function, "ec2:StartInstances"))
    if end == "Cancelled":
        people.reply("alice", f"/db-access cancel {request_id}")
    assert end == people.wait_for_end(request_id)


@pytest.mark.parametrize("function", ["WarmBastion", "EnsureBastionRunning"])
@pytest.mark.parametrize(
    ("state", "action"), [("stopping", "ec2:StopInstances"), ("terminating", "ec2:TerminateInstances")]
)
def test_what_another_began_is_seen_through(
    people: People, judge: Judge, held: str, function: str, state: str, action: str
) -> None:
    """Whoever asked for the stop or the end of a bastion may have died before it called EC2."""
    name = {"WarmBastion": "warm_bastion", "EnsureBastionRunning": "ensure_bastion_running"}[function]

    def act() -> bool:
        _write_bastion(state={"S": state}, leases=EMPTY, stop_called_at={"NULL": True})
        with suppress(AccessError):
            people.workspace.aws.invoke(function, {"request_id": held})
        return judge.has_seen(name, action)

    eventually("the call", act)


def test_an_old_bastion_is_ended(people: People, judge: Judge) -> None:
    """A week after its launch, once nobody needs it."""
    people.wait_for_end(people.ask("carol", "my-aurora-location r 1s"))
    week_ago = to_payload(datetime.now(UTC) - timedelta(days=8))

    def act() -> bool:
        _write_bastion(launched_at={"S": week_ago})
        return judge.has_seen("stop_idle_bastions", "ec2:TerminateInstances")

    eventually("the end", act)


@pytest.mark.parametrize("function", ["RequestApproval", "RemindApprovers", "HoldAccess", "RequestReview"])
def test_a_state_that_need_not_wait_is_answered(people: People, judge: Judge, function: str) -> None:
    """Nothing is left to wait for, so its own token is answered at once, even if it waits no more."""
    request_id = people.ask("carol", "my-aurora-location r 1s")
    people.wait_for_end(request_id)

    people.workspace.aws.invoke(function, {"request_id": request_id, "task_token": "of a state that waits no more"})

    assert judge.has_seen(_snake_case(function), "states:SendTaskSuccess")


def test_readers_are_looked_up(people: People, judge: Judge, held: str) -> None:
    """Sessions are ended on every instance, so every instance is asked for."""
    rds: Any = boto3.client("rds")
    reader = {"DBInstanceIdentifier": f"{seed.CLUSTER}-2", "DBClusterIdentifier": seed.CLUSTER}
    rds.create_db_instance(DBInstanceClass="db.serverless", Engine="aurora-postgresql", **reader)
    try:
        order = {"request_id": held, "for_provisioning": False}
        found = people.workspace.aws.invoke("FindDatabaseInstances", order)["order"]
    finally:
        rds.delete_db_instance(DBInstanceIdentifier=reader["DBInstanceIdentifier"])

    assert 1 == len(found["instances"]["readers"])
    assert judge.has_seen("find_database_instances", "rds:DescribeDBInstances")


def test_a_budget_is_reckoned_wherever_it_matters(people: People, workspace: Workspace, judge: Judge) -> None:
    """By the endpoint, by the workflow's own judgement, and before a bastion is warmed."""
    catalogue = json.loads((workspace.directory / "catalogue.json").read_text(encoding="utf-8"))
    rich = workspace.directory / "rich.json"
    rich.write_text(json.dumps(catalogue | {"budget": 1000.0}), encoding="utf-8")
    with environment({"DRAWBRIDGE_CATALOGUE": str(rich)}):
        asked = [people.ask("alice", f"my-aurora-location {level}") for level in ("r 1s", "w 1s")]
        people.reply("alice", f"/db-access cancel {asked[1]}")
        ends = [people.wait_for_end(request_id) for request_id in asked]

    assert ["Finished", "Cancelled"] == ends
    for function in ("api_handler", "check_policy", "warm_bastion"):
        assert judge.has_seen(function, "dynamodb:Query", "MONTH#")


def test_whoever_leaves_loses_their_access(people: People, judge: Judge) -> None:
    """Slack says so at the next turn; the hold is woken and ends."""
    request_id = people.ask("bob", "my-reports-location r 30m")
    eventually("the hold", lambda: people.record(request_id).hold_token)
    bob = people.slack.people["U0BOB"]
    people.slack.people["U0BOB"] = replace(bob, deleted=True)
    try:
        assert "Finished" == people.wait_for_end(request_id)
    finally:
        people.slack.people["U0BOB"] = bob

    assert judge.has_seen("reconcile_grants", "states:SendTaskSuccess")
    assert judge.has_seen("reconcile_grants", "dynamodb:UpdateItem", "REQUEST#")


def test_access_whose_execution_was_stopped_is_ended(people: People, judge: Judge) -> None:
    """By an execution that reconciliation starts once the end is well past."""
    request_id = people.ask("bob", "my-reports-location r 30m")
    people.ready("bob", request_id)
    execution = people.workspace.state_machine.replace(":stateMachine:", ":execution:") + f":{request_id}"
    boto3.client("stepfunctions").stop_execution(executionArn=execution)

    _set_end(people, request_id, datetime.now(UTC) - timedelta(minutes=10))

    eventually("the end", lambda: str(people.grant(request_id).state) == "gone")
    eventually("the receipt", lambda: people.direct("bob", request_id, "sessions left"))
    for action in ("states:StartExecution", "states:DescribeExecution"):
        assert judge.has_seen("reconcile_grants", action)


def _forget_bastion(workspace: Workspace, *, scarce: bool) -> None:
    """As on the first day; ``scarce`` has no room for the cheapest type anywhere."""
    eventually("the bastion's end of use", lambda: not _bastion().get("leases", EMPTY)["M"])
    boto3.client("dynamodb").delete_item(TableName=seed.TABLE, Key=BASTION)
    subnets = boto3.client("ec2").describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.0.*"]}])["Subnets"]
    for subnet in subnets if scarce else []:
        workspace.aws.fail_capacity(subnet["SubnetId"], 1)


def _bastion() -> dict[str, Any]:
    found: dict[str, Any] = boto3.client("dynamodb").get_item(TableName=seed.TABLE, Key=BASTION).get("Item", {})
    return found


def _state_of_bastion() -> str:
    return str(_bastion().get("state", {"S": ""})["S"])


def _write_bastion(**attributes: Any) -> None:
    boto3.client("dynamodb").update_item(
        TableName=seed.TABLE,
        Key=BASTION,
        UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in attributes),
        ExpressionAttributeNames={f"#{name}": name for name in attributes},
        ExpressionAttributeValues={f":{name}": value for name, value in attributes.items()},
    )


def _set_end(people: People, request_id: str, at: datetime) -> None:
    key = {"pk": {"S": f"GRANT#{people.grant(request_id).facts.key}"}, "sk": {"S": "GRANT"}}
    boto3.client("dynamodb").update_item(
        TableName=seed.TABLE,
        Key=key,
        UpdateExpression="SET ends_at = :at, #grant.ends_at = :at, #grant.provision_by = :at",
        ExpressionAttributeNames={"#grant": "grant"},
        ExpressionAttributeValues={":at": {"S": to_payload(at)}},
    )


def _snake_case(name: str) -> str:
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name).removeprefix("_")
