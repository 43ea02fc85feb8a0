"""Take a bastion step by step towards where it is wanted. Each step is a conditional write and one call, safe to repeat."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from chalicelib.defaults import Durations
from chalicelib.domain.bastions import Bastion, BastionState, InstanceStatus, Step
from chalicelib.domain.errors import BastionCapacityError
from chalicelib.domain.locations import BastionGroup
from chalicelib.ports import BastionHost, BastionLedger, Clock

Plan = Callable[[Bastion, InstanceStatus, datetime, Durations], Step]
_MOST_STEPS = 6
_NO_INSTANCE = InstanceStatus(ec2=None)


def drive_bastion(
    *,
    group: BastionGroup,
    plan: Plan,
    durations: Durations,
    bastions: BastionLedger,
    host: BastionHost,
    clock: Clock,
) -> tuple[Step, Bastion, InstanceStatus]:
    """Carry out steps until the plan says wait or ready, or enough were taken for one turn.

    Returns the last step, and the bastion and instance as seen for it. Raises BastionCapacityError when no subnet has room.
    """
    for _ in range(_MOST_STEPS):
        bastion = bastions.find_bastion(group.name)
        status = host.status(bastion.instance_id) if bastion.instance_id else _NO_INSTANCE
        step = plan(bastion, status, clock(), durations)
        if step in {Step.WAIT, Step.READY}:
            break
        _take(step, bastion, group, bastions, host, clock())
    return step, bastion, status


def _take(
    step: Step, seen: Bastion, group: BastionGroup, bastions: BastionLedger, host: BastionHost, now: datetime
) -> None:
    match step:
        case Step.LAUNCH:
            _launch(seen, group, bastions, host, now)
        case Step.START if seen.instance_id:
            if bastions.replace_bastion(
                seen,
                replace(seen, state=BastionState.RUNNING, stopped_at=None, stop_called_at=None),
                only_if_unleased=False,
            ):
                host.start(seen.instance_id)
        case Step.STOP if seen.instance_id:
            is_repeated = seen.state is BastionState.STOPPING
            stopping = replace(seen, state=BastionState.STOPPING, stop_called_at=now, is_stop_repeated=is_repeated)
            if bastions.replace_bastion(seen, stopping, only_if_unleased=True):
                host.stop(seen.instance_id)
        case Step.TERMINATE if seen.instance_id:
            if bastions.replace_bastion(seen, replace(seen, state=BastionState.TERMINATING), only_if_unleased=True):
                host.terminate(seen.instance_id)
        case Step.MARK_STOPPED:
            bastions.replace_bastion(
                seen, replace(seen, state=BastionState.STOPPED, stopped_at=now), only_if_unleased=False
            )
        case _:
            bastions.replace_bastion(seen, _without_instance(seen), only_if_unleased=False)


def _launch(seen: Bastion, group: BastionGroup, bastions: BastionLedger, host: BastionHost, now: datetime) -> None:
    try:
        instance_id = host.launch(group, generation=seen.generation)
    except BastionCapacityError:
        bastions.replace_bastion(seen, _without_instance(seen), only_if_unleased=False)
        if seen.generation % len(group.subnets) == len(group.subnets) - 1:
            raise
        return
    bastions.replace_bastion(
        seen,
        replace(seen, state=BastionState.RUNNING, instance_id=instance_id, launched_at=now),
        only_if_unleased=False,
    )


def _without_instance(bastion: Bastion) -> Bastion:
    """Ready for the next generation, whose client token and subnet are new."""
    return Bastion(name=bastion.name, generation=bastion.generation + 1, leases=bastion.leases)
