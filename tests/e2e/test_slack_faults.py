"""Slack's bad moments: whatever it refuses or leaves unanswered, no decision is lost, and everything is told in the end.

The calls of a request's life are those that the life itself makes: each of them, by what it is for, goes wrong the first time.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import boto3
import pytest

from chalicelib.domain.decisions import Verdict
from local.slack.api import Fault, SlackError
from local.workspace import Workspace
from tests.e2e.conftest import PATIENCE_SECONDS
from tests.e2e.people import People, eventually, find_token

FAULTS: dict[str, Callable[[], Fault]] = {
    "429": lambda: Fault(SlackError("ratelimited", status=429)),
    "503": lambda: Fault(SlackError("service_unavailable", status=503)),
    "200 fatal_error": lambda: Fault(SlackError("fatal_error")),
    "reset": lambda: Fault(cast("SlackError", ConnectionResetError())),
    "lost answer": lambda: Fault(SlackError("timeout", status=504), 0.05, takes_effect=True),
}
_VARYING = re.compile(r"R-\w{6}|\d{10}\.\d{6}|<!date[^>]*>|\d\d:\d\d|V[0-9A-F]{12}|i-\w+|jit_\w+")


class FirstTime(dict[str, list[Fault]]):
    """Stands for the faults that are planned: each call that was not made before gets one, in turns."""

    def __init__(self, slack: Any, kinds: list[str]) -> None:
        super().__init__()
        self._slack, self._kinds, self.seen = slack, kinds, dict[str, int]()

    def get(self, method: str, default: Any = None) -> Any:
        """What `receive` asks at each call; it holds the lock."""
        what = method + _VARYING.sub("", self._arguments())
        self.seen[what] = self.seen.get(what, 0) + 1
        return [FAULTS[self._kinds[len(self.seen) % len(self._kinds)]]()] if self.seen[what] == 1 else default

    def _arguments(self) -> str:
        given = self._slack.being_received.arguments
        return json.dumps({name: given.get(name) for name in ("channel", "user_id", "user", "text", "thread_ts")})


@pytest.fixture
def quick_retries(workspace: Workspace) -> Iterator[None]:
    """The workflow as it is, save that it tries Slack again each second."""
    stepfunctions: Any = boto3.client("stepfunctions")
    arn = workspace.state_machine
    before = stepfunctions.describe_state_machine(stateMachineArn=arn)["definition"]
    definition = json.loads(before)
    for state in definition["States"].values():
        for retrier in state.get("Retry", []):
            if "SlackUnavailableError" in retrier["ErrorEquals"]:
                retrier.update(IntervalSeconds=1, BackoffRate=1.0)
    stepfunctions.update_state_machine(stateMachineArn=arn, definition=json.dumps(definition))
    yield
    stepfunctions.update_state_machine(stateMachineArn=arn, definition=before)


@pytest.mark.parametrize("kinds", [["429", "503", "reset"], ["lost answer", "200 fatal_error"]], ids=" ".join)
def test_each_call_of_a_life_may_fail(people: People, quick_retries: None, kinds: list[str]) -> None:
    """Ask, approve, deliver, extend, warn and end; ask and deny; take at once and review: all of it comes to its end."""
    with _failing(people, kinds) as faults:
        lived = people.ask("alice", "shared-location w 2m a whole life")
        denied = people.ask("bob", "my-aurora-location w 5m to be denied")
        taken = people.ask("bob", "urgent-location w 6s everything burns --break-glass")
        people.decide("carol", lived)
        _insist(lambda: people.deny("carol", denied), lambda: people.record(denied).decisions.decisions)
        assert "Denied" == people.wait_for_end(denied)
        people.ready("alice", lived)
        extension = _extend(people, "alice", lived)
        review = eventually("the review card", lambda: _find_card(people, taken, "'justified'"))
        _insist(
            lambda: people.slack.press("U0CAROL", "C0APPROVALS", review["ts"], "justified"),
            lambda: "'justified'" not in str(_find_card(people, taken, "Was it justified")),
        )
        assert "Finished" == people.wait_for_end(extension)
        assert (extension,) == people.grant(lived).extension_ids
        _insist(lambda: people.reply("alice", f"/db-access end {lived}"), lambda: people.record(lived).end_asked_at)
        assert ["Finished", "Finished"] == [people.wait_for_end(lived), people.wait_for_end(taken)]
        assert "Finished" == people.wait_for_end(f"{taken}-review")

    assert 30 < len(faults.seen)
    assert Verdict.APPROVED is people.record(lived).decisions.verdict
    assert "Not now." in str(people.direct("bob", denied, "was denied"))
    assert all(people.direct(who, which, "sessions left") for who, which in (("alice", lived), ("bob", taken)))
    stored = [(people.record(which), which) for which in (lived, denied, taken)]
    cards = [card for record, _ in stored for card in (record.approval_card, record.asked_card, record.ready_card)]
    assert [] == [card for card in cards if card and "'action_id'" in str(_shown(people, card))]
    assert "'justified'" not in str(_shown(people, people.record(taken).review_card))


def test_homes_that_never_work_delay_nothing(people: People) -> None:
    """A Home is a convenience: what is asked is delivered as if there were none."""
    people.slack.fail_next("views.publish", "internal_error", 500, times=40)
    try:
        request_id = people.ask("alice", "my-aurora-location r 1s")
        assert "Finished" == people.wait_for_end(request_id)
        assert 200 == people.slack.open_app("U0ALICE").status
    finally:
        _forget_faults(people, "views.publish")

    assert people.direct("alice", request_id, "sessions left")


def test_an_approvers_home_is_published_when_it_changes(people: People) -> None:
    """When the request begins to wait for them and when it does not any more, and for nothing that its holder does afterwards."""
    before = len(people.slack.calls)
    request_id = people.ask("alice", "my-aurora-location w 1s")
    people.approval_card(request_id)
    people.decide("carol", request_id)
    ended = people.wait_for_end(request_id)
    owners = [call.arguments["user_id"] for call in people.slack.calls[before:] if call.name == "views.publish"]

    assert "Finished" == ended
    assert (2, 4) == (owners.count("U0CAROL"), owners.count("U0ALICE"))
    assert request_id not in str(people.slack.home_of("U0CAROL")["blocks"])


@pytest.mark.parametrize("method", ["response_url", "views.open"])
@pytest.mark.parametrize("silence", [True, False], ids=["silent", "failing"])
def test_a_click_is_answered_in_time_whatever_slack_does(people: People, method: str, silence: bool) -> None:
    """An answer or a window that Slack does not take costs the click nothing: we have answered long before Slack has."""
    request_id = people.ask("alice", "my-aurora-location w 5m")
    card = people.approval_card(request_id)
    if silence:
        people.slack.hang_next(method, 2 * PATIENCE_SECONDS, times=4)
    else:
        people.slack.fail_next(method, "internal_error", 503, times=4)

    answer = people.slack.press("U0ALICE", "C0APPROVALS", card["ts"], "approve" if method == "response_url" else "deny")
    _forget_faults(people, method)

    people.reply("alice", f"/db-access cancel {request_id}")
    assert (200, "") == (answer.status, answer.error)
    assert "Cancelled" == people.wait_for_end(request_id)


def test_a_decision_stands_while_slack_is_down(people: People) -> None:
    """Nothing answers, and carol's yes is recorded all the same; afterwards it is delivered."""
    request_id = people.ask("alice", "my-aurora-location w 1s")
    card = people.approval_card(request_id)
    methods = ("chat.update", "chat.postMessage", "views.publish", "response_url", "users.info")
    for method in methods:
        people.slack.fail_next(method, "service_unavailable", 503, times=100)

    people.slack.press("U0CAROL", "C0APPROVALS", card["ts"], "approve")
    verdict = people.record(request_id).decisions.verdict
    _forget_faults(people, *methods)

    assert Verdict.APPROVED is verdict
    assert "Finished" == people.wait_for_end(request_id)


