"""What people see in Slack: every card, modal and reply, with ordinary and with extreme contents."""

import inspect
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import FunctionType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

from chalicelib import defaults
from chalicelib.domain.connections import (
    MINIMUM_PLUGIN_VERSION,
    ConnectionDetails,
    local_token_command,
    password_lines,
    psql_command,
    tunnel_command,
)
from chalicelib.domain.decisions import Decision, DecisionRecord, Verdict
from chalicelib.domain.endings import Ending, Outcome
from chalicelib.domain.grants import Grant, GrantFacts, GrantState
from chalicelib.domain.instances import Endpoint
from chalicelib.domain.locations import DatabaseKind, SessionDocument, TokenSource
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome
from chalicelib.domain.receipts import ClosedTunnels, KeptObject, Receipt
from chalicelib.domain.requests import AccessRequest
from chalicelib.slack import cards, modals, replies
from chalicelib.slack.blocks import Message
from local.slack.block_checker import check_blocks, check_view

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ALICE = Person(name="alice", team="T0EXAMPLE", slack="U0ALICE")
BOB = Person(name="bob", team="T0EXAMPLE", slack="U0BOB")
CAROL = Person(name="carol", team="T0EXAMPLE", slack="U0CAROL")
CROWD = tuple(Person(name=f"{n:02}" + "n" * 61, team="T0EXAMPLE", slack=f"U{n:020}") for n in range(10))
REQUEST_ID = "R-ABC234"
HOSTILE = "<!channel> *x* <@U0BOB> approved & <https://example.com|this> `_~ "
SECRET = "Signature"
TOKEN = f"db.example.com:5432/?Action=connect&X-Amz-{SECRET}=".ljust(1900, "a")
LABEL = re.compile(r"[A-Z][a-z]*(?: [A-Z][a-z]*)*[?…]?")


def a_request(**changes: Any) -> AccessRequest:
    plain = AccessRequest(
        request_id=REQUEST_ID,
        person=ALICE,
        location="my-aurora-location",
        level=PermissionLevel.WRITE,
        duration_seconds=1800,
        reason="INC-42 fix stuck order",
        asked_at=NOON,
    )
    return replace(plain, **changes)


def a_record(
    *yes: Person, no: Person | None = None, verdict: Verdict = Verdict.OPEN, needed: int = 2
) -> DecisionRecord:
    decisions = [Decision(person_id=person.person_id, approves=True, at=NOON) for person in yes]
    decisions += [Decision(person_id=no.person_id, approves=False, at=NOON)] if no else []
    return DecisionRecord(
        request_id=REQUEST_ID,
        verdict=verdict,
        needed=needed,
        closes_at=NOON + timedelta(hours=1),
        decisions=tuple(decisions),
        version=len(decisions),
    )


def a_grant(request: AccessRequest | None = None, *, token: TokenSource = TokenSource.MODAL, **changes: Any) -> Grant:
    request = request or a_request()
    facts = GrantFacts(
        request_id=request.request_id,
        person=request.person,
        location=request.location,
        level=request.level,
        kind=DatabaseKind.CLUSTER,
        identifier="my-aurora",
        database="depotpostgres",
        region="eu-west-1",
        bastion="main",
        port=56789,
        document=SessionDocument.LOCATION,
        token=token,
    )
    return Grant(
        facts=replace(facts, **changes),
        state=GrantState.LIVE,
        duration_seconds=request.duration_seconds,
        created_at=NOON,
        ends_at=NOON + timedelta(hours=9, minutes=52),
        provision_by=NOON,
    )


def a_connection(grant: Grant | None = None, **changes: Any) -> ConnectionDetails:
    plain = ConnectionDetails(
        facts=(grant or a_grant()).facts,
        instance_id="i-0123456789abcdef0",
        writer=Endpoint(host="my-aurora.cluster-abc.eu-west-1.rds.amazonaws.com", port=5432),
        certificate_bundle="$HOME/.drawbridge/rds-global-bundle.pem",
    )
    return replace(plain, **changes)


def a_receipt(**changes: Any) -> Receipt:
    return replace(Receipt(role="jit_x_w_alice", read_at=NOON, is_dropped=True), **changes)


