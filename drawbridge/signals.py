"""Turns the signals that end this process into one exception, so that everything is left through the same doors."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
_INTERRUPTING = [signal.SIGINT, *_ENDING]


class EndedError(BaseException):
    """Somebody wants this process to end. Like KeyboardInterrupt, nothing but the way out should catch it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by signal {number}")
        self.number = number

    @property
    def exit_status(self) -> int:
        """As a shell reports it."""
        return 128 + self.number


class Endings:
    """While it is entered, the first signal raises EndedError in the main thread, once; later ones find the way out under way.

    SIGINT is Ctrl-C and raises KeyboardInterrupt each time, so that the second one leaves at once.
    """

    def __init__(self) -> None:
        self._is_held = False
        self._pending: BaseException | None = None
        self._is_ending = False
        self._forward: Callable[[int], object] | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to the signals, and afterwards leave them as they were."""
        before = {number: signal.signal(number, self._receive) for number in _INTERRUPTING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let what is inside finish, then raise what came meanwhile: an answer is not lost between its arrival and its use."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            pending, self._pending = self._pending, None
            if pending is not None:
                raise pending

    @contextmanager
    def forwarded(self, forward: Callable[[int], object]) -> Iterator[None]:
        """Meanwhile each signal is passed on, too. Ctrl-C raises nothing where ``forward`` returns true: the child has it."""
        self._forward = forward
        try:
            yield
        finally:
            self._forward = None

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        is_taken = self._forward is not None and self._forward(number)
        if number == signal.SIGINT:
            if not is_taken:
                self._raise(KeyboardInterrupt())
        elif not self._is_ending:
            self._is_ending = True
            self._raise(EndedError(number))

    def _raise(self, ending: BaseException) -> None:
        if not self._is_held:
            raise ending
        self._pending = self._pending or ending
