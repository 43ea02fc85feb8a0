"""HoldAccess: wait until the end. A timeout or an answer only wakes; what ends the grant is read from the ledger."""

from chalicelib.defaults import Durations
from chalicelib.domain.executions import TaskToken
from chalicelib.domain.grants import seconds_left
from chalicelib.ports import Clock, Executions, GrantLedger, RequestLedger
from chalicelib.workflow.check_grant_end import go_on
from chalicelib.workflow.own_grant import find_own_grant


def hold_access(
    *,
    request_id: str,
    task_token: TaskToken,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    executions: Executions,
    clock: Clock,
) -> None:
    """Store the token, then read the ledger again and answer it at once if the end was asked for or moved in between."""
    requests.keep_hold_token(request_id, task_token)
    record = requests.require_request(request_id)
    grant = find_own_grant(record, grants)
    now = clock()
    has_ended = grant is None or seconds_left(grant, now) == 0 or record.end_asked_at is not None
    if grant is None or has_ended or go_on(record, grant, durations, now).has_news:
        executions.wake(task_token.text)
