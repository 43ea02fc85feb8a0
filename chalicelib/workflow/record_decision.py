"""A person decides: judge it by the same function for everybody, record it by one conditional write, wake the execution."""

from dataclasses import replace

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import Decision, DecisionRecord, Refusal, Terms, Verdict, judge_decision
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.people import Person
from chalicelib.domain.policy import judge_request
from chalicelib.domain.records import RequestRecord
from chalicelib.ports import Clock, Executions, Groups, RequestLedger

_TRIES = 5


def record_decision(
    *,
    request_id: str,
    person: Person | None,
    approves: bool,
    terms: Terms | None = None,
    reason: str = "",
    catalogue: Catalogue,
    requests: RequestLedger,
    groups: Groups,
    executions: Executions,
    clock: Clock,
) -> DecisionRecord | Refusal:
    """Record one yes or no. Raises UnknownRequestError and UnknownLocationError.

    A click on a request that is decided already wakes its execution again, in case the first waking was lost.
    """
    for _ in range(_TRIES):
        record = requests.require_request(request_id)
        decision = Decision(
            person_id=person.person_id if person else "", approves=approves, at=clock(), terms=terms, reason=reason
        )
        judged = _judge(record, person, decision, catalogue, groups)
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
    record: RequestRecord, person: Person | None, decision: Decision, catalogue: Catalogue, groups: Groups
) -> DecisionRecord | Refusal:
    request, terms = record.request, decision.terms
    if record.outcome is not None:
        return Refusal(reason=f"{request.request_id} has ended already ({record.outcome.replace('_', ' ')}).")
    if record.decisions is None:
        return Refusal(reason=f"{request.request_id} is not waiting for a decision.")
    policy = judge_request(request, catalogue=catalogue, now=decision.at)
    if person is not None and person not in policy.approvers and policy.approver_groups:
        group = groups.find_membership(person.person_id, policy.approver_groups)
        decision = replace(decision, group=group)
    reduced = replace(request, level=terms.level, duration_seconds=terms.duration_seconds) if terms else request
    return judge_decision(
        record=record.decisions,
        request=request,
        person=person,
        decision=decision,
        policy=policy,
        policy_of_terms=policy if terms is None else judge_request(reduced, catalogue=catalogue, now=decision.at),
    )


def _wake(record: RequestRecord, executions: Executions) -> None:
    if record.approval_token is not None:
        executions.wake(record.approval_token)
