"""Access while it is held: the loop of CheckGrantEnd, TellHolder and HoldAccess on virtual time, and every order of its ends."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.decisions import Refusal, Verdict
from chalicelib.domain.errors import SlackUnavailableError
from chalicelib.domain.grants import GrantState, delivered, warns_at
from chalicelib.workflow.ask_end import ask_end
from chalicelib.workflow.check_grant_end import check_grant_end
from chalicelib.workflow.confirm_approval import Confirmation
from chalicelib.workflow.grant_extension import grant_extension
from chalicelib.workflow.hold_access import hold_access
from chalicelib.workflow.tell_holder import tell_holder
from tests.factories import (
    ALICE,
    BOB,
    FRIDAY_NOON,
    OPERATE,
    REQUEST_ID,
    WRITER,
    a_catalogue,
    a_grant,
    a_location,
    a_record,
    a_request,
    a_rule,
    a_task_token,
    seconds,
)
from tests.fakes import FakeGrantLedger, World
from tests.strategies import RULE

DAY = a_location(levels={OPERATE: a_rule(cap_seconds=86_400)})
LONGEST = 3_000
"""Turns of the loop that no test comes near to; a loop that spins gets there at once."""


class WatchedGrants(FakeGrantLedger):
    """Remembers every state that was written, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[GrantState] = []

    def _did(self, method: str) -> None:
        if method == "replace_grant":
            self.states.append(self.require_grant(a_grant().facts.key).state)
        super()._did(method)


def held(duration_seconds: int = 1800) -> World:
    """Access that was delivered at noon, and its holder told until when."""
    world = World(catalogue=a_catalogue(DAY), grants=WatchedGrants())
    world.requests.declare_request(a_request(duration_seconds=duration_seconds))
    grant = a_grant(a_request(duration_seconds=duration_seconds), is_ordered=True)
    world.grants.declare_grant(delivered(grant, instance_id="i-1", writer=WRITER, now=FRIDAY_NOON))
    world.requests.keep_told(REQUEST_ID, end=world.grant().ends_at)
    return world


def approve_extension(world: World, request_id: str, more_seconds: int) -> None:
    """An extension that only has to be carried out."""
    world.requests.declare_request(a_request(request_id=request_id, extends=REQUEST_ID, duration_seconds=more_seconds))
    approved = a_record(BOB, request_id=request_id, verdict=Verdict.APPROVED)
    world.requests.open_decision(approved, task_token=a_task_token("token-1"))


def extend(world: World, request_id: str = "R-LNGER2") -> Confirmation:
    return world.run(grant_extension, request_id=request_id)


def end(world: World) -> Refusal | None:
    return world.run(ask_end, request_id=REQUEST_ID, person=ALICE)


@dataclass
class Life:
    """What the definition does with the access of a world, and how often, until it ends."""

    world: World
    happenings: list[tuple[int, Callable[[], object]]] = field(default_factory=list)
    """What somebody else does, by seconds past noon."""
    turns: int = 0
    tellings: int = 0

    def run(self) -> None:
        self.happenings.sort(key=lambda happening: happening[0])
        while not (now := self.world.run(check_grant_end, request_id=REQUEST_ID, end_now=False)).is_ending:
            self.turns += 1
            assert self.turns < LONGEST, "the workflow turns in circles"
            if now.has_news:
                self._tell()
            else:
                assert now.wait_seconds >= 1
                self._hold(now.wait_seconds)

    def _tell(self) -> None:
        self.tellings += 1
        try:
            self.world.run(tell_holder, request_id=REQUEST_ID)
        except SlackUnavailableError:
            return

    def _hold(self, wait_seconds: int) -> None:
        token, until = f"token-hold-{self.turns}", self.world.clock.now + seconds(wait_seconds)
        self.world.run(
            hold_access, request_id=REQUEST_ID, task_token=a_task_token(token, entered_at=self.world.clock.now)
        )
        while token not in self.world.executions.woken:
            at, act = self.happenings[0] if self.happenings else (10**9, lambda: None)
            if until <= FRIDAY_NOON + seconds(at):
                self.world.clock.now = until
                return
            self.happenings.pop(0)
            self.world.clock.now = max(self.world.clock.now, FRIDAY_NOON + seconds(at))
            act()


