"""The approval card in the approvals channel, from the question to the end of the access: the channel's audit trail."""

from collections.abc import Collection

from chalicelib.domain.decisions import DecisionRecord
from chalicelib.domain.endings import Ending
from chalicelib.domain.grants import Grant
from chalicelib.domain.locations import Location
from chalicelib.domain.people import Person
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.requests import AccessRequest
from chalicelib.slack.blocks import (
    Block,
    Message,
    context,
    day_and_time_of,
    mention,
    section,
    some_of,
    time_of,
)
from chalicelib.slack.cards.buttons import decide_buttons, row
from chalicelib.slack.cards.wording import (
    asked_blocks,
    asks,
    denial_blocks,
    explained,
    fate,
    is_said_by_verdict,
    progress,
    small_print,
    verdict,
    what_else_opens,
)


def approval_card(
    *, request: AccessRequest, location: Location | None, approvers: Collection[Person], record: DecisionRecord
) -> Message:
    """Who asks for what, to the people who may decide it, with what has been decided so far.

    ``approvers`` and ``location`` are the current catalogue's; it may have lost the location.
    """
    so_far = [section(progress(request, record))] if record.decisions else []
    further = what_else_opens(request, location)
    parts = [
        request.request_id,
        f"times out at {time_of(record.closes_at)}",
        f"approvals needed: {record.needed}",
    ]
    if approvers:
        parts.append(f"approvers: {listed(approvers)}")
    return Message(
        text=f"{asks(request)}. {request.request_id} waits for an answer.",
        blocks=[
            *asked_blocks(request, location.environment if location else None),
            *([section(further)] if further else []),
            *so_far,
            row("decide", request.request_id, record.version, *decide_buttons(request)),
            context(*parts),
        ],
    )


def reminder(*, request: AccessRequest, record: DecisionRecord, approvers: Collection[Person]) -> Message:
    """What stands beside the card at half time, to those who have not answered."""
    answered = {decision.person_id for decision in record.decisions}
    silent = [person for person in approvers if person.person_id not in answered]
    whom = f"{listed(silent)}: " if silent else ""
    waits = f"{whom}{asks(request)}. It still waits, and times out at {time_of(record.closes_at)}."
    return Message(text=f"{waits} {request.request_id}", blocks=[section(waits), context(request.request_id)])


def decided_card(*, request: AccessRequest, environment: str | None, record: DecisionRecord) -> Message:
    """The approval card once its record is closed: the verdict in place of the buttons."""
    return _settled(request, environment, record, _verdict_blocks(request, record), verdict(request, record))


def preparing_card(*, record: RequestRecord, environment: str | None, may_sleep: bool) -> Message:
    """The approval card while the access is made ready."""
    return _going_on(record, environment, f"{what_is_prepared(may_sleep=may_sleep)}.")


def live_card(*, record: RequestRecord, environment: str | None, grant: Grant) -> Message:
    """The approval card while the access is used."""
    return _going_on(record, environment, f"*Live* until {day_and_time_of(grant.ends_at)}.")


def closed_card(*, ending: Ending, environment: str | None) -> Message:
    """The approval card once the request has ended: the verdict, and what became of the access."""
    request, record = ending.request, ending.decisions
    said = [verdict(request, record)] if record is not None else []
    blocks = _verdict_blocks(request, record)
    if not is_said_by_verdict(ending):
        said.append(fate(ending))
        blocks += [section(fate(ending)), *explained(ending)]
    return _settled(request, environment, record, blocks, " ".join(said))


def what_is_prepared(*, may_sleep: bool) -> str:
    """What is done before the connection can be handed over."""
    waking = ", waking the database, which may take a minute" if may_sleep else ""
    return f"*Preparing*: starting the bastion{waking}"


def listed(people: Collection[Person]) -> str:
    """People, each of whom is notified by a new message that holds this."""
    in_order = sorted(people, key=lambda person: person.name)
    return some_of((mention(person.person_id) for person in in_order), separator=" ")


def _verdict_blocks(request: AccessRequest, record: DecisionRecord | None) -> list[Block]:
    if record is None:
        return []
    return [section(verdict(request, record)), *denial_blocks(record)]


def _going_on(record: RequestRecord, environment: str | None, now: str) -> Message:
    request, decisions = record.request, record.decisions
    return _settled(request, environment, decisions, [*_verdict_blocks(request, decisions), section(now)], now)


def _settled(
    request: AccessRequest, environment: str | None, record: DecisionRecord | None, blocks: list[Block], said: str
) -> Message:
    return Message(
        text=f"{asks(request)}. {request.request_id}: {said}",
        blocks=[*asked_blocks(request, environment), *blocks, context(*small_print(request, record))],
    )
