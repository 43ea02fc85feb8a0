"""Whatever happens at the same time, there is one outcome, and everybody is told the truth about it."""

import hmac
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import permutations
from typing import Any
from urllib.parse import urlencode

import pytest

from chalicelib.domain.decisions import Verdict
from chalicelib.domain.grants import GrantState
from local import seed
from local.workspace import Workspace
from tests.e2e.people import People, eventually

LEAD_SECONDS = 0.3
Process = subprocess.Popen[str]


@pytest.fixture(scope="module")
def endpoints(workspace: Workspace) -> Iterator[list[Process]]:
    """Two processes that serve Slack's requests, as two instances of the endpoint do, warm."""
    with ExitStack() as ending:
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.endpoint_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=seed.ROOT,
            )
            for _ in range(2)
        ]
        for process in started:
            ending.enter_context(process)
            ending.callback(process.terminate)
        for process in started:
            assert "{}\n" == _read_line(process)
        warm = {"command": "/db-access", "text": "list", "team_id": seed.TEAM, "api_app_id": seed.APP}
        warm |= {"user_id": "U0ALICE", "trigger_id": "warm", "response_url": "http://127.0.0.1:9/"}
        assert [200, 200] == [each["status"] for each in _at_once(started, [_event(warm), _event(warm)])]
        yield started


@pytest.mark.parametrize("_round", range(2))
@pytest.mark.parametrize("second", ["approve", "deny"])
def test_two_people_decide_at_once(people: People, endpoints: list[Process], second: str, _round: int) -> None:
    """Where one decision is enough there is one; who comes second reads what was decided already."""
    request_id = people.ask("alice", "shared-location w 1s")
    people.approval_card(request_id)
    before = {who: len(people.whispers(who)) for who in ("bob", "carol")}
    approval = _event(_click(people, request_id, "U0BOB"))
    other = _click(people, request_id, "U0CAROL") if second == "approve" else _denial(request_id, "U0CAROL")

    answers = _at_once(endpoints, [approval, _event(other)])
    people.wait_for_end(request_id)

    record = people.record(request_id).decisions
    told = [text for who in before for text in people.whispers(who)[before[who] :]]
    told += [answers[1]["body"]] if "already" in answers[1]["body"] else []
    assert [200, 200] == [answer["status"] for answer in answers]
    assert 1 == len(record.decisions)
    assert record.verdict is (Verdict.APPROVED if record.decisions[0].approves else Verdict.DENIED)
    assert [f"{request_id} was {record.verdict} already."] == [_sentence(text, request_id) for text in told]
    assert int(record.verdict is Verdict.APPROVED) == people.audited(request_id).count("granted")


def test_two_of_two_approve_at_once(people: People, endpoints: list[Process]) -> None:
    """Where two are needed, both count, nobody is refused, and there is one grant."""
    request_id = people.ask("alice", "shared-location o 1s")
    people.approval_card(request_id)
    before = {who: len(people.whispers(who)) for who in ("bob", "carol")}

    _at_once(endpoints, [_event(_click(people, request_id, user)) for user in ("U0BOB", "U0CAROL")])
    people.wait_for_end(request_id)

    record = people.record(request_id).decisions
    assert Verdict.APPROVED is record.verdict
    assert {f"{seed.TEAM}/U0BOB", f"{seed.TEAM}/U0CAROL"} == set(record.approvers())
    assert 1 == people.audited(request_id).count("granted")
    assert before == {who: len(people.whispers(who)) for who in before}


def test_one_person_in_two_windows_is_one_person(people: People, endpoints: list[Process]) -> None:
    """Two clicks of one approver, at the same moment, are one of the two yes that are needed."""
    request_id = people.ask("alice", "shared-location o 1s")
    people.approval_card(request_id)

    _at_once(endpoints, [_event(_click(people, request_id, "U0BOB")) for _ in range(2)])

    record = people.record(request_id).decisions
    assert (Verdict.OPEN, 1) == (record.verdict, len(record.decisions))
    people.reply("alice", f"/db-access cancel {request_id}")
    assert "Cancelled" == people.wait_for_end(request_id)


ORDERS = ["".join(order) for order in permutations("EXN")]


