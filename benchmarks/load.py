"""So many people ask a local workspace within a minute of real time, and half of them are approved: what becomes of them.

`python -m benchmarks.load 25 50 100 200`; it ends with 1 if a request was lost or anything is left over. `make load` tests
the same crowd in virtual time. All of it, the people too, shares this machine's processor: where it cannot keep up, all
is only later.
"""

import argparse
import json
import math
import signal
import sys
import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partialmethod
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any

import boto3
from botocore.httpsession import URLLib3Session

from benchmarks.load_leftovers import find_left_over, find_lost, find_running, find_up, read_ledger
from benchmarks.load_people import Crowd, Eyes, Heard, Life
from benchmarks.slack_acks import percentile
from chalicelib.aws.bastion_ledger import DynamoBastionLedger
from chalicelib.aws.table import Table
from chalicelib.defaults import LEASES_PER_BASTION
from chalicelib.domain.bastions import bastion_names
from local import seed, strict_asl
from local.aws import API_FUNCTION
from local.aws_calls import AwsCall
from local.identities import function_of
from local.slack.api import SlackStandIn
from local.slack.web import Request, Response
from local.workspace import HOUSEKEEPING, SHORT, Workspace
from tests import crowd
from tests.rate_limits import RateLimits

SIZES = [25, 50, 100, 200]
ASKING_SECONDS, ACCESS_SECONDS, MOST_SECONDS, HOUSEKEEPING_SECONDS = 60.0, 120, 3600.0, 10.0
SECONDS = SHORT | {"APPROVAL_WAIT": 3600, "PREPARATION": 900, "IDLE_GRACE": 5, "LEASE_MARGIN": 900}
"""Nobody's request times out because this machine is busy; bastions are idle soon, so that their end is seen."""
PATIENCE_SECONDS = 600.0
"""How long whoever calls waits here for an answer: Slack for ours, and functions for AWS's and Slack's."""
PATIENCE = 20
"""How many times as long as on AWS a function may take here: they all share a processor, and Lambda gives each its own."""
IN_SLACK = {"request_timeout_seconds": PATIENCE_SECONDS, "trigger_seconds": PATIENCE_SECONDS}
MOST_WRONG = 40
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _wait_for_aws(session: URLLib3Session, original: Any, *arguments: Any, **named: Any) -> None:
    original(session, *arguments, **named | {"timeout": PATIENCE_SECONDS})


def _wait_for_slack(connection: HTTPConnection, original: Any) -> None:
    connection.timeout = PATIENCE_SECONDS
    original(connection)


PATIENT: list[tuple[Any, str, Any]] = [
    (URLLib3Session, "__init__", partialmethod(_wait_for_aws, URLLib3Session.__init__)),
    (HTTPConnection, "connect", partialmethod(_wait_for_slack, HTTPConnection.connect)),
]
"""Where functions wait for each other's processor, a call that is given up and made again would only add to the wait."""


class Meter:
    """Counts calls to AWS and failures of functions, from the outside."""

    def __init__(self) -> None:
        self.calls, self.failures = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        self.refusals = Counter[tuple[str, str]]()
        self._counting = threading.Lock()

    def note(self, call: AwsCall) -> None:
        """Each signed call is asked whether it may be made; all may."""
        if (function := function_of(call.access_key_id)) and function not in HOUSEKEEPING:
            with self._counting:
                self.calls[function, f"{call.service}:{call.operation}"] += 1

    def watch(self, workspace: Workspace) -> None:
        """Count what the functions raise."""
        for name, handler in list(workspace.handlers.items()):
            workspace.handlers[name] = self._measured(name.rpartition("-")[2], handler)

    @property
    def listening(self) -> tuple[Any, str, Any]:
        """A mend with which server errors and throttles of AWS are counted, those too that botocore tries again itself."""

        def send(session: URLLib3Session, original: Any, request: Any) -> Any:
            response = original(session, request)
            if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.status_code >= 500:
                with self._counting:
                    self.refusals[str(request.headers.get("X-Amz-Target", request.url)), str(response.status_code)] += 1
            return response

        return URLLib3Session, "send", partialmethod(send, URLLib3Session.send)

    def _measured(self, name: str, handler: Any) -> Any:
        def measured(event: Any, context: Any) -> Any:
            failure = ""
            try:
                result = handler(event, context)
            except Exception as error:
                cause = f" from {type(error.__cause__).__name__}" if error.__cause__ else ""
                failure = type(error).__name__ + cause
                raise
            else:
                if name == API_FUNCTION and result["statusCode"] >= 500:
                    failure = f"HTTP {result['statusCode']}"
                return result
            finally:
                if failure:
                    with self._counting:
                        self.failures[name, failure] += 1

        if hasattr(handler, "routes"):
            measured.routes = handler.routes  # type: ignore[attr-defined]  # the gateway looks for them there
        return measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A crowd and what came of it."""

    size: int
    lives: Sequence[Life]
    outcomes: Mapping[str, int]
    receipts: int
    wrong: Sequence[str]
    meter: Meter
    heard: Sequence[Heard]
    slack_refusals: Mapping[str, int]
    longest_pause_seconds: int
    """That Slack's limits asked for."""
    fullest: Mapping[str, int]
    """How many leases each bastion had at most, as far as was looked."""
    seconds: float
    processor_seconds: float

    @property
    def calls_each(self) -> float:
        """To AWS, by functions, housekeeping aside."""
        return sum(self.meter.calls.values()) / self.size

    def spans(self, start: str, end: str) -> list[float]:
        """How long it took each of those who came so far."""
        moments = [(getattr(life, start), getattr(life, end)) for life in self.lives]
        return [after - before for before, after in moments if before and after]


