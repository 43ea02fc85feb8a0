"""What to do next about a bastion, for everything that the ledger and AWS can say of it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.defaults import DURATIONS
from chalicelib.domain.bastions import (
    INSTANCE_TYPES,
    Bastion,
    BastionState,
    InstanceStatus,
    Launch,
    Step,
    find_agent_objection,
    is_agent_new_enough,
    next_generation,
    next_launch,
    next_step_to_run,
    next_step_to_settle,
    next_step_when_held,
    next_step_when_idle,
)
from tests.factories import FRIDAY_NOON, a_bastion, a_connected_instance, a_group, minutes, seconds
from tests.strategies import RULE

STOPPING, STOPPED, RUNNING = BastionState.STOPPING, BastionState.STOPPED, BastionState.RUNNING
ABSENT, TERMINATING = BastionState.ABSENT, BastionState.TERMINATING
EC2_STATES = (None, "pending", "running", "stopping", "stopped", "shutting-down", "terminated")
PLANS = (next_step_when_held, next_step_to_run, next_step_to_settle, next_step_when_idle)
LONG_AGO = FRIDAY_NOON - timedelta(days=365)

moments = st.one_of(st.none(), st.integers(-700_000, 0).map(lambda late: FRIDAY_NOON + seconds(late)))
bastions = st.builds(
    Bastion,
    name=st.just("main"),
    state=st.sampled_from(BastionState),
    generation=st.integers(0, 3),
    instance_id=st.sampled_from([None, "i-1"]),
    leases=st.dictionaries(st.sampled_from(["R-ABC234", "R-NEXT22"]), st.just(FRIDAY_NOON + minutes(5))),
    idle_since=moments,
    launched_at=moments,
    stopped_at=moments,
    stop_called_at=moments,
)
statuses = st.builds(
    InstanceStatus, ec2=st.sampled_from(EC2_STATES), is_connected=st.booleans(), agent_version=st.none()
)


def everything() -> Iterator[tuple[Bastion, InstanceStatus]]:
    """Whatever the ledger and EC2 can say at once, so that what is rare is met for certain."""
    for state, instance_id, launched, stopped, is_repeated, ec2, is_connected in product(
        BastionState, (None, "i-1"), (None, 5, 3600), (None, 59, 60, 3600), (False, True), EC2_STATES, (False, True)
    ):
        bastion = a_bastion(
            state=state,
            instance_id=instance_id,
            launched_at=ago(launched),
            stop_called_at=ago(stopped),
            is_stop_repeated=is_repeated,
        )
        yield bastion, InstanceStatus(ec2=ec2, is_connected=is_connected)


def ago(late: int | None) -> datetime | None:
    return None if late is None else FRIDAY_NOON - seconds(late)


def going_down(**changes: Any) -> Bastion:
    called = {"stop_called_at": FRIDAY_NOON - seconds(60), "is_stop_repeated": True}
    return a_bastion(state=STOPPING, instance_id="i-1", **called, **changes)


class TestTowardsRunning:
    @pytest.mark.parametrize(
        ("bastion", "status", "step"),
        [
            (a_bastion(), InstanceStatus(ec2=None), Step.LAUNCH),
            (a_bastion(generation=3), InstanceStatus(ec2=None), Step.LAUNCH),
            (a_bastion(state=RUNNING, instance_id="i-1"), InstanceStatus(ec2="pending"), Step.WAIT),
            (a_bastion(state=RUNNING, instance_id="i-1"), InstanceStatus(ec2="running"), Step.WAIT),
            (a_bastion(state=RUNNING, instance_id="i-1"), a_connected_instance(), Step.READY),
            (a_bastion(state=RUNNING, instance_id="i-1"), InstanceStatus(ec2="stopping"), Step.WAIT),
            (a_bastion(state=RUNNING, instance_id="i-1"), InstanceStatus(ec2="stopped"), Step.START),
            (a_bastion(state=STOPPED, instance_id="i-1"), InstanceStatus(ec2="stopped"), Step.START),
            (a_bastion(state=RUNNING, instance_id="i-1"), InstanceStatus(ec2="terminated"), Step.FORGET_INSTANCE),
            (a_bastion(state=RUNNING, instance_id="i-1"), InstanceStatus(ec2="shutting-down"), Step.FORGET_INSTANCE),
            (
                a_bastion(state=RUNNING, instance_id="i-1", launched_at=LONG_AGO),
                InstanceStatus(ec2=None),
                Step.FORGET_INSTANCE,
            ),
            (going_down(), a_connected_instance(), Step.STOP),
            (going_down(), InstanceStatus(ec2="stopped"), Step.MARK_STOPPED),
        ],
    )
    def test_the_way_to_a_connected_bastion(self, bastion: Bastion, status: InstanceStatus, step: Step) -> None:
        """Launch what is absent, start what is stopped, forget what is gone, see a stop through; else wait."""
        assert step is next_step_to_run(bastion, status, FRIDAY_NOON, DURATIONS)

    @pytest.mark.parametrize("plan", [next_step_to_run, next_step_when_idle])
    def test_an_instance_that_was_launched_just_now_is_not_forgotten(self, plan: Any) -> None:
        """EC2 may not know a new instance for some seconds; forgetting it would leave it running for ever."""
        bastion = a_bastion(state=RUNNING, instance_id="i-1", launched_at=FRIDAY_NOON - seconds(5))

        assert plan(bastion, InstanceStatus(ec2=None), FRIDAY_NOON, DURATIONS) is Step.WAIT

    def test_ready_means_that_people_can_tunnel(self) -> None:
        """Running, connected and not on its way down."""
        ready = [
            (bastion, status)
            for bastion, status in everything()
            if next_step_to_run(bastion, status, FRIDAY_NOON, DURATIONS) is Step.READY
        ]

        assert {("i-1", "running", True)} == {(each.instance_id, it.ec2, it.is_connected) for each, it in ready}
        assert not {STOPPING, TERMINATING} & {bastion.state for bastion, _ in ready}

    @RULE
    @given(bastions, statuses)
    def test_nobody_who_wants_it_running_begins_to_stop_it(self, bastion: Bastion, status: InstanceStatus) -> None:
        """A stop or termination is only ever carried on with."""
        step = next_step_to_run(bastion, status, FRIDAY_NOON, DURATIONS)

        assert step not in {Step.STOP, Step.TERMINATE} or bastion.state in {STOPPING, TERMINATING}


class TestBeingWorkedThrough:
    @RULE
    @given(bastions, statuses)
    def test_it_is_brought_back_as_for_a_new_holder(self, bastion: Bastion, status: InstanceStatus) -> None:
        """What is more is only about one that runs: noting whether it is connected, and rebooting it."""
        wanted = next_step_to_run(bastion, status, FRIDAY_NOON, DURATIONS)
        step = next_step_when_held(bastion, status, FRIDAY_NOON, DURATIONS)

        assert step is wanted or (wanted in {Step.WAIT, Step.READY} and status.ec2 == "running")

    def test_it_is_rebooted_only_when_it_was_unconnected_for_a_while(self) -> None:
        """Two turns of housekeeping, and not one."""
        rebooted = {
            (status.ec2, status.is_connected, unreachable)
            for bastion, status in everything()
            for unreachable in (None, 0, 239, 240, 600)
            if next_step_when_held(replace(bastion, unreachable_since=ago(unreachable)), status, FRIDAY_NOON, DURATIONS)
            is Step.REBOOT
        }

        assert {("running", False, 240), ("running", False, 600)} == rebooted


class TestSettling:
    def test_a_stop_is_called_again_before_it_is_believed(self) -> None:
        """However long ago the first call was: it may be one that still lands."""
        bastion = a_bastion(state=STOPPING, instance_id="i-1", stop_called_at=FRIDAY_NOON - seconds(3600))

        assert Step.STOP is next_step_to_settle(bastion, InstanceStatus(ec2="stopped"), FRIDAY_NOON, DURATIONS)

    @pytest.mark.parametrize(
        ("ec2", "since_call", "step"),
        [
            ("running", 5, Step.STOP),
            ("pending", 5, Step.STOP),
            ("stopping", 5, Step.WAIT),
            ("stopped", 0, Step.WAIT),
            ("stopped", 59.9, Step.WAIT),
            ("stopped", 60, Step.MARK_STOPPED),
            ("stopped", None, Step.STOP),
            ("stopping", None, Step.STOP),
            ("running", None, Step.STOP),
            ("terminated", 5, Step.FORGET_INSTANCE),
            (None, 5, Step.FORGET_INSTANCE),
        ],
    )
    def test_a_stop_is_seen_through(self, ec2: str | None, since_call: float | None, step: Step) -> None:
        """Called again while the instance runs, believed only when seen stopped and a minute after the last call."""
        called = None if since_call is None else FRIDAY_NOON - seconds(since_call)
        bastion = a_bastion(state=STOPPING, instance_id="i-1", stop_called_at=called, is_stop_repeated=True)

        assert step is next_step_to_settle(bastion, InstanceStatus(ec2=ec2), FRIDAY_NOON, DURATIONS)

    @pytest.mark.parametrize(
        ("ec2", "step"),
        [
            *[(ec2, Step.TERMINATE) for ec2 in ("pending", "running", "stopping", "stopped")],
            *[(ec2, Step.FORGET_INSTANCE) for ec2 in ("shutting-down", "terminated", None)],
        ],
    )
    def test_a_termination_is_seen_through(self, ec2: str | None, step: Step) -> None:
        """Called until the instance is on its way out."""
        bastion = a_bastion(state=TERMINATING, instance_id="i-1")

        assert step is next_step_to_settle(bastion, InstanceStatus(ec2=ec2), FRIDAY_NOON, DURATIONS)

    @pytest.mark.parametrize("plan", PLANS)
    def test_stopping_is_left_only_after_the_stop_has_settled(self, plan: Any) -> None:
        """Whichever plan is followed: EC2's stop is unconditional and may land late."""
        left = {
            (bastion.state, status.ec2, bastion.stop_called_at)
            for bastion, status in everything()
            if plan(bastion, status, FRIDAY_NOON, DURATIONS) is Step.MARK_STOPPED
        }

        assert {(STOPPING, "stopped", ago(60)), (STOPPING, "stopped", ago(3600))} == left

    @RULE
    @given(bastions, statuses)
    def test_nothing_is_settled_on_a_bastion_that_is_not_going_down(
        self, bastion: Bastion, status: InstanceStatus
    ) -> None:
        """It waits."""
        if bastion.state not in {STOPPING, TERMINATING}:
            assert next_step_to_settle(bastion, status, FRIDAY_NOON, DURATIONS) is Step.WAIT


