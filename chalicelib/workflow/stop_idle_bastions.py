"""StopIdleBastions: on a schedule, end tunnels that no live grant explains, stop bastions that nobody holds, bring back those
through which people work or are about to, and end instances that no bastion names.

It looks at everything by pages, and at a single bastion only where something is to be done.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from chalicelib.defaults import Durations
from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.bastions import (
    REPAIRS,
    Bastion,
    InstanceStatus,
    ListedInstance,
    Step,
    bastion_names,
    held_by,
    is_prepared_for,
    next_step_when_held,
    next_step_when_idle,
    next_step_when_prepared,
    unknown_instances,
)
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.errors import AccessError, BastionNotReadyError
from chalicelib.domain.grants import Grant, GrantState, revocation_attempt
from chalicelib.domain.tunnels import Tunnel, is_tunnel_of, leads_through
from chalicelib.ports import AuditTrail, BastionHost, BastionLedger, Clock, GrantLedger, Tunnels
from chalicelib.workflow.drive_bastion import Plan, drive_bastion


@dataclass(frozen=True, slots=True, kw_only=True)
class Housekeeping:
    """What one turn did with one bastion."""

    bastion: str
    state: str
    expired_leases: int = 0
    ended_tunnels: int = 0
    moved_grants: int = 0


def stop_idle_bastions(
    *,
    catalogue: Catalogue,
    stage: str,
    durations: Durations,
    grants: GrantLedger,
    bastions: BastionLedger,
    host: BastionHost,
    tunnels: Tunnels,
    audit: AuditTrail,
    clock: Clock,
) -> Sequence[Housekeeping]:
    """One turn for every bastion that was ever used. Idle means: no lease for the grace time; tunnels do not count, because
    leases explain them.

    One that fails does not keep the others from their turn. Raises BastionNotReadyError afterwards, with all of them.
    """
    # In this order: what comes to be in between is looked at next time, never ended by mistake.
    listed, open_tunnels, open_grants = host.list_instances(stage), tunnels.all_open_tunnels(), grants.open_grants()
    groups = {*catalogue.bastions, *(grant.facts.bastion for grant in open_grants)}
    standing = bastions.find_bastions([name for group in sorted(groups) for name in bastion_names(group)])
    needed = {
        bastion.instance_id
        for bastion in standing
        if held_by(bastion, open_grants) or is_prepared_for(bastion, open_grants)
    }
    running = {instance.instance_id for instance in listed if instance.ec2 == "running"}
    turn = _Turn(
        listed={instance.instance_id: instance for instance in listed},
        online=host.find_online(running & needed),
        open_tunnels=open_tunnels,
        open_grants=open_grants,
        catalogue=catalogue,
        durations=durations,
        grants=grants,
        bastions=bastions,
        host=host,
        tunnels=tunnels,
        audit=audit,
        clock=clock,
    )
    acts = [partial(turn.see_to, bastion) for bastion in standing if bastion.group in catalogue.bastions]
    known = {bastion.instance_id for bastion in standing if bastion.instance_id is not None}
    acts += [partial(turn.end_instance, each) for each in unknown_instances(listed, known=known, now=clock())]
    done, failures = [], []
    for act in acts:
        try:
            done.append(act())
        except AccessError as error:
            failures.append(str(error))
    if failures:
        raise BastionNotReadyError(f"Housekeeping failed, and is tried again: {'; '.join(failures)}")
    return done


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """What one turn has seen, and all that it acts with."""

    listed: Mapping[str, ListedInstance]
    online: Collection[str]
    open_tunnels: Sequence[Tunnel]
    open_grants: Sequence[Grant]
    catalogue: Catalogue
    durations: Durations
    grants: GrantLedger
    bastions: BastionLedger
    host: BastionHost
    tunnels: Tunnels
    audit: AuditTrail
    clock: Clock

    def see_to(self, bastion: Bastion) -> Housekeeping:
        """A turn for one bastion, as it was seen."""
        expired = self._expire_leases(bastion)
        ended = self._end_unexplained_tunnels(bastion)
        if bastion.instance_id is not None and bastion.idle_since is None and len(bastion.leases) == expired:
            self.bastions.mark_idle(bastion.name, at=self.clock())
        held = held_by(bastion, self.open_grants)
        bastion, is_connected = self._drive(bastion, self._choose_plan(bastion), is_changed=bool(expired))
        return Housekeeping(
            bastion=bastion.name,
            state=str(bastion.state),
            expired_leases=expired,
            ended_tunnels=ended,
            moved_grants=self._move_grants(bastion, held) if is_connected else 0,
        )

    def end_instance(self, instance: ListedInstance) -> Housekeeping:
        """Nobody would ever stop it: whoever launched it died, or its group has left the catalogue."""
        self.audit.append(
            f"bastion {instance.instance_id}", AuditEvent.INSTANCE_ENDED, {"instance": instance}, at=self.clock()
        )
        self.host.terminate(instance.instance_id)
        return Housekeeping(bastion=instance.instance_id, state="unknown")

    def _expire_leases(self, bastion: Bastion) -> int:
        expired = bastion.expired_leases(self.clock())
        for request_id, until in expired.items():
            facts = {"bastion": bastion.name, "until": until}
            self.audit.append(request_id, AuditEvent.LEASE_EXPIRED, facts, at=self.clock())
            self.bastions.expire_lease(bastion.name, request_id, seen=until)
        return len(expired)

    def _end_unexplained_tunnels(self, bastion: Bastion) -> int:
        here = [grant for grant in self.open_grants if grant.facts.bastion == bastion.group]
        now = self.clock()
        unexplained = [
            tunnel
            for tunnel in self.open_tunnels
            if tunnel.instance_id == bastion.instance_id and not any(_may_stay(tunnel, grant, now) for grant in here)
        ]
        for tunnel in unexplained:
            trail = f"bastion {bastion.instance_id}"
            self.audit.append(trail, AuditEvent.TUNNEL_ENDED, {"tunnel": tunnel}, at=self.clock())
            self.tunnels.end_tunnel(tunnel.session_id)
        return len(unexplained)

    def _choose_plan(self, bastion: Bastion) -> Plan:
        if held_by(bastion, self.open_grants):
            return next_step_when_held
        return next_step_when_prepared if is_prepared_for(bastion, self.open_grants) else next_step_when_idle

    def _drive(self, bastion: Bastion, look: Plan, *, is_changed: bool) -> tuple[Bastion, bool]:
        """The bastion afterwards, and whether it is connected. What needs nothing by the lists is not asked about."""
        listed = self.listed.get(bastion.instance_id or "")
        status = InstanceStatus(ec2=listed.ec2 if listed else None, is_connected=bastion.instance_id in self.online)
        if is_changed or look(bastion, status, self.clock(), self.durations) not in {Step.WAIT, Step.READY}:
            _, bastion, status = drive_bastion(
                name=bastion.name,
                group=self.catalogue.bastions[bastion.group],
                plan=partial(self._plan_noted, look),
                durations=self.durations,
                bastions=self.bastions,
                host=self.host,
                clock=self.clock,
            )
        return bastion, status.is_connected

    def _plan_noted(
        self, look: Plan, bastion: Bastion, status: InstanceStatus, now: datetime, durations: Durations
    ) -> Step:
        """The next step, written down if it is one that a holder may notice."""
        step = look(bastion, status, now, durations)
        if step in REPAIRS:
            facts = {"step": step, "instance": bastion.instance_id, "generation": bastion.generation, "seen_at": now}
            self.audit.append(f"bastion {bastion.name}", AuditEvent.BASTION_REPAIRED, facts, at=now)
        return step

    def _move_grants(self, bastion: Bastion, held: Sequence[Grant]) -> int:
        """Name the present instance in grants that were delivered with an earlier one. Reconciliation wakes those holders
        who have not been told.
        """
        moved = 0
        for grant in held:
            if grant.instance_id == bastion.instance_id:
                continue
            if self.grants.replace_grant(grant, replace(grant, instance_id=bastion.instance_id)):
                facts = {"before": grant.instance_id, "now": bastion.instance_id}
                self.audit.append(grant.facts.request_id, AuditEvent.BASTION_REPLACED, facts, at=self.clock())
                moved += 1
        return moved


def _may_stay(tunnel: Tunnel, grant: Grant, now: datetime) -> bool:
    """A grant that is just ending explains its tunnels too: its own execution ends them and says so in the receipt.

    One whose end is late does not: its holder may be who keeps the database from being reached, by what their session locks.
    """
    is_just_ending = grant.state is GrantState.ENDING and not revocation_attempt(grant, now)
    is_held = grant.state is GrantState.LIVE and leads_through(tunnel, grant)
    return is_tunnel_of(tunnel, grant) and (is_just_ending or is_held)
