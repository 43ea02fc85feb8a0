"""Runs the command that somebody wants the database for, in the foreground, and tells how it ended. Knows no database."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from drawbridge.errors import DrawbridgeError
from drawbridge.signals import EndedError, Endings

GRACE_SECONDS = 3.0
"""What a command has to end in after a signal; CI runners leave about ten seconds for everything."""


class CommandError(DrawbridgeError):
    """The command cannot be run or found. Its status is a shell's."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def require_command(command: Sequence[str]) -> list[str]:
    """The command with its program's full path. Raises CommandError, so that nobody approves access for a typing mistake."""
    found = shutil.which(command[0])
    if found:
        return [found, *command[1:]]
    if os.path.dirname(command[0]) and os.path.exists(command[0]):  # noqa: PTH110, PTH120  the text as it was typed decides
        raise CommandError(f"{command[0]} is no program that may be run. Nothing was asked for.", 126)
    raise CommandError(f"{command[0]} was not found. Install it or correct its name; nothing was asked for.", 127)


def run_child(command: Sequence[str], environment: Mapping[str, str], endings: Endings) -> int:
    """The command's exit status, 128 + n if signal n ended it.

    Ctrl-C on a terminal is the command's own (psql cancels a query). Every other signal to us is passed on, and raised when
    the command has ended of it, or was killed after the grace.
    """
    try:
        process = subprocess.Popen(list(command), env=dict(environment))
    except OSError as error:
        raise CommandError(f"{command[0]} cannot be run: {error.strerror}.", 126) from error
    has_terminal = sys.stdin.isatty()

    def forward(number: int) -> bool:
        is_taken = number == signal.SIGINT and has_terminal  # the terminal told the whole group
        if not is_taken and process.poll() is None:
            process.send_signal(number)
        return is_taken

    try:
        with endings.forwarded(forward):
            status = process.wait()
    except (EndedError, KeyboardInterrupt):
        _end(process)
        raise
    return 128 - status if status < 0 else status


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    except BaseException:  # a second Ctrl-C: at once
        process.kill()
        raise