def idle(**changes: Any) -> Bastion:
    """A running bastion on which nobody holds a lease."""
    return a_bastion(**{"state": RUNNING, "instance_id": "i-1", "launched_at": FRIDAY_NOON - minutes(90), **changes})


class TestWhenIdle:
    @pytest.mark.parametrize(
        ("bastion", "status", "step"),
        [
            (a_bastion(), InstanceStatus(ec2=None), Step.WAIT),
            (idle(idle_since=FRIDAY_NOON - minutes(9.9)), a_connected_instance(), Step.WAIT),
            (idle(idle_since=FRIDAY_NOON - minutes(10)), a_connected_instance(), Step.STOP),
            (idle(idle_since=None), a_connected_instance(), Step.WAIT),
            (idle(idle_since=LONG_AGO, leases={"R-ABC234": FRIDAY_NOON}), a_connected_instance(), Step.WAIT),
            (idle(launched_at=LONG_AGO, leases={"R-ABC234": FRIDAY_NOON}), a_connected_instance(), Step.WAIT),
            (idle(launched_at=FRIDAY_NOON - timedelta(days=7)), a_connected_instance(), Step.TERMINATE),
            (
                idle(state=STOPPED, stopped_at=FRIDAY_NOON - timedelta(hours=3), idle_since=LONG_AGO),
                InstanceStatus(ec2="stopped"),
                Step.WAIT,
            ),
            (
                idle(state=STOPPED, stopped_at=FRIDAY_NOON - timedelta(hours=4), idle_since=LONG_AGO),
                InstanceStatus(ec2="stopped"),
                Step.TERMINATE,
            ),
            (
                idle(state=STOPPED, stopped_at=FRIDAY_NOON, idle_since=LONG_AGO),
                a_connected_instance(),
                Step.STOP,
            ),
            (idle(), InstanceStatus(ec2="terminated"), Step.FORGET_INSTANCE),
            (going_down(), InstanceStatus(ec2="stopped"), Step.MARK_STOPPED),
            (idle(state=TERMINATING), a_connected_instance(), Step.TERMINATE),
        ],
    )
    def test_an_unused_bastion_is_stopped_and_in_the_end_terminated(
        self, bastion: Bastion, status: InstanceStatus, step: Step
    ) -> None:
        """Ten minutes after the last lease; a day after it was stopped, or a week after it was launched."""
        assert step is next_step_when_idle(bastion, status, FRIDAY_NOON, DURATIONS)

    @RULE
    @given(bastions, statuses)
    def test_nothing_goes_down_under_a_lease(self, bastion: Bastion, status: InstanceStatus) -> None:
        """Only what is going down already is carried on with: then no lease can have been taken since."""
        step = next_step_when_idle(bastion, status, FRIDAY_NOON, DURATIONS)

        if bastion.leases and bastion.state not in {STOPPING, TERMINATING}:
            assert step is Step.WAIT

    @RULE
    @given(bastions, statuses)
    def test_housekeeping_never_starts_anything(self, bastion: Bastion, status: InstanceStatus) -> None:
        """It only takes away."""
        assert next_step_when_idle(bastion, status, FRIDAY_NOON, DURATIONS) not in {Step.LAUNCH, Step.START, Step.READY}


