"""``drawbridge run``: a command with access that begins before it and ends with it, for pipelines that nobody watches."""

import time

import click

from drawbridge.access import Access
from drawbridge.child import require_command, run_child
from drawbridge.errors import DrawbridgeError
from drawbridge.options import api_options, wish_options
from drawbridge.plugin import find_plugin
from drawbridge.signals import EndedError, Endings
from drawbridge.surroundings import enter_surroundings, open_progress
from drawbridge.wish import Wish

_TIMEOUT = "15m"


@click.command("run")
@click.argument("location")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@wish_options(
    timeout=_TIMEOUT, reason="Why: it stands in the audit trail, and those who approve it read it.", port="a free one"
)
@api_options
def run_command(wish: Wish, command: tuple[str, ...], *, timeout: int, api: str | None, awsprofile: str | None) -> int:
    """Run COMMAND with access to LOCATION, and end the access after it, however it ends.

    COMMAND finds PGHOST, PGPORT, PGUSER, PGDATABASE and PGSERVICEFILE (service=drawbridge) in its environment, on Windows
    PGPASSWORD too: a secret of this run, no database token. Its exit status is passed through, 128 + n when signal n
    ended it.

    SIGTERM and SIGINT are passed on; a command that does not end within 3 seconds is killed. Should drawbridge itself be
    killed, the access ends at its end: ask for no more --duration than is needed.
    """
    wanted = require_command(command)
    find_plugin()
    around, progress, endings = enter_surroundings(api, awsprofile), open_progress(), Endings()
    deadline = time.monotonic() + timeout
    access = Access(wish, api=around.api, session=around.session, progress=progress, endings=endings)
    with endings.installed():
        try:
            access.ask()
            if not access.is_ours and around.api.read_offers().is_machine:
                access.wait_for_turn(deadline)
            access.wait(deadline)
            with access.opened(wish.port, may_move=False) as opened:
                return run_child(wanted, opened.environment, endings)
        except (KeyboardInterrupt, EndedError, DrawbridgeError):
            progress.done()
            raise
        finally:
            _end(access)


def _end(access: Access) -> None:
    """End what this run asked for. What the same person held before is theirs to end."""
    request = access.request
    if request is None or request.is_over:
        return
    if access.is_ours:
        access.end()
    else:
        access.tell(f"{request.request_id} was there before this run, and stays.")
