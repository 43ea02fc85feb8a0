"""An approver reviews access that was taken by breaking the glass: judge it, record it once, wake the waiting."""

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.people import Person
from chalicelib.domain.policy import find_reviewers
from chalicelib.domain.reviews import ReviewRecord, ReviewVerdict, judge_review
from chalicelib.ports import Clock, Executions, RequestLedger


def record_review(
    *,
    request_id: str,
    person: Person | None,
    is_justified: bool,
    note: str,
    catalogue: Catalogue,
    requests: RequestLedger,
    executions: Executions,
    clock: Clock,
) -> ReviewRecord | Refusal:
    """Close the review of a request. Raises UnknownRequestError and UnknownLocationError.

    A click on a review that is closed already wakes its execution again, in case the first waking was lost; any other one
    that is refused wakes nobody, because each waking asks the approvers once more.
    """
    record, now = requests.require_request(request_id), clock()
    if record.review is None:
        return Refusal(reason=f"{request_id} does not wait for a review.")
    judged = judge_review(
        record=record.review,
        request=record.request,
        person=person,
        is_justified=is_justified,
        note=note,
        reviewers=find_reviewers(record.request, catalogue=catalogue),
        now=now,
    )
    if isinstance(judged, ReviewRecord) and not requests.replace_review(judged):
        raise LedgerUnavailableError("Somebody else reviewed it at the same moment; look at the card.")
    is_closed = isinstance(judged, ReviewRecord) or record.review.verdict is not ReviewVerdict.OPEN
    if is_closed and record.review_token is not None:
        executions.wake(record.review_token)
    return judged
