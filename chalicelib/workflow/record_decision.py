"""A person decides: judge it by the same function for everybody, record it by one conditional write, wake the execution."""

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import DecisionRecord, Refusal, Verdict, judge_decision
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.people import Person
from chalicelib.domain.policy import decide_policy
from chalicelib.domain.records import RequestRecord
from chalicelib.ports import Clock, Executions, RequestLedger

_TRIES = 5


def record_decision(
    *,
    request_id: str,
    person: Person | None,
    approves: bool,
    catalogue: Catalogue,
    requests: RequestLedger,
    executions: Executions,
    clock: Clock,
) -> DecisionRecord | Refusal:
    """Record one yes or no. Raises UnknownRequestError and UnknownLocationError.

    A click on a request that is decided already wakes its execution again, in case the first waking was lost.
    """
    for _ in range(_TRIES):
        record = requests.require_request(request_id)
        judged = _judge(record, person, approves, catalogue, clock)
        if isinstance(judged, Refusal):
            if record.decisions is not None and record.decisions.verdict is not Verdict.OPEN:
                _wake(record, executions)
            return judged
        if requests.replace_decision(judged):
            if judged.verdict is not Verdict.OPEN:
                _wake(record, executions)
            return judged
    raise LedgerUnavailableError("Too many people decided at once; press the button again.")


def _judge(
    record: RequestRecord, person: Person | None, approves: bool, catalogue: Catalogue, clock: Clock
) -> DecisionRecord | Refusal:
    request = record.request
    if record.outcome is not None:
        return Refusal(reason=f"{request.request_id} has ended already ({record.outcome.replace('_', ' ')}).")
    if record.decisions is None:
        return Refusal(reason=f"{request.request_id} is not waiting for a decision.")
    now = clock()
    policy = decide_policy(
        person=request.person,
        location=catalogue.require_location(request.location),
        level=request.level,
        duration_seconds=request.duration_seconds,
        catalogue=catalogue,
        now=now,
    )
    return judge_decision(
        record=record.decisions,
        requester=request.person,
        person=person,
        approves=approves,
        policy=policy,
        now=now,
    )


def _wake(record: RequestRecord, executions: Executions) -> None:
    if record.approval_token is not None:
        executions.wake(record.approval_token)
