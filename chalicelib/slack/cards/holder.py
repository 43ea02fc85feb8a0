"""The messages to who holds access: how to connect, that its end moved, that it ends soon. None of them holds a token."""

from chalicelib.domain.connections import (
    ConnectionDetails,
    local_token_command,
    psql_command,
    tunnel_command,
    tunnel_is_open_line,
)
from chalicelib.domain.endings import Ending
from chalicelib.domain.grants import Grant
from chalicelib.domain.locations import TokenSource
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import AccessRequest
from chalicelib.slack.blocks import (
    Block,
    Message,
    code,
    context,
    count_of,
    header,
    preformatted,
    section,
    time_of,
    version_of,
)
from chalicelib.slack.cards.buttons import (
    end_button,
    extend_30_button,
    extend_button,
    first_time_button,
    gui_button,
    row,
    show_token_button,
    who_blocks_button,
)
from chalicelib.slack.cards.wording import access, when


def ready_card(*, request: AccessRequest, grant: Grant, connection: ConnectionDetails) -> Message:
    """How the holder reaches the database, as numbered steps, until the end as it is now."""
    until = f"{access(request)} until {time_of(grant.ends_at)}"
    prolonged = count_of(len(grant.extension_ids), "time")
    return Message(
        text=f"Your database access is ready: {until}. {request.request_id}",
        blocks=[
            header("Your database access is ready"),
            section(f"{until}, extended {prolonged}." if grant.extension_ids else f"{until}."),
            section("*1. Open the tunnel* and keep this terminal open:"),
            preformatted(tunnel_command(connection)),
            section(f"You should see {code(tunnel_is_open_line(connection))}"),
            *connect_blocks(connection),
            row("ready", request.request_id, version_of(grant.ends_at), *_holders_buttons(request, connection)),
            context(
                request.request_id,
                f"bastion {code(connection.instance_id)}",
                f"database user {code(connection.facts.role)}",
            ),
        ],
    )


def closed_ready_card(*, ending: Ending) -> Message:
    """The ready message once the access has ended: nothing left to press or to copy."""
    return _over(ending, " The commands that stood here are not for use any more.")


def moved_end_message(*, request: AccessRequest, grant: Grant) -> Message:
    """The end is another one now; the ready message shows it too."""
    said = f"{access(request)} now ends at {time_of(grant.ends_at)}. What you have open stays open."
    return Message(text=f"{said} {request.request_id}", blocks=[section(said), context(request.request_id)])


def replaced_bastion_message(*, request: AccessRequest, connection: ConnectionDetails) -> Message:
    """The tunnel leads through another instance now; the ready message shows it too."""
    said = f"The bastion of {access(request)} was replaced, and the tunnel through the old one is closed."
    return Message(
        text=f"{said} {request.request_id}",
        blocks=[
            section(f"{said} Open it again with this line; your database user and the end stay as they are:"),
            preformatted(tunnel_command(connection)),
            context(request.request_id),
        ],
    )


def soon_card(*, request: AccessRequest, grant: Grant) -> Message:
    """The access ends soon, with a way to prolong it."""
    request_id = request.request_id
    said = f"{access(request)} ends at {time_of(grant.ends_at)}."
    return Message(
        text=f"{said} {request_id}",
        blocks=[
            section(f"{said} Sessions that are open by then are closed, and what they have not committed is lost."),
            row(
                "soon",
                request_id,
                version_of(grant.ends_at),
                extend_30_button(request_id),
                end_button(request_id, request.location),
            ),
            context(request_id),
        ],
    )


def outdated_soon_card(*, request: AccessRequest, grant: Grant) -> Message:
    """The warning once the end has moved."""
    longer = f"{access(request)} was extended and ends at {time_of(grant.ends_at)}."
    return Message(text=f"{longer} {request.request_id}", blocks=[section(longer), context(request.request_id)])


def closed_soon_card(*, ending: Ending) -> Message:
    """The warning once the access has ended."""
    return _over(ending, "")


def told_end(ending: Ending) -> str:
    """That the access is over, or that it should be."""
    over = "ended" if ending.is_revoked else "was due to end"
    return f"{access(ending.request)} {over}{when(ending)}."


def connect_blocks(connection: ConnectionDetails) -> list[Block]:
    """The steps after the tunnel, by where the token is made."""
    if connection.facts.token is TokenSource.LOCAL:
        return [
            section(
                "*2. Make the password* in a second terminal, with your own AWS identity. It is what this line prints:"
            ),
            preformatted(local_token_command(connection)),
            section("*3. Connect* in that terminal, and paste it when psql asks for the password:"),
            preformatted(psql_command(connection)),
        ]
    return [
        section(
            "*2. Connect* in a second terminal. *Show Token* makes the password, and has this line once more with the"
            " password taken from the clipboard:"
        ),
        preformatted(psql_command(connection)),
    ]


def _holders_buttons(request: AccessRequest, connection: ConnectionDetails) -> list[Block]:
    request_id = request.request_id
    is_token_local = connection.facts.token is TokenSource.LOCAL
    return [
        *([] if is_token_local else [show_token_button(request_id)]),
        gui_button(request_id),
        *([who_blocks_button(request_id)] if connection.facts.level is PermissionLevel.OPERATE else []),
        extend_button(request_id),
        end_button(request_id, request.location),
        first_time_button(request_id),
    ]


def _over(ending: Ending, more: str) -> Message:
    said, request_id = told_end(ending), ending.request.request_id
    return Message(text=f"{said} {request_id}", blocks=[section(f"{said}{more}"), context(request_id)])
