"""EnsureBastionRunning: leased for the grant's whole life, and seen connected."""

import pytest

from chalicelib.domain.bastions import INSTANCE_TYPES, BastionState, InstanceStatus
from chalicelib.domain.errors import BastionCapacityError, BastionNotReadyError, DeliveryFailedError
from chalicelib.domain.grants import GrantState
from chalicelib.workflow.ensure_bastion_running import ensure_bastion_running
from tests.factories import REQUEST_ID, a_bastion, a_connected_instance, a_grant, a_request, minutes
from tests.fakes import World


def granted() -> World:
    world = World()
    world.declare_grant()
    return world


def ensure(world: World) -> str:
    return world.run(ensure_bastion_running, request_id=REQUEST_ID)


def test_a_cold_bastion_is_launched_and_asked_after_until_it_is_connected() -> None:
    """Not ready is an error that the workflow retries."""
    world = granted()
    with pytest.raises(BastionNotReadyError, match="main"):
        ensure(world)
    world.host.boot()

    assert "i-main0" == ensure(world)
    assert ["i-main0"] == world.host.called("launch")


def test_the_lease_outlives_the_grant() -> None:
    """So that revocation finds the bastion up, and nobody stops it before the end."""
    world = granted()
    with pytest.raises(BastionNotReadyError):
        ensure(world)

    assert {REQUEST_ID: world.grant().ends_at + minutes(15)} == world.bastions.find_bastion("main").leases


def test_ensuring_again_changes_nothing() -> None:
    """A connected bastion is found connected."""
    world = granted()
    world.bastions.declare_bastion(a_bastion(state=BastionState.RUNNING, instance_id="i-1"))
    world.host.declare_instance("i-1", a_connected_instance())

    assert ["i-1", "i-1"] == [ensure(world), ensure(world)]
    assert [] == world.host.calls


def test_a_bastion_that_is_going_down_is_waited_out_and_started_again() -> None:
    """The lease is refused until then; each try carries the stop on."""
    world = granted()
    world.bastions.declare_bastion(
        a_bastion(state=BastionState.STOPPING, instance_id="i-1", stop_called_at=world.clock())
    )
    world.host.declare_instance("i-1", InstanceStatus(ec2="stopping"))
    world.host.land()
    for _ in range(3):
        with pytest.raises(BastionNotReadyError):
            ensure(world)
        world.clock.advance(61)
    world.host.boot()

    assert "i-1" == ensure(world)
    assert [("stop", "i-1"), ("start", "i-1")] == world.host.calls


@pytest.mark.parametrize("version", ["3.1.1373.0", None])
def test_an_agent_that_cannot_forward_is_named(version: str | None) -> None:
    """Asking again would not help: the operators are told what to do."""
    world = granted()
    world.bastions.declare_bastion(a_bastion(state=BastionState.RUNNING, instance_id="i-1"))
    world.host.declare_instance("i-1", a_connected_instance(agent_version=version))

    with pytest.raises(DeliveryFailedError, match="too old"):
        ensure(world)


def test_no_room_anywhere_is_an_error_that_the_workflow_retries() -> None:
    """Capacity comes back."""
    world = granted()
    world.host.declare_no_room(*INSTANCE_TYPES)

    with pytest.raises(BastionCapacityError):
        ensure(world)


@pytest.mark.parametrize(
    "grant",
    [None, a_grant(state=GrantState.ENDING), a_grant(state=GrantState.GONE), a_grant(a_request(request_id="R-NEXT22"))],
    ids=["none", "ending", "gone", "another request's"],
)
def test_no_bastion_is_started_for_a_grant_that_is_not_live(grant: object) -> None:
    """It ended while the bastion was asked for; nothing is leased either."""
    world = World()
    world.declare_request()
    if grant is not None:
        world.grants.declare_grant(grant)  # type: ignore[arg-type]  # a grant, from the table

    with pytest.raises(DeliveryFailedError, match="not live"):
        ensure(world)
    assert ([], {}) == (world.host.calls, world.bastions.find_bastion("main").leases)
