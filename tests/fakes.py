"""In-memory stand-ins for the ports, held to the contract of the real adapters by the contract tests.

They keep what they are given as the ledger does, in its JSON, and hold no rule of the product.
"""

import inspect
import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from chalicelib.defaults import DURATIONS, LEASES_PER_BASTION, Durations
from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.bastions import Bastion, BastionState, InstanceStatus, Launch, ListedInstance
from chalicelib.domain.cards import CardReference
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.decisions import DecisionRecord, Verdict
from chalicelib.domain.endings import Ending
from chalicelib.domain.errors import (
    AccessError,
    BastionCapacityError,
    BastionNotReadyError,
    DatabaseNotFoundError,
    GrantEndingError,
    LedgerUnavailableError,
    SlackUnavailableError,
    UnknownRequestError,
)
from chalicelib.domain.executions import Progress, TaskToken
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.domain.instances import DatabaseInstances, Endpoint
from chalicelib.domain.locations import DatabaseKind
from chalicelib.domain.orders import ProvisioningOrder, RevocationOrder
from chalicelib.domain.overviews import EndedRequest, Overview
from chalicelib.domain.payloads import from_payload, to_payload
from chalicelib.domain.people import Person
from chalicelib.domain.policy import PolicyOutcome
from chalicelib.domain.preferences import Preferences
from chalicelib.domain.receipts import Receipt, Strangers
from chalicelib.domain.records import CardName, FiledRequest, RequestRecord
from chalicelib.domain.requests import AccessRequest, Origin, request_ids
from chalicelib.domain.reviews import ReviewRecord
from chalicelib.domain.tunnels import Tunnel
from tests.factories import FRIDAY_NOON, INSTANCES, NEW_AGENT, a_catalogue, a_grant, a_request

_Value = TypeVar("_Value")
_Answer = TypeVar("_Answer")
_EXECUTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


def _kept(value: _Value) -> _Value:
    """The value as the ledger gives it back: through JSON, so without microseconds."""
    return from_payload(type(value), json.loads(json.dumps(to_payload(value))))


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, now: datetime = FRIDAY_NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Interleaved:
    """Lets a test put what somebody else does right after a call: once each, in the order declared."""

    def __init__(self) -> None:
        self._acts: dict[str, list[Callable[[], object]]] = defaultdict(list)
        self._is_meanwhile = False

    def declare_meanwhile(self, method: str, act: Callable[[], object], *, times: int = 1) -> None:
        """After the next call of ``method`` has done its work, and before its caller hears of it, this happens too."""
        assert callable(getattr(self, method))
        self._acts[method] += [act] * times

    def _did(self, method: str) -> None:
        if self._acts[method] and not self._is_meanwhile:
            self._is_meanwhile = True
            try:
                self._acts[method].pop(0)()
            finally:
                self._is_meanwhile = False


