"""The answers to a command or a click, for the eyes of one person. Pure: values in, JSON out."""

from collections.abc import Iterable

from chalicelib.domain.durations import describe_duration
from chalicelib.domain.grants import Grant
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome
from chalicelib.domain.requests import AccessRequest, describe_request
from chalicelib.slack.blocks import (
    Message,
    bold,
    count_of,
    day_and_time_of,
    escape,
    literal,
    preformatted,
    said,
    shorten,
    some_of,
)

_NAMED = 10


def asked_reply(*, request: AccessRequest, policy: PolicyOutcome) -> Message:
    """The request is filed; what happens next."""
    if policy.answer is PolicyAnswer.NEEDS_APPROVAL:
        who = count_of(policy.needed, "approver")
        then = f"It waits for {who}; you get a direct message either way."
    elif request.is_break_glass:
        then = (
            "You broke the glass: every approver is told now, and one of them reviews it. You get a direct message when"
            " the database is ready, in a few minutes."
        )
    else:
        then = "It needs no approval; you get a direct message when the database is ready, in a few minutes."
    return said(f"Asked: {escape(describe_request(request))}. {request.request_id}. {then}")


def held_reply(*, grant: Grant) -> Message:
    """The person has this access already."""
    facts = grant.facts
    return said(
        f"You hold {facts.level.word} access to {bold(facts.location)} until {day_and_time_of(grant.ends_at)}."
        f" Nothing was extended. {facts.request_id}"
    )


def asked_already_reply(*, request_id: str) -> Message:
    """The person has asked for the same and it is not over."""
    return said(f"You have asked for this already: {request_id} is still open. Nothing new was filed.")


def too_many_reply(*, open_request_ids: Iterable[str]) -> Message:
    """The person has as many open requests as one may have."""
    open_ones = list(open_request_ids)
    return said(
        f"You have {len(open_ones)} open requests, which is the most: {some_of(open_ones)}."
        " Wait until one is over and ask again."
    )


def refused_reply(*, reason: str) -> Message:
    """What was asked will not be done, and why: a refusal, an unreadable command, an unknown name. Shown as it stands."""
    return Message(text=escape(shorten(reason)), blocks=[literal(reason)])


def outdated_reply() -> Message:
    """A click on something that Drawbridge does not know, mostly a card of an earlier version."""
    return said("This card is out of date, so nothing was done. Look for a newer one, or ask again with `/db-access`.")


def broken_reply(*, error_id: str) -> Message:
    """Something went wrong that nobody foresaw."""
    reply = said(
        "Something went wrong on our side. Try again; if it stays, give this id to the people who run Drawbridge:"
    )
    return Message(text=f"{reply['text']} {error_id}", blocks=[*reply["blocks"], preformatted(error_id)])


def which_reply(*, verb: str, request_ids: Iterable[str]) -> Message:
    """Several requests could be meant; the commands that name one each."""
    ids = list(request_ids)
    if not ids:
        return said(f"There is nothing of yours to {verb}. `/db-access mine` shows what you hold and have asked for.")
    lines = [preformatted(f"/db-access {verb} {request_id}") for request_id in ids[:_NAMED]]
    question = said(f"Which one? You have {len(ids)}:")
    return Message(text=f"{question['text']} {some_of(ids, most=_NAMED)}", blocks=[*question["blocks"], *lines])


def extension_asked_reply(*, request: AccessRequest, policy: PolicyOutcome) -> Message:
    """More time was asked for; what happens next."""
    longer = f"your access to {bold(request.location)} by {describe_duration(request.duration_seconds)}"
    if policy.answer is not PolicyAnswer.NEEDS_APPROVAL:
        return said(f"Extending {longer}. {request.request_id}. Your ready message shows the new end in a moment.")
    return said(
        f"Asked to extend {longer}. {request.request_id} waits for {count_of(policy.needed, 'approver')};"
        " until they answer, it ends when it would have."
    )


def ending_reply(*, request_ids: Iterable[str]) -> Message:
    """Access is being ended before its time."""
    return said(f"Ending {some_of(request_ids)}. You get the receipt in a direct message.")


def cancelled_reply(*, request_id: str) -> Message:
    """What was asked is taken back."""
    return said(f"{request_id} is cancelled. Nothing was granted.")


def forgotten_reply() -> Message:
    """Nothing is remembered about the person's machine any more."""
    return said("Your AWS profile and port are forgotten. The next request uses the location's port and no profile.")


def reviewed_reply(*, request_id: str) -> Message:
    """The review is closed."""
    return said(f"The review of {request_id} is closed. Thank you.")
