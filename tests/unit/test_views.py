"""What holds for everything that people see in Slack, with ordinary and with extreme contents."""

import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from types import FunctionType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

import chalicelib.slack.cards
import chalicelib.slack.modals
import chalicelib.slack.replies
from chalicelib import defaults
from chalicelib.domain.decisions import Decision, DecisionRecord, Terms, Verdict
from chalicelib.domain.endings import Ending, Outcome
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.receipts import ClosedTunnels, KeptObject, Receipt
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.requests import AccessRequest
from chalicelib.slack.blocks import Message
from chalicelib.slack.cards import approval, asked, ended, holder
from chalicelib.slack.cards.buttons import Press
from chalicelib.slack.modals.token import token_modal
from chalicelib.slack.replies.answers import refused_reply
from local.slack.block_checker import check_blocks, check_view
from tests.factories import REQUEST_ID
from tests.strategies import RULE
from tests.unit.view_contents import (
    ALICE,
    CROWD,
    EXTENSION_ID,
    HOSTILE,
    ORDINARY,
    Contents,
    a_grant,
    a_receipt,
    a_request,
    an_open_location,
)
from tests.unit.view_renderings import (
    CARDS,
    HOMES,
    MODALS,
    REPLIES,
    buttons_of,
    cards_of,
    homes_of,
    literals_of,
    modals_of,
    mrkdwn_of,
    parts_of,
    parts_of_type,
    quotes_of,
    replies_of,
)

LABEL = re.compile(r"[A-Z][A-Za-z]*(?: (?:[A-Z][A-Za-z]*|a|and|as|for|or|30))*[?…]?")

each_card = pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
each_message = pytest.mark.parametrize("message", (CARDS | REPLIES).values(), ids=CARDS | REPLIES)
each_modal = pytest.mark.parametrize("view", MODALS.values(), ids=MODALS)
each_home = pytest.mark.parametrize("view", HOMES.values(), ids=HOMES)
ALL = CARDS | REPLIES | MODALS | HOMES
each_view = pytest.mark.parametrize("shown", ALL.values(), ids=ALL)


@each_message
def test_slack_takes_the_blocks(message: Message) -> None:
    """No message breaks a limit of Block Kit, whatever it holds."""
    assert [] == check_blocks(message["blocks"])


@each_modal
def test_slack_takes_the_modal(view: dict[str, Any]) -> None:
    """No modal breaks a limit of Block Kit, whatever it holds."""
    assert [] == check_view(view)


@each_home
def test_slack_takes_the_home(view: dict[str, Any]) -> None:
    """However much there is to show, Home fits."""
    assert [] == check_view(view, "home")


@each_message
def test_the_sdk_agrees_about_blocks(message: Message) -> None:
    """Slack's own Python models find nothing wrong either, and know every block."""
    parsed = Block.parse_all(message["blocks"])

    assert [block["type"] for block in message["blocks"]] == [block.to_dict()["type"] for block in parsed]


@pytest.mark.parametrize("view", (MODALS | HOMES).values(), ids=MODALS | HOMES)
def test_the_sdk_agrees_about_views(view: dict[str, Any]) -> None:
    """Slack's own Python models find nothing wrong with a modal or a Home either."""
    assert len(view["blocks"]) == len(View(**view).to_dict()["blocks"])


@each_message
def test_a_notification_says_something(message: Message) -> None:
    """Phones and screen readers get a text that fits, not an empty line."""
    assert 10 <= len(message["text"]) <= 4000


@each_message
def test_a_message_stays_well_below_what_slack_takes_in_all(message: Message) -> None:
    """Slack refuses a message whose blocks hold too many characters together; 13,000 is where others met that."""
    assert len(str(message["blocks"])) < 13_000


@each_card
def test_a_card_names_its_request_last(card: Message) -> None:
    """Whatever state a card is in, its small print starts with the request id."""
    last = card["blocks"][-1]

    assert ("context", REQUEST_ID) == (last["type"], last["elements"][0]["text"].split(" ")[0])


@each_card
def test_a_notification_names_the_request(card: Message) -> None:
    """The request can be found from the notification alone."""
    assert REQUEST_ID in card["text"]


@each_view
def test_slack_adds_no_links(shown: dict[str, Any]) -> None:
    """Every piece of markup is verbatim, so that host names don't turn into links."""
    assert all(part["verbatim"] for part in parts_of_type(shown, "mrkdwn"))


@each_view
def test_one_button_stands_out_at_most(shown: dict[str, Any]) -> None:
    """Two primary buttons would tell people nothing, and none is red: that would warn of the harmless one."""
    styles = [button.get("style") for button in parts_of_type(shown, "button")]

    assert set(styles) <= {None, "primary"}
    assert styles.count("primary") <= 1


