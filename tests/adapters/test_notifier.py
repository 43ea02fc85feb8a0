"""The notifier against a Slack that is as strict as Slack, and against networks and proxies that are worse than Slack."""

import inspect
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.http_retry import RetryHandler

from chalicelib import ports
from chalicelib.defaults import DURATIONS
from chalicelib.domain.cards import CardReference
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.catalogue_text import load_catalogue
from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.decisions import Decision, DecisionRecord, Verdict
from chalicelib.domain.endings import Ending, Outcome
from chalicelib.domain.errors import SlackUnavailableError
from chalicelib.domain.grants import Grant, new_grant
from chalicelib.domain.instances import Endpoint
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import PolicyOutcome, decide_policy
from chalicelib.domain.receipts import ClosedTunnels, Receipt
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.requests import AccessRequest
from chalicelib.domain.reviews import ReviewRecord, ReviewVerdict
from chalicelib.slack.cards.approval import closed_card
from chalicelib.slack.cards.asked import closed_asked_card
from chalicelib.slack.cards.ended import ended_card
from chalicelib.slack.cards.holder import (
    closed_ready_card,
    closed_soon_card,
    moved_end_message,
    outdated_soon_card,
    ready_card,
    replaced_bastion_message,
)
from chalicelib.slack.modals.token import local_token_modal
from chalicelib.slack.notifier import SlackNotifier
from chalicelib.slack.token_view import SlackTokenView
from chalicelib.slack.web_client import new_web_client
from local.slack.api import SlackStandIn, SlackUser

ROOT = Path(__file__).parents[2]
FRIDAY_NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CLOSES_AT = FRIDAY_NOON + timedelta(hours=1)
BOT_TOKEN = "xoxb-example-bot-token"
CATALOGUE = load_catalogue((ROOT / "docs" / "catalogue.toml").read_text(), file="docs/catalogue.toml")
LOCATION = CATALOGUE.locations["my-aurora-location"]
ALICE, BOB, CAROL = (CATALOGUE.people[name] for name in ("alice", "bob", "carol"))
REQUEST = AccessRequest(
    request_id="R-ABC234",
    person=ALICE,
    location=LOCATION.name,
    level=PermissionLevel.WRITE,
    duration_seconds=1800,
    reason="INC-42 fix stuck order",
    asked_at=FRIDAY_NOON,
)


def a_policy() -> PolicyOutcome:
    return decide_policy(
        person=ALICE,
        location=LOCATION,
        level=REQUEST.level,
        duration_seconds=REQUEST.duration_seconds,
        catalogue=CATALOGUE,
        now=FRIDAY_NOON,
    )


def a_grant() -> Grant:
    return new_grant(request=REQUEST, location=LOCATION, port=None, durations=DURATIONS, now=FRIDAY_NOON)


def a_connection() -> ConnectionDetails:
    return ConnectionDetails(
        facts=a_grant().facts,
        instance_id="i-0123456789abcdef0",
        writer=Endpoint(host="my-aurora.cluster-abc.eu-west-1.rds.amazonaws.com", port=5432),
        stage="prod",
        certificate_bundle="$HOME/.drawbridge/global-bundle.pem",
    )


def a_record(*yes: Any, verdict: Verdict = Verdict.OPEN) -> DecisionRecord:
    return DecisionRecord(
        request_id=REQUEST.request_id,
        verdict=verdict,
        needed=2,
        closes_at=CLOSES_AT,
        decisions=tuple(Decision(person_id=p.person_id, approves=True, at=FRIDAY_NOON) for p in yes),
        version=1 + len(yes),
    )


def a_filed(**changes: Any) -> RequestRecord:
    return RequestRecord(request=REQUEST, decisions=a_record(BOB, CAROL, verdict=Verdict.APPROVED), **changes)


def a_review(**changes: Any) -> ReviewRecord:
    plain = ReviewRecord(request_id=REQUEST.request_id, opened_at=FRIDAY_NOON, due_at=FRIDAY_NOON + timedelta(days=1))
    return replace(plain, **changes)


