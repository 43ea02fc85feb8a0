"""Virtual time: tasks in threads of which exactly one runs, in an order that depends on nothing but what they did before."""

import heapq
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from threading import Lock, Thread
from typing import Any

STUCK_SECONDS = 120.0
"""Of real time. A task that neither waits nor ends for so long hangs."""


def _never() -> bool:
    return False


class Ended(BaseException):
    """Raised in a task where it waits, once the world it belongs to is over."""


class StuckError(RuntimeError):
    """A task kept the turn for itself."""


class Task:
    """One thread of control. ``owner`` is whatever those who start it hang on it."""

    def __init__(self, name: str, work: Callable[[], object], owner: Any = None) -> None:
        self.name, self.work, self.owner, self.waits = name, work, owner, 0
        self.is_begun = False
        self.turn = Lock()
        self.turn.acquire()

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Signal:
    """Something that tasks wait for. It is set once."""

    def __init__(self) -> None:
        self.is_set, self.waiting = False, list[tuple[Task, int]]()


class _Hand:
    """A thread that plays one task after the other."""

    def __init__(self, play: Callable[[Task, "_Hand"], None]) -> None:
        self._play, self._called = play, Lock()
        self._task: Task | None = None
        self._called.acquire()
        self._thread = Thread(target=self._serve, name="task", daemon=True)
        self._thread.start()

    def call(self, task: Task | None) -> None:
        """Have it play a task; None ends it."""
        self._task = task
        self._called.release()

    def join(self) -> None:
        self._thread.join(STUCK_SECONDS)

    def _serve(self) -> None:
        while self._called.acquire() and self._task is not None:
            self._play(self._task, self)


class Scheduler:
    """Gives turns. Whoever acts for the current task, in whatever thread, may wait in its name."""

    def __init__(self) -> None:
        self.now = 0.0
        self.current: Task | None = None
        self._turns: list[tuple[float, int, Task, int]] = []
        self._numbers, self._given, self._given_back, self._is_over = count(), 0, Lock(), False
        self._given_back.acquire()
        self._tasks: dict[Task, None] = {}
        self._idle: list[_Hand] = []
        self._until, self._is_done = 0.0, _never

    def spawn(self, name: str, work: Callable[[], object], *, owner: Any = None, at: float | None = None) -> Task:
        """Start a task, now or later."""
        task = Task(name, work, owner)
        self._tasks[task] = None
        self._enter(task, self.now if at is None else at)
        return task

    def _play(self, task: Task, hand: "_Hand") -> None:
        try:
            with suppress(Ended):
                task.work()
            self._idle.append(hand)
        finally:
            del self._tasks[task]
            self._hand_over(self._find_next())

    def _enter(self, task: Task, at: float) -> None:
        heapq.heappush(self._turns, (max(at, self.now), next(self._numbers), task, task.waits))

    def _give_back(self) -> None:
        task = self.current
        assert task is not None
        if (following := self._find_next()) is not task:
            self._hand_over(following)
            task.turn.acquire()
        task.waits += 1
        if self._is_over:
            raise Ended

    def _find_next(self) -> Task | None:
        """Whose turn it is now; nobody's where enough was done."""
        while self._turns and self._turns[0][0] <= self._until and not (self._is_over or self._is_done()):
            at, _, task, waits = heapq.heappop(self._turns)
            if task.waits == waits and task in self._tasks:
                self.now, self.current, self._given = at, task, self._given + 1
                return task
        self.current = None
        return None

    def _hand_over(self, task: Task | None) -> None:
        """Give a task its turn, or the turn back to whoever runs the world."""
        if task is None:
            self._given_back.release()
        elif task.is_begun:
            task.turn.release()
        else:
            task.is_begun = True
            hand = self._idle.pop() if self._idle else _Hand(self._play)
            hand.call(task)

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

    def run(self, until: float, *, is_done: Callable[[], bool] = _never) -> None:
        """Give turns up to an instant, or until nothing more is to be done."""
        self._until, self._is_done = until, is_done
        if (task := self._find_next()) is not None:
            self._hand_over(task)
            self._wait_for_turn()
        self.current = None

    def _wait_for_turn(self) -> None:
        seen = -1
        while not self._given_back.acquire(timeout=STUCK_SECONDS):
            if self._given == seen:
                raise StuckError(f"{self.current} has neither waited nor ended for {STUCK_SECONDS:.0f} s.")
            seen = self._given

    def close(self) -> None:
        """End every task where it waits."""
        self._is_over = True
        while self._tasks:
            self.current = task = next(iter(self._tasks))
            if task.is_begun:
                task.turn.release()
                self._wait_for_turn()
            else:
                del self._tasks[task]
        for hand in self._idle:
            hand.call(None)
            hand.join()
        self.current = None
