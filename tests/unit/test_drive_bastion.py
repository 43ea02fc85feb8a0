"""Driving a bastion step by step, against a ledger and a host that others use at the same time."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chalicelib.domain.bastions import (
    Bastion,
    BastionState,
    InstanceStatus,
    Step,
    next_launch,
    next_step_to_run,
    next_step_to_settle,
    next_step_when_idle,
)
from chalicelib.domain.errors import BastionCapacityError, BastionNotReadyError
from chalicelib.workflow.drive_bastion import Plan, drive_bastion
from chalicelib.workflow.stop_idle_bastions import stop_idle_bastions
from tests.factories import FRIDAY_NOON, a_bastion, a_connected_instance, a_group, minutes, seconds
from tests.fakes import FakeBastionHost, World
from tests.strategies import LIFE

REQUEST, OTHER = "R-ABC234", "R-NEXT22"
RUNNING = a_bastion(state=BastionState.RUNNING, instance_id="i-1", launched_at=FRIDAY_NOON - minutes(90))


def drive(world: World, plan: Plan = next_step_to_run, *subnets: str) -> tuple[Step, Bastion, InstanceStatus]:
    return world.run(drive_bastion, name="main", group=a_group("main", *subnets), plan=plan)


def leased(bastion: Bastion | None = None, status: InstanceStatus | None = None) -> World:
    """A world in which somebody holds a lease on the bastion."""
    world = World()
    if bastion is not None:
        world.bastions.declare_bastion(bastion)
        if status is not None and bastion.instance_id is not None:
            world.host.declare_instance(bastion.instance_id, status)
    assert world.bastions.take_lease("main", REQUEST, until=FRIDAY_NOON + minutes(90))
    return world


class TestLaunching:
    def test_an_absent_bastion_is_launched_and_then_waited_for(self) -> None:
        """The ledger knows its instance and its age."""
        world = leased()

        step, _, _ = drive(world)

        bastion = world.bastions.find_bastion("main")
        assert (Step.WAIT, [("launch", "i-main0")]) == (step, world.host.calls)
        assert (BastionState.RUNNING, "i-main0", FRIDAY_NOON, 0) == (
            bastion.state,
            bastion.instance_id,
            bastion.launched_at,
            bastion.generation,
        )

    def test_it_is_ready_once_it_is_connected(self) -> None:
        """And not when it merely runs."""
        world = leased()
        first, *_ = drive(world)
        world.host.declare_instance("i-main0", InstanceStatus(ec2="running"))
        second, *_ = drive(world)
        world.host.declare_instance("i-main0", a_connected_instance())
        third, bastion, status = drive(world)

        assert [Step.WAIT, Step.WAIT, Step.READY] == [first, second, third]
        assert ("i-main0", a_connected_instance()) == (bastion.instance_id, status)

    def test_two_requests_share_one_instance(self) -> None:
        """The second finds what the first has launched."""
        world = leased()
        drive(world)
        world.bastions.take_lease("main", OTHER, until=FRIDAY_NOON + minutes(90))
        drive(world)

        assert ["i-main0"] == world.host.called("launch")
        assert {REQUEST, OTHER} == set(world.bastions.find_bastion("main").leases)

    def test_two_who_launch_at_the_same_time_get_the_same_instance(self) -> None:
        """Both saw an absent bastion; the generation makes it one."""
        world = leased()
        world.bastions.declare_meanwhile("find_bastion", lambda: drive(world))
        drive(world)

        assert ["i-main0"] == world.host.called("launch")
        assert "i-main0" == world.bastions.find_bastion("main").instance_id

    def test_an_instance_whose_generation_was_given_up_meanwhile_is_ended_at_once(self) -> None:
        """Another found no room for it and went on to the next. Nobody can note this one any more, and nobody waits for it."""
        world = leased()

        def find_no_room() -> None:
            world.host.declare_no_room("subnet-a")
            drive(world)
            world.host.declare_no_room()

        world.bastions.declare_meanwhile("find_bastion", find_no_room)
        drive(world)

        assert (["i-main1", "i-main0"], ["i-main0"]) == (world.host.called("launch"), world.host.called("terminate"))
        assert "i-main1" == world.bastions.find_bastion("main").instance_id

    def test_an_instance_that_another_has_noted_and_begun_to_stop_is_left_to_them(self) -> None:
        """It is of the same generation: whoever noted it sees to it."""
        world = leased()

        def launch_and_stop() -> None:
            drive(world)
            world.host.boot()
            world.bastions.release_lease("main", REQUEST, at=world.clock())
            seen = world.bastions.find_bastion("main")
            stopping = replace(seen, state=BastionState.STOPPING, stop_called_at=FRIDAY_NOON)
            assert world.bastions.replace_bastion(seen, stopping, only_if_unleased=True)

        world.bastions.declare_meanwhile("find_bastion", launch_and_stop)
        drive(world)

        assert [] == world.host.called("terminate")

    def test_a_launch_whose_note_was_lost_is_found_again(self) -> None:
        """The function died between EC2's answer and the ledger."""
        world = leased()
        orphan = world.host.launch(next_launch(a_bastion(), a_group()))
        drive(world)

        assert ([orphan], orphan) == (world.host.called("launch"), world.bastions.find_bastion("main").instance_id)

    def test_a_full_subnet_is_passed_over_for_the_next(self) -> None:
        """Each generation has its turn; nothing dearer is taken while there is room elsewhere."""
        world = leased()
        world.host.declare_no_room("subnet-a")

        drive(world)

        bastion = world.bastions.find_bastion("main")
        assert (1, "i-main1", {REQUEST}) == (bastion.generation, bastion.instance_id, set(bastion.leases))

    def test_a_type_that_has_no_room_anywhere_is_passed_over_for_the_next(self) -> None:
        """In every subnet first; once it has found room, the next launch begins with the cheapest again."""
        world = leased()
        world.host.declare_no_room("t4g.nano")

        drive(world)

        bastion = world.bastions.find_bastion("main")
        assert [("subnet-a", "t4g.nano"), ("subnet-b", "t4g.nano")] == [
            (launch.subnet, launch.instance_type) for launch in world.host.refused
        ]
        assert ("i-main2", "t4g.nano") == (bastion.instance_id, next_launch(bastion, a_group()).instance_type)

    def test_when_there_is_no_room_at_all_it_is_said_and_tried_again_later(self) -> None:
        """The next try begins with the first subnet and the cheapest type, and succeeds where there is room by then."""
        world = leased()
        world.host.declare_no_room("subnet-a", "subnet-b")
        with pytest.raises(BastionCapacityError):
            drive(world)
        world.host.declare_no_room()
        drive(world)

        assert ["i-main4"] == world.host.called("launch")
        assert [
            ("subnet-a", "t4g.nano"),
            ("subnet-b", "t4g.nano"),
            ("subnet-a", "t4g.micro"),
            ("subnet-b", "t4g.micro"),
        ] == [(launch.subnet, launch.instance_type) for launch in world.host.refused]

    def test_a_launched_instance_that_ec2_does_not_list_yet_is_waited_for(self) -> None:
        """Else a second one would be launched beside it."""
        world = leased()
        drive(world)
        del world.host.instances["i-main0"]
        world.clock.advance(5)

        step, *_ = drive(world)

        assert (Step.WAIT, ["i-main0"]) == (step, world.host.called("launch"))

    def test_an_aws_that_does_not_answer_is_asked_again(self) -> None:
        """Nothing is noted that did not happen."""
        world = leased()
        world.host.declare_unanswering()

        with pytest.raises(BastionNotReadyError):
            drive(world)
        assert world.bastions.find_bastion("main").state is BastionState.ABSENT


