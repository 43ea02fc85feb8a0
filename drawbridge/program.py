"""The program: its commands by name, and the one place where an error becomes a sentence and an exit status."""

import os
import signal
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

import click

from drawbridge.errors import DrawbridgeError
from drawbridge.settings import PARAMETERS, load_settings, settings_file
from drawbridge.signals import EndedError

_COMMANDS = {
    "connect": ("connect", "Ask for access, wait, and be at a psql prompt (alias: cb)."),
    "run": ("run", "Run a command with access that ends with it, as in a pipeline."),
    "list": ("look", "The locations, and what you may ask for."),
    "mine": ("look", "What you asked for and hold."),
    "explain": ("look", "Which rule holds for a location, and who may approve."),
    "extend": ("change", "Ask for a later end of what you hold."),
    "end": ("change", "End what you hold, withdraw what waits."),
    "token": ("token", "Put a fresh database token on the clipboard."),
    "doctor": ("doctor", "Tick each link from here to Drawbridge."),
    "cfg": ("cfg", "Show, set and unset saved defaults."),
}
"""Each with its module, which alone is loaded, and its summary."""
_HELP = """Short-lived access to private PostgreSQL databases.

\b
  drawbridge list
  drawbridge connect my-location -p r
  drawbridge run my-location -p r -- psql -c 'SELECT 1'
"""
_ALIASES = {"cb": "connect"}
_WIDTH = 80


class _Commands(click.Group):
    """Loads a command's module when it is asked for, and turns how it ends into an exit status."""

    def main(self, *arguments: Any, **settings: Any) -> NoReturn:
        try:
            status = super().main(*arguments, **{**settings, "standalone_mode": False})
        except DrawbridgeError as error:
            _complain(str(error))
            status = error.exit_status
        except click.exceptions.Exit as ended:
            status = ended.exit_code
        except click.ClickException as error:
            error.show()
            status = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            _complain("Ended by you.")
            status = 128 + signal.SIGINT
        except EndedError as ended:
            status = ended.exit_status
        except BrokenPipeError:  # whoever read along has gone
            status = DrawbridgeError.exit_status
        _give_up_closed_streams()
        sys.exit(status if isinstance(status, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        name = _ALIASES.get(cmd_name, cmd_name)
        if name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"drawbridge.commands.{_COMMANDS[name][0]}"), f"{name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return _ALIASES.get(name or "", name), command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


def _version() -> str:
    try:
        return version("drawbridge")
    except PackageNotFoundError:
        return "from a checkout"


@click.group(
    cls=_Commands, help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDTH}
)
@click.version_option(_version(), message="%(prog)s %(version)s")
@click.pass_context
def drawbridge(context: click.Context) -> None:
    """Saved defaults are the options of every command that is not about them."""
    if context.invoked_subcommand == "cfg":  # also repairs what was saved
        return
    saved = load_settings(settings_file())
    parameters = {PARAMETERS.get(name, name): value for name, value in saved.items()}
    context.default_map = dict.fromkeys(_COMMANDS, parameters)


def main() -> None:
    """The console script. Ends the process with the exit status, as ``drawbridge.errors`` draws it."""
    drawbridge.main(prog_name="drawbridge")


def _give_up_closed_streams() -> None:
    """A pipe or terminal may be gone: Python would try once more at the end, and replace the exit status by its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _complain(sentence: str) -> None:
    try:
        click.echo(f"drawbridge: {sentence}", err=True)
    except OSError:  # the terminal was closed
        return
