"""Hostile commands and forms through the real endpoint, signature, bolt and verbs: each gets an answer that Slack can show.

Only the ledger is a fake one, so that enough of them can be tried.
"""

import hmac
import json
import logging
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast
from urllib.parse import urlencode

import pytest
from slack_bolt import App

from chalicelib.domain import commands
from chalicelib.domain.command_texts import parse_command
from chalicelib.domain.decisions import DecisionRecord
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.preferences import Preferences
from chalicelib.domain.reviews import ReviewRecord
from chalicelib.observability import logger
from chalicelib.slack.acts import Acts
from chalicelib.slack.app import SignedRequest, build_app
from chalicelib.workflow.ask_end import ask_end
from chalicelib.workflow.ask_extension import ask_extension
from chalicelib.workflow.cancel_request import cancel_request
from chalicelib.workflow.explain_level import explain_level
from chalicelib.workflow.file_request import file_request
from chalicelib.workflow.find_connection import find_connection
from chalicelib.workflow.read_cost import read_cost
from chalicelib.workflow.read_overview import read_overview
from chalicelib.workflow.record_decision import record_decision
from chalicelib.workflow.record_review import record_review
from local.slack.api import SlackStandIn, SlackUser
from local.slack.block_checker import check_blocks, check_view
from tests.factories import REQUEST_ID
from tests.fakes import World

HOW_MANY = 20_000 * int(os.environ.get("DRAWBRIDGE_FUZZ", "1"))
"""Commands, and as many forms: together they take some 20 seconds of one core. The first are the same in each run."""
SECRET, TEAM, APP = "a-signing-secret", "T0EXAMPLE", "A0EXAMPLE"
LONGEST_TEXT = 4000
WORDS = [
    *(
        "orders-prod",
        "reports-prod",
        "ORDERS-PROD",
        "nowhere",
        "list",
        "mine",
        "help",
        "token",
        "extend",
        "end",
        "cancel",
    ),
    *("explain", "history", "cost", "all", "r", "w", "o", "rw", "30m", "2h", "1h30m", "0m", "-5m", "999h", "9" * 40),
    *("--for", "--reason", "--env", "--region", "--port", "--profile", "--permission", "--location", "--break-glass"),
    *(
        "--for=2h",
        "--port=1",
        "--port=99999999999999999999",
        "—reason",
        "–for",
        "“a b”",
        '"',
        "'",
        "\\",
        "`",
        "R-ABC234",
    ),
    *(
        "r-abc234",
        "R-",
        "<!channel>",
        "<@U0ALICE>",
        "<https://example.com|x>",
        "&lt;",
        "&amp;amp;",
        "%00",
        "\x00",
        "\u202e",
    ),
    *(
        "𝕣",
        "e\u0301" * 20,
        "👩‍👩‍👧‍👦",
        "\ud7ff",
        "\u2028",
        "\u00a0",
        "\t",
        "\n",
        "payload={}",
        "payload=%7B%7D",
        "; rm -rf /",
    ),
    *(
        "$(id)",
        "' OR 1=1 --",
        "{{7*7}}",
        "*bold*",
        "_i_",
        "~s~",
        ">",
        "```",
        "null",
        "undefined",
        "[]",
        "{}",
        "x" * 300,
    ),
]
_ANYTHING = [chr(each) for each in (*range(0xD800), *range(0xE000, 0x11000))]


@dataclass(kw_only=True)
class WorldActs:
    """The listeners' acts by the very verbs, in a world without AWS."""

    world: World
    team: str = TEAM
    published: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        """A method that runs the verb of its name with what it is given."""
        verbs = (
            *(file_request, record_decision, cancel_request, ask_end, ask_extension, record_review),
            *(find_connection, read_overview, explain_level, read_cost),
        )
        verb = next((each for each in verbs if each.__name__ == name), None)
        if verb is None:
            raise AttributeError(name)
        return lambda person=None, **given: self.world.run(
            verb, **({"person": person} if name not in {"find_connection", "read_cost"} else {}), **given
        )

    def find_person(self, slack: str) -> Any:
        return self.world.catalogue.find_person(team=self.team, slack=slack)

    def find_location(self, name: str) -> Any:
        return self.world.catalogue.locations.get(name)

    def find_request(self, request_id: str) -> Any:
        return self.world.requests.find_request(request_id)

    def find_preferences(self, person: Any) -> Any:
        return self.world.requests.find_preferences(person.person_id)

    def forget_preferences(self, person: Any) -> None:
        self.world.requests.keep_preferences(person.person_id, Preferences())

    def read_history(self, person: Any) -> Any:
        return self.world.requests.ended_requests(person.person_id, most=20)

    def issue_token(self, *, person_id: str, request_id: str, view_id: str) -> None:
        assert view_id

    def show_progress(self, record: DecisionRecord) -> None:
        assert record.request_id

    def show_review(self, review: ReviewRecord) -> None:
        assert review.request_id

    def refresh_home(self, person: Any) -> None:
        self.published.append(person.name)


