"""Every order in which things can happen: a search through all states that can be reached, each visited once.

A schedule is a way from the start to an end. As every state is looked at, every schedule is; how many there are is counted
without walking each, because what can follow a state does not depend on how it was reached.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

State = Any
"""Whatever a model makes of it; equal and hashable by value."""
Move = tuple[str, State]
_MOST_VIOLATIONS = 3
"""Of one kind in one exploration; the rest look alike."""


class BrokenError(Exception):
    """A move did what must never be done. Says what."""


class Model(Protocol):
    """A world with actors. Moves must lead forward: no state is ever reached again from itself."""

    name: str

    def start(self) -> State: ...

    def moves(self, state: State, /) -> Iterable[Move]:
        """What can happen next, with what it is called."""

    def objections(self, state: State, /) -> Sequence[str]:
        """What is wrong with a state."""

    def objections_at_rest(self, state: State, /) -> Sequence[str]:
        """What is wrong with a state in which nothing more happens by itself."""


@dataclass(frozen=True, slots=True)
class Violation:
    """What did not hold, and the schedule that leads to it."""

    what: str
    schedule: tuple[str, ...]


@dataclass(slots=True)
class Exploration:
    """What was seen of a model. Incomplete when there were more states than allowed."""

    model: str
    states: int = 0
    moves: int = 0
    ends: int = 0
    schedules: int = 0
    is_complete: bool = True
    violations: list[Violation] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)


class _Visit:
    __slots__ = ("label", "left", "schedules", "state")

    def __init__(self, label: str, state: State, left: list[Move]) -> None:
        self.label, self.state, self.left, self.schedules = label, state, left, 0


class _Search:
    def __init__(self, model: Model, most: int, seed: int, enough: int | None) -> None:
        self._model, self._most, self._chance, self._enough = model, most, random.Random(seed), enough
        self._schedules: dict[State, int] = {}
        self._way: list[_Visit] = []
        self._on_way: set[State] = set()
        self.found = Exploration(model.name)

    def run(self) -> Exploration:
        found, way = self.found, self._way
        self._enter("start", self._model.start())
        while way:
            if self._enough is not None and found.kinds.total() >= self._enough:
                found.is_complete = False
                break
            visit = way[-1]
            if visit.left:
                label, state = visit.left.pop()
                found.moves += 1
                if state in self._on_way:
                    raise RuntimeError(f"{self._model.name}: {label} leads back to where it was")
                if state in self._schedules:
                    visit.schedules += self._schedules[state]
                elif found.states < self._most:
                    self._enter(label, state)
                else:
                    found.is_complete = False
            else:
                way.pop()
                self._on_way.discard(visit.state)
                self._schedules[visit.state] = visit.schedules
                if way:
                    way[-1].schedules += visit.schedules
                else:
                    found.schedules = visit.schedules
        return found

    def _enter(self, label: str, state: State) -> None:
        self.found.states += 1
        visit = _Visit(label, state, [])
        self._way.append(visit)
        self._on_way.add(state)
        objections = list(self._model.objections(state))
        if not objections:
            try:
                visit.left = list(self._model.moves(state))
            except BrokenError as error:
                objections = [str(error)]
        if not visit.left and not objections:
            objections = list(self._model.objections_at_rest(state))
            self.found.ends += 1
        if not visit.left:
            visit.schedules = 1
        self._chance.shuffle(visit.left)
        for what in objections:
            self.found.kinds[what] += 1
            if self.found.kinds[what] <= _MOST_VIOLATIONS:
                schedule = tuple(each.label for each in self._way[1:])
                self.found.violations.append(Violation(f"{self._model.name}: {what}", schedule))


def explore(model: Model, *, most: int, seed: int = 0, enough: int | None = None) -> Exploration:
    """Visit every state that can be reached, or the first so many of them in an order that the seed chooses; or only until
    ``enough`` violations were found.
    """
    return _Search(model, most, seed, enough).run()