class FakeRequestLedger(Interleaved):
    """Requests and decisions in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._records: dict[str, RequestRecord] = {}
        self._origins: dict[str, str] = {}
        self._ended: list[EndedRequest] = []
        self._preferences: dict[str, Preferences] = {}
        self._turns: dict[tuple[str, str], str] = {}
        self._reviewed: set[str] = set()

    def file_request(
        self, request: AccessRequest, *, origin: Origin = Origin.SLACK, origin_id: str, open_limit: int
    ) -> FiledRequest:
        for request_id in request_ids(origin, origin_id):
            if self._origins.get(request_id, origin_id) == origin_id:
                return self._file_as(replace(request, request_id=request_id), origin_id, open_limit)
        raise LedgerUnavailableError("No free request id was found. Ask again.")

    def _file_as(self, request: AccessRequest, origin_id: str, open_limit: int) -> FiledRequest:
        if (filed := self._records.get(request.request_id)) is not None:
            return FiledRequest(request=filed.request)
        open_asks = {
            (record.request.location, record.request.level, record.request.extends): record.request.request_id
            for record in self._open()
            if record.request.person.person_id == request.person.person_id
        }
        if (same := open_asks.get((request.location, request.level, request.extends))) is not None:
            return FiledRequest(standing_in_the_way=(same,), is_same_ask=True)
        if len(open_asks) >= open_limit:
            return FiledRequest(standing_in_the_way=tuple(sorted(open_asks.values())))
        self.declare_request(request, origin_id=origin_id)
        return FiledRequest(request=self._records[request.request_id].request, is_new=True)

    def declare_request(self, request: AccessRequest, *, origin_id: str = "declared") -> None:
        """A request stands under the id that it has."""
        self._records[request.request_id] = RequestRecord(request=_kept(request))
        self._origins[request.request_id] = origin_id

    def find_request(self, request_id: str) -> RequestRecord | None:
        record = self._records.get(request_id)
        self._did("find_request")
        return record

    def find_requests(self, request_ids: Sequence[str]) -> Sequence[RequestRecord]:
        records = [self._records[each] for each in dict.fromkeys(request_ids) if each in self._records]
        self._did("find_requests")
        return records

    def require_request(self, request_id: str) -> RequestRecord:
        record = self._records.get(request_id)
        if record is None:
            raise UnknownRequestError(f"There is no request {request_id}.")
        self._did("require_request")
        return record

    def open_decision(self, record: DecisionRecord, *, task_token: TaskToken) -> DecisionRecord:
        standing = self._records[record.request_id].decisions or _kept(record)
        self._change(record.request_id, decisions=standing)
        self._keep_token(record.request_id, "approval_token", task_token)
        self._did("open_decision")
        return standing

    def replace_decision(self, record: DecisionRecord) -> bool:
        filed = self._records.get(record.request_id)
        if filed is None or filed.decisions is None or filed.decisions.version != record.version - 1:
            return False
        self._change(record.request_id, decisions=_kept(record))
        self._did("replace_decision")
        return True

    def keep_card(self, request_id: str, card: CardName, reference: CardReference) -> None:
        kept = from_payload(CardReference, json.loads(json.dumps(to_payload(reference))))
        self._change(request_id, **{f"{card}_card": kept})
        self._did("keep_card")

    def keep_hold_token(self, request_id: str, task_token: TaskToken) -> None:
        self._keep_token(request_id, "hold_token", task_token)
        self._did("keep_hold_token")

    def ask_end(self, request_id: str, *, at: datetime) -> str | None:
        self._change(request_id, end_asked_at=self._records[request_id].end_asked_at or _kept(at))
        hold_token = self._records[request_id].hold_token
        self._did("ask_end")
        return hold_token

    def keep_told(
        self,
        request_id: str,
        *,
        end: datetime | None = None,
        warned: datetime | None = None,
        instance_id: str | None = None,
    ) -> None:
        told = {"told_end": end, "warned_end": warned, "told_instance": instance_id}
        self._change(request_id, **{name: _kept(what) for name, what in told.items() if what is not None})

    def keep_tell_try(self, request_id: str, *, at: datetime | None) -> None:
        self._change(request_id, tell_tried_at=at and _kept(at))

    def open_review(self, review: ReviewRecord) -> ReviewRecord:
        standing = self._records[review.request_id].review or _kept(review)
        self._change(review.request_id, review=standing)
        return standing

    def replace_review(self, review: ReviewRecord) -> bool:
        standing = self._records[review.request_id].review
        if standing is None or standing.version != review.version - 1:
            return False
        self._change(review.request_id, review=_kept(review))
        return True

    def keep_reviewed(self, request_id: str) -> None:
        self._reviewed.add(request_id)

    def keep_review_token(self, request_id: str, task_token: TaskToken) -> None:
        self._keep_token(request_id, "review_token", task_token)
        self._did("keep_review_token")

    def close_request(self, ended: EndedRequest) -> None:
        request_id = ended.request.request_id
        if self.require_request(request_id).outcome is None:
            self._ended.append(_kept(ended))
            self._change(request_id, outcome=ended.outcome)

    def keep_reported(self, request_id: str) -> None:
        self._change(request_id, is_reported=True)

    def unreported_requests(self) -> Sequence[str]:
        waiting = [record.request for record in self._records.values() if not record.is_reported]
        return [request.request_id for request in sorted(waiting, key=lambda request: request.asked_at)]

    def open_request_ids(self, person_id: str) -> Sequence[str]:
        own = [record.request for record in self._open() if record.request.person.person_id == person_id]
        own.sort(key=lambda request: (request.location, request.level, request.extends or ""))
        return [request.request_id for request in own]

    def requests_to_decide(self) -> Sequence[str]:
        records = [record.decisions for record in self._records.values() if record.decisions is not None]
        waiting = sorted(
            (record for record in records if record.verdict is Verdict.OPEN), key=lambda record: record.closes_at
        )
        return [record.request_id for record in waiting]

    def requests_to_review(self) -> Sequence[str]:
        reviews = [record.review for record in self._records.values() if record.review is not None]
        waiting = sorted(
            (review for review in reviews if review.request_id not in self._reviewed), key=lambda review: review.due_at
        )
        return [review.request_id for review in waiting]

    def ended_requests(self, person_id: str, *, most: int) -> Sequence[EndedRequest]:
        own = [ended for ended in self._ended if ended.request.person.person_id == person_id]
        return sorted(own, key=lambda ended: ended.ended_at, reverse=True)[:most]

    def ended_in(self, month: str) -> Sequence[EndedRequest]:
        ended = [each for each in self._ended if f"{each.ended_at:%Y-%m}" == month]
        return sorted(ended, key=lambda each: each.ended_at)

    def find_preferences(self, person_id: str) -> Preferences:
        return self._preferences.get(person_id, Preferences())

    def keep_preferences(self, person_id: str, preferences: Preferences) -> None:
        self._preferences[person_id] = _kept(preferences)

    def _open(self) -> list[RequestRecord]:
        return [record for record in self._records.values() if record.outcome is None]

    def _keep_token(self, request_id: str, name: str, token: TaskToken) -> None:
        if self._turns.get((request_id, name), "") <= token.turn:
            self._turns[request_id, name] = token.turn
            self._change(request_id, **{name: token.text})

    def _change(self, request_id: str, **changes: Any) -> None:
        self._records[request_id] = replace(self._records[request_id], **changes)


class FakeGrantLedger(Interleaved):
    """Grants in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._grants: dict[str, Grant] = {}

    def declare_grant(self, grant: Grant) -> Grant:
        """A grant stands as it is, whatever stood before."""
        self._grants[grant.facts.key] = _kept(grant)
        return self._grants[grant.facts.key]

    def require_grant(self, key: str) -> Grant:
        """The grant of that identity, which must be there."""
        return self._grants[key]

    def create_grant(self, grant: Grant) -> Grant:
        standing = self._grants.get(grant.facts.key)
        is_same = standing is not None and standing.facts.request_id == grant.facts.request_id
        if standing is None or (standing.state is GrantState.GONE and not is_same):
            self._grants[grant.facts.key] = _kept(grant)
            return grant
        if standing.state is GrantState.ENDING and not is_same:
            raise GrantEndingError(f"{standing.facts.request_id} is still being taken away.")
        return standing

    def find_grant(self, key: str) -> Grant | None:
        grant = self._grants.get(key)
        self._did("find_grant")
        return grant

    def replace_grant(self, seen: Grant, grant: Grant) -> bool:
        standing = self._grants.get(grant.facts.key)
        if standing is None or _identity(standing) != _identity(_kept(seen)):
            return False
        self._grants[grant.facts.key] = _kept(grant)
        self._did("replace_grant")
        return True

    def open_grants(self) -> Sequence[Grant]:
        still_open = [grant for grant in self._grants.values() if grant.state is not GrantState.GONE]
        return sorted(still_open, key=lambda grant: grant.ends_at)


