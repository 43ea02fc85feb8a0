"""``drawbridge connect``: from nothing to a prompt, and out again without leaving a tunnel behind."""

import shutil
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from drawbridge.access import Access, Opened, deadline_after
from drawbridge.child import require_command, run_child
from drawbridge.connection import Connection
from drawbridge.errors import ConfigurationError, DrawbridgeError
from drawbridge.gui import copy_settings, describe_settings
from drawbridge.options import api_options, wish_options
from drawbridge.plugin import find_plugin
from drawbridge.requests import State, clock_time
from drawbridge.signals import EndedError, Endings
from drawbridge.surroundings import enter_surroundings, open_progress
from drawbridge.wish import Wish

_REASON = "Why: those who approve it read this."
_LOOK_SECONDS = 10.0


@click.command("connect")
@click.argument("location")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option(
    "--gui",
    is_flag=True,
    help="Keep the tunnel open for DBeaver and others: print their settings, and copy the JDBC address.",
)
@wish_options(timeout=None, reason=_REASON, port="the location's, else 56789")
@api_options
def connect_command(
    wish: Wish, command: tuple[str, ...], *, gui: bool, timeout: int | None, api: str | None, awsprofile: str | None
) -> int:
    """Ask for access to LOCATION, wait for whoever approves it, open the tunnel, try the login, and start psql or COMMAND.

    COMMAND finds the database by PGHOST, PGPORT, PGUSER and PGDATABASE; nobody asks for a password. Its exit status is
    that of drawbridge. Access that you hold already is used.

    Ctrl-C while waiting offers to withdraw the request; a second one leaves at once. Closing the tunnel does not end your
    access; you are asked.
    """
    wanted = _require_program(command, gui=gui)
    find_plugin()
    around, progress, endings = enter_surroundings(api, awsprofile), open_progress(), Endings()
    access = Access(wish, api=around.api, session=around.session, progress=progress, endings=endings)
    with endings.installed():
        try:
            access.ask()
            access.wait(deadline_after(timeout))
            status = _use(access, wanted, endings=endings, gui=gui)
        except KeyboardInterrupt:
            progress.done()
            _offer_end(access)
            return 130
        except (EndedError, DrawbridgeError):
            progress.done()
            _leave(access)
            raise
        _offer_end(access)
        return status


def _require_program(command: Sequence[str], *, gui: bool) -> list[str]:
    """What to start. Raises before anybody is asked for anything."""
    if gui and command:
        raise click.UsageError("--gui starts nothing: leave out either it or the command.")
    if gui:
        return []
    if command:
        return require_command(command)
    psql = shutil.which("psql")
    if psql is None:
        raise ConfigurationError(
            "psql was not found. Install PostgreSQL's client, name another program after --, or use --gui; nothing was asked for."
        )
    return [psql]


def _use(access: Access, command: Sequence[str], *, endings: Endings, gui: bool) -> int:
    request, port = access.request, access.wish.port
    usual = Connection.from_request(request.answer).local_port if request is not None else None
    with access.opened(port or usual, may_move=port is None and not gui) as opened:
        if gui:
            _stay(access, opened)
            return 0
        if request is not None:
            access.tell(f"{request.request_id}: {request.location} {request.level}, until {clock_time(request)}.")
        return run_child(command, opened.environment, endings)


def _stay(access: Access, opened: Opened) -> None:
    """Open for other programs until Ctrl-C, or until the access ends."""
    click.echo(describe_settings(opened))
    access.tell(copy_settings(opened))
    access.tell(f"The tunnel is open until {opened.connection.ends_at.astimezone():%H:%M}, or until Ctrl-C.")
    pause, latest = threading.Event(), opened.connection.ends_at + timedelta(minutes=1)
    while not pause.wait(_LOOK_SECONDS):
        try:
            request = access.watch()
        except DrawbridgeError:  # the tunnel needs neither the API nor renewed credentials to stay
            if datetime.now(UTC) > latest:
                return
            continue
        if request.state is not State.READY:
            access.tell(f"{request.request_id}: {request.explanation}")
            return
        latest = (request.ends_at or latest) + timedelta(minutes=1)


def _offer_end(access: Access) -> None:
    """Ask whether it shall end; where nobody can be asked, leave as usual. Ctrl-C here leaves everything as it is."""
    request = access.request
    if request is None or request.is_over:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        _leave(access)
        return
    is_ready = request.state is State.READY
    until = f"End your access to {request.location} now? {request.request_id} lasts until {clock_time(request)}."
    question: dict[str, Any] = {"default": not is_ready, "err": True}
    try:
        is_wanted = click.confirm(until if is_ready else f"Withdraw {request.request_id}?", **question)
    except EndedError:  # the window was closed instead of an answer
        _leave(access)
        raise
    except click.Abort:
        access.tell(f"\n{request.request_id} stays as it is. Later: drawbridge end {request.request_id}")
        raise
    if is_wanted:
        access.end()
    elif is_ready:
        access.tell(f"It stays open to you: drawbridge connect {request.location} -p {request.level}")
    else:
        access.tell(f"{request.request_id} stays asked for. Later: drawbridge mine")


def _leave(access: Access) -> None:
    """Nobody is there to be asked: what nobody waits for any more is withdrawn, what was given stays until its end."""
    request = access.request
    if request is None or request.is_over:
        return
    if request.state is not State.READY and access.is_ours:
        access.end()
    else:
        until = f" until {clock_time(request)}" if request.ends_at else ""
        access.tell(f"{request.request_id} stays{until}. To end it now: drawbridge end {request.request_id}")
