"""The card in the approvals channel and the requester's own, from the question to the end."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.domain.decisions import DecisionRecord, Terms, Verdict
from chalicelib.domain.endings import Ending, Outcome
from chalicelib.domain.locations import Isolation
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import AccessRequest
from chalicelib.slack.blocks import Message
from chalicelib.slack.cards.approval import (
    approval_card,
    closed_card,
    decided_card,
    live_card,
    preparing_card,
    reminder,
)
from chalicelib.slack.cards.asked import asked_card, asked_card_preparing, asked_card_ready, closed_asked_card
from tests.factories import a_location
from tests.unit.view_contents import (
    ALICE,
    BOB,
    CAROL,
    NOON,
    a_filed,
    a_grant,
    a_no,
    a_policy,
    a_record,
    a_request,
    a_yes,
    an_ending,
    an_extension,
)
from tests.unit.view_renderings import buttons_of, literals_of, mrkdwn_of, parts_of_type, quotes_of

READ_FOR_HALF = Terms(level=PermissionLevel.READ, duration_seconds=900)


def a_card(request: AccessRequest | None = None, record: DecisionRecord | None = None, **location: Any) -> Message:
    return approval_card(
        request=request or a_request(),
        location=a_location(**location),
        approvers=(CAROL, BOB),
        record=record or a_record(),
    )


def labels_of(card: Message) -> list[str]:
    return [button["text"]["text"] for button in buttons_of(card).values()]


def test_the_first_line_says_who_wants_what() -> None:
    """An approver knows from the first line what they are asked."""
    expected = "<@U0ALICE> asks for *write* access to *my-aurora-location* for 30 minutes"

    assert expected == a_card()["blocks"][0]["text"]["text"]


def test_the_first_line_says_that_access_is_extended() -> None:
    """More time is not mistaken for new access."""
    expected = "<@U0ALICE> asks to extend *write* access to *my-aurora-location* by 30 minutes"

    assert expected == a_card(an_extension())["blocks"][0]["text"]["text"]


def test_the_card_says_what_the_location_is() -> None:
    """The environment stands on the card."""
    assert "*Environment*\nprod" in mrkdwn_of(a_card())


@pytest.mark.parametrize("level", [PermissionLevel.READ, PermissionLevel.WRITE])
def test_the_card_says_where_else_the_access_leads(level: PermissionLevel) -> None:
    """Nobody approves the reading of other databases unknowingly."""
    words = mrkdwn_of(a_card(a_request(level=level), also_readable=frozenset({"stock", "postgres"})))

    assert "It also opens what the catalogue lets everybody connect to: *postgres*, *stock*" in words


def test_the_card_says_that_a_location_is_not_isolated() -> None:
    """Then nobody has listed what is open."""
    words = mrkdwn_of(a_card(isolation=Isolation.WARN, also_readable=frozenset({"postgres"})))

    assert "It also opens every other database of the server that everybody may connect to." in words


@pytest.mark.parametrize(
    ("level", "location"),
    [(PermissionLevel.WRITE, {}), (PermissionLevel.OPERATE, {"also_readable": frozenset({"postgres"})})],
)
def test_the_card_speaks_of_no_other_database_where_none_is_opened(
    level: PermissionLevel, location: dict[str, Any]
) -> None:
    """An isolated location; a level that reads nothing."""
    assert "also opens" not in mrkdwn_of(a_card(a_request(level=level), **location))


def test_the_card_says_which_access_is_extended() -> None:
    """The request whose access is prolonged is named."""
    assert "*Extends*\nR-EXT234" in mrkdwn_of(a_card(an_extension()))


def test_no_reason_is_said_to_be_none() -> None:
    """An approver sees that there is no reason, not an empty quote."""
    assert "No reason given" in mrkdwn_of(a_card(a_request(reason="")))


def test_the_card_says_who_may_decide_and_until_when() -> None:
    """The small print names the approvers, how many are needed, and when the card times out, in the reader's own time."""
    expected = (
        "R-ABC234 · times out at <!date^1795179600^{time}|13:00 UTC> · approvals needed: 2"
        " · approvers: <@U0BOB> <@U0CAROL>"
    )

    assert expected == a_card()["blocks"][-1]["elements"][0]["text"]


def test_only_write_access_asks_twice() -> None:
    """A confirmation that comes every time is clicked away."""
    asking = {level for level in PermissionLevel if "confirm" in buttons_of(a_card(a_request(level=level)))["approve"]}

    assert {PermissionLevel.WRITE} == asking


