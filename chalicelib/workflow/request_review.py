"""RequestReview: ask for the review, again each time that it was not answered, and wait. The answer only wakes."""

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.executions import TaskToken
from chalicelib.domain.policy import find_reviewers
from chalicelib.domain.reviews import ReviewVerdict
from chalicelib.ports import Executions, Notifier, RequestLedger


def request_review(
    *,
    request_id: str,
    task_token: TaskToken,
    catalogue: Catalogue,
    requests: RequestLedger,
    executions: Executions,
    notifier: Notifier,
) -> None:
    """Store the token, ask, and read the ledger again last, so that no review falls between the two."""
    requests.keep_review_token(request_id, task_token)
    record = requests.require_request(request_id)
    review = record.review
    if review is not None and review.verdict is ReviewVerdict.OPEN:
        if record.review_card is None:
            reviewers = find_reviewers(record.request, catalogue=catalogue)
            card = notifier.ask_review(record.request, review, reviewers)
            requests.keep_card(request_id, "review", card)
        else:
            notifier.remind_review(record.review_card, record.request, review)
    standing = requests.require_request(request_id).review
    if standing is None or standing.verdict is not ReviewVerdict.OPEN:
        executions.wake(task_token.text)
