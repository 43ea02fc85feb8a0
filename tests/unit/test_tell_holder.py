"""TellHolder: what has not been told yet, and nothing to whom nothing belongs any more."""

from dataclasses import replace

import pytest

from chalicelib.domain.errors import SlackUnavailableError
from chalicelib.domain.grants import Grant, GrantState, delivered
from chalicelib.workflow.tell_holder import tell_holder
from tests.factories import FRIDAY_NOON, REQUEST_ID, WRITER, a_grant, a_request, minutes
from tests.fakes import World

LIVE = delivered(a_grant(), instance_id="i-1", writer=WRITER, now=FRIDAY_NOON)


def holding(grant: Grant = LIVE, *, told: bool = True) -> World:
    """Access until half past twelve."""
    world = World()
    world.declare_request()
    world.grants.declare_grant(grant)
    if told:
        world.requests.keep_told(REQUEST_ID, end=grant.ends_at)
    world.requests.keep_tell_try(REQUEST_ID, at=FRIDAY_NOON)
    return world


def tell(world: World) -> list[str]:
    world.run(tell_holder, request_id=REQUEST_ID)
    return [name for name, _ in world.notifier.told]


def test_a_moved_end_is_told_once() -> None:
    """However often the state is entered."""
    world = holding(told=False)
    tell(world)

    assert ["show_end"] == tell(world)
    assert LIVE.ends_at == world.requests.require_request(REQUEST_ID).told_end


def test_a_near_end_is_warned_of_once() -> None:
    """With a card of its own."""
    world = holding()
    world.clock.advance(24 * 60)
    tell(world)

    record = world.requests.require_request(REQUEST_ID)
    assert ["warn_of_end"] == tell(world)
    assert (LIVE.ends_at, True, None) == (record.warned_end, record.soon_card is not None, record.tell_tried_at)


def test_both_are_told_where_both_are_due() -> None:
    """First the end, then that it is near."""
    world = holding(told=False)
    world.clock.advance(25 * 60)

    assert ["show_end", "warn_of_end"] == tell(world)


def test_what_slack_took_is_not_told_again_for_what_it_did_not_take() -> None:
    """The moved end was told; the warning is still to come, and counts as tried."""
    world = holding(told=False)
    world.clock.advance(25 * 60)
    world.notifier.declare_failing("warn_of_end")
    with pytest.raises(SlackUnavailableError):
        tell(world)
    tried_at = world.requests.require_request(REQUEST_ID).tell_tried_at
    world.notifier.declare_failing()

    assert ["show_end", "warn_of_end"] == tell(world)
    assert FRIDAY_NOON == tried_at


@pytest.mark.parametrize(
    "grant",
    [
        a_grant(),
        replace(LIVE, state=GrantState.ENDING),
        replace(LIVE, state=GrantState.GONE),
        a_grant(a_request(request_id="R-NEXT22"), ends_at=FRIDAY_NOON + minutes(1)),
    ],
    ids=["not delivered", "ending", "gone", "another request's"],
)
def test_whoever_holds_nothing_is_told_nothing(grant: Grant) -> None:
    """The ended card tells the rest."""
    assert [] == tell(holding(grant, told=False))


def test_another_bastion_is_told_once() -> None:
    """With the end that holds."""
    world = holding()
    world.requests.keep_told(REQUEST_ID, instance_id="i-1")
    world.grants.declare_grant(replace(LIVE, instance_id="i-2"))
    tell(world)

    assert ["show_end"] == tell(world)
    assert "i-2" == world.requests.require_request(REQUEST_ID).told_instance
