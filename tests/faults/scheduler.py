"""Virtual time: tasks in threads of which exactly one runs, in an order that depends on nothing but what they did before."""

import heapq
from collections.abc import Callable
from itertools import count
from threading import Lock, Thread
from typing import Any

STUCK_SECONDS = 120.0
"""Of real time. A task that neither waits nor ends for so long hangs."""


class Ended(BaseException):
    """Raised in a task where it waits, once the world it belongs to is over."""


class StuckError(RuntimeError):
    """A task kept the turn for itself."""


class Task:
    """One thread of control. ``owner`` is whatever those who start it hang on it."""

    def __init__(self, name: str, owner: Any = None) -> None:
        self.name, self.owner, self.waits = name, owner, 0
        self.turn = Lock()
        self.turn.acquire()

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Signal:
    """Something that tasks wait for. It is set once."""

    def __init__(self) -> None:
        self.is_set, self.waiting = False, list[tuple[Task, int]]()


class Scheduler:
    """Gives turns. Whoever acts for the current task, in whatever thread, may wait in its name."""

    def __init__(self) -> None:
        self.now = 0.0
        self.current: Task | None = None
        self._turns: list[tuple[float, int, Task, int]] = []
        self._numbers, self._given_back, self._is_over = count(), Lock(), False
        self._given_back.acquire()
        self._threads: dict[Task, Thread] = {}

    def spawn(self, name: str, work: Callable[[], object], *, owner: Any = None, at: float | None = None) -> Task:
        """Start a task, now or later."""
        task = Task(name, owner)
        thread = self._threads[task] = Thread(target=self._live, args=(task, work), name=name, daemon=True)
        thread.start()
        self._enter(task, self.now if at is None else at)
        return task

    def _live(self, task: Task, work: Callable[[], object]) -> None:
        task.turn.acquire()
        try:
            if not self._is_over:
                work()
        except Ended:
            pass
        finally:
            del self._threads[task]
            self._given_back.release()

    def _enter(self, task: Task, at: float) -> None:
        heapq.heappush(self._turns, (max(at, self.now), next(self._numbers), task, task.waits))

    def _give_back(self) -> None:
        task = self.current
        assert task is not None
        self._given_back.release()
        task.turn.acquire()
        task.waits += 1
        if self._is_over:
            raise Ended

    def sleep(self, seconds: float) -> None:
        """Let others have their turn, for at least so long."""
        if self._is_over:
            raise Ended
        assert self.current is not None
        self._enter(self.current, self.now + seconds)
        self._give_back()

    def wait(self, *signals: Signal, seconds: float | None = None) -> bool:
        """Wait until one of the signals is set, for some time or for ever. Was one set?"""
        if self._is_over:
            raise Ended
        task = self.current
        assert task is not None
        if not any(signal.is_set for signal in signals):
            for signal in signals:
                signal.waiting.append((task, task.waits))
            if seconds is not None:
                self._enter(task, self.now + seconds)
            self._give_back()
        return any(signal.is_set for signal in signals)

    def set(self, signal: Signal) -> None:
        """Wake whoever waits for it, at this instant but after the current turn."""
        if not signal.is_set:
            signal.is_set = True
            for task, waits in signal.waiting:
                if task.waits == waits:
                    self._enter(task, self.now)

    def run(self, until: float, *, is_done: Callable[[], bool] = lambda: False) -> None:
        """Give turns up to an instant, or until nothing more is to be done."""
        while self._turns and self._turns[0][0] <= until and not is_done():
            at, _, task, waits = heapq.heappop(self._turns)
            if task.waits == waits and task in self._threads:
                self.now, self.current = at, task
                self._hand_over(task)
        self.current = None

    def _hand_over(self, task: Task) -> None:
        task.turn.release()
        if not self._given_back.acquire(timeout=STUCK_SECONDS):
            raise StuckError(f"{task.name} has neither waited nor ended for {STUCK_SECONDS:.0f} s.")

    def close(self) -> None:
        """End every task where it waits."""
        self._is_over = True
        while self._threads:
            task, thread = next(iter(self._threads.items()))
            self.current = task
            self._hand_over(task)
            thread.join(STUCK_SECONDS)
        self.current = None
