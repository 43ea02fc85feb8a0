"""A requester cancels: close the deciding if it is open, and have everything else end at once."""

from chalicelib.domain.decisions import DecisionRecord, Refusal, Verdict, judge_cancelling
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.people import Person
from chalicelib.ports import Clock, Executions, RequestLedger
from chalicelib.workflow.ask_end import ask_end

_TRIES = 5


def cancel_request(
    *, request_id: str, person: Person | None, requests: RequestLedger, executions: Executions, clock: Clock
) -> Refusal | None:
    """Cancel a request, or end the access if it is granted by now; None when recorded. Raises UnknownRequestError."""
    for _ in range(_TRIES):
        record = requests.require_request(request_id)
        if record.outcome is not None or record.decisions is None or record.decisions.verdict is not Verdict.OPEN:
            return ask_end(request_id=request_id, person=person, requests=requests, executions=executions, clock=clock)
        cancelled = judge_cancelling(record=record.decisions, request=record.request, person=person)
        if not isinstance(cancelled, DecisionRecord):
            return cancelled
        if requests.replace_decision(cancelled):
            if record.approval_token is not None:
                executions.wake(record.approval_token)
            return None
    raise LedgerUnavailableError("Somebody decided at the same moment; look at the card.")