@pytest.mark.parametrize("orders", [ORDERS[:3], ORDERS[3:]], ids=["-".join(ORDERS[:3]), "-".join(ORDERS[3:])])
def test_extending_ending_and_expiry_in_one_second(people: People, orders: list[str]) -> None:
    """E extends, N ends now, X is the end as it was: in every order the access ends once, and every card says so."""
    holders = dict(zip(("alice", "bob", "carol"), orders, strict=True))
    held = {who: people.ask(who, "my-reports-location r 6s") for who in holders}
    for request_id in held.values():
        eventually("the delivery", lambda: people.record(request_id).ready_card)  # noqa: B023 -- called at once
    said = {who: list[str]() for who in held}
    acting = [
        threading.Thread(target=_act_around_the_end, args=(people, who, held[who], holders[who], said[who]))
        for who in held
    ]
    for each in acting:
        each.start()
    for each in acting:
        each.join(30)

    for who, request_id in held.items():
        assert "Finished" == people.wait_for_end(request_id), holders[who]
        told = eventually("the receipt", lambda: _receipts(people, who, request_id))  # noqa: B023 -- called at once
        grant = people.grant(request_id)
        assert (1, GrantState.GONE) == (len(told), grant.state)
        assert (1, 1) == tuple(people.audited(request_id).count(event) for event in ("ending", "receipt"))
        assert "'action_id'" not in str([m for m in _about(people, who, request_id) if "Ask Again" not in str(m)])
        for extension_id in re.findall(r"Extending .*?(R-\w{6})", " ".join(said[who])):
            is_given = extension_id in grant.extension_ids
            assert ("Finished" if is_given else "Denied") == people.wait_for_end(extension_id)
    assert [] == _roles_left(people, [people.grant(each).facts.role for each in held.values()])


def _act_around_the_end(people: People, who: str, request_id: str, order: str, said: list[str]) -> None:
    """The end comes when less than a second is left; what stands before X is done just before that, the rest just after."""
    ends_at, at_end = people.grant(request_id).ends_at, order.index("X")
    acts: dict[str, Callable[[], Any]] = {
        "E": lambda: people.slack.command(f"U0{who.upper()}", "C0GENERAL", f"/db-access extend {request_id} 30m"),
        "N": lambda: people.slack.command(f"U0{who.upper()}", "C0GENERAL", f"/db-access end {request_id}"),
    }
    for place, name in enumerate(order):
        if name in acts:
            offset = -1.0 + 0.25 * (place - at_end)
            threading.Event().wait(max(0.0, (ends_at - datetime.now(UTC)).total_seconds() + offset))
            said.append(acts[name]().text)


def _receipts(people: People, who: str, request_id: str) -> list[Any]:
    return [message for message in _about(people, who, request_id) if "sessions left" in str(message)]


def _about(people: People, who: str, request_id: str) -> list[Any]:
    return [each for each in people.slack.direct_messages(f"U0{who.upper()}") if request_id in each["text"]]


def _roles_left(people: People, roles: list[str]) -> list[Any]:
    with people.workspace.database.connect() as connection:
        return list(connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", (roles,)))


def _at_once(endpoints: list[Process], events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each process its event, to be handled at the same instant; their answers."""
    at = time.monotonic() + LEAD_SECONDS
    for process, event in zip(endpoints, events, strict=True):
        assert process.stdin is not None
        process.stdin.write(json.dumps({"event": event, "at": at}) + "\n")
        process.stdin.flush()
    return [json.loads(_read_line(process)) for process in endpoints]


def _read_line(process: Process) -> str:
    """A line, within a minute; else the process is ended and there is none."""
    assert process.stdout is not None
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        return process.stdout.readline()
    finally:
        guard.cancel()


def _click(people: People, request_id: str, user: str) -> dict[str, str]:
    trigger = people.slack._new_trigger(user, "C0APPROVALS")
    action = {"type": "button", "action_id": "approve", "block_id": f"decide:{request_id}:1", "value": request_id}
    return {"payload": json.dumps(_base("block_actions", user) | {"actions": [action]} | trigger)}


def _denial(request_id: str, user: str) -> dict[str, str]:
    state = {"values": {"reason": {"reason": {"type": "plain_text_input", "value": "Not now."}}}}
    view = {"id": f"V{time.monotonic_ns()}", "type": "modal", "callback_id": "deny", "private_metadata": request_id}
    return {"payload": json.dumps(_base("view_submission", user) | {"view": view | {"state": state}})}


def _base(kind: str, user: str) -> dict[str, Any]:
    person = {"id": user, "username": user.lower(), "name": user.lower(), "team_id": seed.TEAM}
    return {"type": kind, "user": person, "team": {"id": seed.TEAM, "domain": "example"}, "api_app_id": seed.APP}


def _event(form: dict[str, str]) -> dict[str, Any]:
    """A signed request as API Gateway hands it over."""
    body, now = urlencode(form), str(int(time.time()))
    signature = hmac.new(seed.SIGNING_SECRET.encode(), f"v0:{now}:{body}".encode(), "sha256").hexdigest()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Slack-Request-Timestamp": now}
    headers |= {"X-Slack-Signature": f"v0={signature}"}
    context = {
        "resourcePath": "/slack/events",
        "httpMethod": "POST",
        "stage": "api",
        "identity": {"sourceIp": "127.0.0.1"},
    }
    event: dict[str, Any] = {
        "path": "/slack/events",
        "httpMethod": "POST",
        "requestContext": context,
        "headers": headers,
    }
    event |= {"multiValueHeaders": {name: [value] for name, value in headers.items()}, "body": body}
    event |= dict.fromkeys(
        ("queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables")
    )
    return event | {"isBase64Encoded": False}


def _sentence(text: str, request_id: str) -> str:
    """The sentence about a request, out of an answer's text or JSON."""
    return request_id + text.partition(request_id)[2].partition("already.")[0] + "already."
