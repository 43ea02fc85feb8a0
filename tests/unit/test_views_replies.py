"""The answers to a command or a click, for the eyes of one person."""

from dataclasses import replace

import pytest

from chalicelib.domain.command_grammar import command_help
from chalicelib.domain.permissions import GUARD_RAILS, PermissionLevel
from chalicelib.domain.policy import PolicyAnswer
from chalicelib.slack.blocks import Message, paragraphs
from chalicelib.slack.replies.answers import broken_reply, ending_reply, which_reply
from chalicelib.slack.replies.cost import cost_reply
from chalicelib.slack.replies.explanation import explain_reply
from chalicelib.slack.replies.help import help_reply
from chalicelib.slack.replies.lists import history_reply, list_reply, mine_reply
from tests.factories import a_rule
from tests.unit.view_contents import (
    ORDINARY,
    a_cost_report,
    a_policy,
    an_ended,
    an_explanation,
    an_offer,
    an_overview,
    locations,
)
from tests.unit.view_renderings import REPLIES, boxes_of, buttons_of, literals_of, mrkdwn_of


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            "asked",
            (
                "Asked: write access to my-aurora-location for 30 minutes. R-ABC234. It waits for 2 approvers;"
                " you get a direct message either way."
            ),
        ),
        (
            "glass broken",
            (
                "Asked: write access to my-aurora-location for 30 minutes. R-ABC234. You broke the glass: every approver is"
                " told now, and one of them reviews it. You get a direct message when the database is ready, in a few minutes."
            ),
        ),
        (
            "held",
            (
                "You hold write access to *my-aurora-location* until"
                " <!date^1795211520^{date_short_pretty} at {time}|2026-11-20 21:52 UTC>. Nothing was extended. R-ABC234"
            ),
        ),
        ("asked already", "You have asked for this already: R-ABC234 is still open. Nothing new was filed."),
        (
            "extension asked",
            (
                "Asked to extend your access to *my-aurora-location* by 30 minutes. R-ABC234 waits for 2 approvers;"
                " until they answer, it ends when it would have."
            ),
        ),
        (
            "extension at once",
            (
                "Extending your access to *my-aurora-location* by 30 minutes. R-ABC234. Your ready message shows the new end in"
                " a moment."
            ),
        ),
        ("cancelled", "R-ABC234 is cancelled. Nothing was granted."),
    ],
)
def test_what_was_done_is_answered_in_a_sentence(reply: str, expected: str) -> None:
    """The answer says what was done and what comes next."""
    message = REPLIES[f"ordinary reply, {reply}"]

    assert expected == message["text"] == mrkdwn_of(message)


def test_a_failure_gives_an_id_to_pass_on() -> None:
    """Something went wrong, and the id to name stands in a box."""
    assert ["abc-123"] == boxes_of(broken_reply(error_id="abc-123"))


def test_which_one_is_asked_with_the_commands_that_say_it() -> None:
    """Each can be typed as it stands."""
    reply = which_reply(verb="extend", request_ids=["R-ABC234", "R-DEF567"])

    assert ["/db-access extend R-ABC234", "/db-access extend R-DEF567"] == boxes_of(reply)


def test_nothing_to_act_on_is_said() -> None:
    """With where to look."""
    assert "There is nothing of yours to cancel." in mrkdwn_of(which_reply(verb="cancel", request_ids=[]))


def test_everything_that_is_ended_is_named() -> None:
    """So that nobody ends more than they meant without seeing it."""
    assert "Ending R-ABC234, R-DEF567." in mrkdwn_of(ending_reply(request_ids=["R-ABC234", "R-DEF567"]))


def test_help_shows_examples_with_a_real_location() -> None:
    """What help shows can be typed."""
    assert "/db-access my-aurora-location r" in boxes_of(help_reply(locations=["orders", "my-aurora-location"]))


def test_help_shows_every_command_and_level() -> None:
    """Nothing is known only to those who read the code."""
    words = mrkdwn_of(help_reply(locations=["orders"]))

    assert [] == [usage for usage, _ in command_help() if f"`{usage}`" not in words]
    assert [] == [level for level in PermissionLevel if level.summary not in words]


# Lists


def test_the_list_says_how_each_level_is_given() -> None:
    """One line a location."""
    expected = "*orders-prod* (prod): read at once · write with 2 approvals · operate not now"

    assert expected in mrkdwn_of(list_reply(offers=[an_offer()])).splitlines()


