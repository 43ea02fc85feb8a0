"""StopIdleBastions: what nobody holds is stopped, and what nobody explains is ended."""

import pytest

from chalicelib.domain.bastions import BastionState
from chalicelib.domain.errors import BastionNotReadyError
from chalicelib.domain.grants import GrantState
from chalicelib.workflow.stop_idle_bastions import Housekeeping, stop_idle_bastion
from tests.factories import (
    BOB,
    FRIDAY_NOON,
    REQUEST_ID,
    a_bastion,
    a_connected_instance,
    a_grant,
    a_group,
    a_person,
    a_request,
    a_tunnel,
    minutes,
    seconds,
)
from tests.fakes import World

RUNNING = a_bastion(state=BastionState.RUNNING, instance_id="i-1", launched_at=FRIDAY_NOON - minutes(90))


def running(**leases: float) -> World:
    """A running bastion with leases that end in so many minutes."""
    world = World()
    world.bastions.declare_bastion(RUNNING)
    world.host.declare_instance("i-1", a_connected_instance())
    for request_id, left in leases.items():
        world.bastions.take_lease("main", request_id, until=FRIDAY_NOON + minutes(left))
    return world


def turn(world: World) -> Housekeeping:
    return world.run(stop_idle_bastion, group=a_group())


def state_of(world: World) -> BastionState:
    return world.bastions.find_bastion("main").state


class TestStopping:
    def test_a_bastion_is_stopped_when_nobody_has_held_it_for_the_grace_time(self) -> None:
        """And not before."""
        world = running(R1=90)
        world.bastions.release_lease("main", "R1", at=FRIDAY_NOON)
        called = []
        for later in (0, 599, 1):
            world.clock.advance(later)
            turn(world)
            called.append(len(world.host.called("stop")))

        assert [0, 0, 1] == called
        assert state_of(world) is BastionState.STOPPING

    def test_the_stop_is_settled_in_later_turns(self) -> None:
        """Stopped is believed after a second call and a minute."""
        world = running()
        states = []
        for _ in range(5):
            states.append(turn(world).state)
            world.host.land()
            world.clock.advance(601)

        assert ["running", "stopping", "stopping", "stopped", "stopped"] == states
        assert [("stop", "i-1"), ("stop", "i-1")] == world.host.calls

    def test_nothing_is_stopped_under_a_lease(self) -> None:
        """However long it has been up."""
        world = running(R1=100_000)
        for _ in range(5):
            world.clock.advance(86_400)
            turn(world)

        assert [] == world.host.calls

    def test_a_lease_past_its_end_is_removed_and_its_idle_time_counts(self) -> None:
        """Its request died; the grace time runs from the lease's end."""
        world = running(R1=1, R2=20)
        world.clock.advance(5 * 60)
        first = turn(world)
        world.clock.advance(25 * 60)
        second = turn(world)

        assert (1, "running", 1, "stopping") == (first.expired_leases, first.state, second.expired_leases, second.state)

    def test_a_lease_that_is_renewed_meanwhile_stays(self) -> None:
        """It was seen expired and taken again before it could be removed."""
        world = running(R1=1)
        world.clock.advance(3600)
        world.bastions.declare_meanwhile(
            "find_bastion", lambda: world.bastions.take_lease("main", "R1", until=world.clock() + minutes(5))
        )
        turn(world)

        assert ({"R1"}, []) == (set(world.bastions.find_bastion("main").leases), world.host.calls)

    def test_a_bastion_whose_idleness_was_never_noted_gets_its_grace_time_from_now(self) -> None:
        """A release that died before its note must not keep an instance up for ever."""
        world = running()
        turn(world)

        assert FRIDAY_NOON == world.bastions.find_bastion("main").idle_since

    def test_a_bastion_that_is_absent_is_left_alone(self) -> None:
        """Most of the time."""
        assert Housekeeping(bastion="main", state="absent", expired_leases=0, ended_tunnels=0) == turn(World())

    def test_an_aws_that_does_not_answer_is_asked_next_time(self) -> None:
        """The schedule comes again."""
        world = running()
        world.host.declare_unanswering()

        with pytest.raises(BastionNotReadyError):
            turn(world)


class TestTunnels:
    def test_a_tunnel_that_no_live_grant_explains_is_ended_and_audited(self) -> None:
        """It keeps nothing up."""
        world = running()
        world.tunnels.declare_tunnel("i-1", a_tunnel(session_id="strange", reason="just looking"))

        assert 1 == turn(world).ended_tunnels
        assert ["strange"] == world.tunnels.ended
        assert ["tunnel ended"] == world.audit.events("bastion i-1")

    def test_a_live_grants_tunnel_is_left_alone(self) -> None:
        """Turn after turn."""
        world = running()
        world.declare_grant()
        world.tunnels.declare_tunnel("i-1", a_tunnel())

        assert [0, 0] == [turn(world).ended_tunnels for _ in range(2)]
        assert [] == world.tunnels.ended

    @pytest.mark.parametrize(("state", "ended"), [(GrantState.ENDING, 0), (GrantState.GONE, 1)])
    def test_the_tunnels_of_an_ending_grant_are_left_to_its_own_execution(self, state: GrantState, ended: int) -> None:
        """Which puts them into the receipt; a grant that is gone explains nothing any more."""
        world = running()
        world.declare_grant(state=state)
        world.tunnels.declare_tunnel("i-1", a_tunnel())

        assert ended == turn(world).ended_tunnels

    def test_a_grant_through_another_bastion_explains_nothing_here(self) -> None:
        """Bob may reach another group's databases; this tunnel leads into this group."""
        arn = "arn:aws:sts::123456789012:assumed-role/Developer/bob@example.com"
        world = running()
        bob = a_person("bob", aws=(arn,))
        world.grants.declare_grant(a_grant(a_request(person=bob), bastion="other"))
        world.tunnels.declare_tunnel("i-1", a_tunnel(session_id="bobs", owner=arn, reason=""))

        assert 1 == turn(world).ended_tunnels

    def test_a_tunnel_that_opens_while_grants_are_read_is_looked_at_next_time(self) -> None:
        """Grants are read after the tunnels: what came in between is never ended by mistake."""
        world = running()
        fresh = a_tunnel(session_id="fresh", reason="R-NEXT22")
        world.tunnels.declare_tunnel("i-1", a_tunnel(session_id="strange", reason=""))

        def begin() -> None:
            world.grants.declare_grant(a_grant(a_request(request_id="R-NEXT22", person=BOB)))
            world.tunnels.declare_tunnel("i-1", fresh)

        world.tunnels.declare_meanwhile("open_tunnels", begin)
        turn(world)
        turn(world)

        assert ["strange"] == world.tunnels.ended

    def test_tunnels_do_not_keep_a_bastion_up(self) -> None:
        """Leases do; an explained tunnel has one."""
        world = running()
        world.declare_grant()
        world.tunnels.declare_tunnel("i-1", a_tunnel())
        turn(world)
        world.clock.advance(600)
        turn(world)

        assert ["i-1"] == world.host.called("stop")
        assert FRIDAY_NOON + seconds(600) == world.bastions.find_bastion("main").stop_called_at


def test_the_ordinary_request_is_the_one_of_the_ordinary_tunnel() -> None:
    """Else the tests above would prove nothing."""
    assert a_tunnel().reason == REQUEST_ID == a_grant().facts.request_id
