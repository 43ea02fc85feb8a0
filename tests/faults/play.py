"""One run: a story in a world where something breaks, reconciliation and housekeeping given their turns, and what is left."""

from dataclasses import dataclass
from typing import Any

from tests.faults.gate import Call, Plan
from tests.faults.ground import Ground
from tests.faults.invariants import Watch
from tests.faults.stories import STORIES, People
from tests.faults.world import World

LONGEST_SECONDS = 3 * 3600.0
QUIET_SECONDS = 130.0
"""A run is over when nothing has been under way for so long: longer than anything waits to be tried again, or to come late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run came to."""

    story: str
    plan: Plan
    points: tuple[Call, ...]
    violations: tuple[str, ...]
    seconds: float
    """Virtual."""
    gave_up: tuple[str, ...] = ()
    is_met: bool = True
    """Did everything happen that was planned?"""


def play(ground: Ground, story: str, plan: Plan, **changes: Any) -> Run:
    """Play a story under a plan and look at what must hold."""
    with ground.new_world(plan, **changes) as world:
        people = People(world)
        watch = Watch(world, people)
        STORIES[story](people)
        idle = Idleness(world, people)
        world.scheduler.spawn("watch", watch.look_again_and_again)
        world.scheduler.spawn("idleness", idle.note)
        world.scheduler.run(LONGEST_SECONDS, is_done=lambda: idle.is_over)
        violations = watch.conclude(is_quiet=idle.is_over)
        return Run(
            story=story,
            plan=dict(plan),
            points=tuple(world.gate.points),
            violations=tuple(violations),
            seconds=world.scheduler.now,
            gave_up=tuple(people.gave_up),
            is_met=world.gate.is_spent,
        )


class Idleness:
    """Notes since when nobody acts, nothing runs, nothing stands open and no bastion is up."""

    def __init__(self, world: World, people: People) -> None:
        self._world, self._people, self._since = world, people, 0.0
        self.is_over = False

    def note(self) -> None:
        while not self.is_over:
            self._world.scheduler.sleep(30.0)
            if self._is_busy() or self._world.gate.last_met_at > self._since:
                self._since = self._world.scheduler.now
            self.is_over = self._world.scheduler.now - self._since > QUIET_SECONDS

    def _is_busy(self) -> bool:
        world = self._world
        is_running = any(each.status == "RUNNING" for each in world.machine.executions.values())
        is_up = any(each.state not in {"stopped", "terminated"} for each in world.instances())
        is_unsettled = any(
            each["leases"] or each["state"] not in {"absent", "stopped"} for each in world.rows("BASTION#")
        )
        return bool(self._people.busy or is_running or is_up or is_unsettled or world.is_anything_watched())
