"""Bad input gets a clear answer and changes nothing."""

import hashlib
import hmac
import time
import urllib.error
import urllib.request
from urllib.parse import urlencode

import boto3
import pytest

from local import seed
from local.workspace import Workspace
from tests.e2e.people import People, eventually, find_token


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("my-auora-location w 30m fix it", "Type /db-access my-aurora-location w 30m fix it"),
        ("hstory", "Or did you mean /db-access history?"),
        (
            "nowhere",
            "There are: careless-location, my-aurora-location, my-reports-location, shared-location, urgent-location",
        ),
        ("urgent-location o", "offers write (w), not operate (o)"),
        ("my-aurora-location w 3h", "3 hours is too long: 2 hours is the most"),
        ("my-aurora-location w 3 hours", "'3' is no duration. Write it like 30m, 2h or 1h30m"),
        ("my-aurora-location w -5m", "'-5m' is no duration"),
        ("help", "/db-access LOCATION"),
        ("x" * 3000, "3000 characters long"),
        ("payload", "No location called 'payload'"),
        ("payload=%7B%7D", "No location called"),
        ("<!channel>", "No location called"),
    ],
)
def test_a_mistake_is_answered_with_what_to_type(people: People, line: str, answer: str) -> None:
    """Nothing is filed, and the person reads what to do instead."""
    before = _items()

    reply = people.reply("alice", f"/db-access {line}".rstrip())

    assert answer in _plain(reply)
    assert before == _items()


def test_a_stranger_is_refused(people: People) -> None:
    """Somebody of our team whom the catalogue does not list gets nothing but a reason."""
    assert "approver" not in people.reply("carol", "/db-access my-reports-location w")
    assert "You may not ask" in people.reply("carol", "/db-access my-reports-location w")


@pytest.mark.parametrize(
    ("secret", "age", "status"),
    [
        (seed.SIGNING_SECRET, 0, 200),
        ("another-secret", 0, 401),
        (seed.SIGNING_SECRET, 400, 401),
        (seed.SIGNING_SECRET, -400, 401),
    ],
)
def test_only_fresh_signatures_are_served(workspace: Workspace, secret: str, age: int, status: int) -> None:
    """Forged, stale and future requests get 401, and nothing of their body is logged."""
    form = _form(text="help canary-in-body")

    assert status == _post(workspace, form, secret=secret, at=str(int(time.time()) - age))
    assert "canary-in-body" not in (workspace.directory / "functions.log").read_text()


@pytest.mark.parametrize("at", ["", "soon", "１２３", "1e9"])
def test_an_unreadable_timestamp_is_refused(workspace: Workspace, at: str) -> None:
    """A time stamp that is no number is unsigned, not an error of ours."""
    assert 401 == _post(workspace, _form(text="help"), secret=seed.SIGNING_SECRET, at=at)


@pytest.mark.parametrize(
    "fields",
    [{"team_id": "T0ELSEWHERE"}, {"api_app_id": "A0ANOTHER"}, {"team_id": ""}, {"api_app_id": ""}],
)
def test_another_team_or_app_is_refused(workspace: Workspace, fields: dict[str, str]) -> None:
    """A good signature is not enough: the app and the team must be ours."""
    before = _items()
    form = _form(text="my-aurora-location r", **fields)

    assert 200 == _post(workspace, form, secret=seed.SIGNING_SECRET, at=str(int(time.time())))
    assert before == _items()


@pytest.mark.parametrize("body", [b"payload={", b"{", b"\xff\xfe", b"payload=[]", b'"text"', b"payload=1"])
def test_an_unreadable_body_is_not_our_error(workspace: Workspace, body: bytes) -> None:
    """Whatever is posted, signed or not, the answer is never a 5xx."""
    at = str(int(time.time()))
    for secret in (seed.SIGNING_SECRET, "another-secret"):
        assert _post_bytes(workspace, body, secret=secret, at=at) < 500


def test_the_command_alone_opens_the_form(people: People) -> None:
    """It is no mistake: a window opens, and nothing is filed."""
    before = _items()

    answer = people.slack.command("U0ALICE", "C0GENERAL", "/db-access")

    assert ("", "") == (answer.error, answer.text)
    assert "ask" == (people.slack.view_of("U0ALICE") or {})["callback_id"]
    assert before == _items()


