"""The messages to who holds access: ready, its moved end, ending soon, and the same when it is over."""

from datetime import timedelta

import pytest

from chalicelib.domain.connections import local_token_command, psql_command, tunnel_command
from chalicelib.domain.locations import TokenSource
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.slack.blocks import Message
from chalicelib.slack.cards.holder import (
    closed_ready_card,
    closed_soon_card,
    moved_end_message,
    ready_card,
    replaced_bastion_message,
    soon_card,
)
from tests.unit.view_contents import EXTENSION_ID, a_connection, a_grant, a_request, an_ending
from tests.unit.view_renderings import boxes_of, buttons_of, mrkdwn_of, parts_of_type


def a_ready_card(token: TokenSource = TokenSource.MODAL, level: PermissionLevel = PermissionLevel.WRITE) -> Message:
    request = a_request(level=level)
    grant = a_grant(request, token=token)
    return ready_card(request=request, grant=grant, connection=a_connection(grant))


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


def test_the_ready_message_offers_everything_that_a_holder_does() -> None:
    """The token first; only ending asks back, and its question looks dangerous."""
    buttons = buttons_of(a_ready_card())

    assert ["show_token", "gui", "extend", "end", "first_time"] == list(buttons)
    assert {"end": "danger"} == {name: b["confirm"]["style"] for name, b in buttons.items() if "confirm" in b}


def test_operators_are_offered_the_query_they_come_for() -> None:
    """Who blocks whom is for the level that may see it."""
    offering = {level for level in PermissionLevel if "who_blocks" in buttons_of(a_ready_card(level=level))}

    assert {PermissionLevel.OPERATE} == offering


def test_a_token_of_ones_own_needs_no_button() -> None:
    """Where the token never crosses Slack, the message holds the line that makes it instead of the button."""
    card = a_ready_card(TokenSource.LOCAL)
    connection = a_connection()

    assert "show_token" not in buttons_of(card)
    assert [tunnel_command(connection), local_token_command(connection), psql_command(connection)] == boxes_of(card)


def test_the_small_print_names_bastion_and_database_user() -> None:
    """What an operator will ask for is there."""
    small_print = mrkdwn_of(a_ready_card()["blocks"][-1])

    assert f"R-ABC234 · bastion `i-0123456789abcdef0` · database user `{a_grant().facts.role}`" == small_print


def test_a_moved_end_is_another_version_of_the_message() -> None:
    """A click on the message as it was before can be recognised."""
    grants = [a_grant(), a_grant(ends_at=a_grant().ends_at + timedelta(minutes=30))]
    cards = [ready_card(request=a_request(), grant=grant, connection=a_connection(grant)) for grant in grants]

    ids = [parts_of_type(card, "actions")[0]["block_id"] for card in cards]
    assert ["ready:R-ABC234:1795211520", "ready:R-ABC234:1795213320"] == ids


def test_the_ready_message_says_how_often_it_was_extended() -> None:
    """Holder and approvers count alike."""
    grant = a_grant(extension_ids=(EXTENSION_ID,) * 2)

    card = ready_card(request=a_request(), grant=grant, connection=a_connection(grant))

    assert "21:52 UTC>, extended 2 times." in mrkdwn_of(card)


def test_a_moved_end_is_told() -> None:
    """The new end, and that nothing has to be opened again."""
    message = moved_end_message(request=a_request(), grant=a_grant())

    expected = (
        "*Write* access to *my-aurora-location* now ends at <!date^1795211520^{time}|21:52 UTC>."
        " What you have open stays open."
    )
    assert expected == message["blocks"][0]["text"]["text"]


def test_the_warning_offers_half_an_hour_more_or_the_end() -> None:
    """One click prolongs it; ending asks back."""
    buttons = buttons_of(soon_card(request=a_request(), grant=a_grant()))

    assert ["Extend 30 Minutes", "End Now"] == [button["text"]["text"] for button in buttons.values()]
    assert ["extend_30", "end"] == list(buttons)


@pytest.mark.parametrize("card", [closed_ready_card(ending=an_ending()), closed_soon_card(ending=an_ending())])
def test_an_ended_message_has_nothing_to_press_or_copy(card: Message) -> None:
    """Nobody pastes a command or presses a button that works no more."""
    assert ({}, []) == (buttons_of(card), boxes_of(card))
    assert "*Write* access to *my-aurora-location* ended" in mrkdwn_of(card)


def test_a_replaced_bastion_is_told_with_the_line_that_works() -> None:
    """What happened, what to do, and that nothing else has changed."""
    message = replaced_bastion_message(request=a_request(), connection=a_connection())

    said, line, _ = message["blocks"]
    assert said["text"]["text"].startswith("The bastion of *Write* access to *my-aurora-location* was replaced")
    assert a_connection().instance_id in str(line)
