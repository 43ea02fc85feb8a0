"""Reviews of break-glass access: taken without waiting, judged afterwards by somebody else, and asked for until that is done."""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from chalicelib.domain.decisions import Refusal
from chalicelib.domain.people import Person
from chalicelib.domain.requests import AccessRequest

_AGAIN = timedelta(days=1)


class ReviewVerdict(StrEnum):
    """Where a review stands. Everything but ``open`` is final."""

    OPEN = "open"
    JUSTIFIED = "justified"
    NOT_JUSTIFIED = "not_justified"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRecord:
    """The review of one request. ``version`` guards its conditional writes."""

    request_id: str
    opened_at: datetime
    due_at: datetime
    verdict: ReviewVerdict = ReviewVerdict.OPEN
    reviewer_id: str = ""
    note: str = ""
    closed_at: datetime | None = None
    version: int = 1


def judge_review(
    *,
    record: ReviewRecord,
    request: AccessRequest,
    person: Person | None,
    is_justified: bool,
    note: str,
    reviewers: frozenset[Person],
    now: datetime,
) -> ReviewRecord | Refusal:
    """One person's judgement closes the review: an approver of the level, never who took the access. A no needs a note."""
    if record.verdict is not ReviewVerdict.OPEN:
        return Refusal(reason=f"{record.request_id} has been reviewed already ({record.verdict.replace('_', ' ')}).")
    if person is None:
        return Refusal(reason="You are not listed in Drawbridge's catalogue, so you cannot review access.")
    if person.person_id == request.person.person_id:
        return Refusal(reason="You cannot review your own access. Ask another approver.")
    if person not in reviewers:
        return Refusal(reason=f"You are not an approver of {request.level.word} access to {request.location}.")
    if not is_justified and not note:
        return Refusal(reason="Say in a few words why it was not justified.")
    return replace(
        record,
        verdict=ReviewVerdict.JUSTIFIED if is_justified else ReviewVerdict.NOT_JUSTIFIED,
        reviewer_id=person.person_id,
        note=note,
        closed_at=now,
        version=record.version + 1,
    )


def seconds_to_reminder(record: ReviewRecord, now: datetime) -> int:
    """Whole seconds until the review is asked for again: at half of its time, when it is due, then each day.

    Never too early: a look right before one of these moments would ask twice.
    """
    half = record.opened_at + (record.due_at - record.opened_at) / 2
    moments = [half, record.due_at]
    late = now - record.due_at
    if late >= timedelta(0):
        moments.append(record.due_at + _AGAIN * (late // _AGAIN + 1))
    return math.ceil((min(moment for moment in moments if moment > now) - now).total_seconds())
