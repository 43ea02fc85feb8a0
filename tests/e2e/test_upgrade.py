"""A release is deployed while people hold access that the one before gave: it ends as it would have, with its receipt.

`tests/statemachines/released` holds the definition of the last release. Who makes a release copies the definition there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from chalicelib.domain.endings import Outcome
from local.stack import filled_in
from local.workspace import Workspace
from tests.e2e.people import People
from tests.statemachines.definition import RELEASED

SECONDS = {"ACCESS": 300, "IDLE_GRACE": 30}


def test_access_that_the_last_release_gave_ends_with_its_receipt(people: People, workspace: Workspace) -> None:
    """Its execution goes on with the definition that it began with, and calls the functions of the new release."""
    with _as_released(workspace):
        held = people.ask("alice", "my-aurora-location r 5m")
        people.ready("alice", held)
    people.press_ready("alice", held, "end")

    assert "Finished" == people.wait_for_end(held)
    assert people.record(held).outcome is Outcome.FINISHED
    assert people.direct("alice", held, "sessions left: 0")


def test_what_the_last_release_was_asked_is_decided_by_the_new_one(people: People, workspace: Workspace) -> None:
    """The approval card stays good."""
    with _as_released(workspace):
        asked = people.ask("alice", "my-aurora-location w 5m upgrade")
        people.approval_card(asked)
    people.decide("carol", asked)
    people.ready("alice", asked)
    people.press_ready("alice", asked, "end")

    assert "Finished" == people.wait_for_end(asked)


@contextmanager
def _as_released(workspace: Workspace) -> Iterator[None]:
    """Executions that begin meanwhile follow the last release's definition to their end, as Step Functions has it."""
    stepfunctions: Any = boto3.client("stepfunctions")
    arn = workspace.state_machine
    new = stepfunctions.describe_state_machine(stateMachineArn=arn)["definition"]
    released = filled_in(RELEASED.read_text(encoding="utf-8"))
    stepfunctions.update_state_machine(stateMachineArn=arn, definition=released)
    try:
        yield
    finally:
        stepfunctions.update_state_machine(stateMachineArn=arn, definition=new)