def an_ending(**changes: Any) -> Ending:
    plain = Ending(
        request=a_request(),
        outcome=Outcome.FINISHED,
        explanation="",
        grant=a_grant(),
        decisions=a_record(BOB, CAROL, verdict=Verdict.APPROVED),
        receipt=a_receipt(),
        tunnels=ClosedTunnels(),
        is_revoked=True,
        approval_card=None,
        ready_card=None,
    )
    return replace(plain, **changes)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What one rendering of everything is made from."""

    request: AccessRequest
    environment: str
    grant: Grant
    connection: ConnectionDetails
    approvers: tuple[Person, ...]
    explanation: str
    receipt: Receipt
    tunnels: ClosedTunnels

    def ending(self, **changes: Any) -> Ending:
        return (
            an_ending(
                request=self.request,
                grant=self.grant,
                explanation=self.explanation,
                decisions=a_record(*self.approvers, verdict=Verdict.APPROVED, needed=len(self.approvers)),
                receipt=self.receipt,
                tunnels=self.tunnels,
            )
            if not changes
            else replace(self.ending(), **changes)
        )


ORDINARY = Contents(
    request=a_request(),
    environment="prod",
    grant=a_grant(),
    connection=a_connection(),
    approvers=(BOB, CAROL),
    explanation="The bastion didn't start. Ask again in a few minutes.",
    receipt=a_receipt(kept=(KeptObject(database="depotpostgres", kind="table", name="public.fix"),)),
    tunnels=ClosedTunnels(ended=("alice-0abc",)),
)


def extreme() -> Contents:
    """The longest of everything that the domain lets through, and hostile words wherever people choose them."""
    person = replace(ALICE, name="a" * 63, slack="U" + "0" * 20)
    request = a_request(
        person=person,
        location="l" * 63,
        duration_seconds=86_399,
        reason=(HOSTILE * 20)[: defaults.REASON_LENGTH],
    )
    grant = a_grant(request, database="d" * 63, document=SessionDocument.AWS, region="us-gov-west-1", port=65535)
    thing = KeptObject(database="d" * 63, kind="materialized view", name=f"{HOSTILE}{'s' * 63}.{'t' * 63}")
    receipt = a_receipt(
        sessions=999,
        can_log_in=True,
        is_dropped=False,
        memberships=tuple(f"{'g' * 60}{n}" for n in range(100)),
        kept=(thing,) * 500,
        unchecked=(HOSTILE * 10,) * 50,
    )
    return Contents(
        request=request,
        environment="e" * 63,
        grant=grant,
        connection=a_connection(
            grant,
            instance_id="i-0123456789abcdef0",
            writer=Endpoint(host="h" * 255, port=65535),
            certificate_bundle="$HOME/" + "p" * 250,
        ),
        approvers=CROWD,
        explanation=HOSTILE * 100,
        receipt=receipt,
        tunnels=ClosedTunnels(ended=("s" * 96,) * 50, kept=("s" * 96,) * 50, unattributed=("s" * 96,) * 50),
    )


def cards_of(c: Contents) -> dict[str, Message]:
    """Every card there is, in every shape."""
    asked: dict[str, Any] = {"request": c.request, "environment": c.environment}
    local = replace(c.grant, facts=replace(c.grant.facts, token=TokenSource.LOCAL))
    some = c.approvers[:-1]
    made = {
        "asked": cards.approval_card(**asked, approvers=c.approvers, record=a_record(needed=10)),
        "partly approved": cards.approval_card(**asked, approvers=c.approvers, record=a_record(*some, needed=10)),
        "asked elsewhere": cards.approval_card(
            request=c.request, environment=None, approvers=(), record=a_record(needed=1)
        ),
        "approved": cards.decided_card(**asked, record=a_record(*c.approvers, verdict=Verdict.APPROVED)),
        "denied": cards.decided_card(**asked, record=a_record(*some, no=BOB, verdict=Verdict.DENIED)),
        "timed out": cards.decided_card(**asked, record=a_record(verdict=Verdict.TIMED_OUT)),
        "partly timed out": cards.decided_card(**asked, record=a_record(*some, verdict=Verdict.TIMED_OUT)),
        "ready": cards.ready_card(request=c.request, grant=c.grant, connection=c.connection),
        "ready, own token": cards.ready_card(
            request=c.request, grant=local, connection=replace(c.connection, facts=local.facts)
        ),
    }
    endings = {outcome: c.ending(outcome=outcome) for outcome in Outcome} | {
        "not revoked": c.ending(is_revoked=False, receipt=None),
        "half revoked": c.ending(is_revoked=False),
        "nothing granted": c.ending(outcome=Outcome.FAILED, grant=None, receipt=None, decisions=None),
        "nothing set up": c.ending(outcome=Outcome.FAILED, receipt=None),
        "denied by somebody": c.ending(
            outcome=Outcome.DENIED, grant=None, receipt=None, decisions=a_record(no=BOB, verdict=Verdict.DENIED)
        ),
        "superseded": c.ending(receipt=a_receipt(superseded_by="R-DEF567")),
    }
    for name, ending in endings.items():
        made[f"{name}: approval card"] = cards.closed_card(ending=ending, environment=c.environment)
        made[f"{name}: ready message"] = cards.closed_ready_card(ending=ending)
        made[f"{name}: report"] = cards.ended_card(ending=ending)
    return made


def replies_of(c: Contents) -> dict[str, Message]:
    """Every reply there is."""
    waits = PolicyOutcome(answer=PolicyAnswer.NEEDS_APPROVAL, reason="x", approvers=frozenset(c.approvers), needed=2)
    return {
        "asked": replies.asked_reply(request=c.request, policy=waits),
        "asked one": replies.asked_reply(request=c.request, policy=replace(waits, needed=1)),
        "automatic": replies.asked_reply(request=c.request, policy=replace(waits, answer=PolicyAnswer.ALLOWED)),
        "held": replies.held_reply(grant=c.grant),
        "asked already": replies.asked_already_reply(request_id=REQUEST_ID),
        "too many": replies.too_many_reply(open_request_ids=[REQUEST_ID] * 3),
        "refused": replies.refused_reply(reason=c.explanation),
        "outdated": replies.outdated_reply(),
        "broken": replies.broken_reply(error_id="1-5759e988-bd862e3fe1be46a994272793"),
        "help": replies.help_reply(locations=[f"{c.request.location[:60]}{n}" for n in range(100)]),
        "help without locations": replies.help_reply(locations=[]),
    }


def modals_of(c: Contents) -> dict[str, dict[str, Any]]:
    """Every modal there is."""
    return {
        "loading": modals.token_loading_modal(request_id=REQUEST_ID),
        "token": modals.token_modal(token=TOKEN, connection=c.connection, expires_at=NOON),
        "refused": modals.token_refused_modal(request_id=REQUEST_ID, reason=c.explanation),
        "first time": modals.first_time_modal(connection=c.connection),
    }


CONTENTS = {"ordinary": ORDINARY, "extreme": extreme()}
CARDS = {f"{size} card, {name}": card for size, c in CONTENTS.items() for name, card in cards_of(c).items()}
REPLIES = {f"{size} reply, {name}": reply for size, c in CONTENTS.items() for name, reply in replies_of(c).items()}
MODALS = {f"{size} modal, {name}": view for size, c in CONTENTS.items() for name, view in modals_of(c).items()}

each_card = pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
each_message = pytest.mark.parametrize("message", (CARDS | REPLIES).values(), ids=CARDS | REPLIES)
each_modal = pytest.mark.parametrize("view", MODALS.values(), ids=MODALS)
each_with_buttons = pytest.mark.parametrize("shown", [*CARDS.values(), *MODALS.values()], ids=[*CARDS, *MODALS])


def parts_of(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in a message or a view, outermost first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from parts_of(part)


def parts_of_type(value: Any, *kinds: str) -> list[dict[str, Any]]:
    return [part for part in parts_of(value) if part.get("type") in kinds]


def mrkdwn_of(value: Any) -> str:
    return "\n".join(part["text"] for part in parts_of_type(value, "mrkdwn"))


def literals_of(value: Any) -> str:
    return "\n".join(part["text"] for part in parts_of_type(value, "text"))


def boxes_of(value: Any) -> list[str]:
    return [literals_of(part) for part in parts_of_type(value, "rich_text_preformatted")]


def buttons_of(value: Any) -> dict[str, dict[str, Any]]:
    return {button["action_id"]: button for button in parts_of_type(value, "button")}


# What holds for everything


@each_message
def test_slack_takes_the_blocks(message: Message) -> None:
    """No message breaks a limit of Block Kit, whatever it holds."""
    assert [] == check_blocks(message["blocks"])


@each_modal
def test_slack_takes_the_view(view: dict[str, Any]) -> None:
    """No modal breaks a limit of Block Kit, whatever it holds."""
    assert [] == check_view(view)


@each_message
def test_the_sdk_agrees_about_blocks(message: Message) -> None:
    """Slack's own Python models find nothing wrong either, and know every block."""
    parsed = Block.parse_all(message["blocks"])

    assert [block["type"] for block in message["blocks"]] == [block.to_dict()["type"] for block in parsed]


