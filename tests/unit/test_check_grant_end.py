"""CheckGrantEnd: the ledger alone decides whether the grant goes on, and one write ends it."""

from dataclasses import replace

import pytest

from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.workflow.check_grant_end import GrantEnd, check_grant_end
from tests.factories import FRIDAY_NOON, REQUEST_ID, a_grant, a_request, minutes, seconds
from tests.fakes import World

ENDING = GrantEnd(is_ending=True)


def granted(**changes: object) -> World:
    """A grant of whose end its holder was told."""
    world = World()
    grant = world.declare_grant(**changes)  # type: ignore[arg-type]  # fields of a grant
    world.requests.keep_told(REQUEST_ID, end=grant.ends_at)
    return world


def check(world: World, *, end_now: bool = False) -> GrantEnd:
    return world.run(check_grant_end, request_id=REQUEST_ID, end_now=end_now)


def test_a_grant_with_time_left_goes_on_until_its_warning_and_then_for_its_whole_seconds() -> None:
    """The next wait is that long: never less than until the warning, never more than until the end."""
    world = granted(ends_at=FRIDAY_NOON + seconds(90.9), duration_seconds=100)

    assert GrantEnd(is_ending=False, wait_seconds=71) == check(world)
    world.clock.advance(71)
    world.requests.keep_told(REQUEST_ID, warned=world.grant().ends_at)
    assert GrantEnd(is_ending=False, wait_seconds=19) == check(world)
    assert world.grant().state is GrantState.LIVE


@pytest.mark.parametrize("left", [0.9, 0, -100])
def test_a_grant_whose_end_is_reached_is_ending(left: float) -> None:
    """Written by this very look."""
    world = granted(ends_at=FRIDAY_NOON + seconds(left))

    assert ENDING == check(world)
    assert world.grant().state is GrantState.ENDING
    assert ["ending"] == world.audit.events(REQUEST_ID)


def test_an_end_that_was_asked_for_ends_it() -> None:
    """Now, with half an hour left."""
    world = granted()
    world.requests.ask_end(REQUEST_ID, at=FRIDAY_NOON)
    world.clock.advance(5)

    assert ENDING == check(world)
    assert (GrantState.ENDING, FRIDAY_NOON + seconds(5)) == (world.grant().state, world.grant().ends_at)
    assert ["end asked", "ending"] == world.audit.events(REQUEST_ID)


def test_an_end_that_nobody_wrote_down_is_written_down_by_the_next_look() -> None:
    """Whoever turned the grant died right afterwards."""
    world = granted(state=GrantState.ENDING)

    assert ENDING == check(world)
    assert ["ending"] == world.audit.events(REQUEST_ID)


def test_a_failed_request_ends_at_once() -> None:
    """Whatever time it had left."""
    world = granted()

    assert ENDING == check(world, end_now=True)
    assert [("ending", "2026-11-20T12:00:00.000Z")] == [
        (entry["event"], entry["facts"]["ends_at"]) for entry in world.audit.entries(REQUEST_ID)
    ]


def test_looking_again_changes_nothing() -> None:
    """One end, one entry in the books."""
    world = granted(ends_at=FRIDAY_NOON)
    check(world)
    before = world.grant()
    world.clock.advance(60)

    assert ENDING == check(world, end_now=True)
    assert (before, ["ending"]) == (world.grant(), world.audit.events(REQUEST_ID))


@pytest.mark.parametrize(
    "grant",
    [None, a_grant(state=GrantState.GONE), a_grant(a_request(request_id="R-NEXT22"))],
    ids=["none", "gone", "another request's"],
)
def test_what_is_not_the_requests_live_grant_is_left_alone(grant: Grant | None) -> None:
    """The request's own part is over; a newer request's grant goes on."""
    world = World()
    world.declare_request()
    if grant is not None:
        world.grants.declare_grant(grant)

    assert ENDING == check(world, end_now=True)
    assert grant is None or world.grant() == grant


def test_an_end_that_moved_while_it_was_looked_at_is_looked_at_again() -> None:
    """The grant was extended in between: it goes on."""
    world = granted(ends_at=FRIDAY_NOON)
    later = replace(world.grant(), ends_at=FRIDAY_NOON + minutes(30))
    world.grants.declare_meanwhile("find_grant", lambda: world.grants.declare_grant(later))

    assert GrantEnd(is_ending=False, has_news=True, wait_seconds=1800) == check(world)


def test_an_order_that_is_noted_while_it_is_ended_is_not_forgotten() -> None:
    """Else a user that is just being made would never be taken away."""
    world = granted()
    ordered = replace(world.grant(), is_ordered=True)
    world.grants.declare_meanwhile("find_grant", lambda: world.grants.declare_grant(ordered))

    assert ENDING == check(world, end_now=True)
    assert (GrantState.ENDING, True) == (world.grant().state, world.grant().is_ordered)


def test_a_grant_that_keeps_changing_is_given_up_with_an_error() -> None:
    """The state tries again; nothing is claimed."""
    world = granted(ends_at=FRIDAY_NOON)
    moments = iter(range(1, 100))

    def move() -> None:
        world.grants.declare_grant(replace(world.grant(), ends_at=FRIDAY_NOON - seconds(next(moments))))

    world.grants.declare_meanwhile("find_grant", move, times=99)

    with pytest.raises(LedgerUnavailableError):
        check(world)


def test_another_instance_than_the_holder_was_told_is_news() -> None:
    """The bastion was replaced; with the next try noted, so that it does not turn in circles."""
    world = granted(instance_id="i-1")
    world.requests.keep_told(REQUEST_ID, instance_id="i-1")
    before = check(world).has_news
    world.grants.declare_grant(replace(world.grant(), instance_id="i-2"))

    assert (False, True, False) == (before, check(world).has_news, check(world).has_news)
