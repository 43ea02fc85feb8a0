"""Which runs there are: every site of every story with every fault, and pairs on the way out. Plays them in several processes."""

import gc
import multiprocessing
import os
import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

from tests.faults.gate import Call, Fault, Place, Plan, faults_of
from tests.faults.ground import Ground
from tests.faults.play import play
from tests.faults.stories import STORIES

PROCESSES = 4
"""More than processors: each waits now and then, for PostgreSQL above all."""
PAIR_STORIES = ("brief", "approved")
PAIR_FUNCTIONS = {"CheckGrantEnd", "FindDatabaseInstances", "RevokeAccess", "CloseTunnels", "ReportOutcome"}
PAIR_FAULTS = (Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ANSWER_LOST)
_SWITCH_SECONDS, _SAY_RUNS = 0.5, 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run that is to be made."""

    story: str
    plan: Plan
    label: str


@dataclass(slots=True, kw_only=True)
class Result:
    """What all runs came to."""

    runs: int = 0
    unmet: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[Trial, tuple[str, ...]]] = field(default_factory=list)
    planned: int = 0

    def note(self, trial: Trial, violations: tuple[str, ...], *, is_met: bool) -> None:
        self.runs += 1
        self.unmet += not is_met
        self.faults.update(str(fault) for fault in trial.plan.values())
        if violations:
            self.violations.append((trial, violations))


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One story as it goes when nothing breaks."""

    story: str
    calls: Sequence[Call]

    def places(self) -> Iterator[tuple[Place, Call]]:
        seen: Counter[str] = Counter()
        for call in self.calls:
            seen[call.site] += 1
            yield Place(call.site, seen[call.site]), call


def record(ground: Ground) -> list[Course]:
    """Play every story without faults. AssertionError when that alone breaks something."""
    courses = []
    for story in STORIES:
        play(ground, story, {})  # what is done once per process is done now
        run = play(ground, story, {})
        assert not run.violations, f"{story}, with nothing broken: {run.violations}"
        assert not run.gave_up, f"{story}, with nothing broken: {run.gave_up}"
        courses.append(Course(story=story, calls=run.points))
    return courses


def single_trials(courses: Sequence[Course], seed: int) -> list[Trial]:
    """Each site once, at one of its places, with each of its faults. A call is one of a site when its function has called the
    same before it: what is repeated in the same situation is tried once, at a place that the seed chooses.
    """
    chance = random.Random(seed)
    trials, known = [], set[str]()
    for course in courses:
        sites: dict[str, list[tuple[Place, Call]]] = {}
        for place, call in course.places():
            sites.setdefault(call.site, []).append((place, call))
        for site, found in sites.items():
            if site not in known:
                known.add(site)
                place, call = chance.choice(found)
                trials += [
                    Trial(story=course.story, plan={place: fault}, label=f"{call} [{fault}]")
                    for fault in faults_of(call)
                ]
    chance.shuffle(trials)
    return trials


def pair_trials(courses: Sequence[Course], seed: int, number: int) -> list[Trial]:
    """Two faults in one run, both on the way out."""
    chance, trials = random.Random(seed + 1), []
    ways = [
        (course.story, [each for each in course.places() if each[1].function in PAIR_FUNCTIONS])
        for course in courses
        if course.story in PAIR_STORIES
    ]
    for _ in range(number):
        story, calls = chance.choice(ways)
        (first, one), (second, other) = chance.sample(calls, 2)
        faults = chance.choice(PAIR_FAULTS), chance.choice(PAIR_FAULTS)
        plan = dict(zip((first, second), faults, strict=True))
        label = f"{one} [{faults[0]}] and {other} [{faults[1]}]"
        trials.append(Trial(story=story, plan=plan, label=label))
    return trials


def cpu_seconds() -> float:
    """What this process has used so far, and those that it started and that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def carry_out(trials: Sequence[Trial], *, most_cpu_seconds: float, say: Callable[[str], object]) -> Result:
    """Play trials in several processes until all are done or these have used so much time of a processor."""
    context = multiprocessing.get_context("spawn")
    given: Any = context.Queue()
    taken: Any = context.Queue()
    for number, trial in enumerate(trials):
        given.put((number, trial))
    for _ in range(PROCESSES):
        given.put((None, None))
    workers = [
        context.Process(target=_work, args=(number, given, taken, most_cpu_seconds / PROCESSES), daemon=True)
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    result, left = Result(planned=len(trials)), len(workers)
    while left and any(worker.is_alive() for worker in workers):
        with suppress(Empty):
            number, violations, is_met = taken.get(timeout=1.0)
            if number is None:
                left -= 1
                continue
            result.note(trials[number], violations, is_met=is_met)
            if result.runs % _SAY_RUNS == 0:
                say(f"runs {result.runs}, violations {len(result.violations)}")
            if violations:
                say(f"  {trials[number].story}: {trials[number].label}: {'; '.join(violations)}")
    for worker in workers:
        worker.join(5)
        if worker.is_alive():
            worker.terminate()
            worker.join()
    given.cancel_join_thread()
    return result


def _stay_on_one_processor(number: int) -> None:
    """With the servers that are started from here: of all these one at a time has something to do, and to hand it on is cheap."""
    if sys.platform == "linux":
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[number % len(processors)]})


def _work(number: int, given: Any, taken: Any, most_seconds: float) -> None:
    """One process: takes trials until there are none or it has used so much."""
    _stay_on_one_processor(number)
    sys.setswitchinterval(_SWITCH_SECONDS)
    parent = multiprocessing.parent_process()
    with ExitStack() as standing:
        ground, warm = standing.enter_context(Ground()), set[str]()
        while time.process_time() < most_seconds and parent is not None and parent.is_alive():
            try:
                trial_number, trial = given.get(timeout=0.5)
            except Empty:
                continue
            if trial is None:
                break
            try:
                if trial.story not in warm:
                    play(ground, trial.story, {})
                    warm.add(trial.story)
                    gc.freeze()
                run = play(ground, trial.story, trial.plan)
                taken.put((trial_number, run.violations, run.is_met))
            except Exception as error:  # noqa: BLE001 - what breaks the harness is a finding; the next run needs new ground
                last = traceback.extract_tb(error.__traceback__)[-1]
                taken.put((trial_number, (f"the harness broke: {error!r} at {last.name}:{last.lineno}",), True))
                standing.close()
                ground, warm = standing.enter_context(Ground()), set()
    given.cancel_join_thread()
    taken.put((None, (), True))
