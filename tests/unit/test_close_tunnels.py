"""CloseTunnels: the grant's tunnels are ended and its lease given up, whatever else failed."""

import pytest

from chalicelib.domain.bastions import BastionState
from chalicelib.domain.errors import BastionNotReadyError
from chalicelib.domain.grants import GrantState
from chalicelib.domain.receipts import ClosedTunnels
from chalicelib.workflow.close_tunnels import close_tunnels
from tests.factories import (
    BOB,
    FRIDAY_NOON,
    READ,
    REQUEST_ID,
    a_bastion,
    a_catalogue,
    a_grant,
    a_location,
    a_person,
    a_request,
    a_tunnel,
    minutes,
)
from tests.fakes import World


def ended(**changes: object) -> World:
    """A grant that is ending, with a lease on a running bastion."""
    world = World()
    world.declare_grant(**{"state": GrantState.ENDING, "instance_id": "i-1", **changes})  # type: ignore[arg-type]  # fields
    world.bastions.declare_bastion(a_bastion(state=BastionState.RUNNING, instance_id="i-1"))
    world.bastions.take_lease("main", REQUEST_ID, until=FRIDAY_NOON + minutes(90))
    return world


def close(world: World) -> ClosedTunnels:
    return world.run(close_tunnels, request_id=REQUEST_ID)


def leases(world: World) -> set[str]:
    return set(world.bastions.find_bastion("main").leases)


def test_the_grants_tunnels_are_ended_and_its_lease_is_given_up() -> None:
    """And audited."""
    world = ended()
    world.tunnels.declare_tunnel("i-1", a_tunnel(session_id="mine"))

    assert ClosedTunnels(ended=("mine",)) == close(world)
    assert (["mine"], set(), FRIDAY_NOON) == (
        world.tunnels.ended,
        leases(world),
        world.bastions.find_bastion("main").idle_since,
    )
    assert ["tunnels closed"] == world.audit.events(REQUEST_ID)


def test_the_audit_says_whose_tunnels_were_ended_before_they_are() -> None:
    """By session and principal, as CloudTrail knows them; afterwards SSM would not list them any more."""
    world = ended()
    tunnel = a_tunnel(session_id="mine")
    world.tunnels.declare_tunnel("i-1", tunnel)
    close(world)

    ((bastions, entry),) = [
        (entry["facts"]["bastions"], entry["facts"]["ended"]) for entry in world.audit.entries(REQUEST_ID)
    ]
    assert (["i-1"], [("mine", tunnel.owner, REQUEST_ID)]) == (
        bastions,
        [(each["session_id"], each["owner"], each["reason"]) for each in entry],
    )


def test_closing_again_finds_nothing_left() -> None:
    """And touches no lease but its own."""
    world = ended()
    world.tunnels.declare_tunnel("i-1", a_tunnel(session_id="mine"))
    close(world)
    world.bastions.take_lease("main", "R-NEXT22", until=FRIDAY_NOON + minutes(90))

    assert ClosedTunnels() == close(world)
    assert (["mine"], {"R-NEXT22"}) == (world.tunnels.ended, leases(world))


def test_others_tunnels_are_left_and_strange_ones_are_named() -> None:
    """They share the bastion; housekeeping sees to what nobody explains."""
    world = ended()
    world.declare_grant(a_request(request_id="R-NEXT22", person=BOB))
    for session_id, reason in (("mine", REQUEST_ID), ("bobs", "R-NEXT22"), ("strange", "")):
        world.tunnels.declare_tunnel("i-1", a_tunnel(session_id=session_id, reason=reason))

    assert ClosedTunnels(ended=("mine",), unattributed=("strange",)) == close(world)
    assert ["mine"] == world.tunnels.ended


def test_a_tunnel_that_another_live_grant_covers_is_kept() -> None:
    """Carol is known by her principal, so both of her grants explain it."""
    arn = "arn:aws:sts::123456789012:assumed-role/Developer/carol@example.com"
    carol = a_person("carol", aws=(arn,))
    world = World()
    world.declare_grant(a_request(person=carol), state=GrantState.ENDING, instance_id="i-1")
    world.declare_grant(a_request(request_id="R-READ22", person=carol, level=READ))
    world.tunnels.declare_tunnel("i-1", a_tunnel(session_id="carols", owner=arn))

    assert ClosedTunnels(kept=("carols",)) == close(world)
    assert [] == world.tunnels.ended