@each_modal
def test_the_sdk_agrees_about_views(view: dict[str, Any]) -> None:
    """Slack's own Python models find nothing wrong with a modal either."""
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


@each_message
def test_slack_adds_no_links(message: Message) -> None:
    """Every piece of markup is verbatim, so that host names don't turn into links."""
    assert all(part["verbatim"] for part in parts_of_type(message, "mrkdwn"))


@each_with_buttons
def test_one_button_stands_out_at_most(shown: dict[str, Any]) -> None:
    """Two primary buttons would tell people nothing."""
    styles = [button.get("style") for button in buttons_of(shown).values()]

    assert set(styles) <= {None, "primary"}
    assert styles.count("primary") <= 1


@each_with_buttons
def test_buttons_are_verbs_in_title_case(shown: dict[str, Any]) -> None:
    """Buttons read alike everywhere and hold no emoji."""
    labels = [button["text"]["text"] for button in buttons_of(shown).values()]

    assert [] == [label for label in labels if not LABEL.fullmatch(label)]


@each_with_buttons
def test_buttons_carry_the_request_id_alone(shown: dict[str, Any]) -> None:
    """A click says which request; everything else comes from the ledger."""
    assert {REQUEST_ID} >= {button["value"] for button in buttons_of(shown).values()}


@each_modal
def test_a_modal_remembers_the_request_id_alone(view: dict[str, Any]) -> None:
    """Slack keeps private metadata, so nothing else goes into it."""
    assert REQUEST_ID == view["private_metadata"]


