"""Connection help for programs with windows, service files and ports that are taken. It holds no token."""

from collections.abc import Iterator

from chalicelib.domain.connections import ConnectionDetails, port_in_use_lines, tunnel_command
from chalicelib.domain.gui_settings import WHY_SSL, gui_settings, password_file_lines
from chalicelib.domain.locations import TokenSource
from chalicelib.slack.blocks import Block, View, bold, context, literal, modal, preformatted, section

CALLBACK = "gui"


def gui_modal(*, connection: ConnectionDetails) -> View:
    """What to fill into each common tool while the tunnel is open, and why SSL stays on."""
    request_id = connection.facts.request_id
    is_token_local = connection.facts.token is TokenSource.LOCAL
    token = "" if is_token_local else " *Show Token*, on the message behind this, makes the password."
    return modal(
        "Connect with a GUI",
        section(f"Keep the tunnel open while you use any of these.{token}"),
        preformatted(tunnel_command(connection), label="The tunnel"),
        *_settings(connection),
        section("*The password file* that the service names; this line puts the token into it:"),
        *(preformatted(line, label=system) for system, line in password_file_lines(connection)),
        section('*Why not "SSL off"?*'),
        literal(WHY_SSL),
        section(f"*address already in use*: something on your machine holds port {connection.port}."),
        *(preformatted(line, label=label) for label, line in port_in_use_lines(connection)),
        context(request_id),
        callback_id=CALLBACK,
        request_id=request_id,
    )


def _settings(connection: ConnectionDetails) -> Iterator[Block]:
    for setting in gui_settings(connection):
        yield section(bold(setting.name))
        yield preformatted("\n".join(setting.lines))
        if setting.note:
            yield literal(setting.note)
