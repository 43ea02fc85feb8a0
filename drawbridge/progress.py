"""Tells on standard error what is being waited for: one line redrawn on a terminal, one line for each change elsewhere."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from drawbridge.durations import describe_duration

_CLEAR = "\r\x1b[2K"
_SHOWN_AFTER = 2.0
"""Seconds; a wait that is shorter needs no counting."""


class Progress:
    """What is being done now, with how long it has taken; ``say`` leaves a line that stays."""

    def __init__(self, stream: TextIO, *, is_terminal: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._is_terminal, self._clock = stream, is_terminal, clock
        self._doing, self._since, self._is_drawn = "", 0.0, False

    def say(self, sentence: str) -> None:
        """A line that stays."""
        self._erase()
        self._write(f"{sentence}\n")
        self.tick()

    def wait_for(self, sentence: str) -> None:
        """What is being waited for from now on; saying the same again goes on counting."""
        if sentence != self._doing:
            self._doing, self._since = sentence, self._clock()
            if not self._is_terminal:
                self._write(f"{sentence}\n")
        self.tick()

    def tick(self) -> None:
        """Redraw, so that people see that it goes on."""
        if not (self._is_terminal and self._doing):
            return
        seconds = self._clock() - self._since
        line = f"{self._doing} {describe_duration(seconds)}" if seconds >= _SHOWN_AFTER else self._doing
        width = shutil.get_terminal_size().columns
        self._write(_CLEAR + (line if len(line) < width else f"{line[: width - 2]}…"))
        self._is_drawn = True

    def done(self) -> None:
        """Nothing is being waited for any more."""
        self._erase()
        self._doing = ""

    @contextmanager
    def waiting_for(self, sentence: str) -> Iterator[None]:
        """Wait for something, and clear the line afterwards."""
        self.wait_for(sentence)
        try:
            yield
        finally:
            self.done()

    def _erase(self) -> None:
        if self._is_drawn:
            self._write(_CLEAR)
            self._is_drawn = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal was closed; what is being done must still be ended properly
            self._is_terminal = False
