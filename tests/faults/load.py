"""Two hundred people ask within a minute and half of them are approved: as many requests end, and nothing is left over.

`pytest -s tests/faults/load.py`: by its name it is part of no other run, because it takes minutes. In virtual time, so people
keep their own pace however busy the machine is.
"""

import math
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import pytest

from chalicelib.defaults import LEASES_PER_BASTION
from local import seed
from local.slack.api import SlackUser
from tests.faults.ground import Ground
from tests.faults.invariants import Watch
from tests.faults.play import Idleness
from tests.faults.stories import People
from tests.faults.world import World

CROWD, PER_LOCATION, PER_GROUP, SEED = 200, 10, 50, 20261121
NAMES = [f"person{number:03}" for number in range(CROWD)]
GROUPS = [f"crowd{number}" for number in range(CROWD // PER_GROUP)]
ASKING_SECONDS, LONGEST_SECONDS = 60, 3600.0


def _catalogue() -> str:
    """A location for ten people each, and a group of bastions for five locations each; carol decides everything."""
    people = [f'[people.{name}]\nslack = "{_id(name)}"' for name in NAMES]
    groups = [f'[bastions.{name}]\nsubnets = ["subnet-a", "subnet-b"]' for name in GROUPS]
    locations = [
        f'[locations.{_location(first)}]\ncluster = "my-aurora"\ndatabase = "depotpostgres"\nregion = "eu-west-1"\n'
        f'environment = "prod"\nbastion = "{GROUPS[first // PER_GROUP]}"\nport = {57000 + first}\n'
        f"[locations.{_location(first)}.levels]\n"
        f'w = {{ who = {NAMES[first : first + PER_LOCATION]}, approvers = ["carol"], cap = "1h" }}'.replace("'", '"')
        for first in range(0, CROWD, PER_LOCATION)
    ]
    return "\n" + "\n".join([*people, *groups, *locations]) + "\n"


def _id(name: str) -> str:
    return f"U0{name.upper()}"


def _location(number: int) -> str:
    return f"crowded-{number // PER_LOCATION:02}"


class Crowded(Ground):
    """The ground with a crowd in its workspace and in its catalogue."""

    more_catalogue = _catalogue()
    users: ClassVar = [*seed.SLACK_USERS, *(SlackUser(id=_id(name), name=name, team_id=seed.TEAM) for name in NAMES)]
    channels: ClassVar = {
        name: (title, members | {_id(each) for each in NAMES} if name == "C0GENERAL" else members)
        for name, (title, members) in seed.SLACK_CHANNELS.items()
    }


@pytest.fixture(scope="module")
def crowded() -> Iterator[Ground]:
    with Crowded() as ready:
        # Of real time: the endpoint serves one at a time here, so a request waits while everybody's before it is worked on.
        ready.slack.request_timeout_seconds = 3600.0
        yield ready


class Crowd(People):
    """Everybody asks once; carol looks at each card when it is there."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.delivered: dict[str, float] = {}
        self.through: set[str] = set()
        """The instances that people were told."""

    def come(self) -> None:
        """Each at a moment of the same minute."""
        moments = random.Random(SEED)
        for number, name in enumerate(NAMES):
            at = moments.uniform(0, ASKING_SECONDS)
            self.start(name, partial(self._live, number, name, at))

    def _live(self, number: int, name: str, at: float) -> None:
        self.wait(at)
        request_id = self.ask(name, f"{_location(number)} w 4m because")
        if number % 2:
            self.press("carol", "C0APPROVALS", "deny", request_id)
            self.submit("carol", {"reason": "Not now."})
            return
        self.press("carol", "C0APPROVALS", "approve", request_id)
        direct = f"D0{name.upper()}"
        self.see("the ready message", partial(self.find_button, direct, "show_token", request_id))
        self.delivered[request_id] = self.world.scheduler.now
        self._go_through(direct, _location(number), request_id)
        if number % 4:
            self.wait(120)
            self.press(name, direct, "end", request_id, seconds=60)

    def _go_through(self, direct: str, location: str, request_id: str) -> None:
        """Open a tunnel as the ready message says, and leave it open."""
        ready = next(str(each) for each in self.world.ground.slack.look(direct) if "start-session" in str(each))
        instance = re.search(r"i-[0-9a-f]{17}", ready)
        assert instance is not None
        tunnel = {"Target": instance[0], "DocumentName": f"drawbridge-local-{location}", "Reason": request_id}
        self.world.sessions.handle("StartSession", tunnel, "")
        self.through.add(instance[0])


Played = tuple[World, Crowd, list[str]]


@pytest.fixture(scope="module")
def played(crowded: Ground) -> Iterator[Played]:
    began, used = time.monotonic(), time.process_time()
    with crowded.new_world({}) as world:
        crowd = Crowd(world)
        watch, idle = Watch(world, crowd), Idleness(world, crowd)
        crowd.come()
        world.scheduler.spawn("idleness", idle.note)
        world.scheduler.run(LONGEST_SECONDS, is_done=lambda: idle.is_over)
        violations = watch.conclude(is_quiet=idle.is_over)
        seconds, processor = time.monotonic() - began, time.process_time() - used
        print(
            f"\n{CROWD} asked, {len(crowd.delivered)} had access; {len(world.gate.points)} calls;"
            f" {world.scheduler.now:.0f} s virtual, {seconds:.0f} s real, {processor:.0f} s of the processor"
        )
        yield world, crowd, violations


def test_as_many_end_as_asked(played: Played) -> None:
    """Half of them after having had access, half denied."""
    world, crowd, _ = played
    outcomes = Counter(item.get("outcome") for item in world.rows("REQUEST#") if item["sk"] == "REQUEST")

    assert [] == crowd.gave_up
    assert {"finished": CROWD // 2, "denied": CROWD // 2} == outcomes
    assert CROWD // 2 == len(crowd.delivered)


def test_nothing_is_left_over(played: Played) -> None:
    """No user, grant, lease, tunnel, place, token or running execution; and the trail verifies."""
    assert [] == played[2]


def test_no_bastion_had_more_than_its_share(played: Played) -> None:
    """Twenty-five at once through a group need three; a fourth only if those who wait for an answer have places too."""
    world, crowd, _ = played
    needed = math.ceil(PER_GROUP // 2 / LEASES_PER_BASTION)
    used = Counter(item["name"].partition(".")[0] for item in world.rows("BASTION#"))

    assert set(GROUPS) == set(used)
    assert all(needed <= number <= needed + 1 for number in used.values()), used
    assert needed * len(GROUPS) <= len(crowd.through)
