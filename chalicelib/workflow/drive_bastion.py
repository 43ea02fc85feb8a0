"""Take a bastion step by step towards where it is wanted. Each step is a conditional write and one call, safe to repeat."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from chalicelib.defaults import Durations
from chalicelib.domain.bastions import Bastion, BastionState, InstanceStatus, Step, next_generation, next_launch
from chalicelib.domain.errors import BastionCapacityError
from chalicelib.domain.locations import BastionGroup
from chalicelib.ports import BastionHost, BastionLedger, Clock

Plan = Callable[[Bastion, InstanceStatus, datetime, Durations], Step]
_MOST_STEPS = 6
_NO_INSTANCE = InstanceStatus(ec2=None)


def drive_bastion(
    *,
    name: str,
    group: BastionGroup,
    plan: Plan,
    durations: Durations,
    bastions: BastionLedger,
    host: BastionHost,
    clock: Clock,
) -> tuple[Step, Bastion, InstanceStatus]:
    """Carry out steps until the plan says wait or ready, or enough were taken for one turn.

    Returns the last step, and the bastion and instance as seen for it. Raises BastionCapacityError when no subnet has room
    for any type.
    """
    for _ in range(_MOST_STEPS):
        bastion = bastions.find_bastion(name)
        status = host.status(bastion.instance_id) if bastion.instance_id else _NO_INSTANCE
        step = plan(bastion, status, clock(), durations)
        if step in {Step.WAIT, Step.READY}:
            break
        _take(step, bastion, group, bastions, host, clock())
    return step, bastion, status


def _take(
    step: Step, seen: Bastion, group: BastionGroup, bastions: BastionLedger, host: BastionHost, now: datetime
) -> None:
    if step is Step.LAUNCH:
        _launch(seen, group, bastions, host, now)
        return
    wanted, call = _write_and_call(step, seen, host, now)
    is_going_down = step in {Step.STOP, Step.TERMINATE}
    if bastions.replace_bastion(seen, wanted, only_if_unleased=is_going_down) and call and seen.instance_id:
        call(seen.instance_id)


def _write_and_call(
    step: Step, seen: Bastion, host: BastionHost, now: datetime
) -> tuple[Bastion, Callable[[str], None] | None]:
    """What the ledger is to hold, and what EC2 is told once it does."""
    match step:
        case Step.START:
            running = replace(seen, state=BastionState.RUNNING, stopped_at=None, stop_called_at=None)
            return replace(running, unreachable_since=None), host.start
        case Step.STOP:
            is_repeated = seen.state is BastionState.STOPPING
            stopping = replace(seen, state=BastionState.STOPPING, stop_called_at=now, is_stop_repeated=is_repeated)
            return stopping, host.stop
        case Step.TERMINATE:
            return replace(seen, state=BastionState.TERMINATING), host.terminate
        case Step.REBOOT:
            return replace(seen, unreachable_since=now), host.reboot
        case Step.NOTE_UNREACHABLE:
            return replace(seen, unreachable_since=now), None
        case Step.NOTE_REACHABLE:
            return replace(seen, unreachable_since=None), None
        case Step.MARK_STOPPED:
            return replace(seen, state=BastionState.STOPPED, stopped_at=now), None
        case _:
            return next_generation(seen), None


def _launch(seen: Bastion, group: BastionGroup, bastions: BastionLedger, host: BastionHost, now: datetime) -> None:
    launch = next_launch(seen, group)
    try:
        instance_id = host.launch(launch)
    except BastionCapacityError:
        bastions.replace_bastion(seen, next_generation(seen, refusals=seen.refusals + 1), only_if_unleased=False)
        if launch.is_last_of_round:
            raise
        return
    running = replace(seen, state=BastionState.RUNNING, instance_id=instance_id, launched_at=now, refusals=0)
    if bastions.replace_bastion(seen, running, only_if_unleased=False):
        return
    # Who notes an instance has to see its own generation: once that was given up, nobody will note this one, or stop it soon.
    if bastions.find_bastion(seen.name).generation > seen.generation:
        host.terminate(instance_id)
