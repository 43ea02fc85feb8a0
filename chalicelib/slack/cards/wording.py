"""What several cards say in the same words: who asked for what, how it was decided, and what became of it."""

from collections.abc import Iterable

from chalicelib.domain.decisions import DecisionRecord, Verdict, approved_request
from chalicelib.domain.durations import describe_duration
from chalicelib.domain.endings import Ending, Outcome
from chalicelib.domain.locations import Isolation, Location
from chalicelib.domain.permissions import Ability
from chalicelib.domain.requests import AccessRequest, describe_request
from chalicelib.slack.blocks import (
    Block,
    as_start,
    bold,
    day_and_time_of,
    escape,
    fields,
    literal,
    mention,
    quote,
    section,
    some_of,
)

NOT_YET_TAKEN_AWAY = "could not be taken away yet; it is tried again until it is"


def summary(request: AccessRequest) -> str:
    """What was asked, in a line of mrkdwn without emphasis."""
    if request.extends:
        return (
            f"{describe_duration(request.duration_seconds)} more of {request.level.word} access"
            f" to {escape(request.location)}"
        )
    return escape(describe_request(request))


def asks(request: AccessRequest) -> str:
    """Who asks for what, for a notification."""
    return f"{asker(request)} asks for {summary(request)}"


def asker(request: AccessRequest) -> str:
    """Who asks, as the start of a sentence."""
    return as_start(mention(request.person.person_id))


def access(request: AccessRequest) -> str:
    """The access as the start of a sentence."""
    return f"*{request.level.word.capitalize()}* access to {bold(request.location)}"


def asked_access(request: AccessRequest, environment: str | None = None) -> str:
    """The same, after "asks"; with the environment where the reader has to know it."""
    duration = describe_duration(request.duration_seconds)
    where = bold(request.location) if environment is None else f"{bold(request.location)} ({escape(environment)})"
    if request.extends:
        return f"to extend *{request.level.word}* access to {where} by {duration}"
    return f"for *{request.level.word}* access to {where} for {duration}"


def what_else_opens(request: AccessRequest, location: Location | None) -> str:
    """Where else the access leads, so that nobody gives it unknowingly; "" where it leads nowhere else."""
    if location is None or not request.level.has(Ability.READ_OPEN_SIBLINGS):
        return ""
    if location.isolation is not Isolation.STRICT:
        return "It also opens every other database of the server that everybody may connect to."
    if not location.also_readable:
        return ""
    also = some_of(map(bold, sorted(location.also_readable)))
    return f"It also opens what the catalogue lets everybody connect to: {also}"


def asked_blocks(request: AccessRequest, environment: str | None) -> list[Block]:
    """Who wants what and why, as every card in the approvals channel starts."""
    facts = {"location": escape(request.location), "level": request.level.word}
    facts["longer by" if request.extends else "for"] = describe_duration(request.duration_seconds)
    if environment is not None:
        facts["environment"] = escape(environment)
    if request.extends:
        facts["extends"] = escape(request.extends)
    return [
        section(f"{asker(request)} asks {asked_access(request)}"),
        fields(**facts),
        reason_block(request.reason),
    ]


def reason_block(reason: str) -> Block:
    """A person's reason as theirs, or that there is none."""
    return quote(reason) if reason else section("_No reason given._")


def names(person_ids: Iterable[str]) -> str:
    """People, by the names they have today."""
    return some_of(map(mention, person_ids))


def said_no(record: DecisionRecord | None) -> list[str]:
    """The person ids of those who denied."""
    return [decision.person_id for decision in (record.decisions if record else ()) if not decision.approves]


def progress(request: AccessRequest, record: DecisionRecord) -> str:
    """How many have said yes so far, who, and to what where that is less than was asked."""
    yes = _said_yes(record)
    by = f" by {names(yes)}" if yes else ""
    return f"*{len(yes)} of {record.needed}* approved{by}{_on_terms(request, record)}"


