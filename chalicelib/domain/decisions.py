"""Decisions: a person's yes or no on a request, and what several of them amount to. Never the requester's own."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome
from chalicelib.domain.requests import AccessRequest


class Verdict(StrEnum):
    """Where the deciding of a request stands. Everything but ``open`` is final."""

    OPEN = "open"
    APPROVED = "approved"
    DENIED = "denied"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is asked or approved: a level, for some seconds."""

    level: PermissionLevel
    duration_seconds: int

    def exceed(self, asked: "Terms") -> bool:
        """Do they give more than was asked, or something else? Read is less than write; operate reads no tables."""
        return self.level not in lesser_levels(asked.level) or not 0 < self.duration_seconds <= asked.duration_seconds


def lesser_levels(asked: PermissionLevel) -> tuple[PermissionLevel, ...]:
    """The levels that may be approved where this one was asked for, the least first."""
    return (PermissionLevel.READ, asked) if asked is PermissionLevel.WRITE else (asked,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One person's yes or no. A yes may be to less than was asked; a no has a reason."""

    person_id: str
    approves: bool
    at: datetime
    terms: Terms | None = None
    """What the yes is to, where that is not what was asked."""
    reason: str = ""
    group: str = ""
    """The Slack user group by whose membership they may decide; empty for people that the rule names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """Everything decided on one request so far. ``version`` guards its conditional writes."""

    request_id: str
    verdict: Verdict
    needed: int
    closes_at: datetime
    decisions: tuple[Decision, ...]
    version: int
    void: tuple[str, ...] = ()
    """The person ids of those whose yes does not count: they are no members of the workspace any more."""

    def approvers(self) -> frozenset[str]:
        """The person ids of those whose yes counts."""
        return frozenset(decision.person_id for decision in self.decisions if decision.approves) - set(self.void)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why somebody may not do what they tried, fit for them to read."""

    reason: str


def asked_terms(request: AccessRequest) -> Terms:
    """The terms of a request as it was asked."""
    return Terms(level=request.level, duration_seconds=request.duration_seconds)


def approved_request(request: AccessRequest, record: DecisionRecord | None) -> AccessRequest:
    """The request on the terms that everybody who said yes agrees to: the least of them."""
    terms = [
        decision.terms for decision in (record.decisions if record else ()) if decision.approves and decision.terms
    ]
    if not terms:
        return request
    levels = {request.level, *(each.level for each in terms)}
    return replace(
        request,
        level=next(level for level in lesser_levels(request.level) if level in levels),
        duration_seconds=min(request.duration_seconds, *(each.duration_seconds for each in terms)),
    )


def judge_decision(
    *,
    record: DecisionRecord,
    request: AccessRequest,
    person: Person | None,
    decision: Decision,
    policy: PolicyOutcome,
    policy_of_terms: PolicyOutcome,
) -> DecisionRecord | Refusal:
    """Apply one person's yes or no: the record as it becomes, or why it may not be.

    ``policy`` is the outcome for the request by the current catalogue, ``policy_of_terms`` the one for the terms of the
    decision. The decision that reaches the needed number, or the first no, closes the record. A closed record takes nothing
    more, and neither does one whose time is up.
    """
    refusal = _refuse_record(record, decision.at) or _refuse_person(record, request, person, decision, policy)
    if refusal is not None:
        return Refusal(reason=refusal)
    if decision.approves and decision.terms is not None:
        if decision.terms.exceed(asked_terms(request)):
            return Refusal(reason=f"{record.request_id} can be approved for what was asked or for less, not for more.")
        if request.extends is not None and decision.terms.level is not request.level:
            return Refusal(reason=f"{record.request_id} extends access that is there already: as asked, or shorter.")
        if policy_of_terms.answer is PolicyAnswer.DENIED:
            return Refusal(reason=f"{record.request_id} cannot be approved like that: {policy_of_terms.reason}")
        if policy_of_terms.answer is PolicyAnswer.NEEDS_APPROVAL and not _is_entitled(decision, policy_of_terms):
            return Refusal(
                reason=f"You are not an approver of {decision.terms.level.word} access to {request.location}."
            )
    decided = replace(record, decisions=(*record.decisions, decision), version=record.version + 1)
    if not decision.approves:
        return replace(decided, verdict=Verdict.DENIED)
    if len(decided.approvers()) >= record.needed:
        return replace(decided, verdict=Verdict.APPROVED)
    return decided


def judge_cancelling(
    *, record: DecisionRecord, request: AccessRequest, person: Person | None
) -> DecisionRecord | Refusal:
    """The requester takes back what they asked, as long as nobody has closed it."""
    if person is None or person.person_id != request.person.person_id:
        return Refusal(reason=f"{record.request_id} is not yours to cancel.")
    if record.verdict is not Verdict.OPEN:
        return Refusal(reason=f"{record.request_id} was {record.verdict.replace('_', ' ')} already.")
    return close_cancelled(record)


def close_cancelled(record: DecisionRecord) -> DecisionRecord:
    """The record after the requester has taken back what they asked: a closed one stays as it is."""
    if record.verdict is not Verdict.OPEN:
        return record
    return replace(record, verdict=Verdict.CANCELLED, version=record.version + 1)


def close_unanswered(record: DecisionRecord) -> DecisionRecord:
    """The record after the wait for approval is over: an open one has timed out, a closed one stays as it is."""
    if record.verdict is not Verdict.OPEN:
        return record
    return replace(record, verdict=Verdict.TIMED_OUT, version=record.version + 1)


def without_void(record: DecisionRecord, void: Collection[str]) -> DecisionRecord:
    """An approved record without these people's yes. Too few left is a no."""
    if record.verdict is not Verdict.APPROVED or not (fresh := record.approvers() & set(void)):
        return record
    checked = replace(record, void=(*record.void, *sorted(fresh)), version=record.version + 1)
    is_enough = len(checked.approvers()) >= record.needed
    return checked if is_enough else replace(checked, verdict=Verdict.DENIED)


def confirm_approval(*, policy: PolicyOutcome, record: DecisionRecord | None, requester: Person) -> Refusal | None:
    """May a grant be made now, by the current catalogue? None means yes. ``policy`` is for the approved terms.

    Decisions of people who are no longer approvers, and of the requester, do not count. A no stays a no, even when the
    catalogue has since made the level automatic.
    """
    if policy.answer is PolicyAnswer.DENIED:
        return Refusal(reason=policy.reason)
    if record is not None and record.verdict is Verdict.CANCELLED:
        return Refusal(reason="The request was cancelled.")
    if policy.answer is PolicyAnswer.ALLOWED and (record is None or record.verdict is not Verdict.DENIED):
        return None
    if record is None or record.verdict is not Verdict.APPROVED:
        return Refusal(reason="The request was not approved.")
    entitled = {each.person_id for each in record.decisions if _is_entitled(each, policy)} - {requester.person_id}
    if len(record.approvers() & entitled) < policy.needed:
        return Refusal(
            reason="The catalogue has changed: not enough of those who approved are approvers now. Ask again."
        )
    return None


def _is_entitled(decision: Decision, policy: PolicyOutcome) -> bool:
    is_named = decision.person_id in {person.person_id for person in policy.approvers}
    return is_named or decision.group in policy.approver_groups


def _refuse_record(record: DecisionRecord, now: datetime) -> str | None:
    if record.verdict is not Verdict.OPEN:
        return f"{record.request_id} was {record.verdict.replace('_', ' ')} already."
    if now >= record.closes_at:
        return f"{record.request_id} timed out unanswered; nothing was granted."
    return None


def _refuse_person(
    record: DecisionRecord,
    request: AccessRequest,
    person: Person | None,
    decision: Decision,
    policy: PolicyOutcome,
) -> str | None:
    if person is None:
        return "You are not listed in Drawbridge's catalogue, so you cannot decide requests."
    if person.is_machine:
        return f"The {person.kind} {person.name} decides nothing; people do."
    if person.person_id == request.person.person_id:
        return "You cannot decide your own request. Ask another approver."
    if policy.answer is PolicyAnswer.DENIED:
        return f"{record.request_id} cannot be decided now: {policy.reason}"
    if policy.answer is not PolicyAnswer.NEEDS_APPROVAL or not _is_entitled(decision, policy):
        return f"You are not an approver of {record.request_id}; the card lists who is."
    if any(decision.person_id == person.person_id for decision in record.decisions):
        return f"You have decided {record.request_id} already. It waits for others."
    return None
