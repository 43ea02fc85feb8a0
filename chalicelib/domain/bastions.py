"""A bastion: an instance of one isolation group of locations, the leases on it, and what to do next about it. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from chalicelib.defaults import BASTIONS_PER_GROUP, LEASES_PER_BASTION, MINIMUM_AGENT_VERSION, Durations
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.domain.locations import BastionGroup

TAG = "drawbridge:bastion"
STAGE_TAG = "drawbridge:stage"
INSTANCE_TYPES = ("t4g.nano", "t4g.micro")
"""What a bastion may run on, cheapest first. The launch template holds the first."""


class BastionState(StrEnum):
    """What the ledger wants of the bastion. ``absent`` has no instance."""

    ABSENT = "absent"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    TERMINATING = "terminating"


CLOSED_TO_LEASES = frozenset({BastionState.STOPPING, BastionState.TERMINATING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bastion:
    """One bastion as the ledger holds it. ``leases`` maps a request id to the end of its claim."""

    name: str
    state: BastionState = BastionState.ABSENT
    generation: int = 0
    refusals: int = 0
    """How often in a row AWS had no room for it."""
    instance_id: str | None = None
    leases: Mapping[str, datetime] = field(default_factory=dict)
    idle_since: datetime | None = None
    """When the last lease went, or when it was first seen idle."""
    launched_at: datetime | None = None
    stopped_at: datetime | None = None
    stop_called_at: datetime | None = None
    is_stop_repeated: bool = False
    """Was the stop called again since the bastion is stopping?"""
    unreachable_since: datetime | None = None
    """Since when it runs and is not connected, while holders need it."""

    @property
    def group(self) -> str:
        """The name of its isolation group."""
        return self.name.partition(".")[0]

    def has_room_for(self, request_id: str) -> bool:
        """May the request hold a lease on it? One that holds one already may."""
        return request_id in self.leases or len(self.leases) < LEASES_PER_BASTION

    def expired_leases(self, now: datetime) -> dict[str, datetime]:
        """The leases whose end has passed."""
        return {request: until for request, until in self.leases.items() if until <= now}


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatus:
    """What EC2 and SSM say of an instance. ``ec2`` is EC2's state name; None when it knows no such instance."""

    ec2: str | None
    is_connected: bool = False
    agent_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedInstance:
    """One instance of our stage, as a listing of all of them shows it. EC2 dates it from its last start."""

    instance_id: str
    ec2: str
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One launch: the same bastion and generation always mean the same instance, in the same place."""

    bastion: str
    group: str
    generation: int
    subnet: str
    instance_type: str
    is_last_of_round: bool
    """Was everything else tried since the round began? If this is refused too, there is no room anywhere."""


class Step(StrEnum):
    """The next act on a bastion. ``wait`` means ask again later, ``ready`` that people can tunnel."""

    LAUNCH = "launch"
    FORGET_INSTANCE = "forget_instance"
    START = "start"
    STOP = "stop"
    MARK_STOPPED = "mark_stopped"
    TERMINATE = "terminate"
    NOTE_UNREACHABLE = "note_unreachable"
    NOTE_REACHABLE = "note_reachable"
    REBOOT = "reboot"
    WAIT = "wait"
    READY = "ready"


REPAIRS = frozenset({Step.LAUNCH, Step.START, Step.REBOOT})
"""What brings a bastion back to those who hold access through it."""


_GONE = {None, "terminated", "shutting-down"}
_LISTED_AFTER_SECONDS = 60
"""EC2 may say for some seconds that it knows no instance that it has just launched (EC2 API: Eventual consistency)."""
_UNKNOWN_SECONDS = 15 * 60
"""Whoever launches an instance writes it down within a minute, or launches the same one again."""


def bastion_names(group: str) -> tuple[str, ...]:
    """The names of the bastions that a group may have: its own, then the same with a number."""
    return (group, *(f"{group}.{number}" for number in range(2, BASTIONS_PER_GROUP + 1)))


def choose_bastion(group: str, standing: Collection[Bastion], request_id: str) -> Bastion | None:
    """The bastion of a group that holds the request's lease, the longest if it has several; else the first with room.

    ``standing`` are those of which the ledger knows. None when all are full.
    """
    if (holding := find_holding(standing, request_id)) is not None:
        return holding
    known = {bastion.name: bastion for bastion in standing}
    bastions = (known.get(name, Bastion(name=name)) for name in bastion_names(group))
    return next((bastion for bastion in bastions if bastion.has_room_for(request_id)), None)


def find_holding(standing: Collection[Bastion], request_id: str) -> Bastion | None:
    """The bastion on which the request has its lease, the longest if it has several."""
    holding = [bastion for bastion in standing if request_id in bastion.leases]
    return max(holding, key=lambda bastion: bastion.leases[request_id], default=None)


def held_by(bastion: Bastion, grants: Iterable[Grant]) -> list[Grant]:
    """The live grants that were delivered and have their lease on the bastion: people work through it."""
    return [
        grant
        for grant in grants
        if grant.state is GrantState.LIVE and grant.instance_id is not None and grant.facts.request_id in bastion.leases
    ]


def is_prepared_for(bastion: Bastion, grants: Iterable[Grant]) -> bool:
    """Does a live grant that was not delivered yet have its lease on the bastion?"""
    return any(
        grant.state is GrantState.LIVE and grant.instance_id is None and grant.facts.request_id in bastion.leases
        for grant in grants
    )


def unknown_instances(
    listed: Iterable[ListedInstance], *, known: Collection[str], now: datetime
) -> list[ListedInstance]:
    """The instances of our stage that no bastion names, once there was time enough to write them down."""
    return [
        instance
        for instance in listed
        if instance.instance_id not in known
        and instance.ec2 not in _GONE
        and _is_older(instance.started_at, _UNKNOWN_SECONDS, now)
    ]


def next_step_to_run(bastion: Bastion, status: InstanceStatus, now: datetime, durations: Durations) -> Step:
    """What a holder of a lease does next towards a connected bastion."""
    if bastion.state in CLOSED_TO_LEASES:
        return next_step_to_settle(bastion, status, now, durations)
    if bastion.instance_id is None:
        return Step.LAUNCH
    if _is_gone(bastion, status, now):
        return Step.FORGET_INSTANCE
    if status.ec2 == "stopped":
        return Step.START
    if status.ec2 == "running" and status.is_connected:
        return Step.READY
    return Step.WAIT


def next_step_when_held(bastion: Bastion, status: InstanceStatus, now: datetime, durations: Durations) -> Step:
    """What housekeeping does about a bastion through which people work: as for a new holder, and it is rebooted when it
    runs and stays unconnected.
    """
    step = next_step_to_run(bastion, status, now, durations)
    if step is Step.READY:
        return Step.READY if bastion.unreachable_since is None else Step.NOTE_REACHABLE
    if step is not Step.WAIT or status.ec2 != "running":
        return step
    if bastion.unreachable_since is None:
        return Step.NOTE_UNREACHABLE
    return Step.REBOOT if _is_older(bastion.unreachable_since, durations.unreachable, now) else Step.WAIT


def next_step_when_prepared(bastion: Bastion, status: InstanceStatus, now: datetime, durations: Durations) -> Step:
    """What housekeeping does about a bastion on which people wait: preparation launches and starts it by itself, but only
    waits for its agent.
    """
    step = next_step_when_held(bastion, status, now, durations)
    if step in {Step.NOTE_UNREACHABLE, Step.NOTE_REACHABLE, Step.REBOOT}:
        return step
    return next_step_when_idle(bastion, status, now, durations)


def next_launch(bastion: Bastion, group: BastionGroup) -> Launch:
    """Where a bastion is launched: each refusal moves on to the next subnet, and past the last one to the next dearer type.

    Generation and refusals change by one write, so whoever launches the same generation asks for the same.
    """
    subnets = len(group.subnets)
    turn = bastion.refusals % (subnets * len(INSTANCE_TYPES))
    return Launch(
        bastion=bastion.name,
        group=group.name,
        generation=bastion.generation,
        subnet=group.subnets[bastion.generation % subnets],
        instance_type=INSTANCE_TYPES[turn // subnets],
        is_last_of_round=turn == subnets * len(INSTANCE_TYPES) - 1,
    )


def next_generation(bastion: Bastion, *, refusals: int = 0) -> Bastion:
    """The bastion without its instance: its next launch has a new client token."""
    return Bastion(name=bastion.name, generation=bastion.generation + 1, refusals=refusals, leases=bastion.leases)


def next_step_to_settle(bastion: Bastion, status: InstanceStatus, now: datetime, durations: Durations) -> Step:
    """How a stop or a termination is seen through to its end.

    EC2's stop is unconditional and may land late, even after its caller's death. So ``stopping`` is left only
    after stopping again, seeing the instance stopped, and a while after the last call. Waits when nothing is to be settled.
    """
    if bastion.state not in CLOSED_TO_LEASES:
        return Step.WAIT
    if status.ec2 in _GONE:
        return Step.FORGET_INSTANCE
    if bastion.state is BastionState.TERMINATING:
        return Step.TERMINATE
    if status.ec2 != "stopped" or bastion.stop_called_at is None:
        return Step.WAIT if status.ec2 == "stopping" and bastion.stop_called_at is not None else Step.STOP
    if not bastion.is_stop_repeated:
        return Step.STOP
    has_settled = now >= bastion.stop_called_at + timedelta(seconds=durations.stop_settling)
    return Step.MARK_STOPPED if has_settled else Step.WAIT


def next_step_when_idle(bastion: Bastion, status: InstanceStatus, now: datetime, durations: Durations) -> Step:
    """What housekeeping does about a bastion on which nobody holds a lease."""
    if bastion.state in CLOSED_TO_LEASES:
        return next_step_to_settle(bastion, status, now, durations)
    if bastion.instance_id is None or bastion.leases:
        return Step.WAIT
    if _is_gone(bastion, status, now):
        return Step.FORGET_INSTANCE
    if _is_older(bastion.launched_at, durations.terminate_after_launched, now):
        return Step.TERMINATE
    if bastion.state is BastionState.STOPPED and status.ec2 == "stopped":
        is_old = _is_older(bastion.stopped_at, durations.terminate_after_stopped, now)
        return Step.TERMINATE if is_old else Step.WAIT
    return Step.STOP if _is_older(bastion.idle_since, durations.idle_grace, now) else Step.WAIT


def is_agent_new_enough(version: str | None) -> bool:
    """Does this SSM agent forward to a remote host? Unknown or odd versions do not."""
    try:
        return tuple(int(part) for part in (version or "").split(".")) >= MINIMUM_AGENT_VERSION
    except ValueError:
        return False


def find_agent_objection(name: str, version: str | None) -> str | None:
    """Why nobody can reach a database through this bastion, though it is connected: a sentence for whoever asked."""
    if is_agent_new_enough(version):
        return None
    least = ".".join(map(str, MINIMUM_AGENT_VERSION))
    return (
        f"The SSM agent of the bastion {name} is too old ({version}); {least} is the least. "
        "Ask the people who run Drawbridge to replace the bastion."
    )


def _is_gone(bastion: Bastion, status: InstanceStatus, now: datetime) -> bool:
    if status.ec2 is None and bastion.launched_at is not None:
        return _is_older(bastion.launched_at, _LISTED_AFTER_SECONDS, now)
    return status.ec2 in _GONE


def _is_older(moment: datetime | None, seconds: int, now: datetime) -> bool:
    return moment is not None and now >= moment + timedelta(seconds=seconds)
