"""A bastion: the instance of one isolation group of locations, the leases on it, and what to do next about it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from chalicelib.defaults import MINIMUM_AGENT_VERSION, Durations

TAG = "drawbridge:bastion"


class BastionState(StrEnum):
    """What the ledger wants of the bastion. ``absent`` has no instance."""

    ABSENT = "absent"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    TERMINATING = "terminating"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bastion:
    """One bastion as the ledger holds it. ``leases`` maps a request id to the end of its claim."""

    name: str
    state: BastionState = BastionState.ABSENT
    generation: int = 0
    instance_id: str | None = None
    leases: Mapping[str, datetime] = field(default_factory=dict)
    idle_since: datetime | None = None
    """When the last lease went, or when it was first seen idle."""
    launched_at: datetime | None = None
    stopped_at: datetime | None = None
    stop_called_at: datetime | None = None
    is_stop_repeated: bool = False
    """Was the stop called again since the bastion is stopping?"""

    def expired_leases(self, now: datetime) -> dict[str, datetime]:
        """The leases whose end has passed."""
        return {request: until for request, until in self.leases.items() if until <= now}


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatus:
    """What EC2 and SSM say of an instance. ``ec2`` is EC2's state name; None when it knows no such instance."""

    ec2: str | None
    is_connected: bool = False
    agent_version: str | None = None


class Step(StrEnum):
    """The next act on a bastion. ``wait`` means ask again later, ``ready`` that people can tunnel."""

    LAUNCH = "launch"
    FORGET_INSTANCE = "forget_instance"
    START = "start"
    STOP = "stop"
    MARK_STOPPED = "mark_stopped"
    TERMINATE = "terminate"
    WAIT = "wait"
    READY = "ready"


_GONE = {None, "terminated", "shutting-down"}
_LISTED_AFTER_SECONDS = 60
"""EC2 may say for some seconds that it knows no instance that it has just launched (EC2 API: Eventual consistency)."""


def next_step_to_run(bastion: Bastion, status: InstanceStatus, now: datetime, durations: Durations) -> Step:
    """What a holder of a lease does next towards a connected bastion."""
    if bastion.state in {BastionState.STOPPING, BastionState.TERMINATING}:
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


def next_step_to_settle(bastion: Bastion, status: InstanceStatus, now: datetime, durations: Durations) -> Step:
    """How a stop or a termination is seen through to its end.

    EC2's stop is unconditional and may land late, even after its caller's death. So ``stopping`` is left only
    after stopping again, seeing the instance stopped, and a while after the last call. Waits when nothing is to be settled.
    """
    if bastion.state not in {BastionState.STOPPING, BastionState.TERMINATING}:
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
    if bastion.state in {BastionState.STOPPING, BastionState.TERMINATING}:
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


def _is_gone(bastion: Bastion, status: InstanceStatus, now: datetime) -> bool:
    if status.ec2 is None and bastion.launched_at is not None:
        return _is_older(bastion.launched_at, _LISTED_AFTER_SECONDS, now)
    return status.ec2 in _GONE


def _is_older(moment: datetime | None, seconds: int, now: datetime) -> bool:
    return moment is not None and now >= moment + timedelta(seconds=seconds)
