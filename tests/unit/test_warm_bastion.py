"""WarmBastion: the bastion gets going while people decide."""

import pytest

from chalicelib.defaults import LEASES_PER_BASTION
from chalicelib.domain.bastions import INSTANCE_TYPES, BastionState
from chalicelib.domain.errors import BastionCapacityError, UnknownRequestError
from chalicelib.workflow.warm_bastion import warm_bastion
from tests.factories import FRIDAY_NOON, REQUEST_ID, a_bastion, a_catalogue, a_connected_instance, a_location, seconds
from tests.fakes import World


def asked(**location: object) -> World:
    world = World(catalogue=a_catalogue(a_location(**location)))
    world.declare_request()
    return world


def warm(world: World) -> bool:
    return world.run(warm_bastion, request_id=REQUEST_ID)


def test_the_bastion_is_on_its_way_before_anybody_has_decided() -> None:
    """Nobody waits for it."""
    world = asked()

    assert warm(world)
    assert "pending" == world.host.instances["i-main0"].ec2
    assert world.bastions.find_bastion("main").state is BastionState.RUNNING


def test_the_lease_ends_with_the_ask() -> None:
    """An ask that nobody answers must not keep an instance up for ever."""
    world = asked()
    warm(world)

    assert {REQUEST_ID: FRIDAY_NOON + seconds(3600 + 60)} == world.bastions.find_bastion("main").leases


def test_a_location_that_does_not_want_it_keeps_its_bastion_cold() -> None:
    """No lease and no instance."""
    world = asked(warm_up=False)

    assert not warm(world)
    assert ([], {}) == (world.host.calls, world.bastions.find_bastion("main").leases)


def test_warming_again_launches_nothing_more() -> None:
    """A retried state finds its own instance."""
    world = asked()
    for _ in range(3):
        warm(world)

    assert ["i-main0"] == world.host.called("launch")


def test_a_bastion_that_is_going_down_is_not_leased_but_seen_through() -> None:
    """It is started once it has settled; the warming does what it can towards that."""
    world = asked()
    world.bastions.declare_bastion(a_bastion(state=BastionState.STOPPING, instance_id="i-1"))
    world.host.declare_instance("i-1", a_connected_instance())

    assert warm(world)
    assert ([("stop", "i-1")], {}) == (world.host.calls, world.bastions.find_bastion("main").leases)


def test_a_lack_of_room_is_an_error_that_the_workflow_may_pass_over() -> None:
    """Warming is a courtesy; the lease stays, and the next state tries again."""
    world = asked()
    world.host.declare_no_room(*INSTANCE_TYPES)

    with pytest.raises(BastionCapacityError):
        warm(world)


def test_an_unknown_request_is_an_error() -> None:
    """Nothing is warmed for nobody."""
    with pytest.raises(UnknownRequestError):
        warm(World())


def test_a_bastion_that_others_hold_is_warm_without_one_more_lease() -> None:
    """The places are for those who were granted access; nobody's undecided ask keeps them out."""
    world = asked()
    for number in range(LEASES_PER_BASTION):
        world.bastions.take_lease("main", f"R-{number}", until=FRIDAY_NOON)
        if number < LEASES_PER_BASTION // 2 - 1:
            continue
        assert warm(world)

    assert REQUEST_ID not in world.bastions.find_bastion("main").leases
    assert [] == world.host.calls
