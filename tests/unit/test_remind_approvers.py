"""RemindApprovers: asked once more at half time, and no decision falls between the halves."""

import pytest

from chalicelib.domain.cards import CardReference
from chalicelib.domain.decisions import DecisionRecord, Verdict
from chalicelib.domain.errors import UnknownRequestError
from chalicelib.workflow.ask_end import ask_end
from chalicelib.workflow.record_decision import record_decision
from chalicelib.workflow.remind_approvers import remind_approvers
from tests.factories import (
    ALICE,
    BOB,
    REQUEST_ID,
    a_record,
    a_task_token,
)
from tests.fakes import World


def waiting(record: DecisionRecord | None = None) -> World:
    """A request whose approvers were asked; the first half is over."""
    world = World()
    world.declare_request()
    world.requests.open_decision(record or a_record(), task_token=a_task_token("token-1"))
    world.requests.keep_card(REQUEST_ID, "approval", CardReference(channel="C0APPROVALS", ts="1.2"))
    return world


def remind(world: World) -> bool:
    return world.run(remind_approvers, request_id=REQUEST_ID, task_token=a_task_token("token-2"))


def test_those_who_have_not_answered_are_asked_once_more() -> None:
    """And the state waits with its own token, by the record that stands."""
    world = waiting(a_record(BOB, needed=2))

    assert remind(world)
    record = world.requests.require_request(REQUEST_ID)
    assert ([("remind_approvers", REQUEST_ID)], []) == (world.notifier.told, world.executions.woken)
    assert ("token-2", a_record(BOB, needed=2)) == (record.approval_token, record.decisions)


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.OPEN])
def test_what_was_decided_between_the_halves_is_not_waited_for(verdict: Verdict) -> None:
    """The decision woke the first half's token, which nobody waited for any more."""
    world = waiting(a_record(verdict=verdict))

    assert not remind(world)
    assert ([], ["token-2"]) == (world.notifier.told, world.executions.woken)


@pytest.mark.parametrize("method", ["require_request", "open_decision"])
def test_what_is_decided_while_people_are_reminded_answers_the_new_token(method: str) -> None:
    """Whether the decision saw the old token or the new one."""
    world = waiting()
    world.requests.declare_meanwhile(
        method, lambda: world.run(record_decision, request_id=REQUEST_ID, person=BOB, approves=True)
    )
    remind(world)

    assert "token-2" in world.executions.woken


def test_what_is_taken_back_while_people_are_reminded_answers_the_new_token() -> None:
    """An end that is asked for is looked for as well."""
    world = waiting()
    world.requests.declare_meanwhile("require_request", lambda: world.run(ask_end, request_id=REQUEST_ID, person=ALICE))
    remind(world)

    assert "token-2" in world.executions.woken


def test_a_reminder_that_slack_does_not_take_is_no_failure() -> None:
    """The card stands, and the wait goes on."""
    world = waiting()
    world.notifier.declare_failing("remind_approvers")

    assert not remind(world)
    assert ("token-2", []) == (world.requests.require_request(REQUEST_ID).approval_token, world.executions.woken)


def test_a_request_without_a_card_reminds_of_nothing() -> None:
    """There is nothing to answer to."""
    world = World()
    world.declare_request()
    world.requests.open_decision(a_record(), task_token=a_task_token("token-1"))

    assert not remind(world)


def test_a_request_that_waits_for_nobody_goes_on() -> None:
    """It was never asked."""
    world = World()
    world.declare_request()

    assert not remind(world)
    assert ["token-2"] == world.executions.woken


def test_an_unknown_request_is_an_error() -> None:
    """Nothing waits for nobody."""
    with pytest.raises(UnknownRequestError):
        remind(World())