@dataclass(kw_only=True)
class Endpoint:
    """The app, the Slack that it calls, and what broke."""

    app: App
    slack: SlackStandIn
    world: World
    broken: list[Exception]

    def post(self, form: dict[str, str]) -> tuple[int, str]:
        """Sign and post a form."""
        body, now = urlencode(form), str(int(time.time()))
        signature = hmac.new(SECRET.encode(), f"v0:{now}:{body}".encode(), "sha256").hexdigest()
        headers: dict[str, Any] = {"x-slack-request-timestamp": now, "x-slack-signature": f"v0={signature}"}
        headers |= {"content-type": "application/x-www-form-urlencoded"}
        answer = self.app.dispatch(SignedRequest(body=body, headers=headers))
        return answer.status, answer.body

    def trigger(self, user: str) -> dict[str, Any]:
        """What opens one window."""
        return self.slack._new_trigger(user, "C0GENERAL")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint before a world in which alice has asked for something."""
    world, broken = World(), list[Exception]()
    world.declare_request()
    users = [SlackUser(id=f"U0{name}", name=name.lower(), team_id=TEAM) for name in ("ALICE", "BOB", "CAROL", "EVE")]
    people = {"U0ALICE", "U0BOB", "U0CAROL", "U0EVE"}
    with SlackStandIn(
        manifest={
            "oauth_config": {"scopes": {"bot": ["chat:write", "commands", "users:read"]}},
            "features": {"app_home": {"home_tab_enabled": True, "messages_tab_enabled": True}},
        },
        team=TEAM,
        users=users,
        channels={"C0GENERAL": ("general", people)},
        signing_secret=SECRET,
        bot_token="xoxb-test",
        clock=time.time,
        app_id=APP,
    ) as slack:
        app = build_app(
            acts=cast("Acts", WorldActs(world=world)),
            app_id=APP,
            signing_secret=SECRET,
            bot_token="xoxb-test",
            api=slack.api_url,
            report_error=lambda _, error: broken.append(error),
        )
        yield Endpoint(app=app, slack=slack, world=world, broken=broken)


def test_the_endpoint_goes_on_logging(endpoint: Endpoint) -> None:
    """bolt sets the level of the logger of its app's name; ours must not be silenced with it."""
    assert endpoint.app.name != logger.name
    assert logging.INFO == logging.getLogger(logger.name).level


def test_no_command_gets_anything_but_an_answer(endpoint: Endpoint) -> None:
    """Whatever is typed: 200, for that person's eyes, within Slack's limits; nothing breaks."""
    chance = random.Random(20261121)
    form = {"command": "/db-access", "team_id": TEAM, "api_app_id": APP, "channel_id": "C0GENERAL"}
    for number, text in enumerate(islice(_texts(chance), HOW_MANY)):
        user = chance.choice(["U0ALICE", "U0BOB", "U0EVE", "U0NOBODY"])
        if number % 500 == 0:
            endpoint.world.requests.__init__()  # type: ignore[misc]  # as if everything had ended
        status, body = endpoint.post(form | {"user_id": user, "text": text} | _trigger(endpoint, user))

        assert 200 == status, text
        if body:
            answer = json.loads(body)
            assert "ephemeral" == answer["response_type"], text
            assert 0 < len(answer["text"]) <= LONGEST_TEXT, text
            assert [] == check_blocks(answer["blocks"]), text
        else:
            assert _opens_a_window(text), text

    assert [] == endpoint.broken
    assert [] == [call for call in endpoint.slack.calls if not call.answer["ok"]]


