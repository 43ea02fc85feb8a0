"""The end of one grant explored: its expiry, End Now, extensions and their approvals, and a revocation by reconciliation."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from chalicelib.aws.bastion_ledger import DynamoBastionLedger
from chalicelib.aws.grant_ledger import DynamoGrantLedger
from chalicelib.aws.request_ledger import DynamoRequestLedger
from chalicelib.aws.table import Table, Write
from chalicelib.defaults import DURATIONS
from chalicelib.domain.bastions import Bastion, BastionState
from chalicelib.domain.cards import CardReference
from chalicelib.domain.decisions import Decision, DecisionRecord, Verdict
from chalicelib.domain.endings import Purpose
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.executions import Progress
from chalicelib.domain.grants import Grant, GrantState, delivered, new_grant
from chalicelib.domain.payloads import to_payload
from chalicelib.domain.people import Person
from chalicelib.domain.receipts import ClosedTunnels
from chalicelib.domain.records import RequestRecord
from chalicelib.workflow.ask_end import ask_end
from chalicelib.workflow.check_grant_end import GrantEnd, check_grant_end
from chalicelib.workflow.close_approval import close_approval
from chalicelib.workflow.close_tunnels import close_tunnels
from chalicelib.workflow.find_database_instances import find_database_instances
from chalicelib.workflow.grant_extension import grant_extension
from chalicelib.workflow.hold_access import hold_access
from chalicelib.workflow.reconcile_grants import reconcile_grants
from chalicelib.workflow.record_decision import record_decision
from chalicelib.workflow.report_outcome import report_outcome
from chalicelib.workflow.revoke_access import revoke_access
from chalicelib.workflow.tell_holder import tell_holder
from tests.factories import (
    ALICE,
    BOB,
    CAROL,
    FRIDAY_NOON,
    INSTANCES,
    OPERATE,
    WRITER,
    a_catalogue,
    a_course,
    a_location,
    a_receipt,
    a_request,
    a_rule,
    a_task_token,
    minutes,
    seconds,
)
from tests.faults.explore.cast import DEAD, Actor, Answer, Cast, Live, Place, Script, Stage
from tests.faults.explore.search import BrokenError
from tests.faults.explore.verbs import Asked, Outside, Point, Program, call
from tests.faults.explore.world import Items, Tables, instant, items_of, table_of, thawed, written

CAP_SECONDS = 4 * 3600
ACCESS_SECONDS = 1800
_READS = {"find", "find_all", "query", "watched", "running", "find_progress", "find_instances"}
_AT_ONCE = {"audit", "notifier", "members", "groups", "directory", "ssm"}
_TURN = 120
_ROUNDS = 12
_STATES = [GrantState.LIVE, GrantState.ENDING, GrantState.GONE]


class World(NamedTuple):
    now: int
    items: Items
    shown: Items | None
    """What the index shows where it lags behind; None where it does not."""
    ticks: tuple[int, ...]
    kills: int
    woken: frozenset[str]
    """The task tokens that were answered."""
    running: frozenset[str]
    """The executions under way."""
    ended: frozenset[str]
    has_role: bool
    """Can the person log in?"""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Who meets at the end of a grant."""

    name: str
    extension: int = 0
    """An extension of so many seconds, approved already."""
    repeats: int = 0
    """How many functions more move the end for it at once: an invocation may come twice."""
    approvers: tuple[Person, ...] = ()
    """They say yes to the extension at once; then it is not approved already."""
    needed: int = 1
    end_now: int = 0
    """How often the holder presses End Now."""
    reconciliations: int = 0
    ticks: tuple[int, ...] = ()
    kills: int = 0
    lags: bool = False
    cap_seconds: int = CAP_SECONDS
    grants: type[DynamoGrantLedger] = DynamoGrantLedger
    bastions: type[DynamoBastionLedger] = DynamoBastionLedger
    check: Any = check_grant_end
    extend: Any = grant_extension


