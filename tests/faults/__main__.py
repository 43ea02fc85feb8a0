"""python -m tests.faults: break each call of each story in each way, and say what did not hold."""

import argparse
import math
import sys
import time
from collections import Counter

from tests.faults.campaign import Trial, carry_out, cpu_seconds, pair_trials, record, single_trials
from tests.faults.gate import read_plan, write_plan
from tests.faults.ground import Ground
from tests.faults.play import play
from tests.faults.stories import STORIES


def main() -> int:
    """0 when everything held, 1 when something did not."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="chooses and orders the runs")
    parser.add_argument("--cpu-seconds", type=float, default=60.0, help="what a sample may cost (default: 60)")
    parser.add_argument("--all", action="store_true", help="every point with every fault, whatever it costs")
    parser.add_argument("--pairs", type=int, default=0, metavar="N", help="also N runs with two faults on the way out")
    parser.add_argument("--story", choices=STORIES, help="one run of this story")
    parser.add_argument("--fault", action="append", default=[], metavar="SITE#N:FAULT", help="with these faults")
    given = parser.parse_args()
    if given.story:
        return _play_one(given.story, given.fault)
    started = time.monotonic()
    print(f"seed {given.seed}", flush=True)
    with Ground() as ground:
        courses = record(ground)
    trials = single_trials(courses, given.seed)
    pairs = pair_trials(courses, given.seed, given.pairs)
    sites = {call.site for course in courses for call in course.calls}
    calls = sum(len(course.calls) for course in courses)
    print(
        f"points {len(sites)} ({calls} calls in {len(courses)} stories), runs planned {len(trials) + len(pairs)}",
        flush=True,
    )
    result = carry_out(
        [*trials, *pairs] if given.all else _mixed(trials, pairs),
        most_cpu_seconds=math.inf if given.all else given.cpu_seconds - cpu_seconds(),
        say=lambda line: print(line, flush=True),
    )
    print("faults " + ", ".join(f"{name} {number}" for name, number in sorted(result.faults.items())))
    wall, cost = time.monotonic() - started, cpu_seconds()
    print(f"runs {result.runs} of {result.planned} in {wall:.0f} s, {cost:.0f} s of CPU")
    print(f"of these {result.unmet} took another course than was recorded, and met less than was planned")
    kinds = Counter(violation for _, violations in result.violations for violation in violations)
    print(f"violations {len(result.violations)}")
    for kind, number in kinds.most_common():
        trial = next(trial for trial, violations in result.violations if kind in violations)
        print(f"  {number} x {kind}\n    python -m tests.faults --story {trial.story} {write_plan(trial.plan)}")
    if result.runs == 0 or (given.all and result.runs < result.planned):
        print("not every run was made that should have been")
        return 1
    return 1 if result.violations else 0


def _mixed(trials: list[Trial], pairs: list[Trial]) -> list[Trial]:
    """A sample has some of both, whenever it stops."""
    step = max(1, len(trials) // (len(pairs) + 1))
    mixed = list(trials)
    for number, pair in enumerate(pairs):
        mixed.insert((number + 1) * (step + 1) - 1, pair)
    return mixed


def _play_one(story: str, faults: list[str]) -> int:
    with Ground() as ground:
        play(ground, story, {})
        run = play(ground, story, read_plan(faults))
    print(f"{len(run.points)} calls in {run.seconds / 60:.0f} virtual minutes; met: {run.is_met}")
    for line in (*run.gave_up, *run.violations):
        print(f"  {line}")
    return 1 if run.violations else 0


if __name__ == "__main__":
    sys.exit(main())