# User text


def with_words(words: str) -> Contents:
    """Ordinary contents in which everything that people can choose freely is these words."""
    kept = KeptObject(database=words, kind="table", name=words)
    return replace(
        ORDINARY,
        request=a_request(reason=words),
        explanation=words,
        receipt=a_receipt(kept=(kept,), unchecked=(words,)),
    )


def marked_up(c: Contents) -> dict[str, tuple[str, str]]:
    """All that Slack reads as markup on the cards: their mrkdwn and the text of their notifications."""
    return {name: (card["text"], mrkdwn_of(card)) for name, card in cards_of(c).items()}


@given(st.text(min_size=1, max_size=defaults.REASON_LENGTH))
def test_user_text_never_becomes_markup(words: str) -> None:
    """Whatever people write, the parts of a card that Slack interprets stay the same to the letter."""
    assert marked_up(with_words("x")) == marked_up(with_words(words))


@given(st.text(min_size=1, max_size=defaults.REASON_LENGTH))
def test_a_reason_is_shown_as_it_was_written(words: str) -> None:
    """Approvers see the reason to the letter."""
    card = cards_of(with_words(words))["asked"]

    assert [words] == [literals_of(quote) for quote in parts_of_type(card, "rich_text_quote")]


@given(st.text(max_size=2000))
def test_a_refusal_cannot_be_made_to_ping_anybody(words: str) -> None:
    """A refusal quotes what was typed; its notification text holds nothing that starts a mention or a link."""
    reply = replies.refused_reply(reason=words)

    assert not set("<>") & set(reply["text"])
    assert "" == mrkdwn_of(reply)


def test_hostile_words_in_a_refusal_are_shown() -> None:
    """They are shown as they stand, not dropped."""
    assert HOSTILE == literals_of(replies.refused_reply(reason=HOSTILE))


def test_no_reason_is_said_to_be_none() -> None:
    """An approver sees that there is no reason, not an empty quote."""
    card = cards_of(replace(ORDINARY, request=a_request(reason="")))["asked"]

    assert "No reason given" in mrkdwn_of(card)


# The approval card