class GrantModel(Cast):
    """One scenario as a model."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self.name, self.scenario = f"grant: {scenario.name}", scenario
        location = a_location(levels={OPERATE: a_rule(cap_seconds=scenario.cap_seconds, needed=scenario.needed)})
        self._catalogue = a_catalogue(location)
        self._tables, self._rested = Tables(), dict[Any, tuple[str, ...]]()
        self._watched, self._seen = dict[Items, tuple[str, ...]](), dict[str, Any]()
        self.request_id, self.extension_id = "", ""
        self._items = written(self._write_down)
        self.scripts = tuple(self._cast())

    def _write_down(self, table: Table) -> None:
        requests, grants, bastions = DynamoRequestLedger(table), DynamoGrantLedger(table), DynamoBastionLedger(table)
        asked = requests.file_request(
            a_request(duration_seconds=ACCESS_SECONDS), origin_id="held", open_limit=9
        ).request
        assert asked is not None
        self.request_id = asked.request_id
        made = new_grant(request=asked, location=a_location(), durations=DURATIONS, now=FRIDAY_NOON)
        started = delivered(replace(made, is_ordered=True), instance_id="i-1", writer=WRITER, now=FRIDAY_NOON)
        grants.create_grant(started)
        requests.keep_told(asked.request_id, end=started.ends_at)
        running = Bastion(name="main", state=BastionState.RUNNING, instance_id="i-1", launched_at=FRIDAY_NOON)
        table.write(Write(key=("BASTION#main", "BASTION"), item=to_payload(running)))
        bastions.take_lease("main", asked.request_id, until=started.ends_at + seconds(DURATIONS.lease_margin))
        if self.scenario.extension:
            extension = a_request(duration_seconds=self.scenario.extension, extends=asked.request_id)
            filed = requests.file_request(extension, origin_id="more", open_limit=9).request
            assert filed is not None
            self.extension_id = filed.request_id
            self._open_deciding(requests, filed.request_id)

    def _open_deciding(self, requests: DynamoRequestLedger, request_id: str) -> None:
        record = DecisionRecord(
            request_id=request_id,
            verdict=Verdict.OPEN,
            needed=self.scenario.needed,
            closes_at=FRIDAY_NOON + minutes(60),
            decisions=(),
            version=1,
        )
        requests.open_decision(record, task_token=a_task_token(f"approval of {request_id}"))
        if not self.scenario.approvers:
            yes = tuple(
                Decision(person_id=person.person_id, approves=True, at=FRIDAY_NOON)
                for person in (BOB, CAROL)[: self.scenario.needed]
            )
            requests.replace_decision(replace(record, verdict=Verdict.APPROVED, decisions=yes, version=2))

    def _cast(self) -> Iterator[Script]:
        given = self.scenario
        yield Life("the grant", self, self.request_id)
        for number in range(1 + given.repeats if given.extension else 0):
            name = "extension" if not number else f"extension once more {number}"
            yield Extension(name, self, self.extension_id, is_stray=number > 0)
        for person in given.approvers:
            yield Once(person.name, self, record_decision, request_id=self.extension_id, person=person, approves=True)
        for number in range(given.end_now):
            yield Once(f"End Now {number + 1}", self, ask_end, request_id=self.request_id, person=ALICE)
        for number in range(given.reconciliations):
            yield Once(f"reconciliation {number + 1}", self, reconcile_grants)
        if given.reconciliations:
            yield Life("revoke-n", self, self.request_id, is_own=False)

    def collaborators(self, outside: Outside) -> Mapping[str, Any]:
        table: Any = outside.service("table")
        services = ("audit", "notifier", "members", "groups", "directory", "executions", "database")
        return {name: outside.service(name) for name in services} | {
            "catalogue": self._catalogue,
            "stage": "example",
            "certificate_bundle": "bundle.pem",
            "durations": DURATIONS,
            "requests": DynamoRequestLedger(table),
            "grants": self.scenario.grants(table),
            "bastions": self.scenario.bastions(table),
            "tunnels": outside.service("ssm"),
            "clock": outside.clock,
        }

    def world(self) -> World:
        return World(
            now=0,
            items=self._items,
            shown=self._items if self.scenario.lags else None,
            ticks=self.scenario.ticks,
            kills=self.scenario.kills,
            woken=frozenset(),
            running=frozenset({self.request_id} | ({self.extension_id} if self.extension_id else set())),
            ended=frozenset(),
            has_role=True,
        )

    def first_place(self, script: Script) -> Place:
        if isinstance(script, Once):
            return ("once",)
        if isinstance(script, Extension):
            return ("asking",) if self.scenario.approvers and not script.is_stray else ("extend", 0)
        assert isinstance(script, Life)
        return ("check", 0) if script.is_own else ("not yet",)

    def placed(self, world: World, script: Script, place: Place) -> World:
        name = script.name_in(world) if isinstance(script, Life | Extension) else None
        if name is None or place[0] not in {"over", "dead"}:
            return world
        return world._replace(running=world.running - {name}, ended=world.ended | {name})

    def is_immediate(self, world: World, asked: Asked) -> bool:
        return asked.service in _AT_ONCE or (asked.service == "clock" and not world.ticks)

    def is_effect(self, asked: Asked) -> bool:
        return asked.service != "clock" and asked.method not in _READS

    def answers(self, world: World, actor: Actor, asked: Asked) -> Iterable[Answer]:
        match asked.service:
            case "clock":
                yield "looks at the clock", world.now, instant(world.now), world
            case "table":
                key, answer, items = self._tables.answer(asked, world.items, world.shown)
                changed = world._replace(items=items)
                self._check(world, changed)
                is_done = getattr(answer, "is_done", None)
                said = "" if is_done is None else (" done" if is_done else " refused")
                yield f"{asked.method}{said}", key, answer, changed
            case "executions":
                yield from self._ask_executions(world, asked)
            case "database":
                receipt = a_receipt(read_at=instant(world.now))
                yield "revokes", repr(receipt), receipt, world._replace(has_role=False)
            case "directory":
                yield str(asked), "instances", INSTANCES, world
            case "groups":
                yield str(asked), "no group", "", world
            case "ssm":
                yield str(asked), "no tunnels", (), world
            case "notifier":
                yield str(asked), "told", CardReference(channel="D0ALICE", ts="1.2"), world
            case _:
                yield str(asked), None, None, world

    def _ask_executions(self, world: World, asked: Asked) -> Iterator[Answer]:
        words = f"{asked.method} {asked.arguments[0] if asked.arguments else ''}"
        match asked.method:
            case "wake":
                yield words, None, None, world._replace(woken=world.woken | set(asked.arguments))
            case "start":
                name = asked.arguments[0]
                is_new = name not in world.running | world.ended
                yield words, None, None, world._replace(running=world.running | {name}) if is_new else world
            case "running":
                yield words, world.running, world.running, world
            case "find_progress":
                name = asked.arguments[0]
                progress = (
                    Progress.RUNNING
                    if name in world.running
                    else (Progress.OVER if name in world.ended else Progress.UNKNOWN)
                )
                yield words, progress, progress, world

    def happenings(self, stage: Stage) -> Iterator[tuple[str, World]]:
        world: World = stage.world
        if world.shown is not None and world.shown != world.items:
            yield "the index catches up", world._replace(shown=world.items)
        if world.ticks:
            passed, *left = world.ticks
            yield f"{passed} seconds pass", world._replace(now=world.now + passed, ticks=tuple(left))

    def _check(self, world: World, changed: World) -> None:
        """What a write must never do to the grant."""
        if world.items is changed.items or world.items == changed.items:
            return
        before, after = grant_of(world.items), grant_of(changed.items)
        if before == after:
            return
        if _STATES.index(after.state) < _STATES.index(before.state):
            raise BrokenError(f"a grant that was {before.state} is {after.state} again")
        if before.state is not GrantState.LIVE and after.ends_at != before.ends_at:
            raise BrokenError("the end of a grant moved after it had come")
        assert after.delivered_at is not None
        if after.ends_at > after.delivered_at + seconds(self.scenario.cap_seconds):
            raise BrokenError("a grant was extended beyond its cap")
        if after.state is GrantState.GONE and world.has_role:
            raise BrokenError("a grant is gone and its user is not")

    def objections(self, stage: Stage) -> Sequence[str]:
        items = stage.world.items
        if items not in self._watched:
            self._watched[items] = tuple(self._objections(items))
        return self._watched[items]

    def _objections(self, items: Items) -> Iterator[str]:
        grant = grant_of(items)
        until = lease_of(items, self.request_id)
        if grant.state is GrantState.LIVE and (until is None or until < grant.ends_at):
            yield "access lasts longer than the lease of its bastion"
        ends = [pk for pk, _, text in items if pk.startswith("HISTORY#") and f'"{self.request_id}"' in text]
        if len([1 for pk, sk, _ in items if pk.startswith("HISTORY#") and sk.endswith(self.request_id)]) > 1:
            yield f"a request ended {len(ends)} times"

    def objections_at_rest(self, stage: Stage) -> Sequence[str]:
        places = tuple(actor.place for actor in stage.actors)
        world = stage.world._replace(ticks=(), kills=0, shown=None)
        if (world, places) not in self._rested:
            try:
                self._rested[world, places] = tuple(Rest(self, world, places).objections())
            except BrokenError as error:
                self._rested[world, places] = (str(error),)
        return self._rested[world, places]


class Rest:
    """What comes of it when everything goes well from now on: the end comes, and everything is taken away once."""

    def __init__(self, model: GrantModel, world: World, places: tuple[Place, ...]) -> None:
        self._model, self._world, self._places = model, world, list(places)

    def objections(self) -> Iterator[str]:
        model = self._model
        record, grant = self._record(model.request_id), grant_of(self._world.items)
        was_asked = record.end_asked_at is not None
        moved = grant.extension_ids
        told = [place[1] for place in self._places if place[0] == "over" and len(place) > 1]
        if not model.scenario.repeats and any(is_told != (model.extension_id in moved) for is_told in told):
            yield "an extension was told otherwise than it went"
        if was_asked:
            yield from self._wait(0, "a grant whose end was asked for goes on")
        last = int((grant.ends_at - instant(0)).total_seconds())
        yield from self._wait(last, "a grant outlives its end")
        record = self._record(model.request_id)
        if record.outcome is None or not record.is_reported:
            yield "a request never ends"
        if self._world.has_role:
            yield "a user is left over"
        if lease_of(self._world.items, model.request_id) is not None and DEAD not in self._places:
            # One that died for good between its lease and its write leaves it to housekeeping, once it has run out.
            yield "a lease is left over"
        if model.extension_id and self._record(model.extension_id).outcome is None:
            yield "an extension never ends"

    def _record(self, request_id: str) -> RequestRecord:
        return DynamoRequestLedger(table_of(thawed(self._world.items))).require_request(request_id)

    def _wait(self, until: int, otherwise: str) -> Iterator[str]:
        self._world = self._world._replace(now=max(self._world.now, until))
        for _ in range(_ROUNDS):
            for index in range(len(self._places)):
                self._go_on(index)
            self._reconcile()
            self._world = self._world._replace(now=self._world.now + _TURN)
        if grant_of(self._world.items).state is not GrantState.GONE:
            yield otherwise

    def _go_on(self, index: int) -> None:
        script = self._model.scripts[index]
        while True:
            place = self._places[index]
            program = script.program(place)
            if program is None:
                after = next((after for _, after in script.leave(place, self._world)), None)
                if after is None:
                    return
                self._places[index] = after
                continue
            self._places[index] = script.after(place, self._run(program), self._world)
            self._world = self._model.placed(self._world, script, self._places[index])

    def _run(self, program: Program) -> Point:
        live = Live(self._model, self._world)
        point = Point(lambda _: program(live))
        self._world = live.world
        return point

    def _reconcile(self) -> None:
        """A turn, and every execution that it has started."""
        self._run(lambda outside: call(reconcile_grants, self._model.collaborators(outside)))
        for name in sorted(self._world.running):
            request_id, is_revoking, _ = name.partition("-revoke-")
            if is_revoking and name not in {place[1] for place in self._places if len(place) > 1}:
                life: Script = (
                    Life(name, self._model, request_id, is_own=False)
                    if request_id == self._model.request_id
                    else Extension(name, self._model, request_id)
                )
                place: Place = ("end", name) if isinstance(life, Life) else ("close", name)
                while (program := life.program(place)) is not None:
                    place = life.after(place, self._run(program), self._world)
                self._world = self._world._replace(
                    running=self._world.running - {name}, ended=self._world.ended | {name}
                )


class _Part:
    def __init__(self, name: str, model: GrantModel) -> None:
        self.name, self._model = name, model

    def leave(self, place: Place, world: World) -> Iterable[tuple[str, Place]]:
        return ()

    def restarts(self, place: Place) -> Iterable[Place]:
        return ()

    def _program(self, verb: Any, **given: Any) -> Program:
        return lambda outside: call(verb, self._model.collaborators(outside), **given)


class Once(_Part):
    """Somebody who does one thing."""

    def __init__(self, name: str, model: GrantModel, verb: Any, **given: Any) -> None:
        super().__init__(name, model)
        self._does = self._program(verb, **given)

    def program(self, place: Place) -> Program | None:
        return self._does if place == ("once",) else None

    def after(self, place: Place, point: Point, world: World) -> Place:
        return ("over",)


class Life(_Part):
    """The execution of the grant from its delivery on, or one that reconciliation starts to revoke it."""

    def __init__(self, name: str, model: GrantModel, request_id: str, *, is_own: bool = True) -> None:
        super().__init__(name, model)
        self.request_id, self.is_own = request_id, is_own

    def name_in(self, world: World) -> str | None:
        if self.is_own:
            return self.request_id
        return next((name for name in sorted(world.running) if name.startswith(f"{self.request_id}-revoke")), None)

    def program(self, place: Place) -> Program | None:
        request_id = self.request_id
        match place[0]:
            case "check" | "end":
                is_now = place[0] == "end"
                return self._program(self._model.scenario.check, request_id=request_id, end_now=is_now)
            case "tell":
                return self._program(tell_holder, request_id=request_id)
            case "hold":
                return self._program(
                    hold_access,
                    request_id=request_id,
                    task_token=a_task_token(f"hold {place[1]}", entered_at=FRIDAY_NOON + seconds(place[1])),
                )
            case "find":
                return self._program(find_database_instances, request_id=request_id, for_provisioning=False)
            case "revoke":
                return self._program(revoke_access, order=place[1])
            case "close":
                return self._program(close_tunnels, request_id=request_id)
            case "report":
                course = a_course() if self.is_own else a_course(purpose=Purpose.REVOKE)
                return self._program(
                    report_outcome, request_id=request_id, course=course, receipt=place[1], tunnels=ClosedTunnels()
                )
        return None

    def after(self, place: Place, point: Point, world: World) -> Place:
        if point.raised is not None:
            return DEAD
        if place[0] == "check":
            return self._after_check(place, point.returned, world)
        match place[0]:
            case "tell":
                return ("check", place[1])
            case "hold":
                return ("waiting", place[1], place[2])
            case "end":
                return ("find",)
            case "find":
                return ("revoke", point.returned)
            case "revoke":
                return ("close", point.returned)
            case "close":
                return ("report", place[1])
        return ("over",)

    @staticmethod
    def _after_check(place: Place, end: GrantEnd, world: World) -> Place:
        if end.is_ending:
            return ("find",)
        return ("tell", place[1]) if end.has_news else ("hold", place[1], world.now + end.wait_seconds)

    def leave(self, place: Place, world: World) -> Iterable[tuple[str, Place]]:
        if place[0] == "waiting" and (f"hold {place[1]}" in world.woken or world.now >= place[2]):
            yield "is awake", ("check", place[1] + 1)
        if place == ("not yet",) and self.name_in(world) is not None:
            yield "begins", ("end",)


class Extension(_Part):
    """The execution of an extension: waits for its approval, moves the end, and reports."""

    def __init__(self, name: str, model: GrantModel, request_id: str, *, is_stray: bool = False) -> None:
        super().__init__(name, model)
        self.request_id, self.is_stray = request_id, is_stray

    def name_in(self, world: World) -> str | None:
        return None if self.is_stray else self.request_id

    def program(self, place: Place) -> Program | None:
        request_id = self.request_id
        match place[0]:
            case "close approval":
                return self._program(close_approval, request_id=request_id)
            case "extend":
                return self._program(self._model.scenario.extend, request_id=request_id)
            case "close":
                return self._program(close_tunnels, request_id=request_id)
            case "report":
                course = a_course(purpose=Purpose.EXTEND, is_confirmed=place[1])
                return self._program(
                    report_outcome, request_id=request_id, course=course, receipt=None, tunnels=ClosedTunnels()
                )
        return None

    def after(self, place: Place, point: Point, world: World) -> Place:
        raised = point.raised
        match place[0]:
            case "close approval":
                return ("extend", 0) if point.returned.verdict is Verdict.APPROVED else ("close", False)
            case "extend" if isinstance(raised, LedgerUnavailableError) and place[1] < 2:
                return ("extend", place[1] + 1)
            case "extend" if raised is not None:
                return DEAD if self.is_stray else ("close", None)
            case "extend" if self.is_stray:
                return ("over", point.returned.is_confirmed)
            case "extend":
                return ("close", point.returned.is_confirmed)
            case "close":
                return ("report", bool(place[1]))
        return ("over", place[1])

    def leave(self, place: Place, world: World) -> Iterable[tuple[str, Place]]:
        if place == ("asking",) and f"approval of {self.request_id}" in world.woken:
            yield "is awake", ("close approval",)

    def restarts(self, place: Place) -> Iterable[Place]:
        if place[0] == "extend" and place[1] < 2:
            yield ("extend", place[1] + 1)


_GRANTS: dict[str, Grant] = {}
_LEASES: dict[tuple[str, str], Any] = {}


def grant_of(items: Items) -> Grant:
    """The grant as the ledger holds it."""
    place = next(item for item in items if item[0].startswith("GRANT#"))
    if place[2] not in _GRANTS:
        found = DynamoGrantLedger(table_of(thawed(items_of([place])))).find_grant(place[0].removeprefix("GRANT#"))
        assert found is not None
        _GRANTS[place[2]] = found
    return _GRANTS[place[2]]


def lease_of(items: Items, request_id: str) -> Any:
    """The end of the request's lease; None when it has none."""
    place = next(item for item in items if item[0] == "BASTION#main")
    known = (place[2], request_id)
    if known not in _LEASES:
        bastion = DynamoBastionLedger(table_of(thawed(items_of([place])))).find_bastion("main")
        _LEASES[known] = bastion.leases.get(request_id)
    return _LEASES[known]