@pytest.mark.parametrize(
    ("state", "ec2", "is_connected", "instance_id"),
    list(product(BastionState, EC2_STATES, [True, False], [None, "i-1"])),
)
def test_there_is_a_next_step_for_everything(
    state: BastionState, ec2: str | None, is_connected: bool, instance_id: str | None
) -> None:
    """No combination of what the ledger and EC2 say is without an answer, and none acts on an instance that is not there."""
    bastion = a_bastion(state=state, instance_id=instance_id, idle_since=LONG_AGO, launched_at=LONG_AGO)
    status = InstanceStatus(ec2=ec2 if instance_id else None, is_connected=is_connected)

    steps = {plan(bastion, status, FRIDAY_NOON, DURATIONS) for plan in PLANS}

    assert steps <= set(Step)
    assert instance_id or not steps & {Step.START, Step.STOP, Step.TERMINATE, Step.READY, Step.MARK_STOPPED}


@pytest.mark.parametrize(
    ("version", "is_new_enough"),
    [
        ("3.1.1374.0", True),
        ("3.3.859.0", True),
        ("4.0", True),
        ("3.1.1373.9", False),
        ("3.1.1374", False),
        ("2.9.9999.0", False),
        ("", False),
        (None, False),
        ("latest", False),
    ],
)
def test_an_agent_must_be_known_to_forward(version: str | None, is_new_enough: bool) -> None:
    """From the first version that forwards to a remote host; unknown and odd ones do not count."""
    assert is_new_enough == is_agent_new_enough(version)