def play(
    size: int, *, asking_seconds: float, access_seconds: int, most_seconds: float, is_limited: bool = False
) -> Played:
    """Let the crowd come and go, in a workspace of its own, and look at what is left. ``is_limited``: by Slack's limits."""
    meter, limits, used = Meter(), RateLimits(time.monotonic), time.process_time()
    mends = [*PATIENT, meter.listening, *[_limited(limits)] * is_limited]
    workspace_of_crowd = Workspace(
        seconds=SECONDS,
        more_catalogue=crowd.catalogue(size),
        authorize=meter.note,
        in_slack=crowd.in_slack(size) | IN_SLACK,
        tick_seconds=HOUSEKEEPING_SECONDS,
    )
    with strict_asl.installed(mends), workspace_of_crowd as workspace:
        _give_time(workspace.state_machine)
        meter.watch(workspace)
        began_at = time.monotonic()
        eyes = Eyes(workspace, began_at + most_seconds)
        people = Crowd(workspace, size, eyes, asking_seconds=asking_seconds, access_seconds=access_seconds)
        try:
            fullest = _watch_leases(workspace, size, people, eyes.deadline)
        finally:
            eyes.close()
            people.leave()
        ledger = read_ledger()
        wrong = [*find_lost(people.lives, ledger), *find_left_over(workspace, ledger, eyes)]
        wrong += [f"{name} had {n} leases" for name, n in fullest.items() if n > LEASES_PER_BASTION]
        return Played(
            size=size,
            lives=people.lives,
            outcomes=Counter(ledger.outcomes.values()),
            receipts=len(ledger.receipts),
            wrong=wrong,
            meter=meter,
            heard=eyes.heard,
            slack_refusals=_refusals(workspace.slack) | limits.pauses,
            longest_pause_seconds=limits.longest_pause_seconds,
            fullest=fullest,
            seconds=time.monotonic() - began_at,
            processor_seconds=time.process_time() - used,
        )


def _limited(limits: RateLimits) -> tuple[Any, str, Any]:
    """As in `strict_asl`: an owner, the name of something it has, what is to stand there instead."""

    def receive(slack: SlackStandIn, original: Any, request: Request) -> Response:
        answer: Response = limits.refuse(request) or original(slack, request)
        return answer

    return SlackStandIn, "receive", partialmethod(receive, SlackStandIn.receive)


def _give_time(arn: str) -> None:
    """The workflow as it is, save that its functions have more time to answer."""
    stepfunctions: Any = boto3.client("stepfunctions")
    definition = json.loads(stepfunctions.describe_state_machine(stateMachineArn=arn)["definition"])
    parallel = [branch["States"] for each in definition["States"].values() for branch in each.get("Branches", [])]
    for states in (definition["States"], *parallel):
        for state in states.values():
            if "TimeoutSeconds" in state:
                state["TimeoutSeconds"] *= PATIENCE
    stepfunctions.update_state_machine(stateMachineArn=arn, definition=json.dumps(definition))


def _watch_leases(workspace: Workspace, size: int, people: Crowd, deadline: float) -> Counter[str]:
    """Until everybody is gone, no execution runs and every bastion is stopped, or the time is up: the most leases of each."""
    ledger = DynamoBastionLedger(Table(boto3.client("dynamodb"), seed.TABLE))
    groups = sorted({crowd.group_of(number) for number in range(size)})
    names, most, pause = [name for group in groups for name in bastion_names(group)], Counter[str](), threading.Event()
    while time.monotonic() < deadline and (people.is_busy or find_running(workspace) or find_up(workspace)):
        for bastion in ledger.find_bastions(names):
            most[bastion.name] = max(most[bastion.name], len(bastion.leases))
        pause.wait(1.0)
    return +most


def _refusals(slack: SlackStandIn) -> Counter[str]:
    return Counter(f"{call.name} {call.answer.get('error')}" for call in slack.calls if not call.answer["ok"])


