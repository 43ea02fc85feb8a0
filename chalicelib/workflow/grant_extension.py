"""GrantExtension: move the end of the access that an extension prolongs, by one conditional write, and wake its hold."""

from datetime import datetime, timedelta

from chalicelib.defaults import Durations
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import confirm_approval as judge_confirmation
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.extensions import extended, judge_extension
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.domain.policy import judge_request
from chalicelib.domain.records import RequestRecord
from chalicelib.ports import AuditTrail, BastionLedger, Clock, Executions, GrantLedger, RequestLedger
from chalicelib.workflow.confirm_approval import Confirmation
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
                audit.append(request_id, "refused", {"reason": reason}, at=clock())
                return Confirmation(is_confirmed=False, reason=reason)
            if not _prolong(grant, record, durations, grants, bastions, clock):
                continue
            audit.append(grant.facts.request_id, "extended", {"by": request_id}, at=clock())
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
    rule = catalogue.require_location(approved.location).levels[approved.level]
    late = judge_extension(grant, seconds=approved.duration_seconds, cap_seconds=rule.cap_seconds, now=now)
    return late.reason if late else ""


def _prolong(
    grant: Grant,
    record: RequestRecord,
    durations: Durations,
    grants: GrantLedger,
    bastions: BastionLedger,
    clock: Clock,
) -> bool:
    name, request_id, margin = grant.facts.bastion, grant.facts.request_id, timedelta(seconds=durations.lease_margin)
    longer = extended(grant, extension_id=record.request.request_id, seconds=record.approved.duration_seconds)
    if not bastions.take_lease(name, request_id, until=longer.ends_at + margin):
        return False
    if grants.replace_grant(grant, longer):
        return True
    standing = grants.find_grant(grant.facts.key)
    if standing is None or standing.facts.request_id != request_id or standing.state is not GrantState.LIVE:
        # Its own execution may have given the lease up already; nobody else would before the lease runs out.
        bastions.release_lease(name, request_id, at=clock())
    return False