def told(world: World, method: str) -> int:
    """How often the holder was told this."""
    return [name for name, _ in world.notifier.told].count(method)


class TestWarning:
    @pytest.mark.parametrize(("duration", "warned_at"), [(3600, 3000), (1800, 1440), (60, 48), (10, 8)])
    def test_the_holder_is_warned_once_ten_minutes_before_or_at_four_fifths(
        self, duration: int, warned_at: int
    ) -> None:
        """Whichever is later."""
        world = held(duration)
        moments: list[float] = []
        world.requests.declare_meanwhile(
            "keep_card", lambda: moments.append((world.clock.now - FRIDAY_NOON).total_seconds())
        )
        Life(world).run()

        assert ([warned_at], 1, 0) == (moments, told(world, "warn_of_end"), told(world, "show_end"))
        assert FRIDAY_NOON + seconds(duration) == world.clock.now

    def test_an_extension_is_told_and_the_new_end_is_warned_of_in_its_turn(self) -> None:
        """Each end once; the time that was extended counts as a whole."""
        world = held(600)
        approve_extension(world, "R-LNGER2", 3000)
        moments: list[float] = []
        for _ in range(2):
            world.requests.declare_meanwhile(
                "keep_card", lambda: moments.append((world.clock.now - FRIDAY_NOON).total_seconds())
            )
        Life(world, [(500, lambda: extend(world))]).run()

        assert [480, 3000] == moments
        assert (1, 2) == (told(world, "show_end"), told(world, "warn_of_end"))
        assert FRIDAY_NOON + seconds(3600) == world.clock.now

    def test_an_extension_right_after_the_warning_is_told_at_once(self) -> None:
        """The pause between two tries is for what Slack did not take, not for news."""
        world = held(600)
        approve_extension(world, "R-LNGER2", 3000)
        told_by_then: list[int] = []
        happenings: list[tuple[int, Callable[[], object]]] = [
            (481, lambda: extend(world)),
            (482, lambda: told_by_then.append(told(world, "show_end"))),
        ]
        Life(world, happenings).run()

        assert [1] == told_by_then

    def test_a_card_of_the_warning_is_kept(self) -> None:
        """It is closed with the others at the end."""
        world = held(60)
        Life(world).run()

        assert world.requests.require_request(REQUEST_ID).soon_card is not None


class TestSlackFailing:
    def test_the_end_is_not_late_for_a_slack_that_takes_nothing(self) -> None:
        """It is tried about once a minute, and then the access ends on time."""
        world = held(3600)
        world.notifier.declare_failing("warn_of_end")
        life = Life(world)
        life.run()

        assert FRIDAY_NOON + seconds(3600) == world.clock.now
        assert (10, 0) == (life.tellings, told(world, "warn_of_end"))

    def test_what_was_not_taken_is_told_later(self) -> None:
        """As soon as Slack takes it."""
        world = held(3600)
        world.notifier.declare_failing("warn_of_end")
        Life(world, [(3170, world.notifier.declare_failing)]).run()

        assert 1 == told(world, "warn_of_end")

    def test_telling_that_never_even_begins_does_not_turn_in_circles(self) -> None:
        """A function that cannot start notes nothing itself."""
        world = held(3600)
        life = Life(world)
        life._tell = lambda: setattr(life, "tellings", life.tellings + 1)  # type: ignore[method-assign]  # it never starts
        life.run()

        assert 10 == life.tellings
        assert FRIDAY_NOON + seconds(3600) == world.clock.now