def _identity(grant: Grant) -> tuple[Any, ...]:
    return (grant.facts.request_id, grant.state, grant.ends_at, grant.is_ordered, grant.instance_id)


class FakeBastionLedger(Interleaved):
    """Bastions and leases in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._bastions: dict[str, Bastion] = {}

    def declare_bastion(self, bastion: Bastion) -> None:
        """A bastion stands as it is, whatever stood before."""
        self._bastions[bastion.name] = _kept(bastion)

    def find_bastion(self, name: str) -> Bastion:
        bastion = self._bastions.get(name, Bastion(name=name))
        self._did("find_bastion")
        return bastion

    def find_bastions(self, names: Sequence[str]) -> Sequence[Bastion]:
        found = [self._bastions[name] for name in names if name in self._bastions]
        self._did("find_bastions")
        return found

    def take_lease(self, name: str, request_id: str, *, until: datetime) -> bool:
        bastion = self._bastions.setdefault(name, Bastion(name=name))
        if bastion.state in {BastionState.STOPPING, BastionState.TERMINATING}:
            return False
        if len(bastion.leases) >= LEASES_PER_BASTION and request_id not in bastion.leases:
            return False
        leases = {**bastion.leases, request_id: max(until, bastion.leases.get(request_id, until))}
        self._bastions[name] = _kept(replace(bastion, leases=leases, idle_since=None))
        self._did("take_lease")
        return True

    def release_lease(self, name: str, request_id: str, *, at: datetime) -> None:
        if request_id in self._leases(name):
            self._remove_lease(name, request_id, at)

    def expire_lease(self, name: str, request_id: str, *, seen: datetime) -> None:
        if self._leases(name).get(request_id) == _kept(seen):
            self._remove_lease(name, request_id, seen)

    def mark_idle(self, name: str, *, at: datetime) -> None:
        bastion = self._bastions.get(name)
        if bastion is not None and not bastion.leases and bastion.idle_since is None:
            self._bastions[name] = replace(bastion, idle_since=_kept(at))

    def replace_bastion(self, seen: Bastion, bastion: Bastion, *, only_if_unleased: bool) -> bool:
        standing = self._bastions.get(bastion.name)
        if standing is None or (only_if_unleased and standing.leases):
            return False
        if (standing.state, standing.generation, standing.instance_id, standing.stop_called_at) != (
            seen.state,
            seen.generation,
            seen.instance_id,
            seen.stop_called_at,
        ):
            return False
        self._bastions[bastion.name] = _kept(
            replace(bastion, leases=standing.leases, idle_since=standing.idle_since),
        )
        return True

    def _leases(self, name: str) -> Mapping[str, datetime]:
        return self._bastions.get(name, Bastion(name=name)).leases

    def _remove_lease(self, name: str, request_id: str, at: datetime) -> None:
        left = {request: until for request, until in self._leases(name).items() if request != request_id}
        self._bastions[name] = replace(self._bastions[name], leases=left)
        self.mark_idle(name, at=at)


class FakeBastionHost:
    """Instances that start, stop and connect when a test says so. ``calls`` holds every call that changes one."""

    def __init__(self) -> None:
        self.instances: dict[str, InstanceStatus] = {}
        self.calls: list[tuple[str, str]] = []
        self._launches: dict[tuple[str, int], str] = {}
        self.refused: list[Launch] = []
        self._full: set[str] = set()
        self._started_at: dict[str, datetime] = {}
        self._is_answering = True

    def declare_instance(self, instance_id: str, status: InstanceStatus, started_at: datetime | None = None) -> None:
        """EC2 and SSM say this of an instance from now on."""
        self.instances[instance_id] = status
        if started_at is not None:
            self._started_at[instance_id] = started_at

    def declare_no_room(self, *places: str) -> None:
        """These subnets, or these types everywhere, have no room, and all others have."""
        self._full = set(places)

    def declare_unanswering(self) -> None:
        """AWS answers nothing from now on."""
        self._is_answering = False

    def boot(self) -> None:
        """Every pending instance runs and connects."""
        self._move("pending", InstanceStatus(ec2="running", is_connected=True, agent_version=NEW_AGENT))

    def land(self) -> None:
        """Every stop and termination that was called has been carried out."""
        self._move("stopping", InstanceStatus(ec2="stopped"))
        self._move("shutting-down", InstanceStatus(ec2="terminated"))

    def called(self, call: str) -> list[str]:
        """The instances for which this was called."""
        return [instance_id for name, instance_id in self.calls if name == call]

    def status(self, instance_id: str) -> InstanceStatus:
        self._answer()
        return self.instances.get(instance_id, InstanceStatus(ec2=None))

    def list_instances(self, stage: str) -> Sequence[ListedInstance]:
        self._answer()
        return [
            ListedInstance(instance_id=name, ec2=status.ec2, started_at=self._started_at.get(name, FRIDAY_NOON))
            for name, status in self.instances.items()
            if status.ec2 is not None
        ]

    def find_online(self, instance_ids: Collection[str]) -> Collection[str]:
        self._answer()
        return {name for name in instance_ids if self.instances[name].is_connected}

    def launch(self, launch: Launch) -> str:
        self._answer()
        launched = self._launches.get((launch.bastion, launch.generation))
        if launched is not None:
            return launched
        if {launch.subnet, launch.instance_type} & self._full:
            self.refused.append(launch)
            raise BastionCapacityError(f"AWS has no room for the bastion {launch.bastion} in this subnet.")
        instance_id = self._launches[launch.bastion, launch.generation] = f"i-{launch.bastion}{launch.generation}"
        self.calls.append(("launch", instance_id))
        self.instances[instance_id] = InstanceStatus(ec2="pending")
        return instance_id

    def start(self, instance_id: str) -> None:
        self._change("start", instance_id, {"stopped": "pending", "pending": "pending", "running": "running"})

    def reboot(self, instance_id: str) -> None:
        self._change("reboot", instance_id, {"pending": "pending", "running": "running"})

    def stop(self, instance_id: str) -> None:
        self._change("stop", instance_id, {"running": "stopping", "stopping": "stopping", "stopped": "stopped"})

    def terminate(self, instance_id: str) -> None:
        states = ("pending", "running", "stopping", "stopped", "shutting-down")
        self._change("terminate", instance_id, dict.fromkeys(states, "shutting-down") | {"terminated": "terminated"})

    def _change(self, call: str, instance_id: str, allowed: Mapping[str | None, str]) -> None:
        self._answer()
        self.calls.append((call, instance_id))
        before = self.instances.get(instance_id, InstanceStatus(ec2=None))
        if before.ec2 not in allowed:
            raise BastionNotReadyError(f"The instance is {before.ec2}: it cannot {call}.")
        after = allowed[before.ec2]
        self.instances[instance_id] = before if before.ec2 == after else InstanceStatus(ec2=after)

    def _move(self, state: str, to: InstanceStatus) -> None:
        for instance_id, status in self.instances.items():
            if status.ec2 == state:
                self.instances[instance_id] = to

    def _answer(self) -> None:
        if not self._is_answering:
            raise BastionNotReadyError("AWS did not answer.")


class FakeTunnels(Interleaved):
    """Sessions on instances."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[str] = []
        self._tunnels: dict[str, list[Tunnel]] = defaultdict(list)
        self._is_answering = True

    def declare_tunnel(self, instance_id: str, tunnel: Tunnel) -> None:
        """A tunnel is open on an instance."""
        self._tunnels[instance_id].append(replace(tunnel, instance_id=instance_id))

    def declare_unanswering(self) -> None:
        """SSM answers nothing from now on."""
        self._is_answering = False

    def open_tunnels(self, instance_id: str) -> Sequence[Tunnel]:
        self._answer()
        found = list(self._tunnels[instance_id])
        self._did("open_tunnels")
        return found

    def all_open_tunnels(self) -> Sequence[Tunnel]:
        self._answer()
        found = [tunnel for tunnels in self._tunnels.values() for tunnel in tunnels]
        self._did("all_open_tunnels")
        return found

    def end_tunnel(self, session_id: str) -> None:
        self._answer()
        self.ended.append(session_id)
        for tunnels in self._tunnels.values():
            tunnels[:] = [tunnel for tunnel in tunnels if tunnel.session_id != session_id]

    def _answer(self) -> None:
        if not self._is_answering:
            raise BastionNotReadyError("AWS did not answer.")


