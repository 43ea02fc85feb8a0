"""python -m tests.faults.explore: every order in which the functions can meet at one bastion, and at the end of one grant."""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence

from tests.faults.explore.scenarios import all_models
from tests.faults.explore.search import Exploration, Model, explore

MOST = 400_000


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything held, 1 when something did not."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.explore", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="orders what is bounded")
    parser.add_argument("--most", type=int, default=MOST, metavar="M", help=f"states of each model at most ({MOST})")
    parser.add_argument("--model", default="", metavar="WORDS", help="only the models whose names hold these words")
    given = parser.parse_args(arguments)
    print(f"seed {given.seed}, at most {given.most} states of each model", flush=True)
    return report([model for model in all_models() if given.model in model.name], most=given.most, seed=given.seed)


def report(models: Iterable[Model], *, most: int, seed: int) -> int:
    """Explore each, say what was seen and how to see again what did not hold."""
    found = []
    for model in models:
        started = time.monotonic()
        found.append(explore(model, most=most, seed=seed))
        print(line(found[-1]) + f", {time.monotonic() - started:.0f} s", flush=True)
    for violation in (violation for each in found for violation in each.violations):
        print(f"\n{violation.what}:")
        print("\n".join(f"  {number:3} {step}" for number, step in enumerate(violation.schedule, 1)))
    violations = sum(sum(each.kinds.values()) for each in found)
    states, schedules = sum(each.states for each in found), sum(each.schedules for each in found)
    print(f"models {len(found)}, states {states}, schedules {schedules}, violations {violations}")
    return 1 if violations or not found else 0


def line(found: Exploration) -> str:
    """One model in a line."""
    extent = "all of them" if found.is_complete else "a part"
    return (
        f"{found.model}: states {found.states} ({extent}), moves {found.moves}, ends {found.ends}, "
        f"schedules {found.schedules}, violations {sum(found.kinds.values())}"
    )


if __name__ == "__main__":
    sys.exit(main())