def verdict(request: AccessRequest, record: DecisionRecord) -> str:
    """How it was decided. What the deniers wrote is `denial_blocks`' to show."""
    match record.verdict:
        case Verdict.APPROVED:
            return f"*Approved* by {names(_said_yes(record))}{_on_terms(request, record)}.{_not_counted(record)}"
        case Verdict.DENIED:
            by = names(said_no(record))
            return f"*Denied* by {by}." if by else f"*Denied*; nothing was granted.{_not_counted(record)}"
        case Verdict.TIMED_OUT:
            partly = f" ({progress(request, record)})" if record.decisions else ""
            return f"*Timed out* {day_and_time_of(record.closes_at)}{partly}; nothing was granted."
        case Verdict.CANCELLED:
            return "*Cancelled* by the requester; nothing was granted."
        case Verdict.OPEN:
            return f"{progress(request, record)}." if record.decisions else "Nobody has answered yet."


def denial_blocks(record: DecisionRecord | None) -> list[Block]:
    """What those who denied wrote, as their words."""
    decisions = record.decisions if record else ()
    return [quote(decision.reason) for decision in decisions if not decision.approves and decision.reason]


def is_said_by_verdict(ending: Ending) -> bool:
    """Is the verdict the whole end, so that it need not be said twice?"""
    verdicts = {
        Outcome.DENIED: Verdict.DENIED,
        Outcome.TIMED_OUT: Verdict.TIMED_OUT,
        Outcome.CANCELLED: Verdict.CANCELLED,
    }
    return ending.decisions is not None and verdicts.get(ending.outcome) is ending.decisions.verdict


def fate(ending: Ending) -> str:
    """What became of the access, for the channel."""
    match ending.outcome:
        case Outcome.FINISHED:
            if ending.request.extends:
                return f"*Extended* by {describe_duration(approved_seconds(ending))}."
            if ending.is_revoked:
                return f"*Ended*{when(ending)}; access was taken away."
            return f"*Due to end*{when(ending)}; access {NOT_YET_TAKEN_AWAY}."
        case Outcome.DENIED:
            return "*Denied*; nothing was granted."
        case Outcome.TIMED_OUT:
            return "*Timed out*; nothing was granted."
        case Outcome.CANCELLED:
            return "*Cancelled*; nothing was granted."
        case Outcome.FAILED:
            return "*Failed*." if ending.is_revoked else f"*Failed*; access {NOT_YET_TAKEN_AWAY}."


def approved_seconds(ending: Ending) -> int:
    """How long the access, or the extension, was approved for."""
    return approved_request(ending.request, ending.decisions).duration_seconds


def when(ending: Ending) -> str:
    """The end of the grant, if there was one, with a space before it."""
    return f" {day_and_time_of(ending.grant.ends_at)}" if ending.grant is not None else ""


def explained(ending: Ending) -> list[Block]:
    """Why it ended like that, as it stands."""
    return [literal(ending.explanation)] if ending.explanation else []


def small_print(request: AccessRequest, record: DecisionRecord | None) -> list[str]:
    """The request and when it was last answered."""
    last = (record.decisions if record else ())[-1:]
    return [request.request_id, *(f"last answer {day_and_time_of(decision.at)}" for decision in last)]


def _said_yes(record: DecisionRecord) -> list[str]:
    counted = record.approvers()
    return [decision.person_id for decision in record.decisions if decision.person_id in counted]


def _on_terms(request: AccessRequest, record: DecisionRecord) -> str:
    """What was approved, where that is less than was asked."""
    approved = approved_request(request, record)
    given, asked = describe_duration(approved.duration_seconds), describe_duration(request.duration_seconds)
    if approved == request:
        return ""
    if request.extends:
        return f" for {given}; asked: {asked}"
    return f" as *{approved.level.word}* for {given}; asked: {request.level.word} for {asked}"


def _not_counted(record: DecisionRecord) -> str:
    return f" Not counted: {names(record.void)}, no full member of this workspace any more." if record.void else ""