class FakeDirectory(Interleaved):
    """Database instances by identifier; only the ordinary cluster at first."""

    def __init__(self) -> None:
        super().__init__()
        self._instances: dict[tuple[DatabaseKind, str, str], DatabaseInstances] = {}
        self.declare_instances(DatabaseKind.CLUSTER, "orders-cluster", INSTANCES)

    def declare_instances(self, kind: DatabaseKind, identifier: str, instances: DatabaseInstances | None) -> None:
        """What RDS lists in eu-west-1; None for nothing."""
        self._instances.pop((kind, identifier, "eu-west-1"), None)
        if instances is not None:
            self._instances[kind, identifier, "eu-west-1"] = instances

    def find_instances(self, *, kind: DatabaseKind, identifier: str, region: str) -> DatabaseInstances:
        found = self._instances.get((kind, identifier, region))
        if found is None:
            raise DatabaseNotFoundError(f"RDS knows no {kind} '{identifier}' in {region}.")
        self._did("find_instances")
        return found


class FakeTokens:
    """Signs tokens that look like RDS's."""

    def __init__(self) -> None:
        self.signed: list[tuple[Endpoint, str, str]] = []

    def sign(self, endpoint: Endpoint, user: str, region: str) -> str:
        self.signed.append((endpoint, user, region))
        return f"{endpoint.host}:{endpoint.port}/?Action=connect&DBUser={user}&X-Amz-Signature=0{len(self.signed)}"


