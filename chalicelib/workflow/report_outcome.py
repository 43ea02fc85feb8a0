"""ReportOutcome: name the end, close the books, tell the people. The receipt alone makes a grant gone."""

from dataclasses import replace

from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.decisions import Verdict, close_unanswered
from chalicelib.domain.endings import Course, Ending, Outcome, Purpose, decide_outcome
from chalicelib.domain.grants import Grant, GrantState, may_be_gone
from chalicelib.domain.overviews import EndedRequest
from chalicelib.domain.receipts import ClosedTunnels, Receipt
from chalicelib.ports import AuditTrail, Clock, GrantLedger, Notifier, RequestLedger
from chalicelib.workflow.own_grant import find_own_grant


def report_outcome(
    *,
    request_id: str,
    course: Course,
    receipt: Receipt | None,
    tunnels: ClosedTunnels,
    requests: RequestLedger,
    grants: GrantLedger,
    notifier: Notifier,
    audit: AuditTrail,
    clock: Clock,
) -> Outcome:
    """The outcome, recorded and told. A request that was reported before keeps its outcome; only what changed is told."""
    record = requests.require_request(request_id)
    request, grant = record.approved, find_own_grant(record, grants)
    is_revoked = _is_revoked(grant, receipt, course)
    decided, reason = decide_outcome(course, request_id=request_id, is_end_asked=record.end_asked_at is not None)
    outcome = record.outcome or decided
    explanation = reason if outcome is decided else ""
    if is_revoked and grant is not None and grant.state is not GrantState.GONE:
        grants.replace_grant(grant, replace(grant, state=GrantState.GONE))
    if record.decisions is not None and record.decisions.verdict is Verdict.OPEN:
        # The asking failed: nobody shall be shown it any more as waiting for them.
        requests.replace_decision(close_unanswered(record.decisions))
    if record.outcome is None:
        # Before it is recorded: afterwards nobody would come by here again.
        audit.append(request_id, AuditEvent.ENDED, {"outcome": outcome, "explanation": explanation}, at=clock())
        requests.close_request(
            EndedRequest(
                request=request,
                outcome=outcome,
                ended_at=clock(),
                granted_at=grant.created_at if grant else None,
                bastion=grant.facts.bastion if grant else "",
            )
        )
    if receipt is not None:
        audit.append(request_id, AuditEvent.RECEIPT, {"receipt": receipt, "is_revoked": is_revoked}, at=clock())
    if course.purpose is Purpose.REVOKE and not is_revoked and record.is_reported:
        # The person was told that it is tried until it succeeds; saying so at each try would be noise.
        return outcome
    notifier.report(
        Ending(
            request=request,
            outcome=outcome,
            explanation=explanation,
            grant=grant,
            decisions=record.decisions,
            receipt=receipt,
            tunnels=tunnels,
            is_revoked=is_revoked,
            approval_card=record.approval_card,
            ready_card=record.ready_card,
            asked_card=record.asked_card,
            soon_card=record.soon_card,
        )
    )
    requests.keep_reported(request_id)
    return outcome


def _is_revoked(grant: Grant | None, receipt: Receipt | None, course: Course) -> bool:
    if grant is None or grant.state is GrantState.GONE or not grant.is_ordered:
        return True
    return (
        receipt is not None
        and receipt.proves_end
        and may_be_gone(grant, revoked_at=receipt.read_at, is_order_answered=course.is_order_answered)
    )
