"""GrantExtension: move the end of the access that an extension prolongs, by one conditional write, and wake its hold."""

from datetime import datetime, timedelta

from chalicelib.defaults import Durations
from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.bastions import bastion_names, find_holding
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import confirm_approval as judge_confirmation
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.extensions import extended, judge_extension
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.domain.policy import judge_request
from chalicelib.domain.records import RequestRecord
from chalicelib.ports import AuditTrail, BastionLedger, Clock, Executions, GrantLedger, RequestLedger
from chalicelib.workflow.confirm_approval import Confirmation
from chalicelib.workflow.lease_bastion import lease_bastion
from chalicelib.workflow.own_grant import find_own_grant

_TRIES = 5


def grant_extension(
    *,
    request_id: str,
    catalogue: Catalogue,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    bastions: BastionLedger,
    executions: Executions,
    audit: AuditTrail,
    clock: Clock,
) -> Confirmation:
    """Prolong, once, however often it is asked. The lease goes first, so that the bastion outlives the access."""
    record = requests.require_request(request_id)
    for _ in range(_TRIES):
        prolonged = requests.require_request(record.request.extends or request_id)
        grant = find_own_grant(prolonged, grants)
        if grant is None or request_id not in grant.extension_ids:
            reason = _find_refusal(record, prolonged, grant, catalogue, clock())
            if grant is None or reason:
                if grant is None or grant.state is not GrantState.LIVE:
                    _give_up_lease(prolonged, grant, catalogue, bastions, clock)
                audit.append(request_id, AuditEvent.REFUSED, {"reason": reason}, at=clock())
                return Confirmation(is_confirmed=False, reason=reason)
            if not _prolong(grant, record, durations, grants, bastions):
                continue
        seconds = record.approved.duration_seconds
        audit.append(grant.facts.request_id, AuditEvent.EXTENDED, {"by": request_id, "seconds": seconds}, at=clock())
        # Read once more: the hold may have begun anew, with another token, since the grant was read.
        hold_token = requests.require_request(grant.facts.request_id).hold_token
        if hold_token is not None:
            executions.wake(hold_token)
        return Confirmation(is_confirmed=True)
    raise LedgerUnavailableError(f"The access that {request_id} extends kept changing; it is tried again.")


def _find_refusal(
    record: RequestRecord, prolonged: RequestRecord, grant: Grant | None, catalogue: Catalogue, now: datetime
) -> str:
    """Why not; empty when it may be."""
    approved, extends = record.approved, prolonged.request.request_id
    policy = judge_request(approved, catalogue=catalogue, now=now)
    refusal = judge_confirmation(policy=policy, record=record.decisions, requester=approved.person)
    if refusal is not None:
        return refusal.reason
    if record.end_asked_at is not None:
        return "The extension was cancelled."
    if grant is None or prolonged.end_asked_at is not None:
        return f"{extends} has ended. Ask again for new access."
    facts = grant.facts
    is_same_access = (approved.location, approved.person.person_id, approved.level) == (
        facts.location,
        facts.person.person_id,
        facts.level,
    )
    if record.request.extends is None or not is_same_access:
        return f"What was approved is not the access of {extends}; nothing was extended."
    rule = catalogue.require_location(approved.location).find_rules(approved.person)[approved.level]
    late = judge_extension(grant, seconds=approved.duration_seconds, cap_seconds=rule.cap_seconds, now=now)
    return late.reason if late else ""


def _prolong(
    grant: Grant, record: RequestRecord, durations: Durations, grants: GrantLedger, bastions: BastionLedger
) -> bool:
    margin = timedelta(seconds=durations.lease_margin)
    longer = extended(grant, extension_id=record.request.request_id, seconds=record.approved.duration_seconds)
    _, is_leased = lease_bastion(
        group=grant.facts.bastion,
        request_id=grant.facts.request_id,
        until=longer.ends_at + margin,
        bastions=bastions,
    )
    return is_leased and grants.replace_grant(grant, longer)


def _give_up_lease(
    prolonged: RequestRecord, grant: Grant | None, catalogue: Catalogue, bastions: BastionLedger, clock: Clock
) -> None:
    """This try or one that was killed may have leased the bastion after the access's own execution gave the lease up; nobody
    else would before it runs out.
    """
    request = prolonged.request
    group = grant.facts.bastion if grant else catalogue.require_location(request.location).bastion.name
    standing = find_holding(bastions.find_bastions(bastion_names(group)), request.request_id)
    if standing is not None:
        bastions.release_lease(standing.name, request.request_id, at=clock())
