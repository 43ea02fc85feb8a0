"""WarmBastion: get the group's first bastion on its way while people decide, under a lease that ends with the ask."""

from datetime import timedelta

from chalicelib.defaults import LEASES_PER_BASTION, Durations
from chalicelib.domain.bastions import next_step_to_run, next_step_to_settle
from chalicelib.domain.catalogue import Catalogue
from chalicelib.ports import BastionHost, BastionLedger, Clock, GrantLedger, RequestLedger
from chalicelib.workflow.drive_bastion import drive_bastion
from chalicelib.workflow.read_cost import read_cost

_MOST_LEASES = LEASES_PER_BASTION // 2
"""A bastion with so many is warm without one more; the other places are for those who were granted access."""


def warm_bastion(
    *,
    request_id: str,
    catalogue: Catalogue,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    bastions: BastionLedger,
    host: BastionHost,
    clock: Clock,
) -> bool:
    """Start the bastion without waiting for it; False when the location does not want that or the budget is nearly spent."""
    location = catalogue.require_location(requests.require_request(request_id).request.location)
    name = location.bastion.name
    if not location.warm_up or not _is_affordable(catalogue, durations, requests, grants, clock):
        return False
    if len(bastions.find_bastion(name).leases) >= _MOST_LEASES:
        return True
    until = clock() + timedelta(seconds=durations.approval_wait + durations.stop_settling)
    is_leased = bastions.take_lease(name, request_id, until=until)
    drive_bastion(
        name=name,
        group=location.bastion,
        plan=next_step_to_run if is_leased else next_step_to_settle,
        durations=durations,
        bastions=bastions,
        host=host,
        clock=clock,
    )
    return True


def _is_affordable(
    catalogue: Catalogue, durations: Durations, requests: RequestLedger, grants: GrantLedger, clock: Clock
) -> bool:
    if catalogue.budget_dollars is None:
        return True
    return read_cost(
        catalogue=catalogue, durations=durations, requests=requests, grants=grants, now=clock()
    ).allows_warm_ups
