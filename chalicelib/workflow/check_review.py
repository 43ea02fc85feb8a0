"""CheckReview: has somebody reviewed the access that was taken by breaking the glass, and when is it asked for again?"""

from dataclasses import dataclass
from datetime import timedelta

from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.policy import judge_request
from chalicelib.domain.reviews import ReviewRecord, ReviewVerdict, seconds_to_reminder
from chalicelib.ports import AuditTrail, Clock, RequestLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewState:
    """``wait_seconds`` is how long the next asking may stay unanswered."""

    is_closed: bool
    wait_seconds: int = 0


def check_review(
    *, request_id: str, catalogue: Catalogue, requests: RequestLedger, audit: AuditTrail, clock: Clock
) -> ReviewState:
    """Open the review if need be, and say where it stands. Raises UnknownRequestError and UnknownLocationError."""
    record, now = requests.require_request(request_id), clock()
    review = record.review
    if review is None:
        policy = judge_request(record.request, catalogue=catalogue, now=now)
        due_at = now + timedelta(seconds=policy.review_seconds)
        review = requests.open_review(ReviewRecord(request_id=request_id, opened_at=now, due_at=due_at))
    audit.append(request_id, AuditEvent.REVIEW_OPENED, {"due_at": review.due_at}, at=review.opened_at)
    if review.verdict is not ReviewVerdict.OPEN:
        audit.append(request_id, AuditEvent.REVIEWED, {"review": review}, at=now)
        requests.keep_reviewed(request_id)
        return ReviewState(is_closed=True)
    return ReviewState(is_closed=False, wait_seconds=seconds_to_reminder(review, now))
