"""The leases of a bastion explored: requests, warm-ups and housekeeping on the real verbs, with EC2's stops landing late."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from chalicelib.aws.bastion_host import Ec2BastionHost
from chalicelib.aws.bastion_ledger import DynamoBastionLedger
from chalicelib.aws.grant_ledger import DynamoGrantLedger
from chalicelib.aws.request_ledger import DynamoRequestLedger
from chalicelib.aws.table import Table, Write
from chalicelib.aws.tunnels import SsmTunnels
from chalicelib.defaults import DURATIONS
from chalicelib.domain.bastions import CLOSED_TO_LEASES, Bastion
from chalicelib.domain.cards import CardReference
from chalicelib.domain.errors import BastionCapacityError, BastionNotReadyError
from chalicelib.domain.grants import new_grant
from chalicelib.domain.payloads import to_payload
from chalicelib.workflow.close_tunnels import close_tunnels
from chalicelib.workflow.deliver_connection import deliver_connection
from chalicelib.workflow.ensure_bastion_running import ensure_bastion_running
from chalicelib.workflow.stop_idle_bastions import stop_idle_bastions
from chalicelib.workflow.warm_bastion import warm_bastion
from tests.factories import (
    ALICE,
    BOB,
    CAROL,
    FRIDAY_NOON,
    OPERATE,
    WRITER,
    a_catalogue,
    a_location,
    a_request,
    an_order,
)
from tests.faults.explore import instances as ec2
from tests.faults.explore.cast import Actor, Answer, Cast, Live, Place, Script, Stage
from tests.faults.explore.instances import Instances
from tests.faults.explore.search import BrokenError
from tests.faults.explore.verbs import Asked, Outside, Point, Program, call
from tests.faults.explore.world import Items, Tables, instant, items_of, keys_of, table_of, thawed, written

CATALOGUE = a_catalogue(people=(ALICE, BOB, CAROL))
LEASE_SECONDS = DURATIONS.preparation + 1800 + DURATIONS.lease_margin
"""How long the lease of a request of the scenarios lasts from the start on."""
_TURN = 300
_ROUNDS = 10
_STOPPED_WITHIN = DURATIONS.idle_grace + 5 * _TURN
"""After the last lease is gone: the grace time, the time before an unknown instance is ended, and turns to do so."""
SETTLING = timedelta(seconds=DURATIONS.stop_settling)
_HASTY = {"stop_instances", "terminate_instances"}
_READS = {"find", "find_all", "query", "watched", "describe_instances"}


class World(NamedTuple):
    now: int
    items: Items
    instances: Instances
    ticks: tuple[int, ...]
    """The times that may still pass, in seconds, in this order."""
    kills: int
    refusals: int
    """How many launches may still be refused for want of room."""
    late_stops: int
    """How many stops may still land late."""
    losses: int
    """How many agents may still be lost."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Where an exploration begins, who takes part, and what may go wrong how often."""

    name: str
    bastion: Bastion | None = None
    instances: Instances = ()
    requests: tuple[str, ...] = ("A",)
    """Of alice (A) and bob (B)."""
    expiring: tuple[tuple[str, int], ...] = ()
    """Whose request holds a lease for so many seconds already, as after a warm-up."""
    is_delivered: bool = False
    """Do the requests work through the bastion already?"""
    warm_ups: tuple[str, ...] = ()
    turns: int = 0
    """How many turns of housekeeping there are, all at once."""
    tries: int = 2
    closes: bool = True
    ticks: tuple[int, ...] = ()
    kills: int = 0
    refusals: int = 0
    late_stops: int = 0
    losses: int = 0
    may_stall: bool = False
    """May a stop be called or land later than the product counts on? Then all that is asked is that it is repaired."""
    ledger: type[DynamoBastionLedger] = DynamoBastionLedger
    ensure: Any = ensure_bastion_running
    housekeeping: Any = stop_idle_bastions


