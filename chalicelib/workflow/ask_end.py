"""The holder asks for the end: record it, wake the hold. What ends the grant is the ledger, not the waking."""

from chalicelib.domain.decisions import Refusal
from chalicelib.domain.people import Person
from chalicelib.ports import Clock, Executions, RequestLedger


def ask_end(
    *, request_id: str, person: Person | None, requests: RequestLedger, executions: Executions, clock: Clock
) -> Refusal | None:
    """Record that the grant shall end now; None when recorded. Raises UnknownRequestError."""
    record = requests.require_request(request_id)
    if person is None or person.person_id != record.request.person.person_id:
        return Refusal(reason=f"{request_id} is not yours to end.")
    if record.outcome is not None:
        return Refusal(reason=f"{request_id} has ended already.")
    hold_token = requests.ask_end(request_id, at=clock())
    if hold_token is not None:
        executions.wake(hold_token)  # nobody waits for an approval any more
        return None
    # Whoever began to wait after the first look, and before the asking, has not seen it.
    standing = requests.require_request(request_id)
    for token in (standing.approval_token, standing.hold_token):
        if token is not None:
            executions.wake(token)
    return None
