"""What destroying a stage does first: every access of the real workflow ends with its receipt, and nothing waits any more."""

import threading
from datetime import UTC, datetime

import boto3

from chalicelib.domain.grants import GrantState
from deployment.account import Account
from deployment.ending import Ending, Workflow
from local import seed
from local.workspace import Workspace
from tests.e2e.people import People, eventually

SECONDS = {"ACCESS": 300, "IDLE_GRACE": 30, "PREPARATION": 20}
"""A lost execution's receipt is final once nothing that it ordered can be carried out any more: that long after its start."""
PAUSE_SECONDS = 0.5
"""In the place of the five that an operator waits between two looks."""


def test_every_access_ends_with_its_receipt_and_what_waits_is_over(people: People, workspace: Workspace) -> None:
    """Somebody has access, somebody's is lost by its execution, and somebody waits for an approver."""
    held = people.ask("bob", "my-aurora-location r 5m")
    lost = people.ask("alice", "my-aurora-location r 5m")
    people.ready("bob", held)
    people.ready("alice", lost)
    eventually("the hold", lambda: people.record(lost).hold_token)
    _stop(workspace, lost)
    waiting = people.ask("alice", "my-reports-location o 5m")
    people.approval_card(waiting)
    eventually("the waiting", lambda: people.record(waiting).approval_token)

    said: list[str] = []
    ending = Ending(
        Workflow(
            account=Account(
                number=seed.ACCOUNT, region=seed.REGION, caller=f"arn:aws:iam::{seed.ACCOUNT}:user/operator"
            ),
            table=seed.TABLE,
            state_machine=workspace.state_machine,
            front=None,
        ),
        say=said.append,
        pause=lambda _: threading.Event().wait(PAUSE_SECONDS),
        clock=lambda: datetime.now(UTC),
    )
    with ending.closed_front():
        left = ending.end_all(seconds=90)

    assert () == left
    assert {GrantState.GONE} == {people.grant(each).state for each in (held, lost)}
    assert [] == [each for each in (held, lost) if "receipt" not in people.audited(each)]
    assert ("Finished", "Cancelled") == (people.wait_for_end(held), people.wait_for_end(waiting))
    assert 2 == ending.receipts
    assert [] == _people_in(workspace)
    assert frozenset() == _running(workspace)


def _stop(workspace: Workspace, request_id: str) -> None:
    """As an administrator might, who does not know that nothing is revoked then."""
    arn = workspace.state_machine.replace(":stateMachine:", ":execution:") + f":{request_id}"
    boto3.client("stepfunctions").stop_execution(executionArn=arn)


def _people_in(workspace: Workspace) -> list[str]:
    with workspace.database.connect() as connection:
        return [name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'jit\\_%'")]


def _running(workspace: Workspace) -> frozenset[str]:
    found = boto3.client("stepfunctions").list_executions(
        stateMachineArn=workspace.state_machine, statusFilter="RUNNING"
    )
    return frozenset(each["name"] for each in found["executions"])
