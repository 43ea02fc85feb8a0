"""What a world leaves to the thousands that come after it in the same process, and what it does without."""

import gc
import threading
from typing import Any
from weakref import WeakSet

from tests.faults.ground import Ground
from tests.faults.play import play
from tests.faults.world import World


def test_nothing_is_kept_of_a_world_that_is_over(ground: Ground) -> None:
    """But for the last one, which is cleared away for the next."""
    worlds = WeakSet[World]()

    def check_policy(world: World, payload: Any) -> Any:
        worlds.add(world)
        return world.call("CheckPolicy", payload)

    for _ in range(3):
        play(ground, "brief", {}, handlers={"CheckPolicy": check_policy})
    gc.collect()

    assert 1 == len(worlds)


def test_a_world_serves_no_channels(ground: Ground) -> None:
    """Nobody's bytes go through, and what serves them would act by this machine's clock."""
    with ground.new_world({}):
        names = {thread.name for thread in threading.enumerate()}

    assert "local-ssm" not in names