def an_ending(**changes: Any) -> Ending:
    plain = Ending(
        request=REQUEST,
        outcome=Outcome.FINISHED,
        explanation="",
        grant=a_grant(),
        decisions=a_record(BOB, CAROL, verdict=Verdict.APPROVED),
        receipt=Receipt(role=a_grant().facts.role, read_at=FRIDAY_NOON, is_dropped=True),
        tunnels=ClosedTunnels(),
        is_revoked=True,
        approval_card=None,
        ready_card=None,
    )
    return replace(plain, **changes)


class NeverRetry(RetryHandler):
    """Lets every answer pass through the SDK's path for retries, as in production, without waiting."""

    def can_retry(self, **_: Any) -> bool:
        return False


def a_notifier(api_url: str, *, catalogue: Catalogue = CATALOGUE, timeout_seconds: int = 5) -> SlackNotifier:
    client = WebClient(token=BOT_TOKEN, base_url=api_url, timeout=timeout_seconds, retry_handlers=[NeverRetry()])
    return SlackNotifier(client, catalogue)


@pytest.fixture
def slack() -> Iterator[SlackStandIn]:
    """A workspace with an approvals channel in which the app is."""
    manifest = json.loads((ROOT / "chalicelib" / "slack" / "manifest.json").read_text())
    users = [SlackUser(id=person.slack, name=person.name, team_id=person.team) for person in (ALICE, BOB, CAROL)]
    with SlackStandIn(
        manifest=manifest,
        team=CATALOGUE.team,
        users=users,
        channels={CATALOGUE.approvals_channel: ("approvals", [BOB.slack, CAROL.slack, "U0BOT"])},
        signing_secret="example",
        bot_token=BOT_TOKEN,
        clock=time.time,
    ) as stand_in:
        yield stand_in


@pytest.fixture
def notifier(slack: SlackStandIn) -> SlackNotifier:
    return a_notifier(slack.api_url)


def approval_messages(slack: SlackStandIn) -> list[dict[str, Any]]:
    return slack.messages(CATALOGUE.approvals_channel)


def texts_of(messages: Sequence[Mapping[str, object]]) -> list[str]:
    return [str(message["text"]) for message in messages]


def _signature(method: Any) -> str:
    """Types by their own names alone: the port's are only names, so that a cold start need not load what they mean."""
    return re.sub(r"[\w.]+\.(\w+)", r"\1", str(inspect.signature(method))).replace("'", "")


def test_it_is_the_workflows_notifier() -> None:
    """Every method of the port is there, with the very same signature."""
    methods = [name for name in vars(ports.Notifier) if not name.startswith("_")]

    assert {name: _signature(getattr(ports.Notifier, name)) for name in methods} == {
        name: _signature(getattr(SlackNotifier, name)) for name in methods
    }


