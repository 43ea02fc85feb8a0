"""CloseTunnels: end the grant's tunnels and give up its leases, whether or not the database could be reached."""

from collections.abc import Sequence

from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.bastions import Bastion, bastion_names
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.grants import Grant
from chalicelib.domain.receipts import ClosedTunnels
from chalicelib.domain.requests import AccessRequest
from chalicelib.domain.tunnels import tunnels_to_end
from chalicelib.ports import AuditTrail, BastionLedger, Clock, GrantLedger, RequestLedger, Tunnels
from chalicelib.workflow.own_grant import find_own_grant


def close_tunnels(
    *,
    request_id: str,
    catalogue: Catalogue,
    requests: RequestLedger,
    grants: GrantLedger,
    bastions: BastionLedger,
    tunnels: Tunnels,
    audit: AuditTrail,
    clock: Clock,
) -> ClosedTunnels:
    """What was ended, kept and could not be attributed. Leases are given up even when SSM does not answer."""
    record = requests.require_request(request_id)
    grant = find_own_grant(record, grants)
    group = _find_group(record.request, grant, catalogue)
    if group is None:
        return ClosedTunnels()
    standing = bastions.find_bastions(bastion_names(group))
    try:
        return _close(grant, standing, grants, tunnels, audit, clock) if grant is not None else ClosedTunnels()
    finally:
        for bastion in standing:
            if request_id in bastion.leases:
                bastions.release_lease(bastion.name, request_id, at=clock())


def _find_group(request: AccessRequest, grant: Grant | None, catalogue: Catalogue) -> str | None:
    if grant is not None:
        return grant.facts.bastion
    location = catalogue.locations.get(request.location)
    return location.bastion.name if location else None


def _close(
    grant: Grant,
    standing: Sequence[Bastion],
    grants: GrantLedger,
    tunnels: Tunnels,
    audit: AuditTrail,
    clock: Clock,
) -> ClosedTunnels:
    # A grant's own tunnels may be on any bastion of its group: what is tagged alike, its holder may have tried.
    present = {bastion.instance_id for bastion in standing}
    instances = {instance for instance in (grant.instance_id, *present) if instance is not None}
    found = [tunnel for instance in sorted(instances) for tunnel in tunnels.open_tunnels(instance)]
    to_end, kept, unexplained = tunnels_to_end(found, ended=grant, others=grants.open_grants())
    # Before they are ended: afterwards nobody could say again which they were, and whose.
    facts = {"bastions": instances, "ended": to_end, "kept": kept, "unattributed": unexplained}
    audit.append(grant.facts.request_id, AuditEvent.TUNNELS_CLOSED, facts, at=clock())
    for tunnel in to_end:
        tunnels.end_tunnel(tunnel.session_id)
    return ClosedTunnels(
        ended=tuple(tunnel.session_id for tunnel in to_end),
        kept=tuple(tunnel.session_id for tunnel in kept),
        unattributed=tuple(tunnel.session_id for tunnel in unexplained),
    )