def test_a_bastion_whose_agent_cannot_forward_is_objected_to() -> None:
    """With both versions and whom to ask."""
    assert (
        "The SSM agent of the bastion main is too old (3.0.0.0); 3.1.1374.0 is the least. "
        "Ask the people who run Drawbridge to replace the bastion."
    ) == find_agent_objection("main", "3.0.0.0")
    assert find_agent_objection("main", "3.3.859.0") is None


@RULE
@given(bastions, moments.filter(lambda moment: moment is not None))
def test_a_lease_has_expired_once_its_end_is_reached(bastion: Bastion, now: datetime) -> None:
    """Not before."""
    expired = bastion.expired_leases(now)

    assert expired == {request: until for request, until in bastion.leases.items() if until <= now}


def places(launches: list[Launch]) -> list[tuple[str, str]]:
    return [(launch.subnet, launch.instance_type) for launch in launches]


def refused_row(generation: int, subnets: int, length: int) -> list[Launch]:
    """The launches of a bastion that finds no room, one after the other."""
    group = a_group("main", *(f"subnet-{number}" for number in range(subnets)))
    bastion, row = a_bastion(generation=generation), []
    for refusals in range(length):
        row.append(next_launch(bastion, group))
        bastion = next_generation(bastion, refusals=refusals + 1)
    return row


