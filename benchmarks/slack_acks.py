"""How long Slack waits for our answers, beside a route with bolt that only acknowledges, and how often a life calls Slack.

Run it with ``make bench``. Both apps stand behind one front and get the same signed requests in turn; the ledger is a stand-in in
the same process, so what is spent in it is told apart. Executions end at once: their work is not in any answer.
"""

import json
import math
import re
import shutil
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Self

import boto3
from chalice import Chalice
from moto.dynamodb.models import dynamodb_backends
from slack_bolt import Ack, App
from slack_bolt.adapter.aws_lambda.chalice_handler import ChaliceSlackRequestHandler
from slack_bolt.authorization import AuthorizeResult
from slack_sdk import WebClient

from benchmarks.endpoint_calls import Call, intercept
from chalicelib.aws.request_ledger import DynamoRequestLedger
from chalicelib.aws.table import Table
from chalicelib.domain.catalogue_text import load_catalogue, pack_catalogue
from chalicelib.domain.decisions import DecisionRecord, Verdict
from chalicelib.domain.executions import TaskToken
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import judge_request
from chalicelib.domain.requests import AccessRequest
from chalicelib.slack.blocks import actions, button
from chalicelib.slack.cards.buttons import Press
from chalicelib.slack.notifier import SlackNotifier
from local import seed
from local.aws import API_FUNCTION, LocalAws
from local.aws_calls import AwsCall
from local.functions import aws_settings, environment, function_settings, load_functions, logs_to
from local.slack.api import BOT, Answer, SlackStandIn, SlackUser
from local.workspace import SHORT, Workspace
from tests.e2e.people import People, eventually

ACKS = 100
AT_ONCE = (1, 10, 50)
PEOPLE, LOCATIONS, WAITING = max(AT_ONCE), 20, 5
CROWDS = (0, 5, 20)
"""How many requests wait for a decision while somebody opens their Home."""
MOST_SECONDS = 60.0
ENDS_AT_ONCE = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}

numbers = count()


@dataclass(kw_only=True, slots=True)
class Span:
    """One run of the endpoint's handler, in seconds."""

    wall: float = 0.0
    processor: float = 0.0
    in_aws: float = 0.0
    """In calls of AWS, from handing the arguments to the client to having its answer: the stand-in, the way, and the client."""
    processor_in_aws: float = 0.0
    """What the client itself used."""
    operations: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something that a person does and that the app is told of, and whether it came to what it should."""

    do: Callable[[], Answer]
    is_done: Callable[[Answer], bool]


class TimedSlack(SlackStandIn):
    """Keeps how long each signed request took until its answer had been read, in seconds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.acks: list[float] = []

    def send(self, url: str, content: dict[str, Any], **how: Any) -> dict[str, Any]:
        """Sign, post and read the answer."""
        began_at = time.perf_counter()
        try:
            return super().send(url, content, **how)
        finally:
            self.acks.append(time.perf_counter() - began_at)


