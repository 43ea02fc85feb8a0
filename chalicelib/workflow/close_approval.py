"""CloseApproval: the waiting is over. What the ledger says stands; if it says nothing yet, the request has timed out."""

from chalicelib.domain.decisions import DecisionRecord, Verdict, close_unanswered
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.records import RequestRecord
from chalicelib.ports import AuditTrail, Clock, Notifier, RequestLedger

_TRIES = 5


def close_approval(
    *, request_id: str, requests: RequestLedger, notifier: Notifier, audit: AuditTrail, clock: Clock
) -> Verdict:
    """The final verdict, recorded. Raises UnknownRequestError."""
    for _ in range(_TRIES):
        record = requests.require_request(request_id)
        if record.decisions is None:
            # Policy needed nobody by the time it was asked; ConfirmApproval judges that again.
            return Verdict.APPROVED
        closed = close_unanswered(record.decisions)
        if closed is record.decisions or requests.replace_decision(closed):
            _tell(record, closed, notifier)
            audit.append(request_id, "decided", {"verdict": closed.verdict, "decisions": closed.decisions}, at=clock())
            return closed.verdict
    raise LedgerUnavailableError(f"The decision on {request_id} kept changing; it is closed in a moment.")


def _tell(record: RequestRecord, closed: DecisionRecord, notifier: Notifier) -> None:
    if record.approval_card is not None:
        notifier.show_decision(record.approval_card, record.request, closed)
