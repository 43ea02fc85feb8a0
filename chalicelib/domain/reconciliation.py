"""What reconciliation does about a request that its own execution did not see to. Pure, and nothing is repaired by guessing."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.domain.decisions import DecisionRecord, Verdict, close_cancelled, close_unanswered
from chalicelib.domain.endings import Purpose
from chalicelib.domain.executions import Progress
from chalicelib.domain.grants import Grant, GrantState, attempts_due, revocation_attempt
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.requests import AccessRequest

_PATIENCE = timedelta(minutes=2)
"""How long everybody is left to finish by themselves what they have begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start an execution of this name for this purpose."""

    name: str
    purpose: Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """Answer a waiting state once more: what it waits for is recorded, and it may not have been told."""

    task_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Ask for the end of a grant whose holder may hold nothing any more."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseQuestion:
    """Record of a question that nobody asks any more that it is closed."""

    closed: DecisionRecord


Repair = Start | Wake | End | CloseQuestion


def own_execution(request: AccessRequest) -> tuple[str, Purpose]:
    """The name and purpose of the execution that sees to a request."""
    return request.request_id, Purpose.EXTEND if request.extends else Purpose.GRANT


def is_seen_to(request_id: str, running: Collection[str]) -> bool:
    """Is its own execution under way, or one that revokes for it?"""
    return any(name == request_id or name.startswith(f"{request_id}-revoke-") for name in running)


def repair_request(
    record: RequestRecord, grant: Grant | None, *, progress: Progress, objection: str | None, now: datetime
) -> Repair | None:
    """What to do about a request whose end was not told yet, or whose grant is not gone; None while it is well.

    ``grant`` is the request's own. ``progress`` is that of its own execution, or ``RUNNING`` while any sees to it.
    ``objection`` says why its holder may hold nothing, as in "is deactivated".
    """
    request = record.request
    if progress is Progress.RUNNING:
        return _hurry(record, grant, objection, now)
    if grant is not None and grant.state is not GrantState.GONE and grant.ends_at <= now:
        return _revoke(request.request_id, revocation_attempt(grant, now))
    if now < request.asked_at + _PATIENCE:
        return None
    if progress is Progress.UNKNOWN and record.outcome is None and grant is None and record.decisions is None:
        # It was filed, and whoever filed it died before the execution began.
        name, purpose = own_execution(request)
        return Start(name=name, purpose=purpose)
    return _revoke(request.request_id, attempts_due(request.asked_at, now))


def repair_review(record: RequestRecord, *, running: Collection[str], now: datetime) -> Start | Wake | None:
    """What to do about a review that is open, or was closed by somebody whom its execution may not have heard."""
    review, name = record.review, f"{record.request.request_id}-review"
    if review is None or (review.closed_at is not None and now < review.closed_at + _PATIENCE):
        return None
    if any(each.startswith(name) for each in running):
        return Wake(task_token=record.review_token) if review.closed_at and record.review_token else None
    attempt = attempts_due(review.opened_at, now)
    return Start(name=f"{name}-{attempt}", purpose=Purpose.REVIEW) if attempt else None


def repair_question(record: RequestRecord) -> CloseQuestion | None:
    """What to do about a question that was opened after its request had ended: the write of somebody dead came late."""
    decisions = record.decisions
    if record.outcome is None or decisions is None or decisions.verdict is not Verdict.OPEN:
        return None
    return CloseQuestion(
        closed=close_cancelled(decisions) if record.end_asked_at is not None else close_unanswered(decisions)
    )


def _hurry(record: RequestRecord, grant: Grant | None, objection: str | None, now: datetime) -> Repair | None:
    """A running execution is left alone, but for what somebody recorded and may not have signalled, as housekeeping
    never does when it has replaced a bastion.
    """
    if grant is not None:
        if grant.state is not GrantState.LIVE:
            return None
        if record.end_asked_at is not None:
            is_unheard = now >= record.end_asked_at + _PATIENCE
            return Wake(task_token=record.hold_token) if is_unheard and record.hold_token else None
        if objection is not None:
            return End(reason=objection)
        is_unsaid = not record.knows_the_way(grant) and record.tell_tried_at is None
        return Wake(task_token=record.hold_token) if is_unsaid and record.hold_token else None
    decided = record.decisions is not None and record.decisions.verdict is not Verdict.OPEN
    if not decided or record.outcome is not None or now < record.request.asked_at + _PATIENCE:
        return None
    return Wake(task_token=record.approval_token) if record.approval_token else None


def _revoke(request_id: str, attempt: int) -> Start | None:
    return Start(name=f"{request_id}-revoke-{attempt}", purpose=Purpose.REVOKE) if attempt else None
