"""A verb of the workflow, stopped before each call to the outside and gone on with once the call is answered.

Nothing is left hanging: a verb is run again from its start with the answers so far, up to its next call. A verb does the same
with the same answers, so where it stands is one node of a tree, and every node is computed once for all schedules.
"""

import inspect
from collections.abc import Callable, Hashable, Mapping
from typing import Any


class Paused(BaseException):
    """Ends a run of a verb at the first call that has no answer yet. Like a kill, it passes every handler."""


class Asked:
    """A call that waits for its answer. ``key`` is equal for equal calls."""

    __slots__ = ("arguments", "key", "method", "named", "service")

    def __init__(self, service: str, method: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        self.service, self.method, self.arguments, self.named = service, method, arguments, dict(named)
        self.key = f"{service}.{method}{arguments!r}{sorted(self.named.items())!r}"

    def __repr__(self) -> str:
        return f"{self.service}.{self.method}"


class Outside:
    """Everything that a verb may call. Answers from a list; whatever comes after its end is asked for the first time."""

    def __init__(self, answers: tuple[Any, ...]) -> None:
        self._answers, self._given = answers, 0
        self.asked: Asked | None = None

    def ask(self, service: str, method: str, *arguments: Any, **named: Any) -> Any:
        if self.asked is not None:
            raise Paused
        if self._given == len(self._answers):
            self.asked = Asked(service, method, arguments, named)
            raise Paused
        answer = self._answers[self._given]
        self._given += 1
        if isinstance(answer, BaseException):
            raise answer.with_traceback(None)
        return answer

    def service(self, name: str) -> Any:
        """Stands where a client or a collaborator stands: every method of it is asked for."""
        return _Service(self, name)

    def clock(self) -> Any:
        return self.ask("clock", "now")


class _Service:
    def __init__(self, outside: Outside, name: str) -> None:
        self._outside, self._name = outside, name

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *arguments, **named: self._outside.ask(self._name, method, *arguments, **named)

    def get_paginator(self, operation: str) -> "_Pages":
        return _Pages(self._outside, self._name, operation)


class _Pages:
    """All pages of an answer are one, asked for at once."""

    def __init__(self, outside: Outside, name: str, operation: str) -> None:
        self._outside, self._name, self._operation = outside, name, operation

    def paginate(self, *, PaginationConfig: Mapping[str, Any], **which: Any) -> list[Any]:  # noqa: N803 -- boto's name
        return [self._outside.ask(self._name, self._operation, **which)]


Program = Callable[[Outside], object]


class Point:
    """Where a verb stands: before a call, or at its end with what it returned or raised."""

    __slots__ = ("_after", "_answers", "_program", "asked", "looked_at", "raised", "returned")

    def __init__(self, program: Program, answers: tuple[Any, ...] = (), looked_at: Any = None) -> None:
        self._program, self._answers, self._after = program, answers, dict[Hashable, Point]()
        self.looked_at = looked_at
        """The time that the verb was told last."""
        self.returned: Any = None
        self.raised: Exception | None = None
        outside = Outside(answers)
        try:
            self.returned = program(outside)
        except Paused:
            pass
        except Exception as error:  # noqa: BLE001 -- what the verb raises is what it comes to
            self.raised = error
        self.asked = outside.asked

    def answered(self, key: Hashable, answer: Any) -> "Point":
        """Where the verb stands after this answer. Equal keys mean equal answers."""
        after = self._after.get(key)
        if after is None:
            assert self.asked is not None
            looked_at = answer if self.asked.service == "clock" else self.looked_at
            after = self._after[key] = Point(self._program, (*self._answers, answer), looked_at)
        return after


class Programs:
    """The beginnings of verbs, each computed once."""

    def __init__(self) -> None:
        self._begun: dict[Hashable, Point] = {}

    def begin(self, key: Hashable, program: Program) -> Point:
        if key not in self._begun:
            self._begun[key] = Point(program)
        return self._begun[key]


def call(verb: Callable[..., Any], collaborators: Mapping[str, Any], **given: Any) -> Any:
    """Call a verb with what is given, and with the collaborators that its parameters name."""
    wanted = inspect.signature(verb).parameters
    return verb(**{name: collaborators[name] for name in wanted if name in collaborators} | given)
