"""How long it takes from Approve to the first answered query, split by step, and how much of it is our own code's.

Run it with ``make bench``. It prints tables; ratios within one run are what counts, absolute times are the machine's.
"""

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from local.story import Story
from local.workspace import HOUSEKEEPING, Workspace

ROUNDS = 5
STEPS = ("approval pressed", "delivered", "tunnel open", "query answered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a function: when it began, how long it took and what its thread used, in seconds."""

    function: str
    began_at: float
    wall: float
    processor: float


class Meter:
    """Wraps the functions of a workspace and keeps every call of them."""

    def __init__(self, workspace: Workspace) -> None:
        self.calls: list[Call] = []
        self._lock = threading.Lock()
        for name, handler in list(workspace.handlers.items()):
            workspace.handlers[name] = self._measured(name.rpartition("-")[2], handler)

    def _measured(self, name: str, handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def measured(event: Any, context: Any) -> Any:
            began_at, processor = time.monotonic(), time.thread_time()
            try:
                return handler(event, context)
            finally:
                wall = time.monotonic() - began_at
                call = Call(function=name, began_at=began_at, wall=wall, processor=time.thread_time() - processor)
                with self._lock:
                    self.calls.append(call)

        return measured

    def between(self, start: float, end: float) -> list[Call]:
        """The calls that began in this time, those of the schedules aside."""
        return [each for each in self.calls if start <= each.began_at < end and each.function not in HOUSEKEEPING]


def main() -> None:
    """Play the story several times in one workspace, the bastion stopped before each, and print medians."""
    rounds: list[tuple[dict[str, float], list[Call]]] = []
    with Workspace() as workspace:
        meter = Meter(workspace)
        for _ in range(ROUNDS):
            story = Story(workspace, tell=lambda _: None)
            story.play()
            window = (story.started + story.marks[step] for step in (STEPS[0], STEPS[-1]))
            rounds.append((story.marks, meter.between(*window)))
    whole = statistics.median(marks[STEPS[-1]] - marks[STEPS[0]] for marks, _ in rounds)
    print(f"Approve pressed to query answered: {whole:.2f} s, median of {ROUNDS}, the bastion stopped before each\n")
    print("| step | s | share |\n|---|--:|--:|")
    for before, after in pairwise(STEPS):
        seconds = statistics.median(marks[after] - marks[before] for marks, _ in rounds)
        print(f"| {before} → {after} | {seconds:.2f} | {seconds / whole:.0%} |")
    ours = statistics.median(sum(call.processor for call in calls) for _, calls in rounds)
    inside = statistics.median(sum(call.wall for call in calls) for _, calls in rounds)
    print("\n| whose time | s | share |\n|---|--:|--:|")
    print(f"| our functions' own processor time | {ours:.2f} | {ours / whole:.0%} |")
    print(f"| our functions, waiting for the stand-ins | {inside - ours:.2f} | {(inside - ours) / whole:.0%} |")
    print(f"| the engine, EC2's emulated delays, the aws command | {whole - inside:.2f} | {1 - inside / whole:.0%} |")
    print("\n| function, per round | in it, s | its own processor time, s |\n|---|--:|--:|")
    for name, (wall, processor) in _by_function([call for _, calls in rounds for call in calls]):
        print(f"| {name} | {wall / ROUNDS:.3f} | {processor / ROUNDS:.3f} |")


def _by_function(calls: list[Call]) -> list[tuple[str, tuple[float, float]]]:
    """Sums of wall and processor time, the longest first."""
    sums: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for call in calls:
        wall, processor = sums[call.function]
        sums[call.function] = (wall + call.wall, processor + call.processor)
    return sorted(sums.items(), key=lambda item: item[1], reverse=True)


if __name__ == "__main__":
    main()