class FakeExecutions:
    """Remembers what was started and woken."""

    def __init__(self) -> None:
        self.started: dict[str, Any] = {}
        self.woken: list[str] = []
        self._running: set[str] = set()

    def declare_running(self, *names: str) -> None:
        """They were started by somebody, and go on."""
        self.started |= dict.fromkeys(names)
        self._running |= {*names}

    def declare_over(self, *names: str) -> None:
        """They were started by somebody, and have ended, however."""
        self.started |= dict.fromkeys(names)
        self._running -= {*names}

    def start(self, name: str, document: Mapping[str, Any]) -> None:
        assert _EXECUTION_NAME.fullmatch(name), f"{name!r} is no name of an execution"
        text = json.dumps(document)
        if name not in self.started:
            self.started[name] = json.loads(text)
            self._running.add(name)

    def wake(self, task_token: str) -> None:
        self.woken.append(task_token)

    def running(self) -> frozenset[str]:
        return frozenset(self._running)

    def find_progress(self, name: str) -> Progress:
        if name in self._running:
            return Progress.RUNNING
        return Progress.OVER if name in self.started else Progress.UNKNOWN


class FakeNotifier:
    """Remembers what people were told."""

    def __init__(self) -> None:
        self.asked: list[tuple[AccessRequest, PolicyOutcome, datetime]] = []
        self.decisions: list[tuple[CardReference, DecisionRecord]] = []
        self.deliveries: list[tuple[AccessRequest, Grant, ConnectionDetails]] = []
        self.endings: list[Ending] = []
        self.told: list[tuple[str, str]] = []
        """Everything else that people were told, by method and request id."""
        self._failing: set[str] = set()
        self._cards = 0

    def declare_failing(self, *methods: str) -> None:
        """Slack takes nothing of these from now on."""
        self._failing = set(methods)

    def remind_approvers(self, card: CardReference, request: AccessRequest, record: DecisionRecord) -> None:
        self._tell("remind_approvers", request)

    def follow_request(
        self, request: AccessRequest, policy: PolicyOutcome, closes_at: datetime
    ) -> CardReference | None:
        self._tell("follow_request", request)
        return self._new_direct_card(request)

    def announce_preparation(self, record: RequestRecord, *, may_sleep: bool) -> None:
        self._tell("announce_sleep" if may_sleep else "announce_preparation", record.request)

    def announce_delivery(self, record: RequestRecord, grant: Grant) -> None:
        self._tell("announce_delivery", record.request)

    def show_end(self, record: RequestRecord, grant: Grant, connection: ConnectionDetails) -> None:
        self._tell("show_end", record.request)

    def warn_of_end(self, request: AccessRequest, grant: Grant) -> CardReference | None:
        self._tell("warn_of_end", request)
        return self._new_direct_card(request)

    def ask_review(self, request: AccessRequest, review: ReviewRecord, approvers: frozenset[Person]) -> CardReference:
        self._tell("ask_review", request)
        return self._new_card("C0APPROVALS")

    def remind_review(self, card: CardReference, request: AccessRequest, review: ReviewRecord) -> None:
        self._tell("remind_review", request)

    def show_review(self, card: CardReference, request: AccessRequest, review: ReviewRecord) -> None:
        self._tell("show_review", request)

    def _tell(self, method: str, request: AccessRequest) -> None:
        self._take(method)
        self.told.append((method, request.request_id))

    def _take(self, method: str) -> None:
        if method in self._failing:
            raise SlackUnavailableError(f"Slack took nothing of {method}.")

    def ask_approvers(self, request: AccessRequest, policy: PolicyOutcome, closes_at: datetime) -> CardReference:
        self._take("ask_approvers")
        self.asked.append((request, policy, closes_at))
        return self._new_card("C0APPROVALS")

    def show_decision(self, card: CardReference, request: AccessRequest, record: DecisionRecord) -> None:
        self._take("show_decision")
        self.decisions.append((card, record))

    def deliver(self, request: AccessRequest, grant: Grant, connection: ConnectionDetails) -> CardReference | None:
        self._take("deliver")
        self.deliveries.append((request, grant, connection))
        return self._new_direct_card(request)

    def report(self, ending: Ending) -> None:
        self._take("report")
        self.endings.append(ending)

    def _new_direct_card(self, request: AccessRequest) -> CardReference | None:
        return None if request.person.is_machine else self._new_card("D0ALICE")

    def _new_card(self, channel: str) -> CardReference:
        self._cards += 1
        return CardReference(channel=channel, ts=f"1795176000.{self._cards:06}")


