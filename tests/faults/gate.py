"""Every call that a function makes to the outside passes here, is counted, and meets the fault that is planned for it."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import TypeVar

from tests.faults.scheduler import Scheduler

T = TypeVar("T")
LATENCY_SECONDS = {"aws": 0.02, "slack": 0.1, "postgres": 0.005, "lambda": 0.03}
SLOW_SECONDS, PATIENCE_SECONDS, LATE_SECONDS = 20.0, 10.0, 90.0
"""How long a slow answer takes, how long a caller waits for none, and when an effect lands that nobody waits for any more."""
_STICKING_SECONDS = 5.0


class Fault(StrEnum):
    """What may befall a call."""

    THROTTLED = "throttled"
    SERVER_ERROR = "server-error"
    TIMED_OUT = "timed-out"
    RESET = "reset"
    ANSWER_LOST = "answer-lost"
    REPEATED = "repeated"
    """It took effect, its answer was lost, and whoever sends for us sent it again."""
    SLOW = "slow"
    LATE = "late"
    """The caller gives up, goes on, and later it takes effect."""
    LATE_AFTER_DEATH = "late-after-death"
    KILLED_BEFORE = "killed-before"
    KILLED_AFTER = "killed-after"


ALL = tuple(Fault)
FAULTS: Mapping[str, tuple[Fault, ...]] = {
    "aws": ALL,
    "slack": ALL,
    "postgres": tuple(fault for fault in ALL if fault is not Fault.REPEATED),
    "lambda": tuple(fault for fault in ALL if fault is not Fault.LATE_AFTER_DEATH),
}
"""By the kind of a call. Nobody repeats a statement for us; a function that is not running yet cannot die early."""
_OF_READS = (Fault.THROTTLED, Fault.SERVER_ERROR, Fault.TIMED_OUT, Fault.RESET, Fault.SLOW, Fault.KILLED_BEFORE)
_READS = re.compile(
    r"dynamodb\.(GetItem|Query|BatchGetItem)|\w+\.(Describe|Get|List)\w+|users\.info|usergroups\.users\.list"
)
REFUSALS = {Fault.THROTTLED, Fault.SERVER_ERROR}


def faults_of(call: "Call") -> tuple[Fault, ...]:
    """What may befall this call. What only reads has no effect that could come late, twice, or unnoticed."""
    return _OF_READS if call.kind != "postgres" and _READS.fullmatch(call.name) else FAULTS[call.kind]


class Killed(BaseException):
    """The process of a function is gone: nothing of it happens any more."""


class Refused(Exception):  # noqa: N818 - named for what the other side does
    """The other side says no before anything happened."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class NoAnswer(Exception):  # noqa: N818 - named for what the caller sees
    """Nothing comes back. ``is_reset``: at once, because the connection broke."""

    def __init__(self, *, is_reset: bool) -> None:
        super().__init__(is_reset)
        self.is_reset = is_reset


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a function. ``key`` is the same when the same thing is sent once more."""

    kind: str
    name: str
    function: str
    detail: str = ""
    key: object = None
    site: str = ""
    """What the function had called before, in a word: calls of one site are the same step of the same course."""

    def __str__(self) -> str:
        return f"{self.function}: {self.name}" + (f" {self.detail}" if self.detail else "")


@dataclass(eq=False)
class Process:
    """The process in which one function runs, once. It dies at its deadline."""

    function: str
    deadline: float
    is_dead: bool = False
    is_over: bool = False
    at_death: list[Callable[[], object]] = field(default_factory=list)
    course: str = ""

    def die(self) -> None:
        if not self.is_dead:
            self.is_dead = True
            for release in self.at_death:
                release()


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a call is in a run: the how manieth of its site."""

    site: str
    number: int = 1

    def __str__(self) -> str:
        return f"{self.site}#{self.number}"


Plan = Mapping[Place, Fault]


def read_plan(texts: Sequence[str]) -> Plan:
    """``site#number:fault`` for each."""
    plan = {}
    for text in texts:
        place, _, fault = text.rpartition(":")
        site, _, number = place.rpartition("#")
        plan[Place(site, int(number))] = Fault(fault)
    return plan


