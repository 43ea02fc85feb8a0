"""The answers to a command or a click, for the eyes of one person. Pure: values in, JSON out."""

from collections.abc import Iterable

from chalicelib import defaults
from chalicelib.domain.durations import describe_duration
from chalicelib.domain.grants import Grant
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome
from chalicelib.domain.requests import USAGE, AccessRequest, describe_request
from chalicelib.slack.blocks import (
    Message,
    bold,
    code,
    context,
    day_and_time_of,
    escape,
    literal,
    preformatted,
    section,
    shorten,
    some_of,
)


def asked_reply(*, request: AccessRequest, policy: PolicyOutcome) -> Message:
    """The request is filed; what happens next."""
    if policy.answer is PolicyAnswer.NEEDS_APPROVAL:
        who = "1 approver" if policy.needed == 1 else f"{policy.needed} approvers"
        then = f"It waits for {who}; you get a direct message either way."
    else:
        then = "It needs no approval; you get a direct message when the database is ready, in a few minutes."
    return _said(f"Asked: {escape(describe_request(request))}. {request.request_id}. {then}")


def held_reply(*, grant: Grant) -> Message:
    """The person has this access already."""
    facts = grant.facts
    return _said(
        f"You hold {facts.level.word} access to {bold(facts.location)} until {day_and_time_of(grant.ends_at)}."
        f" Nothing was extended. {facts.request_id}"
    )


def asked_already_reply(*, request_id: str) -> Message:
    """The person has asked for the same and it is not over."""
    return _said(f"You have asked for this already: {request_id} is still open. Nothing new was filed.")


def too_many_reply(*, open_request_ids: Iterable[str]) -> Message:
    """The person has as many open requests as one may have."""
    open_ones = list(open_request_ids)
    return _said(
        f"You have {len(open_ones)} open requests, which is the most: {some_of(open_ones)}."
        " Wait until one is over and ask again."
    )


def refused_reply(*, reason: str) -> Message:
    """What was asked will not be done, and why: a refusal, an unreadable command, an unknown name. Shown as it stands."""
    return Message(text=escape(shorten(reason)), blocks=[literal(reason)])


def outdated_reply() -> Message:
    """A click on something that Drawbridge does not know, mostly a card of an earlier version."""
    return _said("This card is out of date, so nothing was done. Look for a newer one, or ask again with `/db-access`.")


def broken_reply(*, error_id: str) -> Message:
    """Something went wrong that nobody foresaw."""
    reply = _said(
        "Something went wrong on our side. Try again; if it stays, give this id to the people who run Drawbridge:"
    )
    return Message(text=f"{reply['text']} {error_id}", blocks=[*reply["blocks"], preformatted(error_id)])


def help_reply(*, locations: Iterable[str]) -> Message:
    """How to ask, with examples for the first of the locations."""
    names = sorted(locations)
    example = names[0] if names else "LOCATION"
    return Message(
        text=f"Ask for access with {escape(USAGE)}",
        blocks=[
            section("*Ask for database access*"),
            preformatted(USAGE),
            section(
                f"{code('r')} reads, {code('w')} also changes data, {code('o')} sees what is running and ends connections."
                f" Without a level it is {code(defaults.LEVEL)}, without a duration"
                f" {describe_duration(defaults.DURATIONS.access)}."
            ),
            preformatted(f"/db-access {example} r", label="Read"),
            preformatted(
                f"/db-access {example} w 30m fix the stuck orders", label="Write for half an hour, with a reason"
            ),
            context(f"Locations: {some_of(map(code, names)) or 'none'}"),
        ],
    )


def _said(text: str) -> Message:
    return Message(text=text, blocks=[section(text)])