def test_deny_is_as_easy_as_it_looks() -> None:
    """Deny has no style and no question."""
    assert {"type", "text", "action_id", "value"} == set(buttons_of(a_card())["deny"])


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (a_request(), ["Approve Access", "Approve as Read or Shorter…", "Deny…"]),
        (a_request(duration_seconds=900), ["Approve Access", "Approve as Read…", "Deny…"]),
        (a_request(level=PermissionLevel.READ), ["Approve Access", "Approve Shorter…", "Deny…"]),
        (a_request(level=PermissionLevel.READ, duration_seconds=900), ["Approve Access", "Deny…"]),
        (an_extension(), ["Approve Extension", "Approve Shorter…", "Deny…"]),
    ],
    ids=["write", "short write", "read", "short read", "extension"],
)
def test_less_is_offered_where_there_is_less(request_: AccessRequest, expected: list[str]) -> None:
    """No button leads to a choice of one."""
    assert expected == labels_of(a_card(request_))


def test_each_version_of_the_card_is_told_apart() -> None:
    """A click on an earlier version of the card can be recognised."""
    versions = [a_card(record=a_record(*yes)) for yes in ((), (BOB,))]

    expected = ["decide:R-ABC234:1", "decide:R-ABC234:2"]
    assert expected == [parts_of_type(card, "actions")[0]["block_id"] for card in versions]


def test_progress_is_shown_while_more_approvals_are_needed() -> None:
    """The second approver sees that they are the second."""
    assert "*1 of 2* approved by <@U0BOB>" in mrkdwn_of(a_card(record=a_record(BOB)))


def test_a_first_approval_for_less_is_shown_as_that() -> None:
    """The second approver sees what the first one agreed to."""
    card = a_card(record=a_record(a_yes(BOB, READ_FOR_HALF)))

    expected = "*1 of 2* approved by <@U0BOB> as *read* for 15 minutes; asked: write for 30 minutes"
    assert expected in mrkdwn_of(card).splitlines()


def test_the_reminder_calls_those_who_have_not_answered() -> None:
    """Who has answered is left in peace."""
    words = mrkdwn_of(reminder(request=a_request(), record=a_record(BOB), approvers=(BOB, CAROL)))

    assert words.startswith("<@U0CAROL>: <@U0ALICE> asks for write access to my-aurora-location for 30 minutes.")


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (a_record(BOB, CAROL, verdict=Verdict.APPROVED), "*Approved* by <@U0BOB>, <@U0CAROL>."),
        (
            a_record(a_yes(BOB, READ_FOR_HALF), CAROL, verdict=Verdict.APPROVED),
            "*Approved* by <@U0BOB>, <@U0CAROL> as *read* for 15 minutes; asked: write for 30 minutes.",
        ),
        (
            a_record(BOB, CAROL, verdict=Verdict.APPROVED, void=(CAROL.person_id,)),
            "*Approved* by <@U0BOB>. Not counted: <@U0CAROL>, no full member of this workspace any more.",
        ),
        (a_record(BOB, a_no(CAROL), verdict=Verdict.DENIED), "*Denied* by <@U0CAROL>."),
        (
            a_record(verdict=Verdict.TIMED_OUT),
            "*Timed out* <!date^1795179600^{date_short_pretty} at {time}|2026-11-20 13:00 UTC>; nothing was granted.",
        ),
        (a_record(verdict=Verdict.CANCELLED), "*Cancelled* by the requester; nothing was granted."),
    ],
    ids=["approved", "approved for less", "approved without one", "denied", "timed out", "cancelled"],
)
def test_the_verdict_stands_in_place_of_the_buttons(record: DecisionRecord, expected: str) -> None:
    """A decided card says how it was decided, and there is nothing left to press."""
    card = decided_card(request=a_request(), environment="prod", record=record)

    assert expected in mrkdwn_of(card).splitlines()
    assert {} == buttons_of(card)


def test_a_shorter_extension_names_no_level() -> None:
    """An extension never changes the level."""
    shorter = Terms(level=PermissionLevel.WRITE, duration_seconds=900)
    record = a_record(a_yes(BOB, shorter), verdict=Verdict.APPROVED)

    words = mrkdwn_of(decided_card(request=an_extension(), environment="prod", record=record))

    assert "*Approved* by <@U0BOB> for 15 minutes; asked: 30 minutes." in words


def test_why_not_stands_below_the_denial() -> None:
    """The channel reads the denier's own words, after the requester's."""
    record = a_record(a_no(CAROL, "Use the <copy>."), verdict=Verdict.DENIED)

    card = decided_card(request=a_request(), environment="prod", record=record)

    assert ["INC-42 fix stuck order", "Use the <copy>."] == quotes_of(card)


