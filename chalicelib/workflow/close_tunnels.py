"""CloseTunnels: end the grant's tunnels and give up its lease, whether or not the database could be reached."""

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
    """What was ended, kept and could not be attributed. The lease is given up even when SSM does not answer."""
    record = requests.require_request(request_id)
    grant = find_own_grant(record, grants)
    bastion = _find_bastion_name(record.request, grant, catalogue)
    if bastion is None:
        return ClosedTunnels()
    try:
        closed = _close(grant, bastion, grants, bastions, tunnels) if grant is not None else ClosedTunnels()
    finally:
        bastions.release_lease(bastion, request_id, at=clock())
    if grant is not None:
        audit.append(request_id, "tunnels closed", {"tunnels": closed}, at=clock())
    return closed


def _find_bastion_name(request: AccessRequest, grant: Grant | None, catalogue: Catalogue) -> str | None:
    if grant is not None:
        return grant.facts.bastion
    location = catalogue.locations.get(request.location)
    return location.bastion.name if location else None


def _close(grant: Grant, bastion: str, grants: GrantLedger, bastions: BastionLedger, tunnels: Tunnels) -> ClosedTunnels:
    standing = bastions.find_bastion(bastion).instance_id
    instances = {instance for instance in (grant.instance_id, standing) if instance is not None}
    found = [tunnel for instance in sorted(instances) for tunnel in tunnels.open_tunnels(instance)]
    to_end, kept, unexplained = tunnels_to_end(found, ended=grant, others=grants.open_grants())
    for tunnel in to_end:
        tunnels.end_tunnel(tunnel.session_id)
    return ClosedTunnels(
        ended=tuple(tunnel.session_id for tunnel in to_end),
        kept=tuple(tunnel.session_id for tunnel in kept),
        unattributed=tuple(tunnel.session_id for tunnel in unexplained),
    )
