"""StopIdleBastions: what nobody holds is stopped, and what nobody explains is ended."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.domain.bastions import BastionState, InstanceStatus
from chalicelib.domain.errors import BastionNotReadyError
from chalicelib.domain.grants import GrantState
from chalicelib.workflow.stop_idle_bastions import Housekeeping, stop_idle_bastions
from tests.factories import (
    BOB,
    FRIDAY_NOON,
    REQUEST_ID,
    a_bastion,
    a_connected_instance,
    a_grant,
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
    """What a turn did with the ordinary bastion."""
    (done,) = world.run(stop_idle_bastions)
    return done


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

    def test_a_lease_that_nobody_gave_up_is_on_its_requests_books(self) -> None:
        """Once: a repair, because its execution died or the bastion was warmed for nothing."""
        world = running(R1=1, R2=20)
        world.clock.advance(5 * 60)
        turn(world)
        turn(world)

        (entry,) = world.audit.entries("R1")
        assert ("lease expired", "main", []) == (
            entry["event"],
            entry["facts"]["bastion"],
            world.audit.events("R2"),
        )

    def test_a_lease_that_is_renewed_meanwhile_stays(self) -> None:
        """It was seen expired and taken again before it could be removed."""
        world = running(R1=1)
        world.clock.advance(3600)
        world.bastions.declare_meanwhile(
            "find_bastions", lambda: world.bastions.take_lease("main", "R1", until=world.clock() + minutes(5))
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
        assert [] == World().run(stop_idle_bastions)

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

    @pytest.mark.parametrize(("late", "ended"), [(119, 0), (120, 1)])
    def test_a_late_end_does_not_wait_for_the_database_to_cut_the_way_to_it(self, late: int, ended: int) -> None:
        """Revocation is tried for an hour where nobody can log in, as while the holder's own session locks the logins' table."""
        world = running()
        world.declare_grant(state=GrantState.ENDING, ends_at=FRIDAY_NOON - seconds(late))
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

        world.tunnels.declare_meanwhile("all_open_tunnels", begin)
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


def worked_through(status: InstanceStatus, **fields: Any) -> World:
    """A bastion that is like this, with a delivered grant through the instance i-1."""
    world = World()
    world.bastions.declare_bastion(replace(RUNNING, leases={REQUEST_ID: FRIDAY_NOON + minutes(90)}, **fields))
    world.host.declare_instance("i-1", status)
    world.declare_grant(instance_id="i-1", delivered_at=FRIDAY_NOON, ends_at=FRIDAY_NOON + minutes(75))
    return world


UNCONNECTED = InstanceStatus(ec2="running")


class TestRepairing:
    def test_a_stopped_one_is_started(self) -> None:
        """Whoever stopped it; the command that was delivered works again."""
        world = worked_through(InstanceStatus(ec2="stopped"))
        turn(world)
        world.host.boot()

        assert (0, [("start", "i-1")]) == (turn(world).moved_grants, world.host.calls)
        assert ["bastion repaired"] == world.audit.events("bastion main")

    @pytest.mark.parametrize("ec2", ["terminated", "shutting-down", None])
    def test_one_that_is_gone_is_launched_again_and_its_grants_name_the_new_one(self, ec2: str | None) -> None:
        """Once people can go through it; written down for each of them."""
        world = worked_through(InstanceStatus(ec2=ec2))
        turns = [turn(world)]
        named = [world.grant().instance_id]
        world.host.boot()
        turns += [turn(world), turn(world)]
        named.append(world.grant().instance_id)

        assert [("launch", "i-main1")] == world.host.calls
        assert (["i-1", "i-main1"], [0, 1, 0]) == (named, [each.moved_grants for each in turns])
        assert (["bastion replaced"], ["bastion repaired"]) == (
            world.audit.events(REQUEST_ID),
            world.audit.events("bastion main"),
        )

    def test_one_that_stays_unconnected_is_rebooted_at_the_second_turn(self) -> None:
        """And counted anew: a reboot takes its time."""
        world = worked_through(UNCONNECTED)
        calls = []
        for _ in range(4):
            turn(world)
            calls.append(len(world.host.called("reboot")))
            world.clock.advance(300)

        assert [0, 1, 2, 3] == calls
        assert ["bastion repaired"] * 3 == world.audit.events("bastion main")

    def test_one_that_stays_unconnected_is_rebooted_for_whom_it_is_prepared_too(self) -> None:
        """Preparation starts and launches, and waits; as long as somebody new asks, it would never be stopped either."""
        world = worked_through(UNCONNECTED)
        world.grants.declare_grant(replace(world.grant(), instance_id=None, delivered_at=None))
        calls = []
        for _ in range(3):
            turn(world)
            calls.append(len(world.host.called("reboot")))
            world.clock.advance(300)
        world.host.declare_instance("i-1", a_connected_instance())
        turn(world)

        assert [0, 1, 2] == calls
        assert ["bastion repaired"] * 2 == world.audit.events("bastion main")
        assert world.bastions.find_bastion("main").unreachable_since is None

    def test_one_that_connects_again_is_left_alone(self) -> None:
        """The time without connection is not added up."""
        world = worked_through(UNCONNECTED)
        for status in (UNCONNECTED, a_connected_instance(), UNCONNECTED):
            world.host.declare_instance("i-1", status)
            turn(world)
            world.clock.advance(300)

        assert [] == world.host.calls

    def test_a_bastion_that_somebody_else_replaced_is_named_in_the_grants_of_all(self) -> None:
        """A new holder had found it gone, and launched it."""
        world = worked_through(a_connected_instance(), instance_id="i-2")
        world.host.declare_instance("i-2", a_connected_instance())

        assert (1, "i-2") == (turn(world).moved_grants, world.grant().instance_id)

    def test_nobody_is_moved_to_what_is_not_connected(self) -> None:
        """A line that does not work yet is no news."""
        world = worked_through(a_connected_instance(), instance_id="i-2")
        world.host.declare_instance("i-2", UNCONNECTED)

        assert (0, "i-1") == (turn(world).moved_grants, world.grant().instance_id)

    def test_a_grant_that_changes_meanwhile_is_moved_next_time(self) -> None:
        """By a write that sees what it changes."""
        world = worked_through(a_connected_instance(), instance_id="i-2")
        world.host.declare_instance("i-2", a_connected_instance())
        world.bastions.declare_meanwhile(
            "find_bastions",
            lambda: world.grants.declare_grant(replace(world.grant(), ends_at=FRIDAY_NOON + minutes(80))),
        )

        assert [0, 1] == [turn(world).moved_grants for _ in range(2)]
        assert (FRIDAY_NOON + minutes(80), "i-2") == (world.grant().ends_at, world.grant().instance_id)

    @pytest.mark.parametrize("changes", [{"instance_id": None}, {"state": GrantState.ENDING}], ids=str)
    def test_nothing_is_repaired_for_whom_nothing_was_delivered(self, changes: dict[str, Any]) -> None:
        """Preparation sees to it itself, and an end needs no bastion."""
        world = worked_through(InstanceStatus(ec2="stopped"))
        world.grants.declare_grant(replace(world.grant(), **changes))
        turn(world)

        assert [] == world.host.calls


class TestUnknownInstances:
    @pytest.mark.parametrize(("minutes_old", "ended"), [(14, []), (15, ["i-9"]), (900, ["i-9"])])
    def test_what_no_bastion_names_is_ended_after_a_quarter_of_an_hour(
        self, minutes_old: int, ended: list[str]
    ) -> None:
        """Whoever launched it has died, or it was taken for gone."""
        world = running(R1=90)
        world.host.declare_instance("i-9", a_connected_instance(), FRIDAY_NOON - minutes(minutes_old))
        world.run(stop_idle_bastions)

        assert (ended, ["instance ended"] * len(ended)) == (
            world.host.called("terminate"),
            world.audit.events("bastion i-9"),
        )

    def test_what_a_grant_needs_is_known_though_its_group_has_left_the_catalogue(self) -> None:
        """It goes when the grant is gone."""
        world = World()
        grant = world.declare_grant(bastion="former", instance_id="i-7")
        world.bastions.declare_bastion(a_bastion(name="former.2", state=BastionState.RUNNING, instance_id="i-7"))
        world.host.declare_instance("i-7", a_connected_instance(), FRIDAY_NOON - minutes(90))
        world.run(stop_idle_bastions)
        before = world.host.called("terminate")
        world.grants.declare_grant(replace(grant, state=GrantState.GONE))
        world.run(stop_idle_bastions)

        assert ([], ["i-7"]) == (before, world.host.called("terminate"))


class TestManyBastions:
    def test_each_of_a_group_is_stopped_for_itself(self) -> None:
        """The second has nobody left; the first goes on."""
        world = running(R1=90)
        second = replace(RUNNING, name="main.2", instance_id="i-2", idle_since=FRIDAY_NOON - minutes(11))
        world.bastions.declare_bastion(second)
        world.host.declare_instance("i-2", a_connected_instance())

        done = world.run(stop_idle_bastions)
        assert [("main", "running"), ("main.2", "stopping")] == [(each.bastion, each.state) for each in done]
        assert [("stop", "i-2")] == world.host.calls

    def test_one_that_fails_does_not_keep_the_others_from_their_turn(self) -> None:
        """A pending instance cannot be stopped; the failure is told afterwards."""
        world = World()
        for name in ("main", "main.2"):
            idle = replace(RUNNING, name=name, instance_id=f"i-{name}", idle_since=FRIDAY_NOON - minutes(60))
            world.bastions.declare_bastion(idle)
        world.host.declare_instance("i-main", InstanceStatus(ec2="pending"))
        world.host.declare_instance("i-main.2", a_connected_instance())

        with pytest.raises(BastionNotReadyError, match="Housekeeping failed"):
            world.run(stop_idle_bastions)
        assert world.bastions.find_bastion("main.2").state is BastionState.STOPPING

    def test_a_tunnel_belongs_on_the_instance_that_its_grant_names(self) -> None:
        """The other bastions of the group are not its holder's way."""
        world = running(R1=90)
        world.declare_grant(instance_id="i-2")
        world.tunnels.declare_tunnel("i-1", a_tunnel())

        assert 1 == turn(world).ended_tunnels


def test_the_ordinary_request_is_the_one_of_the_ordinary_tunnel() -> None:
    """Else the tests above would prove nothing."""
    assert a_tunnel().reason == REQUEST_ID == a_grant().facts.request_id