def test_a_window_for_a_token_that_slack_does_not_fill_is_filled_next_time(people: People) -> None:
    """The access stays; the next press works."""
    request_id = people.ask("alice", "my-aurora-location r 30m")
    people.ready("alice", request_id)
    people.slack.fail_next("views.update", "internal_error", 500, times=3)
    people.press_ready("alice", request_id, "show_token")
    eventually("the failing", lambda: [c for c in people.slack.calls if c.answer.get("error") == "internal_error"])
    _forget_faults(people, "views.update")

    token = people.token("alice", request_id)
    people.press_ready("alice", request_id, "end")

    assert "X-Amz-Signature=" in token
    assert "Finished" == people.wait_for_end(request_id)
    assert find_token(people.slack.view_of("U0ALICE")) is None


@contextmanager
def _failing(people: People, kinds: list[str]) -> Iterator[FirstTime]:
    slack, receive = people.slack, people.slack.receive
    local = threading.local()

    class Received:
        """The request that this thread answers."""

        @property
        def arguments(self) -> dict[str, Any]:
            given: dict[str, Any] = local.request.arguments
            return given

    def noting(request: Any) -> Any:
        local.request = request
        return receive(request)

    faults = FirstTime(slack, kinds)
    slack.being_received = Received()  # type: ignore[attr-defined]
    planned, slack._faults, slack._door.receive = slack._faults, faults, noting
    try:
        yield faults
    finally:
        slack._faults, slack._door.receive = planned, receive


def _insist(act: Callable[[], object], is_done: Callable[[], object]) -> None:
    """Do as people do whose window did not open: once more."""
    for _ in range(4):
        try:
            act()
        except LookupError:
            continue
        if is_done():
            return
    assert is_done()


def _extend(people: People, who: str, request_id: str) -> str:
    reply = people.reply(who, f"/db-access extend {request_id} 30m")
    match = re.search(r"(R-\w{6}) waits", reply)
    assert match, reply
    people.decide("carol", match[1])
    return match[1]


def _find_card(people: People, request_id: str, text: str) -> dict[str, Any] | None:
    messages = reversed(people.slack.messages("C0APPROVALS"))
    return next((each for each in messages if request_id in str(each) and text in str(each)), None)


def _shown(people: People, card: Any) -> dict[str, Any]:
    return next(each for each in people.slack.messages(card.channel) if each["ts"] == card.ts)


def _forget_faults(people: People, *methods: str) -> None:
    for method in methods:
        people.slack._faults.pop(method, None)
