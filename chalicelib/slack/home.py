"""Home: what waits for a person, what they hold, what they may ask for and what has ended. Pure: values in, JSON out."""

from collections.abc import Sequence

from chalicelib.domain.overviews import EndedRequest, Overview
from chalicelib.domain.people import Person
from chalicelib.slack.blocks import Block, View, actions, context, header, mention, section, time_of
from chalicelib.slack.cards.buttons import ask_again_button, ask_button, refresh_button
from chalicelib.slack.cards.rows import asked_row, ended_line, held_row, offer_line, to_decide_row, to_review_row

# Together at most 98 blocks of the 100 that Slack takes: a heading, the rows, and how many more there are.
_TO_DECIDE = 8
_TO_REVIEW = 5
_ASKED = 5
_HELD = 5
_OFFERS = 20
_ENDED = 5


def home_view(*, person: Person, overview: Overview) -> View:
    """The Home tab of one person. What others wait for comes first; only Ask for Access stands out."""
    offers = [[section(offer_line(offer))] for offer in overview.offers]
    return {
        "type": "home",
        "blocks": [
            section(f"*Database access of {mention(person.person_id)}*"),
            actions(ask_button(), refresh_button(), block_id="home"),
            *_part("Waiting for your decision", [to_decide_row(each) for each in overview.to_decide], _TO_DECIDE),
            *_part("Waiting for your review", [to_review_row(each) for each in overview.to_review], _TO_REVIEW),
            *_part("Your requests", [asked_row(each) for each in overview.asked], _ASKED),
            *_part(
                "Your access",
                [held_row(each, at=overview.read_at) for each in overview.held],
                _HELD,
                nothing="You hold no access at the moment.",
            ),
            *_part(
                "What you may ask for",
                offers,
                _OFFERS,
                nothing="No location is open to you. Ask the people who keep Drawbridge's catalogue.",
            ),
            *_part("Ended lately", [[_ended(each)] for each in overview.ended[:_ENDED]], _ENDED),
            context(f"Updated {time_of(overview.read_at)}"),
        ],
    }


def _part(title: str, rows: Sequence[list[Block]], most: int, *, nothing: str = "") -> list[Block]:
    if not rows and not nothing:
        return []
    more = len(rows) - most
    shown = [block for row in rows[:most] for block in row] or [section(nothing)]
    return [header(title), *shown, *([context(f"and {more} more")] if more > 0 else [])]


def _ended(ended: EndedRequest) -> Block:
    request = ended.request
    return section(ended_line(ended), None if request.extends else ask_again_button(request.request_id))