class FakeMembers:
    """Members of the workspace: everybody, until a test says otherwise."""

    def __init__(self) -> None:
        self._objections: dict[str, str] = {}
        self._is_silent = False
        self._wait: Callable[[], None] = lambda: None
        self.asked: list[str] = []

    def declare_gone(self, person_id: str, objection: str = "is deactivated") -> None:
        """Slack says this of somebody from now on."""
        self._objections[person_id] = objection

    def declare_unanswering(self) -> None:
        """Slack answers nothing from now on."""
        self._is_silent = True

    def declare_slow(self, wait: Callable[[], None]) -> None:
        """Each answer takes this from now on."""
        self._wait = wait

    def find_objection(self, person_id: str) -> str | None:
        self._wait()
        if self._is_silent:
            raise SlackUnavailableError("Slack did not take the question.")
        self.asked.append(person_id)
        return self._objections.get(person_id)


class FakeGroups:
    """User groups with the members that a test declares."""

    def __init__(self) -> None:
        self.members: dict[str, set[str]] = {}
        self.asked = 0

    def find_membership(self, person_id: str, groups: Collection[str]) -> str:
        self.asked += 1
        return next((group for group in sorted(groups) if person_id in self.members.get(group, set())), "")


class FakeHomes:
    """Remembers what was published last on whose Home."""

    def __init__(self) -> None:
        self._wait: Callable[[], None] = lambda: None
        self.published: dict[str, Overview] = {}

    def declare_slow(self, wait: Callable[[], None]) -> None:
        """Each Home takes this from now on."""
        self._wait = wait

    def publish(self, person: Person, overview: Overview) -> None:
        self._wait()
        self.published[person.name] = overview


