"""Actors in a world: each runs verbs one after the other, and between two of its calls anything else may happen."""

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from tests.faults.explore.search import Move
from tests.faults.explore.verbs import Asked, Outside, Point, Program, Programs

Place = tuple[Any, ...]
"""Where an actor is in its script; the first says which part."""
DEAD: Place = ("dead",)
Answer = tuple[str, Hashable, Any, Any]
"""What happened in words, the key of the answer, the answer, and the world afterwards."""


class Actor(NamedTuple):
    place: Place
    point: Point | None
    """Where its verb stands; None while it waits or is over."""


class Script(Protocol):
    """What an actor does, and what it makes of what came of it."""

    name: str

    def program(self, place: Place) -> Program | None: ...

    def after(self, place: Place, point: Point, world: Any) -> Place: ...

    def leave(self, place: Place, world: Any) -> Iterable[tuple[str, Place]]:
        """How it may go on from a place at which it runs nothing."""

    def restarts(self, place: Place) -> Iterable[Place]:
        """Where it may be after a kill, besides dead."""


class Stage(NamedTuple):
    world: Any
    actors: tuple[Actor, ...]


class Cast:
    """The moves of all actors. A subclass knows the world: what calls answer, and what happens by itself."""

    name: str
    scripts: tuple[Script, ...]

    def __init__(self) -> None:
        self._programs = Programs()

    def start(self) -> Stage:
        world = self.world()
        stage = Stage(world, tuple(Actor(DEAD, None) for _ in self.scripts))
        for index, script in enumerate(self.scripts):
            stage = self._at_place(stage, index, self.first_place(script))
        return stage

    def world(self) -> Any:
        raise NotImplementedError

    def first_place(self, script: Script) -> Place:
        raise NotImplementedError

    def answers(self, world: Any, actor: Actor, asked: Asked) -> Iterable[Answer]:
        """What the world may answer to a call, and what becomes of it."""
        raise NotImplementedError

    def is_immediate(self, world: Any, asked: Asked) -> bool:
        """Does the call see and do nothing that anybody else changes? Then nothing need happen before it."""
        raise NotImplementedError

    def is_effect(self, asked: Asked) -> bool:
        """Does the call change anything? A kill before one that does not is like a kill before the next one that does."""
        raise NotImplementedError

    def happenings(self, stage: Stage) -> Iterable[tuple[str, Any]]:
        """What happens by itself."""
        raise NotImplementedError

    def moves(self, stage: Stage) -> Iterator[Move]:
        world = stage.world
        for index, (actor, script) in enumerate(zip(stage.actors, self.scripts, strict=True)):
            if actor.point is None:
                for words, place in script.leave(actor.place, world):
                    yield f"{script.name}: {words}", self._at_place(stage, index, place)
                continue
            asked = actor.point.asked
            assert asked is not None
            for words, key, answer, changed in self.answers(world, actor, asked):
                point, after = actor.point.answered(key, answer), Stage(changed, stage.actors)
                is_timed = asked.service == "clock"
                yield f"{script.name}: {words}", self._at_point(after, index, actor.place, point, is_timed=is_timed)
            if world.kills and self.is_effect(asked):
                poorer = Stage(world._replace(kills=world.kills - 1), stage.actors)
                for place in (DEAD, *script.restarts(actor.place)):
                    words = f"{script.name}: killed before {asked}" + ("" if place == DEAD else ", tried again")
                    yield words, self._at_place(poorer, index, place)
        for words, changed in self.happenings(stage):
            yield words, Stage(changed, stage.actors)

    def placed(self, world: Any, script: Script, place: Place) -> Any:
        """The world once an actor is at a place: others may see that it is."""
        return world

    def _at_place(self, stage: Stage, index: int, place: Place) -> Stage:
        script = self.scripts[index]
        stage = Stage(self.placed(stage.world, script, place), stage.actors)
        program = script.program(place)
        if program is None:
            return self._with(stage, index, Actor(place, None))
        return self._at_point(stage, index, place, self._programs.begin((script.name, place), program))

    def _at_point(self, stage: Stage, index: int, place: Place, point: Point, *, is_timed: bool = False) -> Stage:
        """On to the next call before which something else may matter; ``is_timed`` is one that has just looked at the clock."""
        while (asked := point.asked) is not None and (
            self.is_immediate(stage.world, asked) or (is_timed and asked.service == "clock")
        ):
            ((_, key, answer, changed),) = self.answers(stage.world, Actor(place, point), asked)
            point, stage = point.answered(key, answer), Stage(changed, stage.actors)
        if asked is None:
            return self._at_place(stage, index, self.scripts[index].after(place, point, stage.world))
        return self._with(stage, index, Actor(place, point))

    @staticmethod
    def _with(stage: Stage, index: int, actor: Actor) -> Stage:
        return Stage(stage.world, (*stage.actors[:index], actor, *stage.actors[index + 1 :]))


class Live(Outside):
    """Answers at once, by the first thing that the world may answer: for what is run without any choice."""

    def __init__(self, cast: Cast, world: Any) -> None:
        super().__init__(())
        self._cast, self.world = cast, world

    def ask(self, service: str, method: str, *arguments: Any, **named: Any) -> Any:
        asked = Asked(service, method, arguments, named)
        actor = Actor(("live",), None)
        _, _, answer, self.world = next(iter(self._cast.answers(self.world, actor, asked)))
        if isinstance(answer, BaseException):
            raise answer.with_traceback(None)
        return answer