@pytest.mark.parametrize(
    ("may_sleep", "expected"),
    [
        (False, "*Preparing*: starting the bastion."),
        (True, "*Preparing*: starting the bastion, waking the database, which may take a minute."),
    ],
)
def test_the_card_says_what_is_going_on(may_sleep: bool, expected: str) -> None:
    """While nothing seems to happen, the channel sees what does, below the verdict."""
    record = a_filed(decisions=a_record(BOB, verdict=Verdict.APPROVED))

    lines = mrkdwn_of(preparing_card(record=record, environment="prod", may_sleep=may_sleep)).splitlines()

    assert ["*Approved* by <@U0BOB>.", expected] == [line for line in lines if line[:2] in {"*A", "*P"}]


def test_a_live_card_says_until_when() -> None:
    """The channel sees that access is out and when it ends."""
    card = live_card(record=a_filed(), environment="prod", grant=a_grant())

    assert "*Live* until <!date^1795211520^{date_short_pretty} at {time}|2026-11-20 21:52 UTC>." in mrkdwn_of(card)


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (an_ending(), "access was taken away"),
        (an_ending(is_revoked=False, receipt=None), "access could not be taken away yet"),
        (an_ending(outcome=Outcome.FAILED, explanation="No room in any subnet."), "*Failed*."),
        (an_ending(outcome=Outcome.DENIED, explanation="The catalogue has changed."), "*Denied*; nothing was granted."),
        (an_ending(outcome=Outcome.CANCELLED), "*Cancelled*; nothing was granted."),
        (an_ending(request=an_extension(), grant=None), "*Extended* by 30 minutes."),
    ],
    ids=["ended", "not yet revoked", "failed", "denied after approval", "cancelled after approval", "extended"],
)
def test_the_approval_card_ends_with_what_became_of_it(ending: Ending, expected: str) -> None:
    """The channel's card keeps the verdict and adds the end of the story."""
    card = closed_card(ending=ending, environment="prod")

    assert expected in mrkdwn_of(card)
    assert "*Approved* by <@U0BOB>, <@U0CAROL>." in mrkdwn_of(card)
    assert ending.explanation in literals_of(card)


@pytest.mark.parametrize(
    ("outcome", "record", "word"),
    [
        (Outcome.DENIED, a_record(a_no(BOB), verdict=Verdict.DENIED), "Denied"),
        (Outcome.TIMED_OUT, a_record(verdict=Verdict.TIMED_OUT), "Timed out"),
        (Outcome.CANCELLED, a_record(verdict=Verdict.CANCELLED), "Cancelled"),
    ],
)
def test_an_end_by_verdict_is_not_said_twice(outcome: Outcome, record: DecisionRecord, word: str) -> None:
    """When the verdict is the end, it is said once, on both cards."""
    ending = an_ending(outcome=outcome, grant=None, decisions=record)

    assert 1 == mrkdwn_of(closed_card(ending=ending, environment="prod")).count(word)
    assert 1 == mrkdwn_of(closed_asked_card(ending=ending)).count(word)


# The requester's own card


def test_the_requester_sees_whom_it_waits_for() -> None:
    """They know whom to talk to, and until when."""
    words = mrkdwn_of(asked_card(request=a_request(), policy=a_policy(), closes_at=NOON))

    expected = "It waits for 2 approvers until <!date^1795176000^{time}|12:00 UTC>: <@U0BOB> <@U0CAROL>"
    assert expected in words.splitlines()


def test_the_requester_can_take_it_back() -> None:
    """One button, without style."""
    button = buttons_of(asked_card(request=a_request(), policy=a_policy(), closes_at=NOON))["cancel"]

    assert ("Cancel Request", None) == (button["text"]["text"], button.get("style"))


def test_the_requester_follows_the_request_to_its_end() -> None:
    """The same card says each step, and offers nothing to press any more."""
    record = a_filed(decisions=a_record(a_yes(BOB, READ_FOR_HALF), verdict=Verdict.APPROVED))
    steps = [
        asked_card_preparing(record=record, may_sleep=True),
        asked_card_ready(record=record, grant=a_grant()),
        closed_asked_card(ending=an_ending(decisions=record.decisions)),
    ]

    for step, word in zip(steps, ["*Preparing*", "*Ready* until", "*Ended*"], strict=True):
        assert word in mrkdwn_of(step)
        assert "as *read* for 15 minutes; asked: write for 30 minutes" in mrkdwn_of(step)
        assert {} == buttons_of(step)


def test_the_requester_reads_why_not() -> None:
    """The denier's words stand on their card too."""
    record = a_record(a_no(CAROL, "Use the copy."), verdict=Verdict.DENIED)

    card = closed_asked_card(ending=an_ending(outcome=Outcome.DENIED, grant=None, decisions=record))

    assert ["Use the copy."] == quotes_of(card)


def test_nobody_is_called_by_an_old_name() -> None:
    """People stand on cards by their id, so that a name they choose fools nobody."""
    renamed = replace(ALICE, name="bob")

    assert "bob" not in str(a_card(a_request(person=renamed)))