def test_a_replayed_approval_changes_nothing(people: People) -> None:
    """The very request of a click, signed and sent again: once decided, and again after the end."""
    request_id = people.ask("alice", "my-aurora-location w 1s")
    people.decide("carol", request_id)
    click = people.click(request_id, "approve")

    before_end = people.slack.send(click.name, click.arguments)
    people.wait_for_end(request_id)
    after_end = people.slack.send(click.name, click.arguments)

    assert (200, 200) == (before_end["status"], after_end["status"])
    eventually("both answers", lambda: len([each for each in people.whispers("carol") if request_id in each]) == 2)
    assert 1 == people.states_entered(request_id).count("ConfirmApproval")
    assert 1 == len(people.record(request_id).decisions.decisions)


def test_a_replayed_denial_changes_nothing(people: People) -> None:
    """The form, sent again before and after the end, says that it was decided; so does the click that opened it."""
    request_id = people.ask("alice", "my-aurora-location w 5m")
    people.deny("carol", request_id)
    click, sending = people.click(request_id, "deny"), people.sending(request_id, "deny")

    before_end = people.slack.send(sending.name, sending.arguments)
    assert "Denied" == people.wait_for_end(request_id)
    after_end = [people.slack.send(each.name, each.arguments) for each in (click, sending)]

    assert "denied already" in before_end["body"]
    assert [200, 200] == [each["status"] for each in after_end]
    assert "has ended already (denied)" in after_end[-1]["body"]
    assert "ConfirmApproval" not in people.states_entered(request_id)
    assert "'approve'" not in str(people.approval_card(request_id)["blocks"])


def test_a_replayed_command_files_nothing_new(people: People) -> None:
    """Slack may deliver twice; the second delivery is the first request."""
    request_id = people.ask("bob", "my-reports-location r 1s")
    typed = next(sent for sent in reversed(people.slack.requests) if "my-reports-location" in str(sent.arguments))
    people.wait_for_end(request_id)
    before = _items()

    again = people.slack.send(typed.name, typed.arguments)

    assert request_id in again["body"]
    assert before == _items()


def test_a_button_that_is_unknown_is_answered(people: People) -> None:
    """A card of another version says so, and nothing is done."""
    request_id = people.ask("alice", "my-aurora-location w 5m")
    people.decide("bob", request_id)

    people.forge(people.click(request_id, "approve"), lambda payload: payload["actions"][0].update(action_id="destroy"))

    eventually("the answer", lambda: [each for each in people.whispers("bob") if "out of date" in each])
    people.reply("alice", f"/db-access cancel {request_id}")
    assert "Cancelled" == people.wait_for_end(request_id)


def test_nobody_sees_the_token_of_somebody_else(people: People, workspace: Workspace) -> None:
    """IssueToken itself refuses: the view of another person shows a reason and no token."""
    request_id = people.ask("alice", "my-aurora-location r 30m")
    people.ready("alice", request_id)
    people.press_ready("alice", request_id, "first_time")
    view = eventually("a view", lambda: workspace.slack.view_of("U0ALICE"))

    event = {"request_id": request_id, "view_id": view["id"], "person_id": f"{seed.TEAM}/U0BOB"}
    workspace.aws.invoke("IssueToken", event)
    shown = workspace.slack.view_of("U0ALICE")

    assert find_token(shown) is None
    assert "not yours" in str(shown)
    people.slack.close("U0ALICE")
    people.press_ready("alice", request_id, "end")
    assert "Finished" == people.wait_for_end(request_id)


def _form(**fields: str) -> dict[str, str]:
    form = {
        "command": "/db-access",
        "team_id": seed.TEAM,
        "api_app_id": seed.APP,
        "user_id": "U0ALICE",
        "channel_id": "C0GENERAL",
        "trigger_id": f"forged.{time.monotonic_ns()}",
        "response_url": "http://127.0.0.1:9/never",
    }
    return form | fields


def _post(workspace: Workspace, form: dict[str, str], *, secret: str, at: str) -> int:
    return _post_bytes(workspace, urlencode(form).encode(), secret=secret, at=at)


def _post_bytes(workspace: Workspace, body: bytes, *, secret: str, at: str) -> int:
    signature = hmac.new(secret.encode(), b"v0:" + at.encode() + b":" + body, hashlib.sha256).hexdigest()
    request = urllib.request.Request(
        f"{workspace.aws.api_url}/slack/events",
        data=body,
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": at.encode().decode("latin-1"),
            "X-Slack-Signature": f"v0={signature}",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def _items() -> set[str]:
    """The keys of the ledger, bastions and what is audited about them aside."""
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=seed.TABLE)
    keys = {item["pk"]["S"] for page in pages for item in page["Items"]}
    return {key for key in keys if key.startswith(("REQUEST#", "GRANT#"))}


def _plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("*", "")
