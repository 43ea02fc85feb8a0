"""The holder asks for the end."""

import pytest

from chalicelib.domain.decisions import Refusal
from chalicelib.domain.errors import UnknownRequestError
from chalicelib.domain.people import Person
from chalicelib.workflow.ask_end import ask_end
from chalicelib.workflow.hold_access import hold_access
from tests.factories import (
    ALICE,
    BOB,
    FRIDAY_NOON,
    REQUEST_ID,
    a_record,
    a_task_token,
    an_ended_request,
)
from tests.fakes import World


def held() -> World:
    world = World()
    world.declare_grant()
    world.requests.keep_hold_token(REQUEST_ID, a_task_token("token-2"))
    return world


def ask(world: World, person: Person | None = ALICE) -> Refusal | None:
    return world.run(ask_end, request_id=REQUEST_ID, person=person)


def test_the_asking_is_recorded_and_wakes_the_hold() -> None:
    """What ends the grant is the ledger, not the waking."""
    world = held()

    assert ask(world) is None
    assert (FRIDAY_NOON, ["token-2"]) == (
        world.requests.require_request(REQUEST_ID).end_asked_at,
        world.executions.woken,
    )


def test_an_approval_that_is_over_is_not_woken() -> None:
    """Each call is time that the person waits."""
    world = held()
    world.requests.open_decision(a_record(), task_token=a_task_token("token-1"))
    ask(world)

    assert ["token-2"] == world.executions.woken


def test_asking_again_wakes_again() -> None:
    """The first waking may have been lost; the first asking stands."""
    world = held()
    ask(world)
    world.clock.advance(60)
    ask(world)

    assert (FRIDAY_NOON, 2) == (
        world.requests.require_request(REQUEST_ID).end_asked_at,
        len(world.executions.woken),
    )


def test_without_a_hold_there_is_nobody_to_wake() -> None:
    """The hold will find the asking when it begins."""
    world = World()
    world.declare_grant()

    assert ask(world) is None
    assert [] == world.executions.woken


def test_a_hold_that_began_after_the_request_was_read_is_woken() -> None:
    """It saw no asking yet, so the asker must look for its token once more."""
    world = World()
    world.requests.keep_told(REQUEST_ID, end=world.declare_grant().ends_at)
    world.requests.declare_meanwhile(
        "require_request", lambda: world.run(hold_access, request_id=REQUEST_ID, task_token=a_task_token("token-2"))
    )
    ask(world)

    assert ["token-2"] == world.executions.woken


def test_a_hold_that_begins_right_after_the_asking_is_woken() -> None:
    """By the asker or by itself, whoever sees the other; both may."""
    world = World()
    world.declare_grant()
    world.requests.declare_meanwhile(
        "ask_end", lambda: world.run(hold_access, request_id=REQUEST_ID, task_token=a_task_token("token-2"))
    )
    ask(world)

    assert {"token-2"} == set(world.executions.woken)


@pytest.mark.parametrize("person", [BOB, None])
def test_nobody_else_may_end_it(person: Person | None) -> None:
    """Not even an approver, and nothing is recorded."""
    world = held()

    assert Refusal(reason="R-ABC234 is not yours to end.") == ask(world, person)
    assert (None, []) == (world.requests.require_request(REQUEST_ID).end_asked_at, world.executions.woken)


def test_what_has_ended_cannot_be_ended() -> None:
    """The person is told so."""
    world = held()
    world.requests.close_request(an_ended_request())

    assert Refusal(reason="R-ABC234 has ended already.") == ask(world)


def test_an_unknown_request_is_an_error() -> None:
    """A forged button."""
    with pytest.raises(UnknownRequestError):
        ask(World())