def test_approvers_are_asked_in_their_channel(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """The card stands in the approvals channel, names the approvers and is where the reference says."""
    card = notifier.ask_approvers(REQUEST, a_policy(), CLOSES_AT)
    [message] = approval_messages(slack)

    assert CardReference(channel=CATALOGUE.approvals_channel, ts=message["ts"]) == card
    assert "decide:R-ABC234:1" in [block["block_id"] for block in message["blocks"]]
    assert "*Environment*\\nprod" in json.dumps(message["blocks"])
    assert "<@U0BOB> <@U0CAROL>" in json.dumps(message["blocks"])


def test_a_first_approval_is_shown_on_the_card(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """The same message shows the progress and still names those who may answer."""
    card = notifier.ask_approvers(REQUEST, a_policy(), CLOSES_AT)

    notifier.show_decision(card, REQUEST, a_record(BOB))

    [message] = approval_messages(slack)
    assert "*1 of 2* approved by <@U0BOB>" in json.dumps(message["blocks"])
    assert "approvers: <@U0BOB> <@U0CAROL>" in json.dumps(message["blocks"])


def test_a_verdict_takes_the_buttons_away(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """A decided card cannot be pressed."""
    card = notifier.ask_approvers(REQUEST, a_policy(), CLOSES_AT)

    notifier.show_decision(card, REQUEST, a_record(BOB, CAROL, verdict=Verdict.APPROVED))

    [message] = approval_messages(slack)
    assert "actions" not in [block["type"] for block in message["blocks"]]
    assert "*Approved* by <@U0BOB>, <@U0CAROL>." in message["text"]


def test_a_location_that_left_the_catalogue_still_has_its_cards(slack: SlackStandIn) -> None:
    """Cards that stand can be updated whatever the catalogue says by then."""
    card = a_notifier(slack.api_url).ask_approvers(REQUEST, a_policy(), CLOSES_AT)
    later = a_notifier(slack.api_url, catalogue=replace(CATALOGUE, locations={}))

    later.show_decision(card, REQUEST, a_record(BOB))

    [message] = approval_messages(slack)
    assert "*1 of 2* approved by <@U0BOB>" in json.dumps(message["blocks"])


def test_the_connection_is_delivered_to_the_requester_alone(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """The ready message is a direct message, and the reference leads to it."""
    card = notifier.deliver(REQUEST, a_grant(), a_connection())
    [message] = slack.direct_messages(ALICE.slack)

    assert ready_card(request=REQUEST, grant=a_grant(), connection=a_connection())["text"] == message["text"]
    assert card.ts == message["ts"]
    assert [] == approval_messages(slack)


def test_the_requester_follows_their_request(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """A direct message with a way to cancel; the reference leads to it."""
    card = notifier.follow_request(REQUEST, a_policy(), CLOSES_AT)
    [message] = slack.direct_messages(ALICE.slack)

    assert card.ts == message["ts"]
    assert "asked:R-ABC234:1" in [block["block_id"] for block in message["blocks"]]


@pytest.mark.parametrize("may_sleep", [True, False])
def test_preparation_is_announced_on_every_card(slack: SlackStandIn, notifier: SlackNotifier, may_sleep: bool) -> None:
    """Channel and requester see what is going on, in the messages that stand."""
    approval = notifier.ask_approvers(REQUEST, a_policy(), CLOSES_AT)
    asked = notifier.follow_request(REQUEST, a_policy(), CLOSES_AT)

    notifier.announce_preparation(a_filed(approval_card=approval, asked_card=asked), may_sleep=may_sleep)

    for [message] in (approval_messages(slack), slack.direct_messages(ALICE.slack)):
        assert may_sleep == ("waking the database, which may take a minute" in json.dumps(message["blocks"]))
        assert "*Preparing*: starting the bastion" in message["text"]


def test_delivery_is_announced_on_every_card(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """The channel sees until when access is out, the requester that it is ready."""
    approval = notifier.ask_approvers(REQUEST, a_policy(), CLOSES_AT)
    asked = notifier.follow_request(REQUEST, a_policy(), CLOSES_AT)

    notifier.announce_delivery(a_filed(approval_card=approval, asked_card=asked), a_grant())

    assert ["*Live* until" in message["text"] for message in approval_messages(slack)] == [True]
    assert ["*Ready* until" in message["text"] for message in slack.direct_messages(ALICE.slack)] == [True]


def test_nothing_is_announced_on_cards_that_never_stood(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """Automatic access has no cards before it is ready."""
    notifier.announce_preparation(RequestRecord(request=REQUEST), may_sleep=True)
    notifier.announce_delivery(RequestRecord(request=REQUEST), a_grant())

    assert ([], []) == (approval_messages(slack), slack.direct_messages(ALICE.slack))


def test_a_moved_end_is_shown_and_told(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """The ready message has the new end, a warning of the old one is closed, and a new message tells it."""
    ready, soon = notifier.deliver(REQUEST, a_grant(), a_connection()), notifier.warn_of_end(REQUEST, a_grant())
    later = replace(a_grant(), ends_at=a_grant().ends_at + timedelta(minutes=30))

    notifier.show_end(RequestRecord(request=REQUEST, ready_card=ready, soon_card=soon), later, a_connection())

    expected = [
        ready_card(request=REQUEST, grant=later, connection=a_connection()),
        outdated_soon_card(request=REQUEST, grant=later),
        moved_end_message(request=REQUEST, grant=later),
    ]
    assert texts_of(expected) == texts_of(slack.direct_messages(ALICE.slack))


def test_a_replaced_bastion_is_told_with_the_new_line(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """The ready message has it too; of an end that stays nothing is said."""
    grant = replace(a_grant(), instance_id="i-2")
    connection = replace(a_connection(), instance_id="i-2")
    ready = notifier.deliver(REQUEST, a_grant(), a_connection())
    record = RequestRecord(request=REQUEST, ready_card=ready, told_end=grant.ends_at, told_instance="i-1")
    notifier.show_end(record, grant, connection)

    expected = [
        ready_card(request=REQUEST, grant=grant, connection=connection),
        replaced_bastion_message(request=REQUEST, connection=connection),
    ]
    assert texts_of(expected) == texts_of(slack.direct_messages(ALICE.slack))


def test_a_moved_end_is_shown_where_the_old_one_stood(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """The channel's card and the requester's do not go on naming an end that holds no more."""
    approval = notifier.ask_approvers(REQUEST, a_policy(), CLOSES_AT)
    asked = notifier.follow_request(REQUEST, a_policy(), CLOSES_AT)
    record = a_filed(approval_card=approval, asked_card=asked)
    later = replace(a_grant(), ends_at=a_grant().ends_at + timedelta(minutes=30))
    notifier.announce_delivery(record, a_grant())
    notifier.show_end(record, later, a_connection())
    shown = [approval_messages(slack)[0]["text"], slack.direct_messages(ALICE.slack)[0]["text"]]

    assert [True, True] == [f"<!date^{int(later.ends_at.timestamp())}^" in text for text in shown]


class TestMachine:
    """The pipeline of the catalogue, for which no Slack user stands."""

    person = Person.machine("release-pipeline")
    request = replace(REQUEST, person=person, duration_seconds=900)
    policy = replace(a_policy(), approvers=frozenset({CAROL}), needed=1)

    @property
    def grant(self) -> Grant:
        return new_grant(request=self.request, location=LOCATION, port=None, durations=DURATIONS, now=FRIDAY_NOON)

    def test_the_channel_is_asked_about_it_in_words(self, slack: SlackStandIn, notifier: SlackNotifier) -> None:
        """Approvers see that no person asks, and they are the ones who are mentioned."""
        card = notifier.ask_approvers(self.request, self.policy, CLOSES_AT)
        notifier.remind_approvers(card, self.request, a_record())
        [message, reminder] = approval_messages(slack)
        first = "The pipeline release-pipeline asks for *write* access to *my-aurora-location* for 15 minutes"

        assert first == message["blocks"][0]["text"]["text"]
        assert "<@U0CAROL>: The pipeline release-pipeline asks for write access" in reminder["text"]
        assert "This lets the pipeline release-pipeline change data" in json.dumps(message["blocks"])

    def test_nobody_is_told_what_it_would_be_told(self, slack: SlackStandIn, notifier: SlackNotifier) -> None:
        """There is no card, and Slack is not asked for a user of that name."""
        record = RequestRecord(request=self.request)
        cards = [
            notifier.follow_request(self.request, self.policy, CLOSES_AT),
            notifier.deliver(self.request, self.grant, a_connection()),
            notifier.warn_of_end(self.request, self.grant),
        ]
        notifier.show_end(record, self.grant, a_connection())
        notifier.report(an_ending(request=self.request, grant=self.grant))

        assert [None, None, None] == cards
        assert [] == approval_messages(slack)
        assert [[], [], []] == [slack.direct_messages(each.slack) for each in (ALICE, BOB, CAROL)]

    def test_its_card_shows_the_end(self, slack: SlackStandIn, notifier: SlackNotifier) -> None:
        """The channel's trail is whole, and nowhere on it is the machine mentioned as a user."""
        card = notifier.ask_approvers(self.request, self.policy, CLOSES_AT)
        record = replace(a_filed(approval_card=card), request=self.request)
        seen = []
        for show in (
            lambda: notifier.show_decision(card, self.request, a_record(CAROL, verdict=Verdict.APPROVED)),
            lambda: notifier.announce_preparation(record, may_sleep=False),
            lambda: notifier.announce_delivery(record, self.grant),
            lambda: notifier.show_end(record, self.grant, a_connection()),
            lambda: notifier.report(an_ending(request=self.request, grant=self.grant, approval_card=card)),
        ):
            show()
            seen += approval_messages(slack)

        assert 5 == len(seen)
        assert ["The pipeline release-pipeline asks"] * 5 == [message["text"][:34] for message in seen]
        assert "access was taken away" in seen[-1]["text"]
        assert {"<@U0BOB>", "<@U0CAROL>"} == set(re.findall(r"<@[^>]*>", json.dumps(seen)))


def test_the_holder_is_warned_of_the_end(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """A direct message, and the reference leads to it."""
    card = notifier.warn_of_end(REQUEST, a_grant())
    [message] = slack.direct_messages(ALICE.slack)

    assert card.ts == message["ts"]
    assert "extend_30" in json.dumps(message["blocks"])


def test_breaking_the_glass_is_told_to_every_approver(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """The review card stands in the approvals channel and mentions each of them."""
    notifier.ask_review(REQUEST, a_review(), frozenset({BOB, CAROL}))
    [message] = approval_messages(slack)

    assert "<@U0BOB> <@U0CAROL>" in json.dumps(message["blocks"])


def test_a_review_is_shown_on_its_card(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """Open, it still asks; closed, it says who judged."""
    card = notifier.ask_review(REQUEST, a_review(), frozenset({BOB}))

    notifier.show_review(card, REQUEST, a_review(version=2))
    [still_open] = [dict(message) for message in approval_messages(slack)]
    notifier.show_review(
        card, REQUEST, a_review(verdict=ReviewVerdict.JUSTIFIED, reviewer_id=BOB.person_id, closed_at=FRIDAY_NOON)
    )
    [closed] = approval_messages(slack)

    assert "review:R-ABC234:2" in json.dumps(still_open["blocks"])
    assert "*Justified*, says <@U0BOB>." in closed["text"]


@pytest.mark.parametrize("about", ["approval", "review"])
def test_a_reminder_stands_beside_its_card_and_in_the_channel(about: str) -> None:
    """It is a reply to the card, shown to everybody in the channel, and calls those who may still answer."""
    card = CardReference(channel=CATALOGUE.approvals_channel, ts="1795176000.000001")
    taken = an_answer(b'{"ok": true, "channel": "C0APPROVALS", "ts": "1795176000.000002"}')

    with a_server_that_says(taken) as (api_url, received):
        if about == "approval":
            a_notifier(api_url).remind_approvers(card, REQUEST, a_record(BOB))
        else:
            a_notifier(api_url).remind_review(card, replace(REQUEST, is_break_glass=True), a_review())

    sent = json.loads(received[0].partition(b"\r\n\r\n")[2])
    assert (card.channel, card.ts, True) == (sent["channel"], sent["thread_ts"], sent["reply_broadcast"])
    assert "<@U0CAROL>" in json.dumps(sent["blocks"])


def test_the_end_is_reported_everywhere(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """Every card that stands is closed in place; a new message brings the receipt."""
    ending = an_ending(
        approval_card=notifier.ask_approvers(REQUEST, a_policy(), CLOSES_AT),
        asked_card=notifier.follow_request(REQUEST, a_policy(), CLOSES_AT),
        ready_card=notifier.deliver(REQUEST, a_grant(), a_connection()),
        soon_card=notifier.warn_of_end(REQUEST, a_grant()),
    )

    notifier.report(ending)

    closed = closed_card(ending=ending, environment=LOCATION.environment)
    told = [closed_asked_card(ending=ending), closed_ready_card(ending=ending), closed_soon_card(ending=ending)]
    assert texts_of([closed]) == texts_of(approval_messages(slack))
    assert texts_of([*told, ended_card(ending=ending)]) == texts_of(slack.direct_messages(ALICE.slack))


@pytest.mark.parametrize(("outcome", "messages"), [(Outcome.FINISHED, 0), (Outcome.DENIED, 1)])
def test_an_extension_that_was_given_is_not_told_twice(
    slack: SlackStandIn, notifier: SlackNotifier, outcome: Outcome, messages: int
) -> None:
    """Who was given more time has heard the new end by then; who was not hears that."""
    extension = replace(REQUEST, extends="R-DEF567")

    notifier.report(an_ending(request=extension, outcome=outcome, grant=None, receipt=None))

    assert messages == len(slack.direct_messages(ALICE.slack))


@pytest.mark.parametrize("error", ["channel_not_found", "user_not_found", "user_disabled"])
def test_a_person_who_is_gone_is_named(slack: SlackStandIn, notifier: SlackNotifier, error: str) -> None:
    """Who has left cannot be told anything; the error says who it is and where to correct it."""
    slack.fail_next("chat.postMessage", error)

    with pytest.raises(
        SlackUnavailableError, match=r"U0ALICE \(alice\) is unknown or deactivated\. Correct the catalogue"
    ):
        notifier.deliver(REQUEST, a_grant(), a_connection())


def test_a_card_that_is_gone_does_not_keep_the_end_from_its_holder(
    slack: SlackStandIn, notifier: SlackNotifier
) -> None:
    """Somebody deleted the card: there is nothing to update, and the receipt arrives."""
    gone = CardReference(channel=CATALOGUE.approvals_channel, ts="1795176000.000001")

    notifier.report(an_ending(approval_card=gone))

    assert texts_of([ended_card(ending=an_ending())]) == texts_of(slack.direct_messages(ALICE.slack))


def test_a_repeated_report_tells_the_holder_once(slack: SlackStandIn, notifier: SlackNotifier) -> None:
    """When an update fails, nothing has been posted yet, so the retry posts the only receipt."""
    approval = notifier.ask_approvers(REQUEST, a_policy(), CLOSES_AT)
    ending = an_ending(approval_card=approval)
    slack.fail_next("chat.update", "internal_error")

    with pytest.raises(SlackUnavailableError, match="internal_error"):
        notifier.report(ending)
    notifier.report(ending)

    assert 1 == len(slack.direct_messages(ALICE.slack))


@pytest.mark.parametrize(
    ("error", "status", "advice"),
    [
        ("ratelimited", 429, "asks for a pause"),
        ("invalid_auth", 200, "Reinstall the app"),
        ("missing_scope", 200, "manifest"),
        ("not_in_channel", 200, "Invite the app"),
        ("fatal_error", 200, "Try again"),
    ],
)
def test_a_refusal_of_slack_comes_with_advice(
    slack: SlackStandIn, notifier: SlackNotifier, error: str, status: int, advice: str
) -> None:
    """The error says what Slack did not take, its code and what to do next."""
    slack.fail_next("chat.postMessage", error, status=status)

    with pytest.raises(
        SlackUnavailableError, match=f"^Slack did not take the approval card of R-ABC234: {error}\\. .*{advice}"
    ):
        notifier.ask_approvers(REQUEST, a_policy(), CLOSES_AT)


@contextmanager
def a_server_that_says(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server that sends these bytes to whoever calls and hangs up, and what it was sent."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def serve() -> None:
            with listening.accept()[0] as caller:
                caller.settimeout(10)
                received.append(read_request(caller))
                caller.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/api/", received
        thread.join(10)
        assert not thread.is_alive()


def read_request(caller: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        request += caller.recv(65536)
    head, _, body = request.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0]):
        body += caller.recv(65536)
    return head + b"\r\n\r\n" + body


def an_answer(body: bytes, status: str = "200 OK", *, length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length or len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (an_answer(b"<html>secret-body</html>", "502 Bad Gateway"), "HTTP status 502"),
        (an_answer(b"<html>secret-body</html>"), "HTTP status 200"),
        (an_answer(b'{"ok": false, "error": "secret-body xoxb-1"}'), "HTTP status 200"),
        (an_answer(b"{}", "429 Too Many Requests"), "ratelimited"),
        (an_answer(b'{"ok": tr'), "JSONDecodeError"),
        (an_answer(b"\xff\xfe"), "UnicodeDecodeError"),
        (an_answer(b'{"ok": true', length=1000), "IncompleteRead"),
        (b"secret-body\r\n\r\n", "BadStatusLine"),
        (b"", "RemoteDisconnected"),
    ],
    ids=[
        "proxy page",
        "page instead of JSON",
        "body in place of a code",
        "rate limit",
        "cut JSON",
        "no UTF-8",
        "cut body",
        "no HTTP",
        "hang-up",
    ],
)
def test_no_broken_answer_gets_through(answer: bytes, said: str) -> None:
    """Whatever comes back, the workflow sees its own error, without the foreign body and without the bot token."""
    with a_server_that_says(answer) as (api_url, _), pytest.raises(SlackUnavailableError, match=said) as raised:
        a_notifier(api_url).deliver(REQUEST, a_grant(), a_connection())

    assert "the connection of R-ABC234" in str(raised.value)
    assert "secret-body" not in str(raised.value)
    assert BOT_TOKEN not in str(raised.value)


def test_a_short_pause_is_waited_for(slack: SlackStandIn) -> None:
    """A second, as in a burst of messages: the state need not be tried again for it."""
    slack.fail_next("chat.postMessage", "ratelimited", status=429)
    SlackNotifier(new_web_client(BOT_TOKEN, slack.api_url), CATALOGUE).ask_approvers(REQUEST, a_policy(), CLOSES_AT)

    assert ["ratelimited", None] == [call.answer.get("error") for call in slack.calls]


def test_a_long_pause_is_left_to_the_workflow() -> None:
    """The function would be ended while it waits, and what it is about with it."""
    busy = an_answer(b'{"ok": false, "error": "ratelimited"}', "429 Too Many Requests\r\nRetry-After: 30")

    with a_server_that_says(busy) as (api_url, _), pytest.raises(SlackUnavailableError, match="asks for a pause"):
        SlackNotifier(new_web_client(BOT_TOKEN, api_url), CATALOGUE).ask_approvers(REQUEST, a_policy(), CLOSES_AT)


def test_a_refused_connection_is_slack_being_unavailable() -> None:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

    with pytest.raises(SlackUnavailableError, match="could not be reached for the connection of R-ABC234"):
        a_notifier(f"http://127.0.0.1:{port}/api/").deliver(REQUEST, a_grant(), a_connection())


def test_silence_is_slack_being_unavailable() -> None:
    """Somebody listens but never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        silent = f"http://127.0.0.1:{listening.getsockname()[1]}/api/"

        with pytest.raises(SlackUnavailableError, match="could not be reached"):
            a_notifier(silent, timeout_seconds=1).deliver(REQUEST, a_grant(), a_connection())


def test_a_token_of_ones_own_is_explained_in_the_open_window() -> None:
    """Where the token never crosses Slack, the window that waits for it holds the lines that make it."""
    taken = an_answer(b'{"ok": true}')

    with a_server_that_says(taken) as (api_url, received):
        client = WebClient(token=BOT_TOKEN, base_url=api_url, timeout=5, retry_handlers=[NeverRetry()])
        SlackTokenView(client).show_local_token("V0EXAMPLE", a_connection())

    sent = json.loads(received[0].partition(b"\r\n\r\n")[2])
    assert ("V0EXAMPLE", local_token_modal(connection=a_connection())) == (sent["view_id"], sent["view"])


def test_slack_is_told_to_unfurl_nothing() -> None:
    """No link in a card makes Slack fetch anything."""
    taken = an_answer(b'{"ok": true, "channel": "D0ALICE", "ts": "1795176000.000001"}')

    with a_server_that_says(taken) as (api_url, received):
        a_notifier(api_url).deliver(REQUEST, a_grant(), a_connection())

    sent = json.loads(received[0].partition(b"\r\n\r\n")[2])
    assert {"unfurl_links": False, "unfurl_media": False} == {key: sent[key] for key in sent if "unfurl" in key}
