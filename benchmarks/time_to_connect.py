"""How long it takes from Approve to the first answered query, split by step, and how much of it is our own code's.

Run it with ``make bench``. It prints a table; ratios within one run are what counts, absolute times are the machine's.
"""

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from local.story import Story
from local.workspace import Workspace

ROUNDS = 3
STEPS = ("approval pressed", "delivered", "tunnel open", "query answered")


class Meter:
    """Wraps the functions of a workspace and adds up what their threads use."""

    def __init__(self, workspace: Workspace) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.processor: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        for name, handler in list(workspace.handlers.items()):
            workspace.handlers[name] = self._measured(name, handler)

    def _measured(self, name: str, handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def measured(event: Any, context: Any) -> Any:
            wall, processor = time.monotonic(), time.thread_time()
            try:
                return handler(event, context)
            finally:
                with self._lock:
                    self.wall[name] += time.monotonic() - wall
                    self.processor[name] += time.thread_time() - processor

        return measured


def main() -> None:
    """Play the story several times in one workspace, the bastion stopped before each, and print the medians."""
    rounds: list[dict[str, float]] = []
    with Workspace() as workspace:
        meter = Meter(workspace)
        for _ in range(ROUNDS):
            story = Story(workspace, tell=lambda _: None)
            story.play()
            rounds.append(story.marks)
    whole = statistics.median(marks[STEPS[-1]] - marks[STEPS[0]] for marks in rounds)
    print(f"Approve pressed to query answered: {whole:.2f} s, median of {ROUNDS}, the bastion stopped before each\n")
    print("| step | s | share |\n|---|--:|--:|")
    for before, after in pairwise(STEPS):
        seconds = statistics.median(marks[after] - marks[before] for marks in rounds)
        print(f"| {before} → {after} | {seconds:.2f} | {seconds / whole:.0%} |")
    print("\n| function, all rounds | in it, s | of that its own processor time, s |\n|---|--:|--:|")
    for name in sorted(meter.wall, key=meter.wall.__getitem__, reverse=True):
        print(f"| {name} | {meter.wall[name]:.2f} | {meter.processor[name]:.2f} |")
    ours, inside = sum(meter.processor.values()), sum(meter.wall.values())
    print(f"\nOur code's share of the time spent in functions: {ours / inside:.0%}; the rest waits for the stand-ins.")


if __name__ == "__main__":
    main()
