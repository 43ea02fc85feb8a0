"""The modal of a token: loading, shown, refused, or made on one's own machine. The only place where a token appears."""

from datetime import datetime

from chalicelib.defaults import DURATIONS
from chalicelib.domain.connections import ConnectionDetails, local_token_command, local_token_lines, password_lines
from chalicelib.domain.durations import describe_duration
from chalicelib.slack.blocks import (
    Block,
    View,
    bold,
    code,
    context,
    literal,
    modal,
    preformatted,
    section,
    time_of,
    version_of,
)
from chalicelib.slack.cards.buttons import new_token_button, row

_TITLE = "Database token"


def token_loading_modal(*, request_id: str) -> View:
    """What is shown at once, because Slack lets a modal be opened only within seconds of the click."""
    return _token_view(request_id, section("Making a fresh token for you…"))


def token_modal(*, token: str, connection: ConnectionDetails, expires_at: datetime) -> View:
    """The token alone in its box, and the lines that take it from the clipboard."""
    request_id = connection.facts.request_id
    return _token_view(
        request_id,
        section(
            f"The password of {code(connection.facts.role)}. It opens *new* connections until {time_of(expires_at)};"
            " one that is open by then stays open until your access ends."
        ),
        preformatted(token),
        section("*Copy it, then connect* in a second terminal. These lines take it from the clipboard:"),
        *(preformatted(line, label=system) for system, line in password_lines(connection)),
        row("token", request_id, version_of(expires_at), new_token_button(request_id)),
        context(request_id),
    )


def token_refused_modal(*, request_id: str, reason: str) -> View:
    """Why there is no token. ``reason`` is shown as it stands."""
    return _token_view(request_id, section("*There is no token for you.*"), literal(reason), context(request_id))


def local_token_modal(*, connection: ConnectionDetails) -> View:
    """How to make the token on one's own machine, where a location's never crosses Slack."""
    request_id = connection.facts.request_id
    life = describe_duration(DURATIONS.token)
    return _token_view(
        request_id,
        section(
            f"Tokens of {bold(connection.facts.location)} never cross Slack. These lines make one with your own AWS identity"
            f" and connect; it opens *new* connections for {life}:"
        ),
        *(preformatted(line, label=system) for system, line in local_token_lines(connection)),
        section("The token alone, for a program that asks for a password:"),
        preformatted(local_token_command(connection)),
        context(request_id),
    )


def _token_view(request_id: str, *blocks: Block) -> View:
    return modal(_TITLE, *blocks, callback_id="token", request_id=request_id)