class Meter:
    """Watches the handler of the API's route: its time, its processor, its calls of AWS and of Slack."""

    def __init__(self, slack: SlackStandIn) -> None:
        self.spans: list[Span] = []
        self._slack, self._current = slack, threading.local()

    def measured(self, handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """The handler, watched. The front lets one run at a time, as a Lambda instance does."""

        def run(event: Any, context: Any) -> Any:
            span, calls = Span(), len(self._slack.calls)
            self._current.span = span
            began_at, processor = time.perf_counter(), time.thread_time()
            try:
                return handler(event, context)
            finally:
                span.wall, span.processor = time.perf_counter() - began_at, time.thread_time() - processor
                span.methods.update(call.name for call in self._slack.calls[calls:])
                self.spans.append(span)
                self._current.span = None

        return run

    def timed(self, operation: str, _: Mapping[str, Any], call: Call) -> dict[str, Any]:
        """Make a call of AWS for the handler."""
        span: Span = self._current.span
        began_at, processor = time.perf_counter(), time.thread_time()
        try:
            return call()
        finally:
            span.in_aws += time.perf_counter() - began_at
            span.processor_in_aws += time.thread_time() - processor
            span.operations[operation] += 1


@dataclass(kw_only=True)
class StandingClock:
    """The time as it was last looked at, so that no trigger expires while many wait for their turn."""

    now: float = 0.0

    def tell(self) -> float:
        """The time of the last look."""
        return self.now

    def look(self) -> None:
        """Go on to the present."""
        self.now = time.time()


class Stage:
    """The endpoint, the bare one and a Slack team, on this machine's loopback. A context manager."""

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            self._start(parts)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def _start(self, parts: ExitStack) -> None:
        directory = Path(tempfile.mkdtemp(prefix="drawbridge-"))
        parts.callback(shutil.rmtree, directory, ignore_errors=True)
        parts.enter_context(logs_to(directory / "functions.log"))
        self._handlers: dict[str, Any] = {"IssueToken": lambda *_: {}}
        self.asked: list[AwsCall] = []
        self.aws = parts.enter_context(LocalAws(handlers=self._handlers, authorize=self.asked.append))
        parts.enter_context(environment(aws_settings(self.aws.endpoint_url, directory / "nowhere")))
        seed.seed_account()
        self.clock = StandingClock()
        self.clock.look()
        self.slack = _slack(self.aws.api_url, self.clock.tell)
        parts.enter_context(self.slack)
        self.client = WebClient(token=seed.BOT_TOKEN, base_url=self.slack.api_url)
        file = directory / "catalogue.json"
        file.write_text(pack_catalogue(_catalogue_text(), file=file.name), encoding="utf-8")
        self.catalogue = load_catalogue(_catalogue_text(), file=file.name)
        settings = function_settings(
            state_machine=_create_state_machine(),
            slack_api=self.slack.api_url,
            catalogue=file,
            certificates=directory / "unused.pem",
            seconds={},
        )
        parts.enter_context(environment(settings))
        self.requests = DynamoRequestLedger(Table(boto3.client("dynamodb"), seed.TABLE))
        self.meter = Meter(self.slack)
        ours, bare = load_functions()[API_FUNCTION], _bare_app(self.slack.api_url)
        intercept(ours, self.meter.timed)
        self._apps = {True: self.meter.measured(ours), False: self.meter.measured(bare)}

    @contextmanager
    def watched(self, *, is_ours: bool) -> Iterator["Watched"]:
        """Serve one of the two apps, and see what it spends."""
        self._handlers[API_FUNCTION] = self._apps[is_ours]
        self.slack.acks, self.meter.spans = [], []
        seen = Watched()
        yield seen
        seen.acks, seen.spans = self.slack.acks, self.meter.spans
        self._handlers[API_FUNCTION] = self._apps[True]

    def serve(self, app: Callable[[Any, Any], Any]) -> None:
        """Let this one get the events, until the stage is cleared."""
        self._handlers[API_FUNCTION] = app

    def clear(self) -> None:
        """Forget every request, and close every window."""
        self.clock.look()
        self._handlers[API_FUNCTION] = self._apps[True]
        dynamodb_backends[seed.ACCOUNT][seed.REGION].get_table(seed.TABLE).items.clear()
        for person in self.catalogue.people.values():
            self.slack.close(person.slack, everything=True)

    def person(self, number: int) -> Person:
        """One of the listed people."""
        return self.catalogue.people[_name(number % PEOPLE)]

    def a_request_that_waits(self, number: int) -> AccessRequest:
        """A filed request of this person, its deciding open, as the workflow leaves it; its token wakes nobody."""
        now = datetime.now(UTC)
        asked = AccessRequest(
            request_id="",
            person=self.person(number),
            location=f"location-{number % LOCATIONS:02}",
            level=PermissionLevel.WRITE,
            duration_seconds=1800,
            reason="INC-42 fix stuck order",
            asked_at=now,
        )
        filed = self.requests.file_request(asked, origin_id=f"benchmark {next(numbers)}", open_limit=3).request
        assert filed is not None
        closes_at = now + timedelta(hours=1)
        record = DecisionRecord(
            request_id=filed.request_id, verdict=Verdict.OPEN, needed=1, closes_at=closes_at, decisions=(), version=1
        )
        nobody = TaskToken(text=f"nobody waits {filed.request_id}", entered_at=now, retries=0)
        self.requests.open_decision(record, task_token=nobody)
        return filed


@dataclass
class Watched:
    """What acts came to: until each answer had been read, and each run of the handler."""

    acks: list[float] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    def add(self, other: "Watched") -> None:
        """Take in more of the same."""
        self.acks += other.acks
        self.spans += other.spans


# What people do


def a_command(stage: Stage, number: int) -> Act:
    """A request typed."""
    line = f"/db-access location-{number % LOCATIONS:02} w 30m INC-42 fix stuck order"
    return Act(
        do=partial(stage.slack.command, stage.person(number).slack, "C0GENERAL", line),
        is_done=lambda answer: "Asked" in answer.text,
    )


def a_decision(stage: Stage, number: int) -> Act:
    """Approve pressed on somebody else's request, the only yes that is needed."""
    request = stage.a_request_that_waits(number)
    policy = judge_request(request, catalogue=stage.catalogue, now=request.asked_at)
    notifier = SlackNotifier(stage.client, stage.catalogue)
    card = notifier.ask_approvers(request, policy, request.asked_at + timedelta(hours=1))

    def is_approved(_: Answer) -> bool:
        decisions = stage.requests.require_request(request.request_id).decisions
        return decisions is not None and decisions.verdict is Verdict.APPROVED

    approver = stage.person(number + 1).slack
    return Act(do=partial(stage.slack.press, approver, card.channel, card.ts, Press.APPROVE), is_done=is_approved)


def a_form(stage: Stage, number: int) -> Act:
    """The form filled in and sent."""
    user = stage.person(number).slack
    stage.slack.command(user, "C0GENERAL", "/db-access")
    values = {"location": f"location-{number % LOCATIONS:02}", "level": "w", "reason": "INC-42 fix stuck order"}
    return Act(
        do=partial(stage.slack.submit, user, values), is_done=lambda _: "Asked" in json.dumps(stage.slack.view_of(user))
    )


def a_home(stage: Stage, number: int) -> Act:
    """Home opened."""
    user = stage.person(number).slack
    before = stage.slack.home_of(user)
    return Act(do=partial(stage.slack.open_app, user), is_done=lambda _: stage.slack.home_of(user) != before)


def a_token(stage: Stage, number: int) -> Act:
    """Show Token pressed. The token itself is fetched by another function, after the answer."""
    user = stage.person(number).slack
    show = button("Show Token", action_id=Press.SHOW_TOKEN, value="R-ABC234")
    posted = stage.client.chat_postMessage(channel=user, text="ready", blocks=[actions(show, block_id="ready")])
    press = partial(stage.slack.press, user, posted["channel"], posted["ts"], Press.SHOW_TOKEN)
    return Act(do=press, is_done=lambda _: (stage.slack.view_of(user) or {}).get("callback_id") == "token")


KINDS: Mapping[str, Callable[[Stage, int], Act]] = {
    "command: a request": a_command,
    "Approve": a_decision,
    "the form: a request": a_form,
    "Home opened": a_home,
    "Show Token": a_token,
}


# Measuring


def main() -> None:
    """Measure and print tables for benchmarks/README.md."""
    with Stage() as stage:
        for kind in KINDS.values():  # a cold start is another question
            rush(stage, kind, size=1, is_ours=True)
            rush(stage, kind, size=1, is_ours=False)
        print_acks(stage)
        print_homes(stage)
    print_lives()


def rush(
    stage: Stage, kind: Callable[[Stage, int], Act], *, size: int, is_ours: bool, waiting: int = WAITING
) -> Watched:
    """So many people do the same at the same moment. RuntimeError if it did not come to what it should."""
    stage.clear()
    if kind is a_home:
        for number in range(waiting):
            stage.a_request_that_waits(number)
    first = next(numbers)
    acts = [kind(stage, first + number) for number in range(size)]
    start = threading.Barrier(size)

    def do(act: Act) -> Answer:
        start.wait(MOST_SECONDS)
        return act.do()

    with stage.watched(is_ours=is_ours) as seen, ThreadPoolExecutor(size) as pool:
        answers = list(pool.map(do, acts))
    for act, answer in zip(acts, answers, strict=True):
        if answer.status != 200 or answer.errors or (is_ours and not act.is_done(answer)):
            raise RuntimeError(f"{kind.__name__} was answered with {answer}.")
    return seen


def print_acks(stage: Stage) -> None:
    """Both apps in turn, so that what else the machine does meets both."""
    print(f"{ACKS} acks in each row, of both apps in turn. Times in ms.\n")
    print("| event | at once | p50 | p99 | bare p50 | bare p99 | p50 as multiple | p99 |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    alone: dict[str, tuple[Watched, Watched]] = {}
    for name, kind in KINDS.items():
        for size in AT_ONCE:
            ours, bare = Watched(), Watched()
            for _ in range(ACKS // size):
                ours.add(rush(stage, kind, size=size, is_ours=True))
                bare.add(rush(stage, kind, size=size, is_ours=False))
            alone.setdefault(name, (ours, bare))
            columns = [percentile(acks, rank) for acks in (ours.acks, bare.acks) for rank in (50, 99)]
            times = " | ".join(f"{seconds * 1000:.0f}" for seconds in columns)
            ratios = " | ".join(f"{columns[rank] / columns[rank + 2]:.1f}" for rank in (0, 1))
            print(f"| {name} | {size} | {times} | {ratios} |", flush=True)
    print_spans(alone)


def print_spans(alone: Mapping[str, tuple[Watched, Watched]]) -> None:
    """Whose time it is, and what is called, in one answer alone."""
    print("\nInside the handler, one at once, medians in ms; in brackets as multiples of the bare one's.\n")
    print("| event | in it | calls of AWS | the rest | processor | the clients' | the rest's | calls |")
    print("|---|--:|--:|--:|--:|--:|--:|---|")
    for name, (ours, bare) in alone.items():
        columns = [
            beside(ours, bare, lambda span: span.wall),
            beside(ours, None, lambda span: span.in_aws),
            beside(ours, bare, lambda span: span.wall - span.in_aws),
            beside(ours, bare, lambda span: span.processor),
            beside(ours, None, lambda span: span.processor_in_aws),
            beside(ours, bare, lambda span: span.processor - span.processor_in_aws),
        ]
        print(f"| {name} | {' | '.join(columns)} | {calls_of(ours.spans)} |")


def beside(ours: Watched, bare: Watched | None, value: Callable[[Span], float]) -> str:
    """A median in ms, and as a multiple of the bare one's where that has any."""
    one = median(ours.spans, value)
    return f"{one * 1000:.1f}" + (f" ({one / median(bare.spans, value):.1f})" if bare else "")


def print_homes(stage: Stage) -> None:
    """What a Home reads, by how many requests wait for a decision."""
    print("\n| Home opened, requests that wait | ms in the handler | AWS calls |\n|--:|--:|---|")
    for waiting in CROWDS:
        seen = Watched()
        for _ in range(10):
            seen.add(rush(stage, a_home, size=1, is_ours=True, waiting=waiting))
        print(f"| {waiting} | {median(seen.spans, lambda span: span.wall) * 1000:.1f} | {calls_of(seen.spans)} |")


def percentile(values: Sequence[float], rank: int) -> float:
    """The nearest rank."""
    return sorted(values)[math.ceil(len(values) * rank / 100) - 1]


def median(spans: Sequence[Span], value: Callable[[Span], float]) -> float:
    """Over the runs of the handler."""
    return statistics.median(value(span) for span in spans)


def calls_of(spans: Sequence[Span]) -> str:
    """What one run called, the commonest answer of all runs."""
    seen = Counter(tuple(sorted((span.operations + span.methods).items())) for span in spans)
    ((calls, _),) = seen.most_common(1)
    return ", ".join(f"{times} {name}" if times > 1 else name for name, times in calls)


# The life of a request


def print_lives() -> None:
    """How many calls of Slack's Web API and response URLs each kind of life makes, from asking to the receipt.

    Without the schedule, which here comes twice a second: it asks about everybody who holds access, each time.
    """
    with Workspace(seconds=SHORT | {"ACCESS": 8, "IDLE_GRACE": 600}) as workspace:
        people = People(workspace)
        lives = {"automatic": automatic, "approved": approved, "denied": denied, "extended": extended}
        print("\n| life | calls | of them |\n|---|--:|---|")
        for name, live in lives.items():
            before = len(workspace.slack.calls)
            with workspace.schedule.pause:
                live(people)
            methods = Counter(call.name for call in workspace.slack.calls[before:])
            listed = ", ".join(f"{times} {method}" for method, times in sorted(methods.items()))
            print(f"| {name} | {methods.total()} | {listed} |", flush=True)


def automatic(people: People) -> None:
    """Asked, given by rule, a token shown, over."""
    _use(people, people.ask("alice", "my-aurora-location r 10s"))


def approved(people: People) -> None:
    """The same with a colleague's yes."""
    request_id = people.ask("alice", "my-aurora-location w 10s because")
    people.decide("carol", request_id)
    _use(people, request_id)


def denied(people: People) -> None:
    """Asked, and refused in the form."""
    request_id = people.ask("bob", "my-reports-location w 5m because")
    people.deny("carol", request_id)
    people.wait_for_end(request_id)


def extended(people: People) -> None:
    """As automatic, with more time asked for by one more request, and ended by its holder."""
    request_id = people.ask("alice", "my-aurora-location r 1m")
    people.ready("alice", request_id)
    reply = people.reply("alice", f"/db-access extend {request_id} 30m")
    extension = re.findall(r"R-\w{6}", reply)[-1]
    people.wait_for_end(extension)
    _use(people, request_id, ends_it=True)


def _use(people: People, request_id: str, *, ends_it: bool = False) -> None:
    people.token("alice", request_id)
    if ends_it:
        people.press_ready("alice", request_id, "end")
    people.wait_for_end(request_id)
    eventually("the receipt", lambda: people.direct("alice", request_id, "sessions left"))


# The set-up


def _slack(api_url: str, clock: Callable[[], float]) -> TimedSlack:
    manifest = (seed.ROOT / "chalicelib" / "slack" / "manifest.json").read_text(encoding="utf-8")
    names = [_name(number) for number in range(PEOPLE)]
    users = [SlackUser(id=_slack_id(name), name=name, team_id=seed.TEAM) for name in names]
    members = {BOT["user"], *(user.id for user in users)}
    return TimedSlack(
        manifest=json.loads(manifest.replace("https://API", api_url)),
        team=seed.TEAM,
        users=users,
        channels={"C0GENERAL": ("general", members), "C0APPROVALS": ("approvals", members)},
        signing_secret=seed.SIGNING_SECRET,
        bot_token=seed.BOT_TOKEN,
        app_id=seed.APP,
        clock=clock,
        deliver_to=api_url,
        request_timeout_seconds=MOST_SECONDS,
    )


def _bare_app(slack_api: str) -> Chalice:
    """The least that answers Slack: the same framework, the same route, the signature checked, and ``ack()``."""
    bolt = App(
        signing_secret=seed.SIGNING_SECRET,
        client=WebClient(base_url=slack_api),
        authorize=lambda **_: AuthorizeResult(enterprise_id=None, team_id=seed.TEAM, bot_token=seed.BOT_TOKEN),
        process_before_response=True,
    )

    def acknowledge(ack: Ack) -> None:
        ack()

    bolt.command("/db-access")(acknowledge)
    bolt.action(re.compile(".*"))(acknowledge)
    bolt.view(re.compile(".*"))(acknowledge)
    bolt.event("app_home_opened")(acknowledge)
    app = Chalice("bare")
    handler = ChaliceSlackRequestHandler(bolt, app)

    @app.route(
        "/slack/events", methods=["POST"], content_types=["application/x-www-form-urlencoded", "application/json"]
    )
    def slack_events() -> Any:
        request: Any = app.current_request
        return handler.handle(request)

    return app


def _create_state_machine() -> str:
    stepfunctions: Any = boto3.client("stepfunctions")
    return str(
        stepfunctions.create_state_machine(
            name="access_request",
            definition=json.dumps(ENDS_AT_ONCE),
            roleArn=f"arn:aws:iam::{seed.ACCOUNT}:role/workflow",
        )["stateMachineArn"]
    )


def _catalogue_text() -> str:
    """Everybody may ask for everything, and everybody else may approve it."""
    names = [_name(number) for number in range(PEOPLE)]
    people = "\n".join(f'{name} = {{ slack = "{_slack_id(name)}" }}' for name in names)
    head = f'[slack]\nteam = "{seed.TEAM}"\napprovals_channel = "C0APPROVALS"\n[people]\n{people}\n'
    locations = "".join(
        f'[locations.location-{number:02}]\ncluster = "cluster-{number:02}"\ndatabase = "orders"\n'
        f'region = "{seed.REGION}"\nenvironment = "prod"\nbastion = "main"\nport = {50000 + number}\n'
        f"[locations.location-{number:02}.levels]\n"
        f'r = {{ who = "*", automatic = true }}\nw = {{ who = "*", approvers = {json.dumps(names)} }}\n'
        for number in range(LOCATIONS)
    )
    return f'{head}[bastions.main]\nsubnets = ["subnet-a", "subnet-b"]\n{locations}'


def _name(number: int) -> str:
    return f"person-{number:02}"


def _slack_id(name: str) -> str:
    return f"U0{name.replace('-', '').upper()}"


if __name__ == "__main__":
    main()