def print_table(played: Sequence[Played]) -> None:
    """For benchmarks/README.md; times as multiples of the first row's."""
    print(
        "\n| people | finished | denied | receipts | wrong | calls each | answered p50 | p95 | card p50 | p95"
        " | ready p50 | p95 | bastions | over | processor | a person |\n" + "|--:" * 16 + "|"
    )
    spans = [("asked_at", "answered_at"), ("asked_at", "card_at"), ("decided_at", "ready_at")]
    first = played[0]
    bases = [percentile(first.spans(*span) or [math.nan], 50) for span in spans]
    for each in played:
        found = [each.spans(*span) or [math.nan] for span in spans]
        times = [percentile(one, rank) / base for one, base in zip(found, bases, strict=True) for rank in (50, 95)]
        over, used = each.seconds / first.seconds, each.processor_seconds / first.processor_seconds
        numbers = (each.size, each.outcomes.get("finished", 0), each.outcomes.get("denied", 0), each.receipts)
        columns = [*map(str, numbers), str(len(each.wrong)), f"{each.calls_each:.0f}", *(f"{one:.1f}" for one in times)]
        columns += [str(len(each.fullest)), f"{over:.1f}", f"{used:.1f}", f"{used * first.size / each.size:.1f}"]
        print(f"| {' | '.join(columns)} |")
    ones = ", ".join(f"{seconds:.2f} s" for seconds in bases)
    print(f"\nTime 1 is {ones}, {first.seconds:.0f} s and {first.processor_seconds:.0f} s of the processor.")


def print_details(played: Played) -> None:
    """What one size came to, and what went wrong in it."""
    repeated = sum(life.repeated for life in played.lives)
    back = Counter(life.is_refused_after for life in played.lives)[True]
    print(
        f"\n{played.size} asked: {dict(played.outcomes)}, {played.receipts} receipts; over after {played.seconds:.0f} s,"
        f" {played.processor_seconds:.0f} s of the processor; {back} logged in and were refused after their end;"
        f" {repeated} clicks were repeated"
        + f"; pauses of up to {played.longest_pause_seconds} s for Slack"
        * bool(played.longest_pause_seconds)
    )
    posts = [each for each in played.heard if each.method == "chat.postMessage"]
    asked = ((each.channel if each.channel == crowd.APPROVALS else "a direct message", each.at) for each in posts)
    for title, counted in (
        ("most leases", played.fullest),
        ("functions failed", {" ".join(what): n for what, n in played.meter.failures.items()}),
        ("AWS refused", {" ".join(what): n for what, n in played.meter.refusals.items()}),
        ("Slack refused", played.slack_refusals),
        ("calls of Slack in the busiest minute", _busiest(((each.method, each.at) for each in played.heard), 60.0)),
        ("posts in the busiest second", _busiest(asked, 1.0)),
    ):
        print(f"  {title}: " + (", ".join(f"{what} {n}" for what, n in sorted(counted.items())) or "none"))
    print("".join(f"  WRONG: {each}\n" for each in played.wrong[:MOST_WRONG]), end="")
    print(*[f"  and {len(played.wrong) - MOST_WRONG} more"] * (len(played.wrong) > MOST_WRONG), sep="\n", flush=True)


def _busiest(moments: Iterable[tuple[str, float]], seconds: float) -> dict[str, int]:
    """By name, how many there were in the fullest window of so many seconds."""
    by_name: defaultdict[str, list[float]] = defaultdict(list)
    for name, at in moments:
        by_name[name].append(at)
    return {
        name: max(bisect_left(times, at + seconds) - n for n, at in enumerate(times)) for name, times in by_name.items()
    }


def _interrupt(*_: object) -> None:
    for name in _ENDING_SIGNALS:
        signal.signal(name, signal.SIG_IGN)  # everything is being ended already
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    """Crowds of these sizes, one after the other; 1 if anything was lost or left over, 130 when ended by Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="how many people, one crowd after the other")
    parser.add_argument("--seconds", type=float, default=ASKING_SECONDS, help="within which all of a crowd ask")
    parser.add_argument("--access-seconds", type=int, default=ACCESS_SECONDS, help="that each of them asks for")
    parser.add_argument("--most-seconds", type=float, default=MOST_SECONDS, help="after which a crowd is given up")
    parser.add_argument("--slack-limits", action="store_true", help="refuse what Slack would, in a minute or a second")
    given = parser.parse_args(arguments)
    for name in _ENDING_SIGNALS:
        signal.signal(name, _interrupt)
    played: list[Played] = []
    try:
        for size in given.sizes:
            played.append(
                play(
                    size,
                    asking_seconds=given.seconds,
                    access_seconds=given.access_seconds,
                    most_seconds=given.most_seconds,
                    is_limited=given.slack_limits,
                )
            )
            print_details(played[-1])
    except KeyboardInterrupt:
        print("\nEnded by you; nothing is left running.", file=sys.stderr)
        return 130
    print_table(played)
    return int(any(each.wrong for each in played))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
