"""HoldAccess: wait until the end. A timeout or an answer only wakes; what ends the grant is read from the ledger."""

from chalicelib.domain.grants import grant_key, seconds_left
from chalicelib.ports import Clock, Executions, GrantLedger, RequestLedger


def hold_access(
    *,
    request_id: str,
    task_token: str,
    requests: RequestLedger,
    grants: GrantLedger,
    executions: Executions,
    clock: Clock,
) -> None:
    """Store the token, then read the ledger again and answer it at once if the end was asked for in between."""
    requests.keep_hold_token(request_id, task_token)
    record = requests.require_request(request_id)
    request = record.request
    grant = grants.find_grant(grant_key(request.location, request.person, request.level))
    has_ended = grant is None or grant.facts.request_id != request_id or seconds_left(grant, clock()) == 0
    if has_ended or record.end_asked_at is not None:
        executions.wake(task_token)
