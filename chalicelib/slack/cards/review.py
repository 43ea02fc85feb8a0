"""The review card: access that somebody took by breaking the glass, to everybody who may judge it, until one of them has."""

from collections.abc import Collection, Iterator

from chalicelib.domain.durations import describe_duration
from chalicelib.domain.people import Person
from chalicelib.domain.requests import AccessRequest
from chalicelib.domain.reviews import ReviewRecord, ReviewVerdict
from chalicelib.slack.blocks import (
    Block,
    Message,
    bold,
    context,
    day_and_time_of,
    mention,
    quote,
    section,
)
from chalicelib.slack.cards.buttons import review_buttons, row
from chalicelib.slack.cards.wording import reason_block

_MENTIONED_A_BLOCK = 100


def review_card(*, request: AccessRequest, review: ReviewRecord, approvers: Collection[Person]) -> Message:
    """Who took what, at once and why; every approver is mentioned, so that each of them is told."""
    request_id = request.request_id
    return Message(
        text=f"{took(request)} {request_id} is to be reviewed.",
        blocks=[
            section(took(request)),
            reason_block(request.reason),
            section(
                f"*Was it justified?* The review is due {day_and_time_of(review.due_at)}. One of these people closes it:"
            ),
            *_everybody(approvers),
            row("review", request_id, review.version, *review_buttons(request_id)),
            context(request_id, f"taken {day_and_time_of(review.opened_at)}"),
        ],
    )


def review_reminder(*, request: AccessRequest, review: ReviewRecord, approvers: Collection[Person]) -> Message:
    """What stands beside the card until somebody has judged."""
    said = (
        f"{mention(request.person.person_id)} broke the glass for *{request.level.word}* access to"
        f" {bold(request.location)}, and nobody has reviewed it. The review is due {day_and_time_of(review.due_at)}."
    )
    return Message(
        text=f"{said} {request.request_id}",
        blocks=[section(said), *_everybody(approvers), context(request.request_id)],
    )


def reviewed_card(*, request: AccessRequest, review: ReviewRecord) -> Message:
    """The card once somebody has judged, with what they wrote."""
    verdict = "Justified" if review.verdict is ReviewVerdict.JUSTIFIED else "Not justified"
    said = f"*{verdict}*, says {mention(review.reviewer_id)}."
    parts = [request.request_id]
    if review.closed_at is not None:
        parts.append(f"reviewed {day_and_time_of(review.closed_at)}")
    return Message(
        text=f"{took(request)} {request.request_id}: {said}",
        blocks=[
            section(took(request)),
            reason_block(request.reason),
            section(said),
            *([quote(review.note)] if review.note else []),
            context(*parts),
        ],
    )


def took(request: AccessRequest) -> str:
    """Who broke the glass for what."""
    return (
        f"{mention(request.person.person_id)} broke the glass: *{request.level.word}* access to {bold(request.location)}"
        f" for {describe_duration(request.duration_seconds)}, without waiting."
    )


def _everybody(people: Collection[Person]) -> Iterator[Block]:
    """All of them, not just the first: whoever is not mentioned is not told."""
    mentions = [mention(person.person_id) for person in sorted(people, key=lambda person: person.name)]
    for start in range(0, len(mentions), _MENTIONED_A_BLOCK):
        yield section(" ".join(mentions[start : start + _MENTIONED_A_BLOCK]))