def an_approval_card(level: PermissionLevel = PermissionLevel.WRITE, *yes: Person) -> Message:
    return cards.approval_card(
        request=a_request(level=level), environment="prod", approvers=(CAROL, BOB), record=a_record(*yes)
    )


def test_the_first_line_says_who_wants_what() -> None:
    """An approver knows from the first line what they are asked."""
    expected = "<@U0ALICE> asks for *write* access to *my-aurora-location* for 30 minutes"

    assert expected == an_approval_card()["blocks"][0]["text"]["text"]


def test_the_card_says_what_the_location_is() -> None:
    """The environment stands on the card."""
    assert "*Environment*\nprod" in mrkdwn_of(an_approval_card())


def test_the_card_says_who_may_decide_and_until_when() -> None:
    """The small print names the approvers, how many are needed, and when the card times out, in the reader's own time."""
    expected = (
        "R-ABC234 · times out at <!date^1795179600^{time}|13:00 UTC> · approvals needed: 2"
        " · approvers: <@U0BOB> <@U0CAROL>"
    )

    assert expected == an_approval_card()["blocks"][-1]["elements"][0]["text"]


def test_only_write_access_asks_twice() -> None:
    """A confirmation that comes every time is clicked away."""
    asking = {level for level in PermissionLevel if "confirm" in buttons_of(an_approval_card(level))["approve"]}

    assert {PermissionLevel.WRITE} == asking


def test_deny_is_as_easy_as_it_looks() -> None:
    """Deny has no style and no question."""
    assert {"type", "text", "action_id", "value"} == set(buttons_of(an_approval_card())["deny"])


def test_each_version_of_the_card_is_told_apart() -> None:
    """A click on an earlier version of the card can be recognised."""
    versions = [an_approval_card(PermissionLevel.WRITE, *yes) for yes in ((), (BOB,))]

    expected = ["decide:R-ABC234:0", "decide:R-ABC234:1"]
    assert expected == [parts_of_type(card, "actions")[0]["block_id"] for card in versions]


def test_progress_is_shown_while_more_approvals_are_needed() -> None:
    """The second approver sees that they are the second."""
    assert "*1 of 2* approved by <@U0BOB>" in mrkdwn_of(an_approval_card(PermissionLevel.WRITE, BOB))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (a_record(BOB, CAROL, verdict=Verdict.APPROVED), "*Approved* by <@U0BOB>, <@U0CAROL>."),
        (a_record(BOB, no=CAROL, verdict=Verdict.DENIED), "*Denied* by <@U0CAROL>."),
        (
            a_record(verdict=Verdict.TIMED_OUT),
            "*Timed out* at <!date^1795179600^{date_short_pretty} at {time}|2026-11-20 13:00 UTC>; nothing was granted.",
        ),
    ],
    ids=["approved", "denied", "timed out"],
)
def test_the_verdict_stands_in_place_of_the_buttons(record: DecisionRecord, expected: str) -> None:
    """A decided card says how it was decided, and there is nothing left to press."""
    card = cards.decided_card(request=a_request(), environment="prod", record=record)

    assert expected in mrkdwn_of(card).splitlines()
    assert {} == buttons_of(card)


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (an_ending(), "access was taken away"),
        (an_ending(is_revoked=False, receipt=None), "access could not be taken away yet"),
        (an_ending(outcome=Outcome.FAILED, explanation="No room in any subnet."), "*Failed*."),
        (an_ending(outcome=Outcome.DENIED, explanation="The catalogue has changed."), "*Denied*; nothing was granted."),
    ],
    ids=["ended", "not yet revoked", "failed", "denied after approval"],
)
def test_the_approval_card_ends_with_what_became_of_it(ending: Ending, expected: str) -> None:
    """The channel's card keeps the verdict and adds the end of the story."""
    card = cards.closed_card(ending=ending, environment="prod")

    assert expected in mrkdwn_of(card)
    assert "*Approved* by <@U0BOB>, <@U0CAROL>." in mrkdwn_of(card)
    assert ending.explanation in literals_of(card)


def test_a_denied_card_does_not_say_it_twice() -> None:
    """When the verdict is the end, it is said once."""
    ending = an_ending(outcome=Outcome.DENIED, grant=None, decisions=a_record(no=BOB, verdict=Verdict.DENIED))

    assert 1 == mrkdwn_of(cards.closed_card(ending=ending, environment="prod")).count("Denied")


