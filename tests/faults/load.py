"""Two hundred people ask within a minute and half of them are approved: as many requests end, and nothing is left over, though
Slack takes no more in a minute than it says that it does.

`pytest -s tests/faults/load.py`: by its name it is part of no other run, because it takes minutes. In virtual time, so people
keep their own pace however busy the machine is. `python -m tests.faults.load 25 50 100 200` says how time and calls grow.
"""

import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytest

from chalicelib.defaults import LEASES_PER_BASTION
from tests import crowd
from tests.faults.ground import Ground
from tests.faults.invariants import Watch
from tests.faults.play import Idleness
from tests.faults.scheduler import Signal
from tests.faults.stories import People
from tests.faults.world import World
from tests.rate_limits import RateLimits

CROWD = 200
ASKING_SECONDS, LONGEST_SECONDS = 60, 3600.0


class Crowded(Ground):
    """The ground with a crowd in its workspace and in its catalogue."""

    def __init__(self, size: int) -> None:
        self.size, self.more_catalogue = size, crowd.catalogue(size)
        self.users, self.channels = (crowd.in_slack(size)[which] for which in ("users", "channels"))


@pytest.fixture(scope="module")
def crowded() -> Iterator[Crowded]:
    with Crowded(CROWD) as ready:
        yield ready


class Crowd(People):
    """Everybody asks once; carol looks at each card when it is there."""

    def __init__(self, world: World, size: int) -> None:
        super().__init__(world)
        self._size = size
        self._carol_is_free: Signal | None = None
        self.delivered: dict[str, float] = {}
        """After how many seconds each of those who were approved had access."""
        self.through: set[str] = set()
        """The instances that people were told."""
        self.most_leases = 0
        """Of one bastion at once, as far as somebody came to look."""

    def come(self) -> None:
        """Each at a moment of the same minute."""
        for number, at in enumerate(crowd.moments(self._size, ASKING_SECONDS)):
            self.start(crowd.name_of(number), partial(self._live, number, crowd.name_of(number), at))

    def _live(self, number: int, name: str, at: float) -> None:
        self.wait(at)
        request_id = self.ask(name, f"{crowd.location_of(number)} w 4m because")
        answer = "approve" if crowd.is_approved(number) else "deny"
        self.see("the card", partial(self.find_button, crowd.APPROVALS, answer, request_id))
        with self._carol():
            self.press("carol", crowd.APPROVALS, answer, request_id)
            if answer == "deny":
                self.submit("carol", {"reason": "Not now."})
                return
        direct = crowd.direct_of(number)
        self.see("the ready message", partial(self.find_button, direct, "show_token", request_id))
        self.delivered[request_id] = self.world.scheduler.now - at
        self._go_through(direct, crowd.location_of(number), request_id)
        if crowd.ends_it(number):
            self.wait(120)
            self.press(name, direct, "end", request_id, seconds=60)

    @contextmanager
    def _carol(self) -> Iterator[None]:
        """She does one thing after the other: she has one screen."""
        while self._carol_is_free is not None:
            self.world.scheduler.wait(self._carol_is_free)
        self._carol_is_free = free = Signal()
        try:
            yield
        finally:
            self._carol_is_free = None
            self.world.scheduler.set(free)

    def _go_through(self, direct: str, location: str, request_id: str) -> None:
        """Open a tunnel as the ready message says, and leave it open."""
        ready = next(str(each) for each in self.world.ground.slack.look(direct) if "start-session" in str(each))
        instance = re.search(r"i-[0-9a-f]{17}", ready)
        assert instance is not None
        tunnel = {"Target": instance[0], "DocumentName": f"drawbridge-local-{location}", "Reason": request_id}
        self.world.sessions.handle("StartSession", tunnel, "")
        self.through.add(instance[0])
        self.most_leases = max(self.most_leases, *(len(each["leases"]) for each in self.world.rows("BASTION#")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A minute's crowd and what came of it."""

    world: World
    crowd: Crowd
    pauses: int
    """How often Slack asked for one instead of taking a call."""
    violations: list[str]
    seconds: float
    """Of real time."""
    processor_seconds: float

    @property
    def outcomes(self) -> Counter[str]:
        """How many requests came to which end."""
        return Counter(item.get("outcome", "open") for item in self.world.rows("REQUEST#") if item["sk"] == "REQUEST")

    def __str__(self) -> str:
        waits, calls, asked = sorted(self.crowd.delivered.values()), len(self.world.gate.points), len(self.crowd.asked)
        return (
            f"{asked} asked, {dict(self.outcomes)};"
            f" {len(waits)} had access, after {waits[len(waits) // 2]:.0f} s, at most {waits[-1]:.0f} s;"
            f" {calls} calls, {calls / asked:.0f} each, {self.pauses} of them too early for Slack;"
            f" {self.world.scheduler.now:.0f} s virtual, {self.seconds:.0f} s real,"
            f" {self.processor_seconds:.0f} s of the processor; {len(self.crowd.through)} bastions"
        )


def play_crowd(ground: Crowded) -> Iterator[Played]:
    """Let the crowd come and go, and look at what is left. Its world lasts until the next step."""
    began, used = time.monotonic(), time.process_time()
    with ground.new_world({}) as world:
        ground.slack.limits = limits = RateLimits(lambda: world.scheduler.now)
        people = Crowd(world, ground.size)
        watch, idle = Watch(world, people), Idleness(world, people)
        people.come()
        world.scheduler.spawn("idleness", idle.note)
        world.scheduler.run(LONGEST_SECONDS, is_done=lambda: idle.is_over)
        yield Played(
            world=world,
            crowd=people,
            pauses=limits.pauses.total(),
            violations=watch.conclude(is_quiet=idle.is_over),
            seconds=time.monotonic() - began,
            processor_seconds=time.process_time() - used,
        )


@pytest.fixture(scope="module")
def played(crowded: Crowded) -> Iterator[Played]:
    for each in play_crowd(crowded):
        print(f"\n{each}")
        yield each


def test_as_many_end_as_asked(played: Played) -> None:
    """Half of them after having had access, half denied."""
    assert [] == played.crowd.gave_up
    assert {"finished": CROWD // 2, "denied": CROWD // 2} == played.outcomes
    assert CROWD // 2 == len(played.crowd.delivered)


def test_nothing_is_left_over(played: Played) -> None:
    """No user, grant, lease, tunnel, place, token or running execution; and the trail verifies."""
    assert [] == played.violations


def test_no_bastion_had_more_than_its_share(played: Played) -> None:
    """Where ten share one, the group gets another."""
    groups = {crowd.group_of(number) for number in range(CROWD)}
    used = Counter(item["name"].partition(".")[0] for item in played.world.rows("BASTION#"))

    assert LEASES_PER_BASTION == played.crowd.most_leases
    assert groups == set(used)
    assert len(groups) < len(played.crowd.through) <= used.total()


def main(sizes: list[int]) -> int:
    """Crowds of these sizes, one after the other; 1 if anything was left over."""
    left_over = []
    for size in sizes:
        with Crowded(size) as ground:
            for each in play_crowd(ground):
                print(each, flush=True)
                is_as_decided = {"finished": (size + 1) // 2, "denied": size // 2} == each.outcomes
                left_over += [*each.violations, *each.crowd.gave_up, *([] if is_as_decided else [str(each.outcomes)])]
    print(*left_over, sep="\n", end="")
    return bool(left_over)


if __name__ == "__main__":
    sys.exit(main([int(size) for size in sys.argv[1:]] or [CROWD]))
