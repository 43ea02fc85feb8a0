"""What the requester is told at the end, with the receipt in plain words and a way to go on."""

from collections.abc import Iterator

from chalicelib.domain.durations import describe_duration
from chalicelib.domain.endings import Ending, Outcome
from chalicelib.domain.receipts import ClosedTunnels, Receipt
from chalicelib.slack.blocks import (
    Block,
    Message,
    bold,
    bullets,
    code,
    context,
    literal,
    section,
    some_of,
)
from chalicelib.slack.cards.buttons import ask_again_button, extend_button, row
from chalicelib.slack.cards.holder import told_end
from chalicelib.slack.cards.wording import NOT_YET_TAKEN_AWAY, approved_seconds, denial_blocks, names, said_no

_LISTED = 10


def ended_card(*, ending: Ending) -> Message:
    """How it ended, why, what was read back afterwards, and a button to ask again."""
    request = ending.request
    request_id, told = request.request_id, _told(ending)
    parts = [request_id]
    if ending.grant is not None:
        parts.append(f"database user {code(ending.grant.facts.role)}")
    again = extend_button(request.extends) if request.extends else ask_again_button(request_id)
    return Message(
        text=f"{told} {request_id}",
        blocks=[
            section(told),
            *_warning(ending),
            *_explained(ending),
            *_proof(ending),
            row("ended", request_id, 1, again),
            context(*parts),
        ],
    )


def _told(ending: Ending) -> str:
    request = ending.request
    level, location, longer = request.level.word, bold(request.location), describe_duration(approved_seconds(ending))
    asked = f"Your request for {level} access to {location}"
    if request.extends:
        asked = f"Your request to extend {level} access to {location} by {describe_duration(request.duration_seconds)}"
    nothing = "The access ends when it would have" if request.extends else "Nothing was granted"
    match ending.outcome:
        case Outcome.FINISHED if request.extends:
            return f"Your {level} access to {location} was extended by {longer}."
        case Outcome.FINISHED:
            return told_end(ending)
        case Outcome.DENIED:
            by = f" by {names(deniers)}" if (deniers := said_no(ending.decisions)) else ""
            return f"{asked} was denied{by}. {nothing}."
        case Outcome.TIMED_OUT:
            return f"{asked} was not answered in time. {nothing}; ask again, best after a word with an approver."
        case Outcome.CANCELLED:
            return f"{asked} was cancelled. {nothing}."
        case Outcome.FAILED:
            return f"{asked} could not be carried out."


def _explained(ending: Ending) -> list[Block]:
    """The deniers' own words where there are any, else the explanation as it stands; a timeout needs none."""
    if ending.outcome is Outcome.TIMED_OUT:
        return []
    if ending.outcome is Outcome.DENIED and (words := denial_blocks(ending.decisions)):
        return words
    return [literal(ending.explanation)] if ending.explanation else []


def _warning(ending: Ending) -> list[Block]:
    return [] if ending.is_revoked else [section(f"*Your access {NOT_YET_TAKEN_AWAY}.*")]


def _proof(ending: Ending) -> list[Block]:
    """What is known about the end of the access; nothing when there never was a grant to take away."""
    if ending.grant is None and ending.receipt is None:
        return []
    if ending.receipt is not None:
        lines = list(_receipt_lines(ending.receipt))
    elif ending.is_revoked:
        lines = ["Nothing had been set up in the database."]
    else:
        lines = ["The database could not be asked what is left of your access."]
    return [bullets([*lines, *_tunnel_lines(ending.tunnels)])]


def _receipt_lines(receipt: Receipt) -> Iterator[str]:
    if receipt.superseded_by is not None:
        yield f"The database user belongs to your newer request {receipt.superseded_by} by now, so it was left alone."
        return
    yield f"Database sessions left: {receipt.sessions}"
    if receipt.is_dropped:
        yield "Login: off, the database user is dropped"
    else:
        yield f"Login: {'still on' if receipt.can_log_in else 'off'}"
    yield f"Memberships left: {some_of(receipt.memberships) or 'none'}"
    yield f"Objects of yours handed over to the location: {len(receipt.kept) or 'none'}"
    yield from _listed([f"{kept.kind} {kept.name} in {kept.database}" for kept in receipt.kept])
    yield from _listed([f"Could not be checked: {sentence}" for sentence in receipt.unchecked])
    if receipt.parked_strangers:
        # Their names are other people's, so only their number is for this requester.
        yield f"Users of others that no grant explained, ended on this occasion: {len(receipt.parked_strangers)}"


def _listed(lines: list[str]) -> list[str]:
    more = len(lines) - _LISTED
    return [*lines[:_LISTED], f"and {more} more"] if more > 0 else lines


def _tunnel_lines(tunnels: ClosedTunnels) -> Iterator[str]:
    yield f"Tunnels ended: {len(tunnels.ended)}"
    if tunnels.kept:
        yield f"Tunnels left open, because other access of yours covers them: {len(tunnels.kept)}"
    if tunnels.unattributed:
        yield f"Tunnels on the bastion that could not be attributed to anybody: {len(tunnels.unattributed)}"