class BastionModel(Cast):
    """One scenario as a model."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self.name, self.scenario = f"bastion: {scenario.name}", scenario
        self._tables, self._rested = Tables(), dict[Any, tuple[str, ...]]()
        self._ids: dict[str, str] = {}
        self._items = self._prepare()
        self.scripts = tuple(self._cast())

    def _prepare(self) -> Items:
        return written(self._write_down)

    def _write_down(self, table: Table) -> None:
        requests, grants, bastions = DynamoRequestLedger(table), DynamoGrantLedger(table), self.scenario.ledger(table)
        if self.scenario.bastion is not None:
            item = to_payload(self.scenario.bastion)
            table.write(Write(key=("BASTION#main", "BASTION"), item=item))
        people = {"A": ALICE, "B": BOB, "C": CAROL}
        for letter in (*self.scenario.requests, *self.scenario.warm_ups):
            asked = a_request(person=people[letter], level=OPERATE)
            filed = requests.file_request(asked, origin_id=letter, open_limit=3).request
            assert filed is not None
            self._ids[letter] = filed.request_id
            if letter in self.scenario.requests:
                grant = new_grant(request=filed, location=a_location(), durations=DURATIONS, now=FRIDAY_NOON)
                if self.scenario.is_delivered:
                    grant = replace(grant, instance_id="i-1", writer=WRITER, delivered_at=FRIDAY_NOON)
                    assert bastions.take_lease("main", filed.request_id, until=instant(LEASE_SECONDS))
                grants.create_grant(grant)
        for letter, lasts in self.scenario.expiring:
            assert bastions.take_lease("main", self._ids[letter], until=instant(lasts))

    def _cast(self) -> Iterator[Script]:
        for letter in self.scenario.requests:
            yield Request(letter, self._ids[letter], self.scenario, self.collaborators)
        for letter in self.scenario.warm_ups:
            yield WarmUp(letter, self._ids[letter], self.collaborators)
        for number in range(self.scenario.turns):
            yield Turn(f"housekeeping {number + 1}", self.scenario, self.collaborators)

    def collaborators(self, outside: Outside) -> Mapping[str, Any]:
        table: Any = outside.service("table")
        clients = {"ec2": outside.service("ec2"), "ssm": outside.service("ssm")}
        return {
            "catalogue": CATALOGUE,
            "stage": "example",
            "durations": DURATIONS,
            "requests": DynamoRequestLedger(table),
            "grants": DynamoGrantLedger(table),
            "bastions": self.scenario.ledger(table),
            "host": Ec2BastionHost(**clients, launch_template="drawbridge-example"),
            "tunnels": SsmTunnels(clients["ssm"]),
            "notifier": outside.service("notifier"),
            "audit": outside.service("audit"),
            "clock": outside.clock,
        }

    def world(self) -> World:
        given = self.scenario
        return World(
            now=0,
            items=self._items,
            instances=given.instances,
            ticks=given.ticks,
            kills=given.kills,
            refusals=given.refusals,
            late_stops=given.late_stops,
            losses=given.losses,
        )

    def first_place(self, script: Script) -> Place:
        if isinstance(script, Request):
            return ("ready", "i-1", LEASE_SECONDS) if self.scenario.is_delivered else ("ensure", 0)
        return ("warm",) if isinstance(script, WarmUp) else ("turn",)

    def is_immediate(self, world: World, asked: Asked) -> bool:
        if asked.service == "table":
            return not any(key.startswith("BASTION#") for key in keys_of(asked))
        return asked.service in {"ssm", "audit", "notifier"} or (asked.service == "clock" and not world.ticks)

    def is_effect(self, asked: Asked) -> bool:
        return asked.service != "clock" and asked.method not in _READS

    def answers(self, world: World, actor: Actor, asked: Asked) -> Iterable[Answer]:
        match asked.service:
            case "clock":
                yield "looks at the clock", world.now, instant(world.now), world
            case "table":
                key, answer, items = self._tables.answer(asked, world.items)
                yield f"{asked.method} {_said(answer)}", key, answer, world._replace(items=items)
            case "ec2":
                yield from self._ask_ec2(world, actor, asked)
            case "ssm":
                yield str(asked), *_ask_ssm(world, asked), world
            case "notifier":
                yield str(asked), "told", CardReference(channel="D0ALICE", ts="1.2"), world
            case _:
                yield str(asked), None, None, world

    def _ask_ec2(self, world: World, actor: Actor, asked: Asked) -> Iterator[Answer]:
        answer: Any
        if asked.method == "describe_instances":
            try:
                answer = ec2.describe(world.instances, asked.named)
            except ClientError as error:
                answer = error
            yield "describe_instances", repr(answer), answer, world
            return
        if asked.method == "run_instances":
            if world.refusals and ec2.is_new(world.instances, asked.named):
                yield "run_instances: no room", "no room", ec2.no_room(), world._replace(refusals=world.refusals - 1)
            answer, instances = ec2.launched(world.instances, asked.named, world.now)
        else:
            self._check(world, actor, asked)
            answer, instances = ec2.changed(world.instances, asked.method, asked.named, world.now)
        words = f"{asked.method}" + (f": {answer}" if isinstance(answer, Exception) else "")
        yield words, repr(answer), answer, world._replace(instances=instances)
        if asked.method == "stop_instances" and world.late_stops:
            late = ec2.stopped_late(world.instances, asked.named, world.now)
            if late is not None:
                changed = world._replace(instances=late, late_stops=world.late_stops - 1)
                yield "stop_instances, to land later", repr(answer), answer, changed

    def _check(self, world: World, actor: Actor, asked: Asked) -> None:
        """Whoever stops or terminates has written so first, and from then on nobody takes a lease for a while."""
        bastion = bastion_of(world.items)
        if asked.method not in _HASTY or bastion is None or [bastion.instance_id] != asked.named["InstanceIds"]:
            return
        is_leased = any(until > instant(world.now) for until in bastion.leases.values())
        if is_leased and not self._is_late(actor, world.now):
            raise BrokenError(f"{asked.method} under a lease")

    def happenings(self, stage: Stage) -> Iterator[tuple[str, World]]:
        world: World = stage.world
        for words, instances in ec2.by_themselves(world.instances):
            yield words, world._replace(instances=instances)
        for each in world.instances:
            if world.losses and each.is_connected:
                lost = ec2.put(world.instances, each._replace(has_agent=False))
                yield (
                    f"the agent of {each.instance_id} is lost",
                    world._replace(instances=lost, losses=world.losses - 1),
                )
        if world.ticks and (self.scenario.may_stall or self._may_pass(stage)):
            seconds, *left = world.ticks
            yield f"{seconds} seconds pass", world._replace(now=world.now + seconds, ticks=tuple(left))

    def _may_pass(self, stage: Stage) -> bool:
        """Nobody who is about to stop the bastion is kept from it, and no stop from landing, for longer than is counted on."""
        now = stage.world.now + stage.world.ticks[0]
        about_to = [actor for actor in stage.actors if actor.point and actor.point.asked and _stops(actor.point.asked)]
        landing = [instant(called) for each in stage.world.instances for called in each.late_stops]
        return not any(self._is_late(actor, now) for actor in about_to) and all(
            instant(now) < called + SETTLING for called in landing
        )

    @staticmethod
    def _is_late(actor: Actor, now: int) -> bool:
        """Has somebody kept a stop to themselves since they looked at the clock, which they write down as its time?"""
        looked_at = actor.point.looked_at if actor.point else None
        return looked_at is not None and instant(now) >= looked_at + SETTLING

    def objections(self, stage: Stage) -> Sequence[str]:
        world: World = stage.world
        found = []
        # After a refusal somebody else may still launch the generation that was given up, and ends it before doing anything else.
        is_being_ended = self.scenario.refusals and any(actor.point for actor in stage.actors)
        if sum(each.runs for each in world.instances) > 1 and not is_being_ended:
            found.append("two instances of one bastion run")
        for actor in stage.actors:
            if actor.place[0] == "ready" and actor.place[2] > world.now and not self.scenario.may_stall:
                mine = next((each for each in world.instances if each.instance_id == actor.place[1]), None)
                if mine is None or mine.state != "running":
                    found.append("the bastion of a holder does not run")
        return found

    def objections_at_rest(self, stage: Stage) -> Sequence[str]:
        """Give everybody their turns, and see that holders have their bastion, and that nothing is left after them."""
        places = tuple(actor.place for actor in stage.actors)
        snapped = stage.world._replace(now=-(-stage.world.now // _TURN) * _TURN, ticks=(), kills=0, refusals=0)
        key = (snapped._replace(late_stops=0, losses=0), places)
        if key not in self._rested:
            try:
                self._rested[key] = tuple(Rest(self, key[0], places).objections())
            except BrokenError as error:
                self._rested[key] = (str(error),)
        return self._rested[key]


class Rest:
    """What comes of a world in which everything goes well from now on."""

    def __init__(self, model: BastionModel, world: World, places: tuple[Place, ...]) -> None:
        self._model, self._world, self._places = model, world, list(places)

    def objections(self) -> Iterator[str]:
        for _ in range(_ROUNDS):
            self._round()
        bastion = bastion_of(self._world.items)
        for place, script in zip(self._places, self._model.scripts, strict=True):
            if not isinstance(script, Request) or place[0] not in {"ready", "ensure", "deliver", "patient"}:
                continue
            mine = next(
                (each for each in self._world.instances if bastion and each.instance_id == bastion.instance_id), None
            )
            if place[0] != "ready":
                yield "somebody never gets their bastion"
            elif place[2] > self._world.now and (mine is None or not mine.is_connected):
                yield "a holder's bastion stays away"
        yield from self._leave()

    def _leave(self) -> Iterator[str]:
        for index, place in enumerate(self._places):
            if place[0] == "ready":
                self._run(index, ("close",))
        unleased_since: int | None = None
        while unleased_since is None or self._world.now < unleased_since + _STOPPED_WITHIN:
            self._round()
            bastion = bastion_of(self._world.items)
            ends = [int((until - instant(0)).total_seconds()) for until in (bastion.leases.values() if bastion else ())]
            if max(ends, default=0) > self._world.now:
                self._world = self._world._replace(now=-(-max(ends) // _TURN) * _TURN)
            elif unleased_since is None:
                unleased_since = self._world.now
        if any(each.runs for each in self._world.instances):
            yield "a bastion runs and nobody holds it"
        self._world = self._world._replace(now=self._world.now + DURATIONS.terminate_after_stopped)
        for _ in range(3):
            self._round()
        if any(each.state != "terminated" for each in self._world.instances):
            yield "an instance is left over"

    def _round(self) -> None:
        self._settle()
        self._try(self._model.scenario.housekeeping)
        self._settle()
        for index, (place, script) in enumerate(zip(self._places, self._model.scripts, strict=True)):
            if isinstance(script, Request) and place[0] in {"ensure", "deliver", "patient"}:
                for _ in range(3):
                    if self._places[index][0] != "ready":
                        self._run(index, ("ensure", 0) if self._places[index][0] == "patient" else self._places[index])
                        self._settle()
        self._world = self._world._replace(now=self._world.now + _TURN)

    def _run(self, index: int, place: Place) -> None:
        script = self._model.scripts[index]
        program = script.program(place)
        assert program is not None
        live = Live(self._model, self._world)
        point = Point(lambda _: program(live))
        self._world = live.world
        self._places[index] = script.after(place, point, self._world)

    def _try(self, verb: Any) -> None:
        live = Live(self._model, self._world)
        with suppress(BastionNotReadyError, BastionCapacityError):
            call(verb, self._model.collaborators(live))
        self._world = live.world

    def _settle(self) -> None:
        while happening := next(iter(ec2.by_themselves(self._world.instances)), None):
            self._world = self._world._replace(instances=happening[1])


class _Part:
    def __init__(self, name: str, scenario: Scenario | None, collaborators: Any) -> None:
        self.name, self._scenario, self._collaborators = name, scenario, collaborators

    def leave(self, place: Place, world: World) -> Iterable[tuple[str, Place]]:
        return ()

    def restarts(self, place: Place) -> Iterable[Place]:
        return ()

    def _program(self, verb: Any, **given: Any) -> Program:
        return lambda outside: call(verb, self._collaborators(outside), **given)


class Request(_Part):
    """Somebody with a grant: has the bastion made ready, is handed the connection, works, and gives the lease up."""

    def __init__(self, letter: str, request_id: str, scenario: Scenario, collaborators: Any) -> None:
        super().__init__(letter, scenario, collaborators)
        self._request_id, self._given = request_id, scenario

    def program(self, place: Place) -> Program | None:
        match place[0]:
            case "ensure":
                return self._program(self._given.ensure, request_id=self._request_id)
            case "deliver":
                order = an_order()
                return self._program(
                    deliver_connection, request_id=self._request_id, order=order, certificate_bundle="bundle.pem"
                )
            case "close":
                return self._program(close_tunnels, request_id=self._request_id)
        return None

    def after(self, place: Place, point: Point, world: World) -> Place:
        raised = point.raised
        match place[0]:
            case "ensure" if raised is None:
                return ("deliver", place[1], point.returned)
            case "deliver" if raised is None:
                return ("ready", place[2], LEASE_SECONDS)
            case "ensure" | "deliver" if isinstance(raised, BastionNotReadyError | BastionCapacityError):
                return ("ensure", place[1] + 1) if place[1] + 1 < self._given.tries else ("patient",)
            case "ensure" | "deliver":
                return ("close",)
        return ("over",) if raised is None else ("patient to close",)

    def leave(self, place: Place, world: World) -> Iterable[tuple[str, Place]]:
        if place[0] == "ready" and self._given.closes:
            yield "is done", ("close",)

    def restarts(self, place: Place) -> Iterable[Place]:
        if place[0] == "ensure":
            yield ("ensure", place[1] + 1) if place[1] + 1 < self._given.tries else ("patient",)


class WarmUp(_Part):
    """Somebody asks, and the bastion is got on its way; nobody decides."""

    def __init__(self, letter: str, request_id: str, collaborators: Any) -> None:
        super().__init__(f"warm-up {letter}", None, collaborators)
        self._request_id = request_id

    def program(self, place: Place) -> Program | None:
        return self._program(warm_bastion, request_id=self._request_id) if place[0] == "warm" else None

    def after(self, place: Place, point: Point, world: World) -> Place:
        return ("over",)


class Turn(_Part):
    """One turn of housekeeping."""

    def program(self, place: Place) -> Program | None:
        assert self._scenario is not None
        return self._program(self._scenario.housekeeping) if place[0] == "turn" else None

    def after(self, place: Place, point: Point, world: World) -> Place:
        return ("over",)


def _stops(asked: Asked) -> bool:
    """Is it a stop or a termination, or the write that goes before it?"""
    if asked.method != "write":
        return asked.method in _HASTY
    return (asked.arguments[0].values or {}).get("state") in CLOSED_TO_LEASES


def _ask_ssm(world: World, asked: Asked) -> tuple[str, Any]:
    match asked.method:
        case "get_connection_status":
            answer = ec2.connection(world.instances, asked.named)
        case "describe_instance_information":
            answer = ec2.agents(world.instances, asked.named)
        case "describe_sessions":
            answer = {"Sessions": []}
        case _:
            raise NotImplementedError(asked)
    return repr(answer), answer


def bastion_of(items: Items) -> Bastion | None:
    """The bastion as the ledger holds it."""
    text = next((text for pk, _, text in items if pk == "BASTION#main"), None)
    return _read(text) if text else None


_KNOWN: dict[str, Bastion] = {}


def _read(text: str) -> Bastion:
    if text not in _KNOWN:
        alone = items_of([("BASTION#main", "BASTION", text)])
        _KNOWN[text] = DynamoBastionLedger(table_of(thawed(alone))).find_bastion("main")
    return _KNOWN[text]


def _said(answer: Any) -> str:
    is_done = getattr(answer, "is_done", None)
    return "" if is_done is None else ("done" if is_done else "refused")