class FakeTokenView:
    """Remembers what stood in which view."""

    def __init__(self) -> None:
        self.tokens: list[tuple[str, str, ConnectionDetails, datetime]] = []
        self.refusals: list[tuple[str, str, str]] = []
        self.local: list[tuple[str, ConnectionDetails]] = []

    def show_token(self, view_id: str, token: str, connection: ConnectionDetails, *, expires_at: datetime) -> None:
        self.tokens.append((view_id, token, connection, expires_at))

    def show_local_token(self, view_id: str, connection: ConnectionDetails) -> None:
        self.local.append((view_id, connection))

    def show_refusal(self, view_id: str, request_id: str, reason: str) -> None:
        self.refusals.append((view_id, request_id, reason))


class FakeDatabase:
    """Remembers orders; gives back the receipt that was declared for them."""

    def __init__(self) -> None:
        self.provisioned: list[ProvisioningOrder] = []
        self.logins: list[str] = []
        self.revoked: list[RevocationOrder] = []
        self._receipt: dict[str, Any] = {"is_dropped": True}
        self._strangers = Strangers()
        self._failures: dict[str, AccessError] = {}

    def declare_strangers(self, strangers: Strangers) -> None:
        """Whom provisioning will find there."""
        self._strangers = strangers

    def declare_left(self, **receipt: Any) -> None:
        """What a receipt will say beyond its role and time."""
        self._receipt = receipt

    def declare_failing(self, method: str, error: AccessError) -> None:
        """This method fails from now on."""
        self._failures[method] = error

    def provision(self, order: ProvisioningOrder) -> Strangers:
        self._fail("provision")
        self.provisioned.append(order)
        return self._strangers

    def try_login(self, order: ProvisioningOrder) -> None:
        self._fail("try_login")
        self.logins.append(order.facts.role)

    def revoke(self, order: RevocationOrder) -> Receipt:
        self._fail("revoke")
        self.revoked.append(order)
        return Receipt(role=order.facts.role, read_at=FRIDAY_NOON, **self._receipt)

    def _fail(self, method: str) -> None:
        if (error := self._failures.get(method)) is not None:
            raise error