@RULE
@given(
    duration=st.integers(1, 7200),
    extensions=st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 5000)), max_size=4),
    outages=st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 600)), max_size=2),
    end_at=st.none() | st.integers(0, 9000),
)
def test_held_access_always_ends_on_time_and_never_turns_in_circles(
    duration: int, extensions: list[tuple[int, int]], outages: list[tuple[int, int]], end_at: int | None
) -> None:
    """Whatever is extended, ended and out of order: it ends at its end, it is told each end at most once, in few turns."""
    world = held(duration)
    life = Life(world)
    for number, (at, more_seconds) in enumerate(extensions):
        request_id = f"R-LNGER{number + 2}"
        approve_extension(world, request_id, more_seconds)
        life.happenings.append((at, partial(extend, world, request_id)))
    for at, lasting in outages:
        life.happenings.append((at, lambda: world.notifier.declare_failing("show_end", "warn_of_end")))
        life.happenings.append((at + lasting, world.notifier.declare_failing))
    if end_at is not None:
        life.happenings.append((end_at, lambda: end(world)))
    life.run()

    grant, moved = world.grant(), len(world.grant().extension_ids)
    asked = world.requests.require_request(REQUEST_ID).end_asked_at
    last_end = (
        FRIDAY_NOON
        + seconds(duration)
        + sum(
            (
                seconds(more)
                for number, (_, more) in enumerate(extensions)
                if f"R-LNGER{number + 2}" in grant.extension_ids
            ),
            seconds(0),
        )
    )
    assert GrantState.ENDING is grant.state
    assert (asked or last_end) == world.clock.now == grant.ends_at
    assert told(world, "show_end") <= moved
    assert told(world, "warn_of_end") <= moved + 1
    assert life.turns <= 4 * (moved + 1) + 2 * sum(lasting // 60 + 2 for _, lasting in outages)


@RULE
@given(st.integers(1, 86_400), st.integers(0, 86_400))
def test_nobody_is_warned_before_four_fifths_or_earlier_than_ten_minutes_before_the_end(
    duration: int, longer: int
) -> None:
    """Of the whole time, extensions included."""
    grant = held(duration).grant()
    longer_grant = delivered(grant, instance_id="i-1", writer=WRITER, now=FRIDAY_NOON)
    left = (longer_grant.ends_at - warns_at(longer_grant, warning_seconds=600)).total_seconds()

    assert 0 < left <= 600
    assert left <= duration / 5


ACTS: dict[str, Callable[[World], object]] = {
    "extend": extend,
    "end": end,
    "look": lambda world: world.run(check_grant_end, request_id=REQUEST_ID, end_now=False),
}
PLACES = [
    ("requests", "require_request"),
    ("requests", "ask_end"),
    ("grants", "find_grant"),
    ("grants", "replace_grant"),
    ("bastions", "take_lease"),
]


def _orders() -> Iterator[tuple[str, Sequence[str], str, str, int]]:
    for outer in ACTS:
        others = [name for name in ACTS if name != outer]
        inner = [*permutations(others, 1), *permutations(others, 2)]
        for names, (ledger, method), turn in product(inner, PLACES, range(3)):
            yield outer, names, ledger, method, turn


@pytest.mark.parametrize("late", [-1, 0], ids=["in its last second", "at its end"])
def test_extending_ending_and_the_clock_in_every_order_have_one_outcome(late: int) -> None:
    """Each of the three interrupted by the others at each of its calls: one end, never live again, and no false answer."""
    for outer, inner, ledger, method, turn in _orders():
        world = held(1800)
        approve_extension(world, "R-LNGER2", 600)
        world.clock.advance(1800 + late)
        answers: dict[str, object] = {}

        def act(name: str, world: World = world, answers: dict[str, object] = answers) -> None:
            answers[name] = ACTS[name](world)

        for _ in range(turn):
            getattr(world, ledger).declare_meanwhile(method, lambda: None)
        getattr(world, ledger).declare_meanwhile(method, lambda inner=inner, act=act: [act(name) for name in inner])
        act(outer)
        for name in ACTS:
            if name not in answers:
                act(name)
        Life(world).run()

        grant, confirmation = world.grant(), answers["extend"]
        case = f"{outer} interrupted by {inner} after {method} {turn}"
        assert isinstance(confirmation, Confirmation), case
        assert confirmation.is_confirmed == (grant.extension_ids == ("R-LNGER2",)), case
        assert [GrantState.ENDING] == [state for state in _written(world) if state is not GrantState.LIVE], case
        assert GrantState.ENDING is _written(world)[-1], case
        assert 1 == world.audit.events(REQUEST_ID).count("ending"), case
        assert answers["end"] is None, case
        assert grant.ends_at <= FRIDAY_NOON + seconds(1800), case


def _written(world: World) -> list[GrantState]:
    assert isinstance(world.grants, WatchedGrants)
    return world.grants.states