class TestStarting:
    @pytest.mark.parametrize("state", [BastionState.STOPPED, BastionState.RUNNING])
    def test_a_stopped_instance_is_started(self, state: BastionState) -> None:
        """Whether we stopped it or somebody else did."""
        world = leased(replace(RUNNING, state=state, stopped_at=FRIDAY_NOON), InstanceStatus(ec2="stopped"))

        step, *_ = drive(world)

        bastion = world.bastions.find_bastion("main")
        assert (Step.WAIT, [("start", "i-1")]) == (step, world.host.calls)
        assert (BastionState.RUNNING, None, None) == (bastion.state, bastion.stopped_at, bastion.stop_called_at)

    def test_a_stop_that_lands_late_is_answered_with_a_start(self) -> None:
        """It was called before the lease and carried out after the start: wait for it to land, then start again."""
        world = leased(RUNNING, a_connected_instance())
        world.host.declare_instance("i-1", InstanceStatus(ec2="stopping"))
        first, *_ = drive(world)
        world.host.land()
        second, *_ = drive(world)
        world.host.boot()
        third, *_ = drive(world)

        assert [Step.WAIT, Step.WAIT, Step.READY] == [first, second, third]
        assert [("start", "i-1")] == world.host.calls

    @pytest.mark.parametrize("ec2", ["shutting-down", "terminated", None])
    def test_an_instance_that_was_terminated_under_us_is_replaced(self, ec2: str | None) -> None:
        """With the next generation, so that EC2 does not hand out the dead one again; the leases stay."""
        world = leased(RUNNING, InstanceStatus(ec2=ec2))

        drive(world)

        bastion = world.bastions.find_bastion("main")
        assert (1, "i-main1", {REQUEST}) == (bastion.generation, bastion.instance_id, set(bastion.leases))