@each_view
def test_buttons_are_verbs_in_title_case(shown: dict[str, Any]) -> None:
    """Buttons read alike everywhere and hold no emoji."""
    labels = [button["text"]["text"] for button in parts_of_type(shown, "button")]

    assert [] == [label for label in labels if not LABEL.fullmatch(label)]


@each_view
def test_buttons_are_known_and_carry_a_request_id_at_most(shown: dict[str, Any]) -> None:
    """A click says what and which request; everything else comes from the ledger."""
    buttons = parts_of_type(shown, "button")

    assert {button["action_id"] for button in buttons} <= set(Press)
    assert all(re.fullmatch(r"R-\w{6}|", button.get("value", "")) for button in buttons)


@each_view
def test_a_row_of_buttons_carries_its_version(shown: dict[str, Any]) -> None:
    """A click on an earlier version of a card can be told from one on the newest; rows of no request need no version."""
    rows = [row["block_id"] for row in parts_of_type(shown, "actions")]

    assert [] == [row for row in rows if not re.fullmatch(r"[a-z]+:R-\w{6}:\d+|home|remembered", row)]


@each_modal
def test_a_modal_remembers_the_request_id_at_most(view: dict[str, Any]) -> None:
    """Slack keeps private metadata, so nothing else goes into it."""
    assert view["private_metadata"] in {REQUEST_ID, ""}


def with_words(words: str) -> Contents:
    """Ordinary contents in which everything that people can choose freely is these words."""
    kept = KeptObject(database=words, kind="table", name=words)
    return replace(
        ORDINARY,
        request=a_request(reason=words),
        explanation=words,
        answer=words,
        receipt=a_receipt(kept=(kept,), unchecked=(words,)),
    )


def marked_up(c: Contents) -> dict[str, tuple[str, str]]:
    """All that Slack reads as markup: mrkdwn everywhere, and the text of the cards' notifications."""
    messages = {f"card {name}": card for name, card in cards_of(c).items()}
    messages |= {f"reply {name}": reply for name, reply in replies_of(c).items() if "refus" not in name}
    views = {f"modal {name}": view for name, view in modals_of(c).items()} | homes_of(c, 1)
    shown = {name: (message["text"], mrkdwn_of(message)) for name, message in messages.items()}
    return shown | {name: ("", mrkdwn_of(view)) for name, view in views.items()}


MARKED_UP = marked_up(with_words("x"))


@RULE
@given(st.text(min_size=1, max_size=defaults.REASON_LENGTH))
def test_user_text_never_becomes_markup(words: str) -> None:
    """Whatever people write, the parts that Slack interprets stay the same to the letter."""
    assert MARKED_UP == marked_up(with_words(words))


@RULE
@given(st.text(min_size=1, max_size=defaults.REASON_LENGTH))
def test_what_people_wrote_is_shown_as_they_wrote_it(words: str) -> None:
    """A reason, a denial and a note are quoted to the letter."""
    cards = cards_of(with_words(words))

    assert [words] == quotes_of(cards["asked"])
    assert [words, words] == quotes_of(cards["denied"])
    assert [words, words] == quotes_of(cards["not justified"])


@RULE
@given(st.text(min_size=1, max_size=defaults.ANSWER_LENGTH))
def test_slack_takes_whatever_people_write(words: str) -> None:
    """No text, however odd, makes Slack refuse a card, a form or Home."""
    c = with_words(words[: defaults.REASON_LENGTH])
    messages = [*cards_of(c).values(), *replies_of(c).values()]

    assert [] == [problem for message in messages for problem in check_blocks(message["blocks"])]
    assert [] == [problem for view in modals_of(c).values() for problem in check_view(view)]
    assert [] == [problem for view in homes_of(c, 1).values() for problem in check_view(view, "home")]


