"""The answers that list something of one person's: what they may ask for, what they hold, what has ended."""

from collections.abc import Sequence

from chalicelib.domain.overviews import EndedRequest, Offer, Overview
from chalicelib.slack.blocks import Block, Message, code, context, count_of, paragraphs, said, section, time_of
from chalicelib.slack.cards.rows import asked_row, ended_line, held_row, offer_line

_ROWS = 5


def list_reply(*, offers: Sequence[Offer]) -> Message:
    """What the person may ask for, and what each level comes to today."""
    if not offers:
        return said("No location is open to you. Ask the people who keep Drawbridge's catalogue.")
    return Message(
        text=f"You may ask for {count_of(len(offers), 'location')}.",
        blocks=[
            section("*What you may ask for*"),
            *paragraphs(offer_line(offer) for offer in offers),
            context(f"{code('/db-access explain LOCATION w')} says which rule applies, and why."),
        ],
    )


def mine_reply(*, overview: Overview) -> Message:
    """What the person holds and waits for, with the buttons to it."""
    held = [held_row(each, at=overview.read_at) for each in overview.held]
    asked = [asked_row(each) for each in overview.asked]
    if not held and not asked:
        return said(f"You hold no access and wait for none. {code('/db-access')} alone opens the form to ask.")
    return Message(
        text=f"You hold access to {count_of(len(held), 'location')} and wait for {len(asked)}.",
        blocks=[
            *_rows("*Your access*", held),
            *_rows("*Your requests*", asked),
            context(f"Read at {time_of(overview.read_at)}"),
        ],
    )


def history_reply(*, ended: Sequence[EndedRequest]) -> Message:
    """The person's last requests, and how each of them ended."""
    if not ended:
        return said("Nothing of yours has ended yet.")
    return Message(
        text=f"Your last {count_of(len(ended), 'request')}.",
        blocks=[section("*Your last requests*"), *paragraphs(ended_line(each) for each in ended)],
    )


def _rows(title: str, rows: Sequence[list[Block]]) -> list[Block]:
    if not rows:
        return []
    more = len(rows) - _ROWS
    shown = [block for row in rows[:_ROWS] for block in row]
    return [section(title), *shown, *([context(f"and {more} more")] if more > 0 else [])]