class TestGoingDown:
    def test_a_lease_is_refused_while_stopping_until_the_stop_has_settled(self) -> None:
        """Then it is given, and the instance started."""
        world = World()
        world.bastions.declare_bastion(replace(RUNNING, idle_since=FRIDAY_NOON - minutes(60)))
        world.host.declare_instance("i-1", a_connected_instance())
        drive(world, next_step_when_idle)
        given = [world.bastions.take_lease("main", REQUEST, until=FRIDAY_NOON + minutes(90))]
        world.host.land()
        for later in (30, 31, 30):
            world.clock.advance(later)
            drive(world, next_step_to_settle)
            given.append(world.bastions.take_lease("main", REQUEST, until=FRIDAY_NOON + minutes(90)))

        assert [False, False, False, True] == given
        drive(world)
        assert [("stop", "i-1"), ("stop", "i-1"), ("start", "i-1")] == world.host.calls

    def test_a_stop_that_was_noted_and_never_called_is_called(self) -> None:
        """The function died in between."""
        world = World()
        world.bastions.declare_bastion(replace(RUNNING, state=BastionState.STOPPING, stop_called_at=FRIDAY_NOON))
        world.host.declare_instance("i-1", a_connected_instance())
        world.clock.advance(600)

        step, *_ = drive(world, next_step_to_settle)

        assert (Step.WAIT, [("stop", "i-1")]) == (step, world.host.calls)
        assert FRIDAY_NOON + seconds(600) == world.bastions.find_bastion("main").stop_called_at

    def test_a_lease_that_is_taken_at_the_last_moment_keeps_it_up(self) -> None:
        """Housekeeping had seen it idle."""
        world = World()
        world.bastions.declare_bastion(replace(RUNNING, idle_since=FRIDAY_NOON - minutes(60)))
        world.host.declare_instance("i-1", a_connected_instance())
        world.bastions.declare_meanwhile(
            "find_bastion", lambda: world.bastions.take_lease("main", REQUEST, until=FRIDAY_NOON + minutes(90))
        )

        step, *_ = drive(world, next_step_when_idle)

        assert (Step.WAIT, []) == (step, world.host.calls)
        assert world.bastions.find_bastion("main").state is BastionState.RUNNING

    def test_an_old_bastion_is_terminated_and_forgotten(self) -> None:
        """The next request gets a fresh one of the next generation."""
        world = World()
        world.bastions.declare_bastion(
            replace(RUNNING, state=BastionState.STOPPED, stopped_at=FRIDAY_NOON - minutes(24 * 60))
        )
        world.host.declare_instance("i-1", InstanceStatus(ec2="stopped"))

        drive(world, next_step_when_idle)

        bastion = world.bastions.find_bastion("main")
        assert [("terminate", "i-1")] == world.host.calls
        assert (BastionState.ABSENT, None, 1) == (bastion.state, bastion.instance_id, bastion.generation)