# The ready message


def a_ready_card(token: TokenSource = TokenSource.MODAL) -> Message:
    grant = a_grant(token=token)
    return cards.ready_card(request=a_request(), grant=grant, connection=a_connection(grant))


def test_the_ready_message_says_what_and_until_when() -> None:
    """The holder sees the level, the location and the end."""
    expected = "*Write* access to *my-aurora-location* until <!date^1795211520^{time}|21:52 UTC>."

    assert expected in mrkdwn_of(a_ready_card()).splitlines()


def test_each_command_stands_in_a_box_of_its_own() -> None:
    """Tunnel first, then psql, each ready to be copied whole."""
    assert [tunnel_command(a_connection()), psql_command(a_connection())] == boxes_of(a_ready_card())


def test_the_holder_knows_what_an_open_tunnel_looks_like() -> None:
    """Somebody who has never done it knows when to go on."""
    assert "`Port 56789 opened for sessionId …`" in mrkdwn_of(a_ready_card())


def test_the_ready_message_offers_token_help_and_end() -> None:
    """Three buttons, the token first; only ending asks back, and its question looks dangerous."""
    buttons = buttons_of(a_ready_card())

    assert ["show_token", "first_time", "end"] == list(buttons)
    assert {"end": "danger"} == {name: b["confirm"]["style"] for name, b in buttons.items() if "confirm" in b}


def test_a_token_of_ones_own_needs_no_button() -> None:
    """Where the token never crosses Slack, the message holds the line that makes it instead of the button."""
    card = a_ready_card(TokenSource.LOCAL)
    connection = a_connection()

    assert ["first_time", "end"] == list(buttons_of(card))
    assert [tunnel_command(connection), local_token_command(connection), psql_command(connection)] == boxes_of(card)


def test_the_small_print_names_bastion_and_database_user() -> None:
    """What an operator will ask for is there."""
    small_print = mrkdwn_of(a_ready_card()["blocks"][-1])

    assert f"R-ABC234 · bastion `i-0123456789abcdef0` · database user `{a_grant().facts.role}`" == small_print


def test_an_ended_ready_message_has_nothing_to_press_or_copy() -> None:
    """Nobody pastes a command that works no more."""
    card = cards.closed_ready_card(ending=an_ending())

    assert ({}, []) == (buttons_of(card), boxes_of(card))


# The modals


def test_the_token_stands_alone_in_its_box() -> None:
    """One triple click copies the token and nothing else."""
    view = MODALS["extreme modal, token"]

    assert TOKEN == boxes_of(view)[0]
    assert 1 == str(view).count(SECRET)


def test_only_the_token_modal_takes_a_token() -> None:
    """No other card, modal or reply could show one: none is ever given one."""
    functions: list[Callable[..., Any]] = [
        thing
        for module in (cards, modals, replies)
        for name, thing in vars(module).items()
        if isinstance(thing, FunctionType) and thing.__module__ == module.__name__ and not name.startswith("_")
    ]

    assert [modals.token_modal] == [f for f in functions if "token" in inspect.signature(f).parameters]


def test_the_token_modal_says_how_long_and_for_what() -> None:
    """The token opens new connections for a while; open ones stay."""
    words = mrkdwn_of(MODALS["ordinary modal, token"])

    assert "*new* connections until <!date^1795176000^{time}|12:00 UTC>" in words
    assert "stays open until your access ends" in words


def test_the_token_modal_has_a_line_for_each_system() -> None:
    """The password comes from the clipboard, so it lands in no shell history."""
    assert [line for _, line in password_lines(a_connection())] == boxes_of(MODALS["ordinary modal, token"])[1:]


def test_a_new_token_is_one_click_away() -> None:
    """The modal makes the next token itself."""
    assert ["new_token"] == list(buttons_of(MODALS["ordinary modal, token"]))


def test_a_refused_token_is_explained() -> None:
    """The reason stands in the modal."""
    view = modals.token_refused_modal(request_id=REQUEST_ID, reason="Your access ended at 12:00.")

    assert "Your access ended at 12:00." == literals_of(view)


