"""The schedules of the local workspace: calls what it is given at an interval, one after the other; knows no cron."""

import logging
from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread


class Ticker(Thread):
    """Calls each of `calls` every `interval_seconds`, first after one, never while somebody holds `pause`; keeps `errors`."""

    def __init__(self, interval_seconds: float, calls: Sequence[Callable[[], object]]) -> None:
        super().__init__(name="local-aws ticker", daemon=True)
        self._interval_seconds, self._calls, self._stopping = interval_seconds, calls, Event()
        self.pause, self.errors = Lock(), list[Exception]()

    def run(self) -> None:
        while not self._stopping.wait(self._interval_seconds):
            with self.pause:
                for call in self._calls:
                    try:
                        call()
                    except Exception as error:  # a schedule goes on, whatever its functions do
                        logging.getLogger(__name__).exception("a scheduled call failed")
                        self.errors.append(error)

    def stop(self) -> None:
        """Return once the round under way has ended; no other begins."""
        self._stopping.set()
        self.join()
