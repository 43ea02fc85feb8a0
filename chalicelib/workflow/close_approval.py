"""CloseApproval: the waiting is over. What the ledger says stands; if it says nothing yet, the request has timed out."""

from contextlib import suppress
from dataclasses import dataclass

from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.decisions import DecisionRecord, Verdict, close_cancelled, close_unanswered, without_void
from chalicelib.domain.errors import LedgerUnavailableError, SlackUnavailableError
from chalicelib.domain.records import RequestRecord
from chalicelib.ports import AuditTrail, Clock, Members, Notifier, RequestLedger

_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedApproval:
    """The final verdict, and why where the decisions themselves do not say it."""

    verdict: Verdict
    reason: str = ""


def close_approval(
    *,
    request_id: str,
    requests: RequestLedger,
    members: Members,
    notifier: Notifier,
    audit: AuditTrail,
    clock: Clock,
) -> ClosedApproval:
    """The final verdict, recorded. Passed by requests that need nobody too. Raises UnknownRequestError.

    People may have left since they were listed, and Slack knows first: whoever is no full member of the workspace any more is
    given nothing, and their yes does not count. Of a machine that asks Slack knows nothing.
    """
    for _ in range(_TRIES):
        record = requests.require_request(request_id)
        requester = record.request.person
        objection = None if requester.is_machine else members.find_objection(requester.person_id)
        refused = f"You get no access: your Slack user {objection}." if objection else ""
        if record.decisions is None:
            return ClosedApproval(verdict=Verdict.DENIED if refused else Verdict.APPROVED, reason=refused)
        closed = _close(record, record.decisions, members)
        if closed is record.decisions or requests.replace_decision(closed):
            for decision in closed.decisions:
                audit.append(request_id, AuditEvent.DECIDED, {"decision": decision}, at=decision.at)
            facts = {"verdict": closed.verdict, "void": closed.void, "objection": objection or ""}
            audit.append(request_id, AuditEvent.APPROVAL_CLOSED, facts, at=clock())
            if record.approval_card is not None:
                # Nobody shall wait for it: what comes of the request is shown on the card too, in the end until Slack takes it.
                with suppress(SlackUnavailableError):
                    notifier.show_decision(record.approval_card, record.request, closed)
            if closed.verdict is Verdict.APPROVED and refused:
                return ClosedApproval(verdict=Verdict.DENIED, reason=refused)
            return ClosedApproval(verdict=closed.verdict, reason=_explain_void(closed))
    raise LedgerUnavailableError(f"The decision on {request_id} kept changing; it is closed in a moment.")


def _close(record: RequestRecord, decisions: DecisionRecord, members: Members) -> DecisionRecord:
    closed = close_cancelled(decisions) if record.end_asked_at is not None else close_unanswered(decisions)
    return without_void(closed, {person_id for person_id in closed.approvers() if members.find_objection(person_id)})


def _explain_void(record: DecisionRecord) -> str:
    if record.verdict is not Verdict.DENIED or not record.void:
        return ""
    return "Somebody who said yes is no full member of the workspace any more. Ask again."