def expand(line: str) -> list[str]:
    """The arguments that a shell makes of a line, as a program of that name would get them."""
    stubs = 'curl() { printf \'%s\\0\' "$@"; }; psql() { curl "$@"; }'
    ran = subprocess.run(
        ["/bin/sh", "-c", f"{stubs}; {line}"],
        env={"HOME": "/home/alice"},
        capture_output=True,
        check=True,
        text=True,
        timeout=10,
    )
    return ran.stdout.split("\0")[:-1]


def test_the_certificates_are_saved_where_psql_looks_for_them() -> None:
    """Both lines, as a shell reads them, name the same file."""
    box = next(
        box for box in boxes_of(MODALS["ordinary modal, first time"]) if box.startswith("curl -") and "pem" in box
    )
    download, connect = expand(box), expand(psql_command(a_connection()))[0]

    assert "/home/alice/.drawbridge/rds-global-bundle.pem" == download[download.index("-o") + 1]
    assert connect.endswith(" sslrootcert=/home/alice/.drawbridge/rds-global-bundle.pem")


@pytest.mark.parametrize(
    "words",
    [MINIMUM_PLUGIN_VERSION, "DrawbridgeUser", "*AccessDenied*", "*TargetNotConnected*", "*address already in use*"],
)
def test_first_timers_read_what_they_need(words: str) -> None:
    """The plugin's least version and the usual errors are explained."""
    assert words in mrkdwn_of(MODALS["ordinary modal, first time"])


@pytest.mark.parametrize("tool", ["awscli", "session-manager-plugin", "libpq", "Amazon.AWSCLI", "aws sso login"])
def test_first_timers_can_copy_every_install_line(tool: str) -> None:
    """Each tool has a line in a box."""
    assert any(tool in box for box in boxes_of(MODALS["ordinary modal, first time"]))


# The ended message


def lines_of(ending: Ending) -> list[str]:
    """The lines of the receipt."""
    listed = parts_of_type(cards.ended_card(ending=ending), "rich_text_list")
    return [literals_of(item) for part in listed for item in part["elements"]]


def test_the_receipt_is_read_out() -> None:
    """The holder sees what was found after the end, in plain words."""
    expected = [
        "Database sessions left: 0",
        "Login: off, the database user is dropped",
        "Memberships left: none",
        "Objects of yours handed over to the location: none",
        "Tunnels ended: 2",
    ]

    assert expected == lines_of(an_ending(tunnels=ClosedTunnels(ended=("a", "b"))))


def test_what_is_left_is_not_glossed_over() -> None:
    """A receipt that proves nothing says so line by line, and that it goes on."""
    ending = an_ending(
        is_revoked=False, receipt=a_receipt(is_dropped=False, can_log_in=True, sessions=1, memberships=("a", "b"))
    )

    expected = ["Database sessions left: 1", "Login: still on", "Memberships left: a, b"]
    assert expected == lines_of(ending)[:3]
    assert "could not be taken away yet; it is tried again until it is" in mrkdwn_of(cards.ended_card(ending=ending))


def test_objects_are_listed_up_to_ten() -> None:
    """A long list ends with how many more there are."""
    kept = tuple(KeptObject(database="depot", kind="table", name=f"public.t{n}") for n in range(12))
    lines = lines_of(an_ending(receipt=a_receipt(kept=kept)))

    assert "Objects of yours handed over to the location: 12" in lines
    assert ["table public.t9 in depot", "and 2 more"] == lines[lines.index("and 2 more") - 1 :][:2]
    assert "table public.t10 in depot" not in lines


def test_what_could_not_be_checked_is_said() -> None:
    """Nobody takes silence for proof."""
    lines = lines_of(
        an_ending(
            receipt=a_receipt(unchecked=("Reader 2 did not answer.",)), tunnels=ClosedTunnels(unattributed=("s",))
        )
    )

    assert "Could not be checked: Reader 2 did not answer." in lines
    assert "Tunnels on the bastion that could not be attributed to anybody: 1" in lines


def test_other_peoples_session_names_stay_out_of_the_receipt() -> None:
    """A session id holds its owner's name, and an unattributed one is mostly somebody else's."""
    ending = an_ending(tunnels=ClosedTunnels(unattributed=("bob@example.com-0abc",)))

    assert "bob@example.com" not in str(cards.ended_card(ending=ending))