class FakeAuditTrail:
    """The audit in memory, in the ledger's JSON. The same event with the same facts stands once."""

    def __init__(self) -> None:
        self._entries: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def append(self, trail: str, event: AuditEvent, facts: Mapping[str, Any], *, at: datetime) -> None:
        entry = json.loads(json.dumps({"event": event, "at": to_payload(at), "facts": to_payload(facts)}))
        if not any((entry["event"], entry["facts"]) == (one["event"], one["facts"]) for one in self._entries[trail]):
            self._entries[trail].append(entry)

    def newest_facts(self, trail: str) -> dict[AuditEvent, Mapping[str, Any]]:
        return {AuditEvent(entry["event"]): entry["facts"] for entry in self._entries[trail]}

    def entries(self, trail: str) -> list[dict[str, Any]]:
        """What was written under a request, first entry first."""
        return self._entries[trail]

    def events(self, trail: str) -> list[str]:
        """The names of what was written."""
        return [entry["event"] for entry in self.entries(trail)]


@dataclass(kw_only=True)
class World:
    """Everything that a verb may ask for, under the names by which verbs ask for it."""

    catalogue: Catalogue = field(default_factory=a_catalogue)
    durations: Durations = DURATIONS
    stage: str = "example"
    certificate_bundle: str = "$HOME/rds-global-bundle.pem"
    clock: FakeClock = field(default_factory=FakeClock)
    requests: FakeRequestLedger = field(default_factory=FakeRequestLedger)
    grants: FakeGrantLedger = field(default_factory=FakeGrantLedger)
    bastions: FakeBastionLedger = field(default_factory=FakeBastionLedger)
    host: FakeBastionHost = field(default_factory=FakeBastionHost)
    tunnels: FakeTunnels = field(default_factory=FakeTunnels)
    directory: FakeDirectory = field(default_factory=FakeDirectory)
    tokens: FakeTokens = field(default_factory=FakeTokens)
    executions: FakeExecutions = field(default_factory=FakeExecutions)
    notifier: FakeNotifier = field(default_factory=FakeNotifier)
    members: FakeMembers = field(default_factory=FakeMembers)
    groups: FakeGroups = field(default_factory=FakeGroups)
    homes: FakeHomes = field(default_factory=FakeHomes)
    view: FakeTokenView = field(default_factory=FakeTokenView)
    database: FakeDatabase = field(default_factory=FakeDatabase)
    audit: FakeAuditTrail = field(default_factory=FakeAuditTrail)

    def declare_request(self, **changes: Any) -> AccessRequest:
        """A request stands in the ledger."""
        request = a_request(**changes)
        self.requests.declare_request(request)
        return request

    def declare_grant(self, request: AccessRequest | None = None, **changes: Any) -> Grant:
        """A request stands in the ledger, and its grant."""
        request = request or a_request()
        self.requests.declare_request(request)
        return self.grants.declare_grant(a_grant(request, **changes))

    def grant(self) -> Grant:
        """The grant of the ordinary request as it stands."""
        return self.grants.require_grant(a_grant().facts.key)

    def run(self, verb: Callable[..., _Answer], **given: Any) -> _Answer:
        """Call a verb with what is given, and with the world's own for every other parameter."""
        wanted = inspect.signature(verb).parameters
        own = {"now": self.clock(), **vars(self)}
        return verb(**{name: own[name] for name in wanted if name in own} | given)
