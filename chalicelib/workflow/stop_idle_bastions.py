"""StopIdleBastions: on a schedule, end tunnels that no live grant explains and stop bastions that nobody holds."""

from dataclasses import dataclass

from chalicelib.defaults import Durations
from chalicelib.domain.bastions import Bastion, next_step_when_idle
from chalicelib.domain.locations import BastionGroup
from chalicelib.domain.tunnels import is_tunnel_of
from chalicelib.ports import AuditTrail, BastionHost, BastionLedger, Clock, GrantLedger, Tunnels
from chalicelib.workflow.drive_bastion import drive_bastion


@dataclass(frozen=True, slots=True, kw_only=True)
class Housekeeping:
    """What one turn did with one bastion."""

    bastion: str
    state: str
    expired_leases: int
    ended_tunnels: int


def stop_idle_bastion(
    *,
    group: BastionGroup,
    durations: Durations,
    grants: GrantLedger,
    bastions: BastionLedger,
    host: BastionHost,
    tunnels: Tunnels,
    audit: AuditTrail,
    clock: Clock,
) -> Housekeeping:
    """One turn for one bastion. Idle means: no lease for the grace time; tunnels do not count, because leases explain them."""
    bastion = bastions.find_bastion(group.name)
    expired = bastion.expired_leases(clock())
    for request_id, until in expired.items():
        bastions.expire_lease(group.name, request_id, seen=until)
    ended = _end_unexplained_tunnels(bastion, grants, tunnels, audit, clock)
    if bastion.instance_id is not None and len(bastion.leases) == len(expired):
        bastions.mark_idle(group.name, at=clock())
    _, bastion, _ = drive_bastion(
        group=group, plan=next_step_when_idle, durations=durations, bastions=bastions, host=host, clock=clock
    )
    return Housekeeping(bastion=group.name, state=str(bastion.state), expired_leases=len(expired), ended_tunnels=ended)


def _end_unexplained_tunnels(
    bastion: Bastion, grants: GrantLedger, tunnels: Tunnels, audit: AuditTrail, clock: Clock
) -> int:
    instance_id = bastion.instance_id
    if instance_id is None:
        return 0
    # Grants are read after the tunnels: a tunnel opened in between is looked at next time, never ended by mistake.
    found = tunnels.open_tunnels(instance_id)
    here = [grant for grant in grants.open_grants() if grant.facts.bastion == bastion.name] if found else []
    # A grant that is ending explains its tunnels too: its own execution ends them and says so in the receipt.
    unexplained = [tunnel for tunnel in found if not any(is_tunnel_of(tunnel, grant) for grant in here)]
    for tunnel in unexplained:
        tunnels.end_tunnel(tunnel.session_id)
        audit.append(f"bastion {instance_id}", "tunnel ended", {"tunnel": tunnel}, at=clock())
    return len(unexplained)
