"""The card in which a requester follows their request, from the asking until there is something else to look at."""

from datetime import datetime

from chalicelib.domain.decisions import DecisionRecord
from chalicelib.domain.endings import Ending
from chalicelib.domain.grants import Grant
from chalicelib.domain.policy import PolicyOutcome
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.requests import AccessRequest
from chalicelib.slack.blocks import Message, context, count_of, section, time_of
from chalicelib.slack.cards.approval import listed, what_is_prepared
from chalicelib.slack.cards.buttons import cancel_button, row
from chalicelib.slack.cards.wording import (
    asked_access,
    denial_blocks,
    fate,
    is_said_by_verdict,
    reason_block,
    summary,
    verdict,
)


def asked_card(*, request: AccessRequest, policy: PolicyOutcome, closes_at: datetime) -> Message:
    """It waits, for whom and until when; it can be taken back."""
    request_id = request.request_id
    whom = count_of(policy.needed, "approver")
    return Message(
        text=f"You asked for {summary(request)}. {request_id} waits for {whom}.",
        blocks=[
            section(f"You asked {asked_access(request)}."),
            reason_block(request.reason),
            section(f"It waits for {whom} until {time_of(closes_at)}: {listed(policy.approvers) or 'nobody listed'}"),
            row("asked", request_id, 1, cancel_button(request_id)),
            context(request_id),
        ],
    )


def asked_card_preparing(*, record: RequestRecord, may_sleep: bool) -> Message:
    """The access is being made ready."""
    now = f"{what_is_prepared(may_sleep=may_sleep)}. A new message tells you when it is ready."
    return _told(record.request, record.decisions, now)


def asked_card_ready(*, record: RequestRecord, grant: Grant) -> Message:
    """The access is there; how to use it stands in a message of its own."""
    now = f"*Ready* until {time_of(grant.ends_at)}. The message with the commands stands below."
    return _told(record.request, record.decisions, now)


def closed_asked_card(*, ending: Ending) -> Message:
    """The request is over."""
    return _told(ending.request, ending.decisions, "" if is_said_by_verdict(ending) else fate(ending))


def _told(request: AccessRequest, record: DecisionRecord | None, now: str) -> Message:
    decided = [verdict(request, record)] if record is not None else []
    said = [*decided, *([now] if now else [])]
    return Message(
        text=f"You asked for {summary(request)}. {request.request_id}: {' '.join(said)}",
        blocks=[
            section(f"You asked {asked_access(request)}."),
            *map(section, decided),
            *denial_blocks(record),
            *([section(now)] if now else []),
            context(request.request_id),
        ],
    )
