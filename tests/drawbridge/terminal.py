"""A person at a terminal of 80 columns: a real one, so that what they see and what Ctrl-C does are the real things."""

import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fcntl import ioctl
from select import select

from tests.drawbridge.processes import CLIENT, ROOT, SECONDS

CTRL_C, CTRL_D = "\x03", "\x04"


class Terminal:
    """Runs ``drawbridge …`` in it. ``shown`` is everything that came so far."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.shown, self._is_closed = "", False
        self._own, other = pty.openpty()
        ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [*CLIENT, *arguments],
            cwd=ROOT,
            env={**environment, "TERM": "xterm", "PAGER": "cat"},
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0) and None,  # noqa: PLW1509  no threads in that child
        )
        os.close(other)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def type(self, text: str) -> None:
        """As on the keyboard."""
        os.write(self._own, text.encode())

    def see(self, pattern: str) -> str:
        """Wait until it is shown; what matched."""
        deadline, pause = time.monotonic() + SECONDS, threading.Event()
        while not (match := re.search(pattern, self.shown)):
            assert time.monotonic() < deadline, f"{pattern} is not in:\n{self.shown}"
            pause.wait(0.02)
        return match[0]

    def close_window(self) -> None:
        """What happens when a person closes it in the middle: the system hangs up, and nothing can be written any more."""
        self._is_closed = True
        self._reader.join(SECONDS)
        os.close(self._own)
        self._own = -1

    def wait(self) -> int:
        """The exit status."""
        status = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return status

    def leave(self) -> None:
        """Nothing stays behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        if self._own >= 0:
            os.close(self._own)

    def _read(self) -> None:
        with suppress(OSError):  # Linux: the other side is closed
            while not self._is_closed:
                if select([self._own], [], [], 0.1)[0]:
                    self.shown += os.read(self._own, 4096).decode(errors="replace")