class GuardedHost(FakeBastionHost):
    """A host that notices when an instance goes down under a lease."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def stop(self, instance_id: str) -> None:
        self._require_unleased()
        super().stop(instance_id)

    def terminate(self, instance_id: str) -> None:
        self._require_unleased()
        super().terminate(instance_id)

    def _require_unleased(self) -> None:
        assert not self._world.bastions.find_bastion("main").leases, "an instance goes down under a lease"


class BastionLife(RuleBasedStateMachine):
    """Two requests, housekeeping and AWS, in any order, with steps of one overtaking those of another."""

    requests = st.sampled_from([REQUEST, OTHER])

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.world.host = GuardedHost(self.world)

    @rule(request=requests, lasting=st.integers(60, 7200))
    def somebody_wants_it(self, request: str, lasting: int) -> None:
        self._want(request, lasting)

    @rule(request=requests)
    def somebody_gives_it_up(self, request: str) -> None:
        self.world.bastions.release_lease("main", request, at=self.world.clock())

    @rule()
    def housekeeping_takes_its_turn(self) -> None:
        with suppress(BastionNotReadyError):  # a pending instance cannot be stopped; the next turn tries again
            self.world.run(stop_idle_bastions)

    @rule(request=requests)
    def housekeeping_is_overtaken(self, request: str) -> None:
        self.world.bastions.declare_meanwhile("find_bastion", lambda: self._want(request, 3600))
        self.housekeeping_takes_its_turn()

    @rule(later=st.sampled_from([1, 59, 61, 599, 601, 7201, 14_401, 604_801]))
    def time_passes(self, later: int) -> None:
        self.world.clock.advance(later)

    @rule(full=st.sets(st.sampled_from(["subnet-a", "subnet-b", "t4g.nano", "t4g.micro"])))
    def room_comes_and_goes(self, full: set[str]) -> None:
        self.world.host.declare_no_room(*full)

    @rule()
    def instances_boot(self) -> None:
        self.world.host.boot()

    @rule()
    def stops_land(self) -> None:
        self.world.host.land()

    @rule()
    def somebody_terminates_it_by_hand(self) -> None:
        instance_id = self.world.bastions.find_bastion("main").instance_id
        if instance_id is not None:
            self.world.host.declare_instance(instance_id, InstanceStatus(ec2="terminated"))

    def _want(self, request: str, lasting: int) -> None:
        until = self.world.clock() + seconds(lasting)
        is_leased = self.world.bastions.take_lease("main", request, until=until)
        with suppress(BastionNotReadyError, BastionCapacityError):
            drive(self.world, next_step_to_run if is_leased else next_step_to_settle)

    @invariant()
    def nothing_runs_that_the_ledger_does_not_know(self) -> None:
        known = self.world.bastions.find_bastion("main").instance_id
        up = {name for name, status in self.world.host.instances.items() if status.ec2 in {"pending", "running"}}
        assert up <= {known}

    @invariant()
    def no_lease_stands_on_a_bastion_that_is_going_down(self) -> None:
        bastion = self.world.bastions.find_bastion("main")
        assert not (bastion.leases and bastion.state in {BastionState.STOPPING, BastionState.TERMINATING})

    def teardown(self) -> None:
        """Whatever has happened: who goes on asking gets a connected bastion, and who leaves has it stopped."""
        self.world.host.declare_no_room()
        for _ in range(6):
            self._want(REQUEST, 900)
            self.world.host.boot()
            self.world.host.land()
            self.world.clock.advance(61)
        bastion: Any = self.world.bastions.find_bastion("main")
        assert self.world.host.status(bastion.instance_id).is_connected
        for request in (REQUEST, OTHER):
            self.world.bastions.release_lease("main", request, at=self.world.clock())
        for _ in range(4):
            self.world.clock.advance(601)
            self.housekeeping_takes_its_turn()
            self.world.host.land()
        assert not {"pending", "running"} & {status.ec2 for status in self.world.host.instances.values()}


TestBastionLife = BastionLife.TestCase
TestBastionLife.settings = LIFE
