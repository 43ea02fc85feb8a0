"""ConfirmApproval: the only place where a grant is made, after reading the ledger and the current catalogue once more."""

from dataclasses import dataclass

from chalicelib.defaults import Durations
from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.connections import choose_port
from chalicelib.domain.decisions import confirm_approval as judge_confirmation
from chalicelib.domain.documents import new_document
from chalicelib.domain.endings import Purpose
from chalicelib.domain.grants import Grant, new_grant
from chalicelib.domain.policy import PolicyOutcome, judge_request
from chalicelib.domain.records import RequestRecord
from chalicelib.ports import AuditTrail, Clock, Executions, GrantLedger, RequestLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Whether a grant was made, and if not, why not."""

    is_confirmed: bool
    reason: str = ""


def confirm_approval(
    *,
    request_id: str,
    catalogue: Catalogue,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    executions: Executions,
    audit: AuditTrail,
    clock: Clock,
) -> Confirmation:
    """Make the grant of a request. Raises GrantEndingError while an earlier grant is still being revoked.

    The review of access taken by breaking the glass is under way before that access is there.
    """
    record, now = requests.require_request(request_id), clock()
    approved = record.approved
    policy = judge_request(approved, catalogue=catalogue, now=now)
    if reason := _find_refusal(record, policy):
        audit.append(request_id, AuditEvent.REFUSED, {"reason": reason}, at=now)
        return Confirmation(is_confirmed=False, reason=reason)
    if policy.review_seconds:
        executions.start(f"{request_id}-review", new_document(request_id, Purpose.REVIEW))
    standing = grants.create_grant(
        new_grant(
            request=approved,
            location=catalogue.require_location(approved.location),
            port=_choose_port(record, grants, catalogue),
            durations=durations,
            now=now,
        )
    )
    if standing.facts.request_id != request_id:
        return Confirmation(
            is_confirmed=False,
            reason=f"You hold this access already, by {standing.facts.request_id}; nothing was extended.",
        )
    granted = {"rule": policy.reason, "role": standing.facts.role, "grant": standing.facts, "ends_at": standing.ends_at}
    audit.append(request_id, AuditEvent.GRANTED, granted, at=standing.created_at)
    return Confirmation(is_confirmed=True)


def _find_refusal(record: RequestRecord, policy: PolicyOutcome) -> str:
    if refusal := judge_confirmation(policy=policy, record=record.decisions, requester=record.approved.person):
        return refusal.reason
    if record.outcome is not None:
        return "The request is over."  # and this run began before it was, and lands late
    return "The request was cancelled." if record.end_asked_at is not None else ""


def _choose_port(record: RequestRecord, grants: GrantLedger, catalogue: Catalogue) -> int:
    """The port that the person wants, or the next one that none of their other tunnels holds."""
    request = record.request
    wanted = request.port or catalogue.require_location(request.location).port
    return choose_port(wanted, {grant.facts.port for grant in grants.open_grants() if _is_another(grant, record)})


def _is_another(grant: Grant, record: RequestRecord) -> bool:
    is_own = grant.facts.request_id == record.request.request_id
    return grant.facts.person.person_id == record.request.person.person_id and not is_own
