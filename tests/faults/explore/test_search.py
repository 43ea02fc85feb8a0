"""The search and the stopping of verbs, on models whose schedules can be counted by hand."""

from collections.abc import Iterator

import pytest

from tests.faults.explore.search import BrokenError, Move, State, explore
from tests.faults.explore.verbs import Outside, Point


class Counters:
    """Two people read a number and write it back one higher; three times two steps can be put in order in so many ways."""

    name = "counters"

    def __init__(self, *, is_guarded: bool) -> None:
        self._is_guarded = is_guarded

    def start(self) -> State:
        return (0, (None, None))

    def moves(self, state: State) -> Iterator[Move]:
        number, seen = state
        for index in (0, 1):
            others = list(seen)
            if seen[index] is None:
                others[index] = number
                yield f"{index} reads", (number, tuple(others))
            elif seen[index] != "done" and (not self._is_guarded or seen[index] == number):
                others[index] = "done"
                yield f"{index} writes", (seen[index] + 1, tuple(others))
            elif seen[index] != "done":
                others[index] = None
                yield f"{index} is refused", (number, tuple(others))

    def objections(self, state: State) -> list[str]:
        return []

    def objections_at_rest(self, state: State) -> list[str]:
        return [] if state[0] == 2 else ["a write is lost"]


def test_every_order_is_counted() -> None:
    """Two steps each of two people: six orders, in four of which both read before either writes."""
    found = explore(Counters(is_guarded=False), most=1000)

    assert (6, True) == (found.schedules, found.is_complete)


def test_a_lost_write_is_found_with_the_schedule_that_loses_it() -> None:
    """In order, so that it can be followed."""
    found = explore(Counters(is_guarded=False), most=1000)

    assert {"a write is lost"} == set(found.kinds)
    assert {"0 reads", "1 reads"} == set(found.violations[0].schedule[:2])


def test_a_guarded_write_is_never_lost() -> None:
    """Whoever is refused reads again."""
    found = explore(Counters(is_guarded=True), most=1000)

    assert ({}, True) == (dict(found.kinds), found.is_complete)


def test_a_bounded_search_says_so() -> None:
    """Nobody shall believe that it saw everything."""
    assert not explore(Counters(is_guarded=True), most=3).is_complete


class Endless(Counters):
    """Always one more."""

    def moves(self, state: State) -> Iterator[Move]:
        yield "again", state


def test_a_model_that_goes_in_circles_is_refused() -> None:
    """Its schedules could not be counted."""
    with pytest.raises(RuntimeError, match="leads back"):
        explore(Endless(is_guarded=True), most=1000)


class Breaking(Counters):
    """Does what must not be done in its first move."""

    def moves(self, state: State) -> Iterator[Move]:
        raise BrokenError("told so")


def test_what_must_never_be_done_is_a_violation() -> None:
    """Whoever does it, and wherever."""
    assert {"told so": 1} == dict(explore(Breaking(is_guarded=True), most=10).kinds)


def verb(outside: Outside) -> str:
    """Reads, and always says goodbye."""
    table = outside.service("table")
    try:
        return str(table.find("key"))
    finally:
        table.write("goodbye")


def test_a_verb_stops_before_each_call_and_goes_on_with_its_answer() -> None:
    """Also in what it does at last, which is not done while it stops before something else."""
    at_reading = Point(verb)
    at_goodbye = at_reading.answered("found", "value")
    at_end = at_goodbye.answered("written", None)

    assert ["table.find", "table.write", "None"] == [repr(each.asked) for each in (at_reading, at_goodbye, at_end)]
    assert "value" == at_end.returned


def test_an_answer_may_be_an_error() -> None:
    """And is raised where the call was made."""
    at_end = Point(verb).answered("broken", ValueError("no")).answered("written", None)

    assert ("ValueError('no')", None) == (repr(at_end.raised), at_end.returned)


def test_the_same_answers_lead_to_the_same_point() -> None:
    """Each is computed once."""
    at_reading = Point(verb)

    assert at_reading.answered("found", "value") is at_reading.answered("found", "value")
