"""Decisions: a person's yes or no on a request, and what several of them amount to. Never the requester's own."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from chalicelib.domain.people import Person
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome


class Verdict(StrEnum):
    """Where the deciding of a request stands. Everything but ``open`` is final."""

    OPEN = "open"
    APPROVED = "approved"
    DENIED = "denied"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One person's yes or no."""

    person_id: str
    approves: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """Everything decided on one request so far. ``version`` guards its conditional writes."""

    request_id: str
    verdict: Verdict
    needed: int
    closes_at: datetime
    decisions: tuple[Decision, ...]
    version: int

    def approvers(self) -> frozenset[str]:
        """The person ids of those who said yes."""
        return frozenset(decision.person_id for decision in self.decisions if decision.approves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why somebody may not do what they tried, fit for them to read."""

    reason: str


def judge_decision(
    *,
    record: DecisionRecord,
    requester: Person,
    person: Person | None,
    approves: bool,
    policy: PolicyOutcome,
    now: datetime,
) -> DecisionRecord | Refusal:
    """Apply one person's yes or no: the record as it becomes, or why it may not be.

    ``policy`` is the outcome for the request by the current catalogue. The decision that reaches the needed number, or the
    first no, closes the record. A closed record takes nothing more, and neither does one whose time is up.
    """
    if record.verdict is not Verdict.OPEN:
        return Refusal(reason=f"{record.request_id} was {record.verdict.replace('_', ' ')} already.")
    if now >= record.closes_at:
        return Refusal(reason=f"{record.request_id} timed out unanswered; nothing was granted.")
    if person is None:
        return Refusal(reason="You are not listed in Drawbridge's catalogue, so you cannot decide requests.")
    if person.person_id == requester.person_id:
        return Refusal(reason="You cannot decide your own request. Ask another approver.")
    if policy.answer is PolicyAnswer.DENIED:
        return Refusal(reason=f"{record.request_id} cannot be decided now: {policy.reason}")
    if policy.answer is not PolicyAnswer.NEEDS_APPROVAL or person not in policy.approvers:
        return Refusal(reason=f"You are not an approver of {record.request_id}; the card lists who is.")
    if any(decision.person_id == person.person_id for decision in record.decisions):
        return Refusal(reason=f"You have decided {record.request_id} already. It waits for others.")
    decided = replace(
        record,
        decisions=(*record.decisions, Decision(person_id=person.person_id, approves=approves, at=now)),
        version=record.version + 1,
    )
    if not approves:
        return replace(decided, verdict=Verdict.DENIED)
    if len(decided.approvers()) >= record.needed:
        return replace(decided, verdict=Verdict.APPROVED)
    return decided


def close_unanswered(record: DecisionRecord) -> DecisionRecord:
    """The record after the wait for approval is over: an open one has timed out, a closed one stays as it is."""
    if record.verdict is not Verdict.OPEN:
        return record
    return replace(record, verdict=Verdict.TIMED_OUT, version=record.version + 1)


def confirm_approval(*, policy: PolicyOutcome, record: DecisionRecord | None, requester: Person) -> Refusal | None:
    """May a grant be made now, by the current catalogue? None means yes.

    Decisions of people who are no longer approvers, and of the requester, do not count. A no stays a no, even when the
    catalogue has since made the level automatic.
    """
    if policy.answer is PolicyAnswer.DENIED:
        return Refusal(reason=policy.reason)
    if policy.answer is PolicyAnswer.ALLOWED and (record is None or record.verdict is not Verdict.DENIED):
        return None
    if record is None or record.verdict is not Verdict.APPROVED:
        return Refusal(reason="The request was not approved.")
    entitled = {person.person_id for person in policy.approvers} - {requester.person_id}
    if len(record.approvers() & entitled) < policy.needed:
        return Refusal(
            reason="The catalogue has changed: not enough of those who approved are approvers now. Ask again."
        )
    return None