def test_nothing_set_up_is_said_to_be_nothing() -> None:
    """A request that failed before anything was made says so."""
    ending = an_ending(outcome=Outcome.FAILED, receipt=None)

    assert "Nothing had been set up in the database." in lines_of(ending)


def test_access_that_could_not_be_taken_away_is_said_first() -> None:
    """The holder is not told that it is over while it is not."""
    ending = an_ending(is_revoked=False, receipt=None, explanation="The database did not answer.")
    card = cards.ended_card(ending=ending)

    assert "*Your access could not be taken away yet; it is tried again until it is.*" in mrkdwn_of(card)
    assert "The database did not answer." in literals_of(card)


def test_a_newer_request_keeps_the_user() -> None:
    """When the user belongs to a newer request, the receipt says that nothing was done."""
    lines = lines_of(an_ending(receipt=a_receipt(superseded_by="R-DEF567")))

    assert "The database user belongs to your newer request R-DEF567 by now, so it was left alone." == lines[0]


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (
            an_ending(outcome=Outcome.DENIED, grant=None, decisions=a_record(no=BOB, verdict=Verdict.DENIED)),
            "Your request for write access to *my-aurora-location* was denied by <@U0BOB>. Nothing was granted.",
        ),
        (
            an_ending(outcome=Outcome.TIMED_OUT, grant=None, decisions=a_record(verdict=Verdict.TIMED_OUT)),
            (
                "Your request for write access to *my-aurora-location* was not answered in time. Nothing was granted;"
                " ask again, best after a word with an approver."
            ),
        ),
        (
            an_ending(outcome=Outcome.FAILED, explanation="No room in any subnet."),
            "Your request for write access to *my-aurora-location* could not be carried out.",
        ),
        (
            an_ending(),
            (
                "*Write* access to *my-aurora-location* has ended"
                " <!date^1795211520^{date_short_pretty} at {time}|2026-11-20 21:52 UTC>."
            ),
        ),
    ],
    ids=["denied", "timed out", "failed", "finished"],
)
def test_each_end_is_told_in_a_sentence(ending: Ending, expected: str) -> None:
    """The first line says how the request ended; an explanation stands below as it is."""
    card = cards.ended_card(ending=ending)

    assert expected == card["blocks"][0]["text"]["text"]
    assert ending.explanation in literals_of(card)


def test_a_receipt_is_read_out_even_when_the_grant_is_a_newer_requests() -> None:
    """Once a newer request holds the grant, the older one's receipt still says so."""
    lines = lines_of(an_ending(grant=None, receipt=a_receipt(superseded_by="R-DEF567")))

    assert "R-DEF567" in "".join(lines)


def test_a_request_without_a_grant_has_no_receipt() -> None:
    """Where nothing was granted, nothing is proved."""
    assert [] == lines_of(an_ending(outcome=Outcome.TIMED_OUT, grant=None, receipt=None))


# The replies


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            REPLIES["ordinary reply, asked"],
            (
                "Asked: write access to my-aurora-location for 30 minutes. R-ABC234. It waits for 2 approvers;"
                " you get a direct message either way."
            ),
        ),
        (
            REPLIES["ordinary reply, held"],
            (
                "You hold write access to *my-aurora-location* until"
                " <!date^1795211520^{date_short_pretty} at {time}|2026-11-20 21:52 UTC>. Nothing was extended. R-ABC234"
            ),
        ),
        (
            REPLIES["ordinary reply, asked already"],
            "You have asked for this already: R-ABC234 is still open. Nothing new was filed.",
        ),
    ],
    ids=["asked", "held", "asked already"],
)
def test_a_command_is_answered_in_a_sentence(reply: Message, expected: str) -> None:
    """The answer says what was done and what comes next."""
    assert expected == reply["text"] == mrkdwn_of(reply)


def test_a_failure_gives_an_id_to_pass_on() -> None:
    """Something went wrong, and the id to name stands in a box."""
    assert ["abc-123"] == boxes_of(replies.broken_reply(error_id="abc-123"))


def test_help_shows_examples_with_a_real_location() -> None:
    """What help shows can be typed."""
    boxes = boxes_of(replies.help_reply(locations=["orders", "my-aurora-location"]))

    assert "/db-access my-aurora-location r" in boxes