def test_no_form_gets_anything_but_an_answer(endpoint: Endpoint) -> None:
    """Whatever stands in a form: it closes, shows errors at fields that it has, or shows a window that Slack can show."""
    chance = random.Random(20261122)
    fields = ("location", "level", "duration", "reason", "port", "profile", "break_glass", "note")
    names = ("ask", "deny", "approve_less", "extend", "not_justified", "said", "token", "else")
    for number, text in enumerate(islice(_texts(chance), HOW_MANY)):
        user = chance.choice(["U0ALICE", "U0BOB", "U0EVE", "U0NOBODY"])
        values = {name: {name: _entered(chance, chance.choice([text, *WORDS]))} for name in fields}
        values |= {} if number % 9 else {"location": {"location": {"selected_option": {"value": "orders-prod"}}}}
        view = {"id": f"V{number}", "type": "modal", "callback_id": chance.choice(names), "state": {"values": values}}
        view |= {"private_metadata": chance.choice([REQUEST_ID, "", text[:3000], "R-ZZZZZZ"])}
        status, body = endpoint.post(_interaction("view_submission", user, view=view, **_trigger(endpoint, user)))

        assert 200 == status, view
        answer = json.loads(body) if body else {}
        match answer.get("response_action"):
            case "errors":
                assert set(answer["errors"]) <= set(fields), view
                assert all(0 < len(each) <= LONGEST_TEXT for each in answer["errors"].values()), view
            case "update":
                assert [] == check_view(answer["view"]), view
            case other:
                assert other is None, view
                assert "response_type" not in answer, view

    assert [] == endpoint.broken


def test_no_click_gets_anything_but_an_answer(endpoint: Endpoint) -> None:
    """Whatever a button says that it is: 200, and what is whispered or opened is such that Slack takes it."""
    chance = random.Random(20261123)
    buttons = [
        "approve",
        "approve_less",
        "deny",
        "cancel",
        "end",
        "extend",
        "extend_30",
        "show_token",
        "new_token",
        "gui",
    ]
    buttons += [
        "first_time",
        "who_blocks",
        "ask",
        "ask_again",
        "justified",
        "not_justified",
        "forget_profile",
        "refresh",
    ]
    for text in islice(_texts(chance), max(200, HOW_MANY // 40)):
        user = chance.choice(["U0ALICE", "U0BOB", "U0EVE"])
        action = {"type": "button", "action_id": chance.choice([*buttons, text[:255] or "x"]), "block_id": "b"}
        action |= {"value": chance.choice([REQUEST_ID, text[:2000], "R-ZZZZZZ"])}
        status, _ = endpoint.post(
            _interaction("block_actions", user, actions=[action], channel={"id": "C0GENERAL"}, **endpoint.trigger(user))
        )

        assert 200 == status, action

    assert [] == endpoint.broken
    assert [] == [call for call in endpoint.slack.calls if not call.answer["ok"]]


def _trigger(endpoint: Endpoint, user: str) -> dict[str, Any]:
    return (
        endpoint.trigger(user) if user != "U0NOBODY" else {"trigger_id": "none", "response_url": "http://127.0.0.1:9"}
    )


def _opens_a_window(text: str) -> bool:
    return isinstance(parse_command(text), (commands.OpenForm, commands.ShowToken))


def _texts(chance: random.Random) -> Iterator[str]:
    """Commands that are nearly right, and texts that were never meant as one."""
    while True:
        match chance.randrange(4):
            case 0:
                words = chance.choices(WORDS, k=chance.randrange(8))
                yield chance.choice([" ", "  ", "\u00a0", "\t"]).join(words)
            case 1:
                level = chance.choice([*PermissionLevel, *WORDS])
                yield " ".join(
                    ["orders-prod", level, chance.choice(WORDS), *chance.choices(WORDS, k=chance.randrange(4))]
                )
            case 2:
                yield "".join(chance.choices(_ANYTHING, k=chance.randrange(60)))
            case _:
                word = list(chance.choice(WORDS) * chance.choice([1, 1, 1, 20]))
                for _ in range(chance.randrange(4)):
                    word.insert(chance.randrange(len(word) + 1), chr(chance.randrange(1, 0x2FFF)))
                yield "".join(word)


def _entered(chance: random.Random, text: str) -> Any:
    """A field's answer: of its own kind, of another one, or none at all."""
    return chance.choice(
        [
            {"value": text},
            {"selected_option": {"value": text}},
            {"selected_options": [{"value": chance.choice([text, "yes"])}]},
            {"value": None},
            {"selected_option": None},
            {},
            None,
            text,
            [text],
        ]
    )


def _interaction(kind: str, user: str, **facts: Any) -> dict[str, str]:
    person = {"id": user, "username": "x", "name": "x", "team_id": TEAM}
    payload = {"type": kind, "user": person, "team": {"id": TEAM, "domain": "example"}, "api_app_id": APP}
    return {"payload": json.dumps(payload | facts)}
