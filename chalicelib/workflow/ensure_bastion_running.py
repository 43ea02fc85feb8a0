"""EnsureBastionRunning: lease a bastion for the grant's whole life and see it connected. Asked again until it is."""

from datetime import timedelta

from chalicelib.defaults import Durations
from chalicelib.domain.bastions import Step, find_agent_objection, next_step_to_run, next_step_to_settle
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.errors import BastionNotReadyError, DeliveryFailedError
from chalicelib.domain.grants import GrantState
from chalicelib.ports import BastionHost, BastionLedger, Clock, GrantLedger, RequestLedger
from chalicelib.workflow.drive_bastion import drive_bastion
from chalicelib.workflow.lease_bastion import lease_bastion
from chalicelib.workflow.own_grant import find_own_grant


def ensure_bastion_running(
    *,
    request_id: str,
    catalogue: Catalogue,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    bastions: BastionLedger,
    host: BastionHost,
    clock: Clock,
) -> str:
    """The id of a connected instance. Raises BastionNotReadyError and BastionCapacityError, to be asked again,
    BastionsFullError, and DeliveryFailedError when its agent is too old to forward.
    """
    record = requests.require_request(request_id)
    grant = find_own_grant(record, grants)
    if grant is None or grant.state is not GrantState.LIVE:
        raise DeliveryFailedError(f"The grant of {request_id} is not live any more; no bastion is started for it.")
    group = catalogue.require_location(record.request.location).bastion
    lease_until = grant.ends_at + timedelta(seconds=durations.lease_margin)
    name, is_leased = lease_bastion(group=group.name, request_id=request_id, until=lease_until, bastions=bastions)
    plan = next_step_to_run if is_leased else next_step_to_settle
    step, bastion, status = drive_bastion(
        name=name, group=group, plan=plan, durations=durations, bastions=bastions, host=host, clock=clock
    )
    if step is not Step.READY or bastion.instance_id is None:
        raise BastionNotReadyError(f"The bastion {name} did not connect to Session Manager in time. Ask again.")
    if objection := find_agent_objection(name, status.agent_version):
        raise DeliveryFailedError(objection)
    return bastion.instance_id
