"""A change while CloudFormation carries it out: progress, the first failure's reason, Ctrl-C. Scripted, for moto's is instant."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.cloudformation.models import CloudFormationBackend

from deployment.account import DeploymentError
from deployment.deploy import describe_changes
from deployment.stacks import Change, ChangeSet, Deployable, Stacks
from local.strict_asl import installed
from tests.deployment.cloud import World, a_world

STACK_ID = "arn:aws:cloudformation:eu-west-1:123456789012:stack/drawbridge-example/1"
WANTED = Deployable(name="drawbridge-example", stage="example", template_url="https://example.com/x", parameters={})
CHANGES = ChangeSet(id="change-set", stack=STACK_ID, is_first=False, changes=[])


def an_event(number: int, name: str, status: str, reason: str = "") -> dict[str, Any]:
    kind = "AWS::CloudFormation::Stack" if name == WANTED.name else "AWS::DynamoDB::Table"
    return {
        "EventId": f"event-{number}",
        "StackId": STACK_ID,
        "LogicalResourceId": name,
        "PhysicalResourceId": STACK_ID if name == WANTED.name else name,
        "ResourceType": kind,
        "ResourceStatus": status,
    } | ({"ResourceStatusReason": reason} if reason else {})


class CloudFormation:
    """Answers with the status and the events of one turn after another; the last stays."""

    def __init__(self, *turns: tuple[str, Sequence[dict[str, Any]]], before: Sequence[dict[str, Any]] = ()) -> None:
        self._turns, self._events, self._before = list(turns), list(before), list(before)
        self.executed: list[str] = []

    def client(self, service: str) -> "CloudFormation":
        return self

    def describe_stacks(self, **_: Any) -> Any:
        status, events = self._turns[0] if len(self._turns) == 1 else self._turns.pop(0)
        self._events = [*self._events, *(each for each in events if each not in self._events)]
        if status == "GONE":
            raise ClientError(
                {"Error": {"Code": "ValidationError", "Message": "Stack does not exist"}}, "DescribeStacks"
            )
        return {"Stacks": [{"StackName": WANTED.name, "StackId": STACK_ID, "StackStatus": status}]}

    def describe_stack_events(self, **_: Any) -> Any:
        return {"StackEvents": self._events[::-1]}

    def execute_change_set(self, *, ChangeSetName: str) -> None:  # noqa: N803  AWS's name for it
        self.executed.append(ChangeSetName)

    def delete_stack(self, **_: Any) -> None:
        """Under way from now on."""

    def get_paginator(self, operation: str) -> Any:
        pages = {"describe_stack_events": self.describe_stack_events, "list_stack_resources": self._resources}
        return SimpleNamespace(paginate=lambda **_: iter([pages[operation]()]))

    def _resources(self) -> Any:
        return {"StackResourceSummaries": []}


@contextmanager
def stacks(cloudformation: CloudFormation, pause: Any = None) -> Iterator[tuple[Stacks, list[str]]]:
    said: list[str] = []
    yield Stacks(cloudformation, say=said.append, pause=pause or (lambda _: None)), said  # type: ignore[arg-type]  # an account of one client


def test_each_resource_is_said_once_as_it_is_done() -> None:
    """Not the stack itself, not what only began, and nothing of an earlier change."""
    old, first = an_event(1, "Ledger", "CREATE_COMPLETE"), an_event(2, "Ledger", "UPDATE_IN_PROGRESS")
    done, cleaned = an_event(3, "Ledger", "UPDATE_COMPLETE"), an_event(5, "Ledger", "DELETE_COMPLETE")
    own = an_event(4, WANTED.name, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
    turns = [
        ("UPDATE_IN_PROGRESS", [first]),
        ("UPDATE_IN_PROGRESS", [done]),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", [own, cleaned]),
        ("UPDATE_COMPLETE", []),
    ]
    with stacks(CloudFormation(*turns, before=[old])) as (changing, said):
        stack = changing.carry_out(CHANGES)

    assert ["    1/1  Ledger  AWS::DynamoDB::Table  changed"] == said
    assert "UPDATE_COMPLETE" == stack.status


def test_the_first_failure_is_the_reason() -> None:
    """Not those that were only cancelled because of it, however they are ordered."""
    events = [
        an_event(1, "Other", "CREATE_FAILED", "Resource creation cancelled"),
        an_event(2, "Ledger", "CREATE_FAILED", "Table limit exceeded"),
        an_event(3, "Role", "CREATE_FAILED", "Something later"),
    ]
    with (
        stacks(CloudFormation(("ROLLBACK_IN_PROGRESS", events), ("ROLLBACK_COMPLETE", []))) as (changing, _),
        pytest.raises(DeploymentError) as raised,
    ):
        changing.carry_out(CHANGES)

    assert (
        "It failed, at Ledger (AWS::DynamoDB::Table): Table limit exceeded\n"
        "The stack is ROLLBACK_COMPLETE. It was never whole and holds nobody's access. "
        "Destroy it, repair the cause, and deploy again."
    ) == str(raised.value)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("UPDATE_ROLLBACK_COMPLETE", "It is as it was before. Repair the cause and deploy again."),
        ("UPDATE_ROLLBACK_FAILED", "Choose 'Continue update rollback' in the CloudFormation console"),
    ],
)
def test_what_a_failed_update_leaves_is_said(status: str, advice: str) -> None:
    with (
        stacks(CloudFormation((status, [an_event(1, "Ledger", "UPDATE_FAILED", "No")]))) as (changing, _),
        pytest.raises(DeploymentError, match=advice),
    ):
        changing.carry_out(CHANGES)


def test_a_change_that_does_not_end_is_left_to_itself() -> None:
    """The wait is bounded; CloudFormation goes on."""
    with (
        stacks(CloudFormation(("UPDATE_IN_PROGRESS", []))) as (changing, _),
        pytest.raises(DeploymentError, match="still at it after 60 minutes, and goes on by itself"),
    ):
        changing.carry_out(CHANGES)


def test_a_stack_that_somebody_changes_is_left_alone() -> None:
    cloudformation = CloudFormation(("UPDATE_IN_PROGRESS", []))
    with stacks(cloudformation) as (changing, _):
        standing = changing.find(WANTED.name)
        with pytest.raises(DeploymentError, match="Somebody is changing it: run this again when that is over"):
            changing.prepare(WANTED, standing)

    assert [] == cloudformation.executed


def test_a_deletion_is_over_when_the_stack_is_known_no_more() -> None:
    """What is kept is said as kept."""
    kept = an_event(2, "Ledger", "DELETE_SKIPPED")
    cloudformation = CloudFormation(
        ("CREATE_COMPLETE", []), ("DELETE_IN_PROGRESS", [kept]), ("GONE", []), before=[an_event(1, "Ledger", "X")]
    )
    with stacks(cloudformation) as (changing, said):
        standing = changing.find(WANTED.name)
        assert standing is not None
        changing.delete(standing)

    assert ["    1/1  Ledger  AWS::DynamoDB::Table  kept"] == said


def test_a_deletion_that_fails_names_the_cause() -> None:
    failed = an_event(2, "Group", "DELETE_FAILED", "resource sg-1 has a dependent object")
    cloudformation = CloudFormation(("CREATE_COMPLETE", []), ("DELETE_FAILED", [failed]))
    with stacks(cloudformation) as (changing, _):
        standing = changing.find(WANTED.name)
        assert standing is not None
        with pytest.raises(
            DeploymentError, match=r"sg-1 has a dependent object.*\n.*Repair the cause and destroy it again"
        ):
            changing.delete(standing)


@pytest.mark.parametrize(
    ("action", "is_replaced", "line"),
    [
        ("Remove", False, "! Ledger (AWS::DynamoDB::Table) is removed"),
        ("Modify", True, "! Ledger (AWS::DynamoDB::Table) is or may be replaced by a new one"),
        ("Modify", False, ""),
        ("Add", False, ""),
    ],
)
def test_what_takes_something_away_is_marked(action: str, is_replaced: bool, line: str) -> None:
    change = Change(logical_id="Ledger", kind="AWS::DynamoDB::Table", action=action, is_replaced=is_replaced)
    described = describe_changes(WANTED.name, ChangeSet(id="x", stack=STACK_ID, is_first=False, changes=[change]))

    assert line == "\n".join(described.split("\n")[1:])


def test_ctrl_c_while_cloudformation_works_says_that_it_goes_on(tmp_path: Path) -> None:
    """And what to run when it is done."""
    with a_world(tmp_path) as world:
        interrupted = _interrupt_while_changing(world)

    assert 130 == interrupted.status
    assert "Ended by you. CloudFormation goes on changing drawbridge-example by itself" in interrupted.saw


def _interrupt_while_changing(world: World) -> Any:
    """Moto's stack is done at once, so it is made to look as if it were not."""
    carry_out = CloudFormationBackend.execute_change_set

    def slowly(backend: Any, change_set_name: str, stack_name: str | None = None) -> None:
        carry_out(backend, change_set_name, stack_name)
        for stack in backend.stacks.values():
            stack.status = "CREATE_IN_PROGRESS"

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    world.wait = interrupt  # type: ignore[method-assign]  # whoever waits presses Ctrl-C
    with installed([(CloudFormationBackend, "execute_change_set", slowly)]):
        return world.deploy()