class TestWhereToLaunch:
    def test_the_next_subnet_then_the_next_type_then_back(self) -> None:
        """A round of two subnets, and the beginning of the next."""
        assert [
            ("subnet-0", "t4g.nano"),
            ("subnet-1", "t4g.nano"),
            ("subnet-0", "t4g.micro"),
            ("subnet-1", "t4g.micro"),
            ("subnet-0", "t4g.nano"),
        ] == places(refused_row(0, 2, 5))

    @RULE
    @given(generation=st.integers(0, 1000), subnets=st.integers(1, 6), rounds=st.integers(1, 3))
    def test_every_place_is_tried_before_any_is_tried_twice(self, generation: int, subnets: int, rounds: int) -> None:
        """In every round, whichever subnet it begins with; and only the round's last launch is called its last."""
        size = subnets * len(INSTANCE_TYPES)
        row = refused_row(generation, subnets, rounds * size)

        assert all(size == len(set(places(row[start : start + size]))) for start in range(0, len(row), size))
        assert [number % size == size - 1 for number in range(len(row))] == [each.is_last_of_round for each in row]

    @RULE
    @given(generation=st.integers(0, 1000), subnets=st.integers(1, 6), length=st.integers(1, 30))
    def test_nothing_dearer_is_taken_while_something_cheaper_was_not_refused(
        self, generation: int, subnets: int, length: int
    ) -> None:
        """In any subnet, since the last launch that found room."""
        row = refused_row(generation, subnets, length)
        refused, cheapest = set(places(row[:-1])), INSTANCE_TYPES[0]

        assert (
            row[-1].instance_type == cheapest
            or {(f"subnet-{number}", cheapest) for number in range(subnets)} <= refused
        )

    @RULE
    @given(generation=st.integers(0, 1000), subnets=st.integers(1, 6))
    def test_a_launch_that_found_room_ends_the_row(self, generation: int, subnets: int) -> None:
        """Whatever was refused before, the next instance is of the cheapest type again."""
        group = a_group("main", *(f"subnet-{number}" for number in range(subnets)))

        assert INSTANCE_TYPES[0] == next_launch(next_generation(a_bastion(generation=generation)), group).instance_type

    @RULE
    @given(refusals=st.integers(0, 30), generation=st.integers(0, 30))
    def test_who_launches_the_same_generation_asks_for_the_same(self, refusals: int, generation: int) -> None:
        """Both go by what one write has set; AWS refuses one token for two different places."""
        bastion = a_bastion(generation=generation, refusals=refusals)
        leased = a_bastion(generation=generation, refusals=refusals, leases={"R-ABC234": FRIDAY_NOON})

        assert next_launch(bastion, a_group()) == next_launch(leased, a_group())