def test_both_the_delivered_and_the_present_instance_are_looked_at() -> None:
    """The bastion was replaced while the grant lived."""
    world = ended(instance_id="i-0")
    world.tunnels.declare_tunnel("i-0", a_tunnel(session_id="before"))
    world.tunnels.declare_tunnel("i-1", a_tunnel(session_id="after"))

    assert ("before", "after") == close(world).ended


def test_the_lease_is_given_up_though_ssm_does_not_answer() -> None:
    """Else a broken SSM would keep an instance up; the tunnels are tried again."""
    world = ended()
    world.tunnels.declare_unanswering()

    with pytest.raises(BastionNotReadyError):
        close(world)
    assert set() == leases(world)
    assert [] == world.audit.events(REQUEST_ID)


def test_a_request_that_never_had_a_grant_gives_up_its_warming_lease() -> None:
    """Denied, or timed out."""
    world = World()
    world.declare_request()
    world.bastions.take_lease("main", REQUEST_ID, until=FRIDAY_NOON + minutes(90))
    world.tunnels.declare_tunnel("i-1", a_tunnel())

    assert ClosedTunnels() == close(world)
    assert (set(), [], []) == (leases(world), world.tunnels.ended, world.audit.events(REQUEST_ID))


def test_a_request_that_lost_to_another_leaves_that_ones_tunnels_alone() -> None:
    """The grant under the key is the other's."""
    world = ended()
    world.grants.declare_grant(a_grant(a_request(request_id="R-HELD22"), instance_id="i-1"))
    world.tunnels.declare_tunnel("i-1", a_tunnel(session_id="held", reason="R-HELD22"))

    assert ClosedTunnels() == close(world)
    assert ([], set()) == (world.tunnels.ended, leases(world))


def test_the_bastion_is_the_grants_though_the_location_has_left_the_catalogue() -> None:
    """Or moved to another bastion."""
    world = ended()
    world.catalogue = a_catalogue(a_location("users"))
    world.tunnels.declare_tunnel("i-1", a_tunnel(session_id="mine"))

    assert ("mine",) == close(world).ended
    assert set() == leases(world)


def test_a_request_of_which_nothing_is_known_any_more_is_closed_all_the_same() -> None:
    """No grant and no location: there is nothing to give up."""
    world = World(catalogue=a_catalogue(a_location("users")))
    world.declare_request()

    assert ClosedTunnels() == close(world)


def test_a_tunnel_through_another_bastion_of_the_group_is_ended_too() -> None:
    """All of a group are tagged alike, so its holder could open one there; its lease there is given up as well."""
    world = ended()
    second = a_bastion(name="main.2", state=BastionState.RUNNING, instance_id="i-2")
    world.bastions.declare_bastion(second)
    world.bastions.take_lease("main.2", REQUEST_ID, until=FRIDAY_NOON + minutes(90))
    world.tunnels.declare_tunnel("i-2", a_tunnel(session_id="beside"))

    assert ("beside",) == close(world).ended
    assert [{}, {}] == [world.bastions.find_bastion(name).leases for name in ("main", "main.2")]


def test_a_grant_through_another_bastion_covers_no_tunnel_on_this_one() -> None:
    """Carol's other access leads through the second bastion; hers on the first is over."""
    arn = "arn:aws:sts::123456789012:assumed-role/Developer/carol@example.com"
    carol = a_person("carol", aws=(arn,))
    world = World()
    world.declare_grant(a_request(person=carol), state=GrantState.ENDING, instance_id="i-1")
    world.declare_grant(a_request(request_id="R-READ22", person=carol, level=READ), instance_id="i-2")
    for number in (1, 2):
        world.bastions.declare_bastion(
            a_bastion(name=f"main.{number}" if number > 1 else "main", instance_id=f"i-{number}")
        )
        world.tunnels.declare_tunnel(f"i-{number}", a_tunnel(session_id=f"carols-{number}", owner=arn))

    assert ClosedTunnels(ended=("carols-1",), kept=("carols-2",)) == close(world)
