"""One thing of somebody's in a list, as Home and the replies to a command show it: a request, access, an offer, an end."""

from datetime import datetime

from chalicelib.domain.decisions import Verdict
from chalicelib.domain.durations import describe_duration
from chalicelib.domain.endings import Outcome
from chalicelib.domain.grants import seconds_left
from chalicelib.domain.locations import TokenSource
from chalicelib.domain.overviews import EndedRequest, Held, Offer, ToDecide
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome
from chalicelib.domain.records import RequestRecord
from chalicelib.slack.blocks import (
    Block,
    as_start,
    bold,
    count_of,
    day_and_time_of,
    escape,
    section,
    time_of,
    version_of,
)
from chalicelib.slack.cards.buttons import (
    cancel_button,
    decide_buttons,
    end_button,
    extend_button,
    gui_button,
    review_buttons,
    row,
    show_token_button,
)
from chalicelib.slack.cards.review import took
from chalicelib.slack.cards.wording import access, asked_access, asker, progress, reason_block, summary, what_else_opens

_OUTCOMES = {
    Outcome.FINISHED: "ended",
    Outcome.DENIED: "denied",
    Outcome.TIMED_OUT: "timed out",
    Outcome.CANCELLED: "cancelled",
    Outcome.FAILED: "failed",
}
_MINUTE = 60


def to_decide_row(waiting: ToDecide) -> list[Block]:
    """A request that waits for the reader's yes or no, with what the card says of it."""
    request, decisions = waiting.record.request, waiting.record.decisions
    asked, further = asked_access(request, waiting.location.environment), what_else_opens(request, waiting.location)
    so_far = f" {progress(request, decisions)}." if decisions is not None and decisions.decisions else ""
    version = decisions.version if decisions is not None else 0
    return [
        section(f"{asker(request)} asks {asked}.{so_far} {request.request_id}" + (f"\n{further}" if further else "")),
        reason_block(request.reason),
        row("decide", request.request_id, version, *decide_buttons(request, primary=False)),
    ]


def to_review_row(record: RequestRecord) -> list[Block]:
    """Access that waits for the reader's review."""
    request, review = record.request, record.review
    due = f" The review is due {day_and_time_of(review.due_at)}." if review is not None else ""
    version = review.version if review is not None else 0
    return [
        section(f"{took(request)}{due} {request.request_id}"),
        reason_block(request.reason),
        row("review", request.request_id, version, *review_buttons(request.request_id, primary=False)),
    ]


def asked_row(record: RequestRecord) -> list[Block]:
    """A request of the reader's that is not over."""
    request, decisions = record.request, record.decisions
    if decisions is not None and decisions.verdict is Verdict.OPEN:
        state = f"waits for {count_of(decisions.needed, 'approver')} until {time_of(decisions.closes_at)}"
    else:
        state = "is being prepared"
    text = section(f"You asked {asked_access(request)}; it {state}. {request.request_id}")
    if decisions is not None and decisions.verdict is not Verdict.OPEN:
        return [text]
    return [text, row("asked", request.request_id, 1, cancel_button(request.request_id))]


def held_row(held: Held, *, at: datetime) -> list[Block]:
    """Access of the reader's, with the time that is left of it."""
    grant, request = held.grant, held.record.approved
    request_id = request.request_id
    is_token_local = grant.facts.token is TokenSource.LOCAL
    left = seconds_left(grant, at) // _MINUTE * _MINUTE
    remaining = describe_duration(left) if left else "less than a minute"
    return [
        section(f"{access(request)} until {time_of(grant.ends_at)}, {remaining} left. {request_id}"),
        row(
            "held",
            request_id,
            version_of(grant.ends_at),
            *([] if is_token_local else [show_token_button(request_id, primary=False)]),
            gui_button(request_id),
            extend_button(request_id),
            end_button(request_id, request.location),
        ),
    ]


def offer_line(offer: Offer) -> str:
    """A location, with what each level comes to today."""
    location = offer.location
    levels = " · ".join(f"{level.word} {_how(outcome)}" for level, outcome in offer.levels.items())
    return f"{bold(location.name)} ({escape(location.environment)}): {levels or 'nothing at the moment'}"


def ended_line(ended: EndedRequest) -> str:
    """A request that is over, and how."""
    request = ended.request
    return f"{as_start(summary(request))}: {_OUTCOMES[ended.outcome]} {day_and_time_of(ended.ended_at)}. {request.request_id}"


def _how(outcome: PolicyOutcome) -> str:
    match outcome.answer:
        case PolicyAnswer.ALLOWED:
            return "at once"
        case PolicyAnswer.NEEDS_APPROVAL:
            return f"with {count_of(outcome.needed, 'approval')}"
        case PolicyAnswer.DENIED:
            return "not now"