def write_plan(plan: Plan) -> str:
    """The same, as options of the command line."""
    return " ".join(f"--fault '{place}:{fault}'" for place, fault in plan.items())


class Gate:
    """``plan`` says which fault befalls which call, ``latency`` how many seconds an answer takes of each kind of call."""

    def __init__(self, scheduler: Scheduler, plan: Plan, latency: Mapping[str, float]) -> None:
        self._scheduler, self.plan, self._latency = scheduler, plan, LATENCY_SECONDS | dict(latency)
        self.points: list[Call] = []
        self.met: list[tuple[Place, Fault, str]] = []
        self.last_met_at = 0.0
        self._seen: Counter[str] = Counter()
        self._sticking: tuple[object, object, Fault, float] | None = None

    def count(self, call: Call) -> Fault | None:
        """Note a call; the fault that is planned for it."""
        self._seen[call.site] += 1
        place = Place(call.site, self._seen[call.site])
        self.points.append(call)
        fault = self.plan.get(place)
        if fault is not None:
            self.met.append((place, fault, str(call)))
            self.last_met_at = self._scheduler.now
        return fault

    @property
    def is_spent(self) -> bool:
        """Has everything that was planned come to pass?"""
        return len(self.met) == len(self.plan)

    def run(
        self, process: Process, call: Call, effect: Callable[[], T], *, lend: Callable[[], object] = lambda: None
    ) -> T:
        """Have a call take its effect, or not. Raises Refused, NoAnswer and Killed.

        ``lend`` keeps what a late effect needs from ending with its caller.
        """
        self.require_alive(process)
        if (again := self._find_sticking(process, call)) is not None:
            self._scheduler.sleep(self._latency[call.kind])
            return self._fail_again(again, effect)
        process.course = sha256(f"{process.course}\n{call}".encode()).hexdigest()[:12]
        fault = self.count(replace(call, site=process.course))
        seconds = self._latency[call.kind] + (SLOW_SECONDS if fault is Fault.SLOW else 0.0)
        self._scheduler.sleep(min(seconds, process.deadline - self._scheduler.now))
        self.require_alive(process)
        if fault is None or fault is Fault.SLOW:
            return effect()
        if call.key is not None:
            self._sticking = (process, call.key, fault, self._scheduler.now)
        if fault in {Fault.LATE, Fault.LATE_AFTER_DEATH}:
            lend()
        return self._fail(fault, process, call, effect)

    def _fail(self, fault: Fault, process: Process, call: Call, effect: Callable[[], T]) -> T:
        if fault in REFUSALS:
            raise Refused(fault)
        if fault is Fault.RESET:
            raise NoAnswer(is_reset=True)
        if fault is Fault.REPEATED:
            effect()
            return effect()
        if fault in {Fault.ANSWER_LOST, Fault.KILLED_AFTER}:
            effect()
        if fault in {Fault.LATE, Fault.LATE_AFTER_DEATH}:
            at = self._scheduler.now + LATE_SECONDS
            self._scheduler.spawn(f"late {call}", effect, at=at)
        if fault in {Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.LATE_AFTER_DEATH}:
            process.die()
            raise Killed
        self._scheduler.sleep(PATIENCE_SECONDS)
        self.require_alive(process)
        raise NoAnswer(is_reset=False)

    def _find_sticking(self, process: Process, call: Call) -> Fault | None:
        """The fault of the call that is being sent again, by a client that does not give up at once."""
        if call.key is None or self._sticking is None:
            return None
        *same, fault, at = self._sticking
        is_again = same == [process, call.key] and self._scheduler.now - at < PATIENCE_SECONDS + _STICKING_SECONDS
        return fault if is_again and fault not in {Fault.REPEATED, Fault.SLOW} else None

    def _fail_again(self, fault: Fault, effect: Callable[[], T]) -> T:
        if fault in REFUSALS:
            raise Refused(fault)
        if fault is Fault.ANSWER_LOST:
            effect()
        raise NoAnswer(is_reset=True)

    def require_alive(self, process: Process) -> None:
        """Raises Killed where the process is none any more."""
        if self._scheduler.now >= process.deadline:
            process.die()
        if process.is_dead or process.is_over:
            raise Killed