def test_a_list_that_is_too_long_counts_the_rest() -> None:
    """Nobody takes what fits for all there is."""
    offers = [an_offer(location) for location in locations(100)]
    lines = mrkdwn_of(list_reply(offers=offers)).splitlines()

    shown = sum(line.startswith("*0") for line in lines)
    assert 30 < shown < 100
    assert f"and {100 - shown} more" in lines


def test_what_is_mine_can_be_used_at_once() -> None:
    """The same rows as on Home, with their buttons."""
    reply = mine_reply(overview=ORDINARY.overview(size=1))

    assert {"show_token", "gui", "extend", "end", "cancel"} == set(buttons_of(reply))


def test_nothing_of_mine_says_how_to_ask() -> None:
    """An empty answer leads on."""
    assert "`/db-access` alone opens the form" in mrkdwn_of(mine_reply(overview=an_overview()))


def test_history_tells_each_end() -> None:
    """What, how and when."""
    words = mrkdwn_of(history_reply(ended=[an_ended()]))

    assert "Write access to my-aurora-location for 30 minutes: ended <!date^1795176000^" in words


@pytest.mark.parametrize("count", [0, 1, 500])
def test_paragraphs_lose_no_line_uncounted(count: int) -> None:
    """Shown and counted lines are all there are, and no paragraph is too long."""
    made = paragraphs([f"line {n:04} {'x' * 90}" for n in range(count)])
    lines = mrkdwn_of(made).splitlines()
    more = [int(line.split()[1]) for line in lines if line.startswith("and ")]

    assert count == len(lines) - len(more) + sum(more)
    assert all(len(block["text"]["text"]) <= 3000 for block in made)


# Explanations


def explained(**changes: object) -> Message:
    return explain_reply(explanation=replace(an_explanation(), **changes))


def test_an_explanation_names_rule_cap_hours_and_approvers() -> None:
    """Which rule applies, what it comes to now, and who can approve."""
    words = mrkdwn_of(explained())

    assert "*Write* access to *orders-prod* (prod): you get it with 2 approvals." in words
    assert "Who can approve now: <@U0BOB>, <@U0CAROL>" in words
    assert "*At most*\n4 hours in all" in words
    assert "*Hours*\nMon-Fri 07:00-19:00 Europe/Berlin" in words
    assert "Rule: `[locations.orders-prod.levels.w]`" in words


def test_an_explanation_says_what_the_level_can_and_cannot() -> None:
    """All of it, with the honest word on what is no wall."""
    words = literals_of(explained())

    assert [] == [each for each in (*PermissionLevel.WRITE.can, *PermissionLevel.WRITE.cannot) if each not in words]
    assert GUARD_RAILS in words


def test_an_explanation_of_a_refusal_quotes_it() -> None:
    """Policy's own sentence, and no rule where there is none."""
    refused = a_policy(answer=PolicyAnswer.DENIED, reason="orders offers read (r), not write (w).")

    reply = explained(rule=None, outcome=refused)

    assert "orders offers read (r), not write (w)." in literals_of(reply)
    assert "Rule:" not in mrkdwn_of(reply)


def test_automatic_access_is_explained_as_that() -> None:
    """Nobody is waited for."""
    at_once = a_policy(answer=PolicyAnswer.ALLOWED, approvers=frozenset(), needed=0)

    words = mrkdwn_of(explained(rule=a_rule(automatic=True), outcome=at_once))

    assert "you get it at once" in words
    assert "*Approvals*\nnone, it is automatic" in words


@pytest.mark.parametrize("may", [True, False])
def test_breaking_the_glass_is_told_to_who_may(may: bool) -> None:
    """With what comes of it."""
    assert may == ("reviews it within 1 day" in mrkdwn_of(explained(may_break_glass=may)))


# Costs


def test_the_cost_is_read_out_with_its_parts() -> None:
    """The sum, what it is made of, and which grants took it."""
    words = mrkdwn_of(cost_reply(report=a_cost_report()))

    assert "2026-11 so far: *$0.57*." in words
    assert "The secret: $0.40" in words
    assert "R-ABC234 <@U0ALICE> my-aurora-location: $0.0021, a bastion for 30 minutes" in words
    assert "only AWS's bill is the bill" in words


@pytest.mark.parametrize(
    ("dollars", "expected"),
    [
        (1.5, "*$1.50* of a budget of $3.00."),
        (3.0, "*$3.00*. That is over the budget of $3.00, which ends warm-ups first and then automatic access."),
    ],
)
def test_the_budget_is_compared(dollars: float, expected: str) -> None:
    """People learn from the same answer why something stopped."""
    assert expected in cost_reply(report=a_cost_report(dollars=dollars, budget_dollars=3.0))["text"]
