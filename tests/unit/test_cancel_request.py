"""A requester takes back what they asked, at whatever moment."""

from functools import partial

import pytest

from chalicelib.domain.decisions import DecisionRecord, Refusal, Verdict
from chalicelib.domain.endings import Outcome
from chalicelib.domain.errors import LedgerUnavailableError, UnknownRequestError
from chalicelib.domain.people import Person
from chalicelib.domain.receipts import ClosedTunnels
from chalicelib.workflow.cancel_request import cancel_request
from chalicelib.workflow.close_approval import close_approval
from chalicelib.workflow.confirm_approval import confirm_approval
from chalicelib.workflow.record_decision import record_decision
from chalicelib.workflow.report_outcome import report_outcome
from chalicelib.workflow.request_approval import request_approval
from tests.factories import (
    ALICE,
    BOB,
    FRIDAY_NOON,
    READ,
    REQUEST_ID,
    a_course,
    a_record,
    a_task_token,
    an_ended_request,
)
from tests.fakes import World


def asked(record: DecisionRecord | None = None, **changes: object) -> World:
    """A request, and its deciding where there is one."""
    world = World()
    world.declare_request(**changes)
    if record is not None:
        world.requests.open_decision(record, task_token=a_task_token("token-1"))
    return world


def cancel(world: World, person: Person | None = ALICE) -> Refusal | None:
    return world.run(cancel_request, request_id=REQUEST_ID, person=person)


def approve(world: World) -> object:
    return world.run(record_decision, request_id=REQUEST_ID, person=BOB, approves=True)


def see_through(world: World) -> Outcome:
    """What the workflow makes of it from CloseApproval on."""
    closing = world.run(close_approval, request_id=REQUEST_ID)
    course = a_course(verdict=closing.verdict, verdict_reason=closing.reason)
    if closing.verdict is Verdict.APPROVED:
        confirmation = world.run(confirm_approval, request_id=REQUEST_ID)
        course = a_course(is_confirmed=confirmation.is_confirmed, confirmation_reason=confirmation.reason)
    return world.run(report_outcome, request_id=REQUEST_ID, course=course, receipt=None, tunnels=ClosedTunnels())


def test_an_open_request_is_closed_and_its_wait_woken() -> None:
    """Nobody can decide it any more."""
    world = asked(a_record())

    assert cancel(world) is None
    assert ["token-1"] == world.executions.woken
    assert isinstance(approve(world), Refusal)
    assert (Outcome.CANCELLED, []) == (see_through(world), world.grants.open_grants())


def test_a_request_is_cancelled_before_its_deciding_is_open() -> None:
    """RequestApproval finds the asking, and does not wait."""
    world = asked()

    assert cancel(world) is None
    world.run(request_approval, request_id=REQUEST_ID, task_token=a_task_token("token-1"))
    assert ["token-1"] == world.executions.woken
    assert Outcome.CANCELLED is see_through(world)


def test_a_request_is_cancelled_while_its_deciding_is_being_opened() -> None:
    """Whoever of the two comes later sees the other; it is never taken for a timeout."""
    for method in ("require_request", "open_decision", "keep_card"):
        world = asked()
        world.requests.declare_meanwhile(method, partial(cancel, world))
        world.run(request_approval, request_id=REQUEST_ID, task_token=a_task_token("token-1"))

        assert "token-1" in world.executions.woken
        assert Outcome.CANCELLED is see_through(world)


def test_a_deciding_that_opens_while_it_is_cancelled_is_cancelled_too() -> None:
    """The cancelling saw nothing to close."""
    for method in ("require_request", "ask_end"):
        world = asked()
        opens = partial(world.run, request_approval, request_id=REQUEST_ID, task_token=a_task_token("token-1"))
        world.requests.declare_meanwhile(method, opens)

        assert cancel(world) is None
        assert "token-1" in world.executions.woken
        assert Outcome.CANCELLED is see_through(world)


def test_an_automatic_request_is_cancelled_before_it_is_granted() -> None:
    """It has nothing to decide."""
    world = asked(level=READ)
    cancel(world)

    assert (Outcome.CANCELLED, []) == (see_through(world), world.grants.open_grants())


def test_a_request_is_cancelled_after_its_approval() -> None:
    """But before the grant: nothing is given."""
    world = asked(a_record(BOB, verdict=Verdict.APPROVED))

    assert cancel(world) is None
    assert (Outcome.CANCELLED, []) == (see_through(world), world.grants.open_grants())


def test_an_approval_at_the_same_moment_is_one_outcome() -> None:
    """Bob was faster: the cancelling becomes an asking for the end, and nothing is given all the same."""
    world = asked(a_record())
    world.requests.declare_meanwhile("require_request", lambda: approve(world))

    assert cancel(world) is None
    assert FRIDAY_NOON == world.requests.require_request(REQUEST_ID).end_asked_at
    assert Outcome.CANCELLED is see_through(world)


def test_a_cancelling_at_the_same_moment_leaves_an_approval_without_effect() -> None:
    """Alice was faster."""
    world = asked(a_record())
    world.requests.declare_meanwhile("require_request", lambda: cancel(world))

    refusal = approve(world)
    assert isinstance(refusal, Refusal)
    assert "cancelled already" in refusal.reason


@pytest.mark.parametrize("person", [BOB, None])
@pytest.mark.parametrize("record", [None, a_record(), a_record(BOB, verdict=Verdict.APPROVED)])
def test_nobody_else_cancels(record: DecisionRecord | None, person: Person | None) -> None:
    """At no time, and nothing is recorded."""
    world = asked(record)

    refusal = cancel(world, person)
    standing = world.requests.require_request(REQUEST_ID)
    assert isinstance(refusal, Refusal)
    assert "is not yours" in refusal.reason
    assert (record, None, []) == (standing.decisions, standing.end_asked_at, world.executions.woken)


def test_what_has_ended_cannot_be_cancelled() -> None:
    """Whatever its card still shows."""
    world = asked(a_record())
    world.requests.close_request(an_ended_request())

    assert Refusal(reason="R-ABC234 has ended already.") == cancel(world)


def test_cancelling_again_is_safe() -> None:
    """A second click."""
    world = asked(a_record())

    assert (None, None) == (cancel(world), cancel(world))
    assert Outcome.CANCELLED is see_through(world)


def test_a_record_that_keeps_changing_is_given_up_with_an_error() -> None:
    """Never silently."""
    world = asked(a_record(needed=9))

    def touch() -> None:
        record = world.requests.require_request(REQUEST_ID).decisions
        assert record is not None
        assert world.requests.replace_decision(a_record(needed=9, version=record.version + 1))

    world.requests.declare_meanwhile("require_request", touch, times=99)

    with pytest.raises(LedgerUnavailableError):
        cancel(world)


def test_an_unknown_request_is_an_error() -> None:
    """A forged button."""
    with pytest.raises(UnknownRequestError):
        cancel(World())