REQUESTS = st.builds(
    AccessRequest,
    request_id=st.just(REQUEST_ID),
    person=st.sampled_from([ALICE, *CROWD]),
    location=st.text(min_size=1, max_size=63),
    level=st.sampled_from(PermissionLevel),
    duration_seconds=st.integers(1, 86_400),
    reason=st.text(max_size=defaults.REASON_LENGTH),
    asked_at=st.from_type(datetime),
    is_break_glass=st.booleans(),
    extends=st.none() | st.just(EXTENSION_ID),
)
TERMS = st.builds(Terms, level=st.sampled_from(PermissionLevel), duration_seconds=st.integers(1, 86_400))
DECISIONS = st.builds(
    Decision,
    person_id=st.sampled_from([person.person_id for person in CROWD]),
    approves=st.booleans(),
    at=st.from_type(datetime),
    terms=st.none() | TERMS,
    reason=st.text(max_size=defaults.ANSWER_LENGTH),
)
RECORDS = st.builds(
    DecisionRecord,
    request_id=st.just(REQUEST_ID),
    verdict=st.sampled_from(Verdict),
    needed=st.integers(1, 10),
    closes_at=st.from_type(datetime),
    decisions=st.lists(DECISIONS, max_size=10).map(tuple),
    version=st.integers(1, 20),
    void=st.lists(st.sampled_from([person.person_id for person in CROWD]), max_size=3).map(tuple),
)
ENDINGS = st.builds(
    Ending,
    request=REQUESTS,
    outcome=st.sampled_from(Outcome),
    explanation=st.text(max_size=2000),
    grant=st.none() | st.just(a_grant()),
    decisions=st.none() | RECORDS,
    receipt=st.none() | st.from_type(Receipt),
    tunnels=st.from_type(ClosedTunnels),
    is_revoked=st.booleans(),
    approval_card=st.none(),
    ready_card=st.none(),
)


@RULE
@given(ENDINGS, RECORDS, st.none() | st.text(min_size=1, max_size=63))
def test_slack_takes_every_card_of_every_request(
    ending: Ending, record: DecisionRecord, environment: str | None
) -> None:
    """Whatever was asked, decided and read back, every card of it is one that Slack takes and that names the request."""
    request, filed = ending.request, RequestRecord(request=ending.request, decisions=ending.decisions)
    of: dict[str, Any] = {"request": request, "environment": environment}
    made = [
        approval.approval_card(
            request=request,
            location=an_open_location(environment=environment) if environment else None,
            approvers=CROWD,
            record=record,
        ),
        approval.reminder(request=request, record=record, approvers=CROWD),
        approval.decided_card(**of, record=record),
        approval.preparing_card(record=filed, environment=environment, may_sleep=True),
        approval.live_card(record=filed, environment=environment, grant=a_grant()),
        approval.closed_card(ending=ending, environment=environment),
        asked.asked_card_preparing(record=filed, may_sleep=True),
        asked.asked_card_ready(record=filed, grant=a_grant()),
        asked.closed_asked_card(ending=ending),
        holder.moved_end_message(request=request, grant=a_grant()),
        holder.soon_card(request=request, grant=a_grant()),
        holder.closed_ready_card(ending=ending),
        holder.closed_soon_card(ending=ending),
        ended.ended_card(ending=ending),
    ]

    assert [] == [problem for card in made for problem in check_blocks(card["blocks"])]
    assert all(Block.parse_all(card["blocks"]) and REQUEST_ID in card["text"] for card in made)


@RULE
@given(st.text(max_size=2000))
def test_a_refusal_cannot_be_made_to_ping_anybody(words: str) -> None:
    """A refusal quotes what was typed; its notification text holds nothing that starts a mention or a link."""
    reply = refused_reply(reason=words)

    assert not set("<>") & set(reply["text"])
    assert "" == mrkdwn_of(reply)


def test_hostile_words_in_a_refusal_are_shown() -> None:
    """They are shown as they stand, not dropped."""
    assert HOSTILE == literals_of(refused_reply(reason=HOSTILE))


def public_functions() -> Iterator[Callable[..., Any]]:
    """Every function that makes something for people to see."""
    packages = (chalicelib.slack.cards, chalicelib.slack.modals, chalicelib.slack.replies)
    names = [found.name for each in packages for found in pkgutil.iter_modules(each.__path__, f"{each.__name__}.")]
    for module in map(import_module, [*names, "chalicelib.slack.home"]):
        for name, thing in vars(module).items():
            if isinstance(thing, FunctionType) and thing.__module__ == module.__name__ and not name.startswith("_"):
                yield thing


def test_only_the_token_modal_takes_a_token() -> None:
    """No other card, modal or reply could show one: none is ever given one."""
    assert [token_modal] == [each for each in public_functions() if "token" in inspect.signature(each).parameters]


def test_every_button_is_shown_somewhere() -> None:
    """No id is kept for a button that is nowhere."""
    shown = {part["action_id"] for part in parts_of(list(ALL.values())) if part.get("type") == "button"}

    assert set(Press) == shown


def test_an_extension_is_extended_by_its_own_request() -> None:
    """Extend, on the end of an extension, names the access and not the extension."""
    report = CARDS["ordinary card, denied extension: report"]

    assert EXTENSION_ID == buttons_of(report)["extend"]["value"]
