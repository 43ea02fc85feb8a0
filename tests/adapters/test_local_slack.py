"""The local Slack treats a real Bolt app as Slack would: same requests, same refusals, same silence."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from slack_bolt import App, BoltRequest, BoltResponse
from slack_bolt.authorization import AuthorizeResult
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.webhook import WebhookClient

from local.slack.api import Answer, NotOnScreenError, SlackStandIn, SlackUser
from local.slack.web import FILES, PAGE
from tests.serving import HttpServer, Silent

Json = dict[str, Any]
MANIFEST: Json = json.loads((Path(__file__).parents[2] / "chalicelib/slack/manifest.json").read_text())
SECRET, TOKEN, TEAM, BOT = "signing-secret-of-a-test", "xoxb-of-a-test", "T0EXAMPLE", "U0BOT"
ALICE, BOB, DAVE = "U0ALICE", "U0BOB", "U0DAVE"
USERS = [
    SlackUser(id=ALICE, name="alice", team_id=TEAM),
    SlackUser(id=BOB, name="bob", team_id=TEAM),
    SlackUser(id=DAVE, name="dave", team_id="T0OTHER", is_stranger=False),
]
CHANNELS = {
    "C0APPROVALS": ("approvals", {ALICE, BOB, DAVE, BOT}),
    "C0RANDOM": ("random", {ALICE, BOB}),
    "C0BOBS": ("bobs", {BOB, BOT}),
}


class Clock:
    """The real time, which a test may move."""

    offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


class Served(HttpServer):
    """A Bolt app behind an HTTP server; remembers the payloads that passed its signature check."""

    def __init__(self, slack: SlackStandIn) -> None:
        self.app = App(
            signing_secret=SECRET,
            authorize=lambda **_: AuthorizeResult(enterprise_id=None, team_id=TEAM, bot_user_id=BOT, bot_token=TOKEN),
            client=WebClient(base_url=slack.api_url),
            process_before_response=True,
        )
        self.bodies: list[Json] = []
        self.app.use(self._remember)
        served = self

        class Handler(Silent, BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                headers: dict[str, Any] = dict(self.headers)
                response = served.app.dispatch(BoltRequest(body=body, headers=headers))
                self.send_response(response.status if self.path == "/slack/events" else 404)
                self.end_headers()
                self.wfile.write(response.body.encode())

        super().__init__(Handler)

    def _remember(self, body: Json, next_: Callable[[], None]) -> None:
        self.bodies.append(body)
        next_()


def a_slack(clock: Callable[[], float], **changes: Any) -> SlackStandIn:
    settings: Json = {
        "manifest": MANIFEST,
        "team": TEAM,
        "users": USERS,
        "channels": CHANNELS,
        "clock": clock,
    }
    return SlackStandIn(**(settings | {"signing_secret": SECRET, "bot_token": TOKEN} | changes))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slack(clock: Clock) -> Iterator[SlackStandIn]:
    with a_slack(clock) as stand_in:
        yield stand_in


@pytest.fixture
def client(slack: SlackStandIn) -> WebClient:
    return WebClient(token=TOKEN, base_url=slack.api_url)


@pytest.fixture
def served(slack: SlackStandIn) -> Iterator[Served]:
    with Served(slack) as served:
        slack.deliver_to = f"http://127.0.0.1:{served.port}"
        yield served


@pytest.fixture
def app(served: Served) -> App:
    return served.app


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def button(action_id: str, **fields: Any) -> Json:
    return {"type": "button", "action_id": action_id, "text": plain(action_id.title())} | fields


def card(*buttons: Json) -> list[Json]:
    asks = {"type": "section", "text": {"type": "mrkdwn", "text": "*alice* asks"}}
    return [asks, {"type": "actions", "block_id": "decide", "elements": list(buttons or [button("approve")])}]


DIALOG = {name: plain(name) for name in ("title", "text", "confirm", "deny")}
LEVELS: Json = {
    "type": "static_select",
    "action_id": "level",
    "options": [{"text": plain(name), "value": name} for name in ("read", "write")],
}


def menu(kind: str, action_id: str = "level", **fields: Any) -> Json:
    return {"type": kind, "action_id": action_id, "options": LEVELS["options"]} | fields


def a_home(*blocks: Json, **fields: Any) -> Json:
    return {"type": "home", "blocks": list(blocks or card())} | fields


def with_home(*bot_events: str) -> Json:
    """The product's manifest with a Home tab, and the events that it subscribes to."""
    manifest = deepcopy(MANIFEST)
    manifest["features"]["app_home"]["home_tab_enabled"] = True
    subscription = {"request_url": "https://API/slack/events", "bot_events": list(bot_events)}
    manifest["settings"]["event_subscriptions"] = subscription
    return manifest


def form(*further: Json, **fields: Any) -> Json:
    reason = {"type": "plain_text_input", "action_id": "reason", "max_length": 20}
    level = {
        "type": "input",
        "block_id": "levels",
        "label": plain("Level"),
        "element": LEVELS,
        "optional": True,
    }
    blocks = [
        {"type": "input", "block_id": "why", "label": plain("Reason"), "element": reason},
        level,
        *further,
    ]
    modal: Json = {"type": "modal", "title": plain("Ask"), "submit": plain("Send"), "callback_id": "ask"}
    return modal | {"blocks": blocks} | fields


def refusal(call: Callable[..., Any], **arguments: Any) -> Any:
    """The answer with which Slack refuses this call."""
    with pytest.raises(SlackApiError) as raised:
        call(**arguments)
    return raised.value.response


def open_form(slack: SlackStandIn, app: App, view: Json | None = None) -> Json:
    """Opens a form for Alice by a command, as the product does."""
    app.command("/db-access")(
        lambda ack, client, body: (
            ack(),
            client.views_open(trigger_id=body["trigger_id"], view=view or form()),
        )
    )
    slack.command(ALICE, "C0RANDOM", "/db-access")
    opened = slack.view_of(ALICE)
    assert opened
    return opened


def a_trigger(slack: SlackStandIn, served: Served) -> str:
    """A trigger_id that Alice's command just made and nobody has used."""
    slack.command(ALICE, "C0RANDOM", "/db-access")
    return str(served.bodies[-1]["trigger_id"])


class TestCommands:
    def test_a_signed_command_reaches_the_app_and_its_reply_only_the_person(
        self, slack: SlackStandIn, app: App
    ) -> None:
        """Bolt accepts the signature; the reply is shown to Alice and to nobody else."""
        app.command("/db-access")(lambda ack, command: ack(f"Asked for {command['text']}"))

        answer = slack.command(ALICE, "#random", "/db-access orders w")

        assert Answer(status=200, text="Asked for orders w", blocks=[], ephemeral=True) == answer
        assert ["Asked for orders w"] == [message["text"] for message in slack.ephemerals(ALICE, "C0RANDOM")]
        assert ([], []) == (slack.ephemerals(BOB, "C0RANDOM"), slack.messages("C0RANDOM"))

    def test_a_command_carries_slacks_fields(self, slack: SlackStandIn, served: Served) -> None:
        """The form has the ids that the app has to check, and the means to answer."""
        slack.command(ALICE, "C0RANDOM", "/db-access orders  w ")
        form = served.bodies[0]

        assert {
            "command": "/db-access",
            "text": "orders  w ",
            "team_id": TEAM,
            "api_app_id": "A0EXAMPLE",
        } == {name: form[name] for name in ("command", "text", "team_id", "api_app_id")}
        assert (ALICE, "C0RANDOM", "random") == (form["user_id"], form["channel_id"], form["channel_name"])
        assert "false" == form["is_enterprise_install"]
        assert form["response_url"].startswith(slack.api_url.removesuffix("api/") + "hooks/")

    def test_a_wrong_signing_secret_is_refused_by_the_app(self, served: Served, clock: Clock) -> None:
        """An app with another secret answers 401, and the person sees that it failed."""
        with a_slack(clock, signing_secret="another") as slack:
            slack.deliver_to = f"http://127.0.0.1:{served.port}"
            answer = slack.command(ALICE, "C0RANDOM", "/db-access")

        assert Answer(status=401, error='/db-access failed with the error "dispatch_failed"') == answer
        assert [] == served.bodies

    def test_the_clock_dates_the_signature(self, slack: SlackStandIn, served: Served, clock: Clock) -> None:
        """A request that is signed six minutes ago is too old for the app."""
        clock.offset = -361

        assert 401 == slack.command(ALICE, "C0RANDOM", "/db-access").status
        assert [] == served.bodies

    def test_an_app_that_takes_too_long_has_timed_out(self, served: Served, clock: Clock) -> None:
        """After Slack's patience the person sees operation_timeout, whatever the app says later."""
        answered = threading.Event()
        served.app.command("/db-access")(lambda ack: (answered.wait(5), ack("too late")))
        with a_slack(clock, request_timeout_seconds=0.15) as slack:
            slack.deliver_to = f"http://127.0.0.1:{served.port}"
            answer = slack.command(ALICE, "C0RANDOM", "/db-access")
            answered.set()

            assert Answer(error='/db-access failed with the error "operation_timeout"') == answer
            assert [] == slack.ephemerals(ALICE, "C0RANDOM")

    def test_three_seconds_are_the_patience_by_default(self, slack: SlackStandIn) -> None:
        """Nothing in the workspace is more patient than Slack."""
        assert 3.0 == slack.request_timeout_seconds

    def test_an_app_that_cannot_be_reached_has_failed(self, slack: SlackStandIn) -> None:
        """A closed port is shown as a failed dispatch."""
        with socket.create_server(("127.0.0.1", 0)) as closed:
            slack.deliver_to = f"http://127.0.0.1:{closed.getsockname()[1]}"

        assert 'failed with the error "dispatch_failed"' in slack.command(ALICE, "C0RANDOM", "/db-access").error

    def test_an_unhandled_command_shows_the_apps_failure(self, slack: SlackStandIn, served: Served) -> None:
        """Bolt answers 404 to a command that it has no listener for; that is no success."""
        assert 404 == slack.command(ALICE, "C0RANDOM", "/db-access").status
        assert 1 == len(served.bodies)

    def test_a_command_that_the_manifest_lacks_goes_nowhere(self, slack: SlackStandIn, served: Served) -> None:
        """Slack itself answers a name that no installed app declares."""
        assert Answer(error="/db-acess is not a valid command") == slack.command(ALICE, "C0RANDOM", "/db-acess")
        assert ([], []) == (served.bodies, slack.requests)

    def test_people_of_another_workspace_have_no_command(self, slack: SlackStandIn, served: Served) -> None:
        """In a shared channel the installing team alone can use the app's commands."""
        answer = slack.command(DAVE, "C0APPROVALS", "/db-access")

        assert "is not a valid command" in answer.error
        assert [] == served.bodies

    def test_without_the_commands_scope_there_is_no_command(self, clock: Clock) -> None:
        """A manifest that declares a command but not its scope installs none."""
        with a_slack(clock, manifest=with_scopes("chat:write")) as slack:
            assert "is not a valid command" in slack.command(ALICE, "C0RANDOM", "/db-access").error

    @pytest.mark.parametrize(("user", "channel"), [(ALICE, "C0BOBS"), (ALICE, "C0NONE"), ("U0NOBODY", "C0RANDOM")])
    def test_nobody_types_where_they_are_not(self, slack: SlackStandIn, user: str, channel: str) -> None:
        """Only members of a channel can type there."""
        with pytest.raises(NotOnScreenError):
            slack.command(user, channel, "/db-access")

    def test_deactivated_people_cannot_act(self, slack: SlackStandIn) -> None:
        """Whoever was deactivated a moment ago can do nothing any more."""
        slack.people[ALICE] = replace(slack.people[ALICE], deleted=True)

        with pytest.raises(NotOnScreenError):
            slack.command(ALICE, "C0RANDOM", "/db-access")

    def test_an_empty_answer_shows_nothing(self, slack: SlackStandIn, app: App) -> None:
        """A bare acknowledgement posts no message."""
        app.command("/db-access")(lambda ack: ack())

        assert Answer(status=200, text="", blocks=()) == slack.command(ALICE, "C0RANDOM", "/db-access")
        assert [] == slack.ephemerals(ALICE, "C0RANDOM")

    def test_a_public_answer_is_seen_by_all(self, slack: SlackStandIn, app: App) -> None:
        """response_type in_channel posts into the channel, even where the bot is no member."""
        app.command("/db-access")(lambda ack: ack(text="For all", response_type="in_channel"))

        assert not slack.command(ALICE, "C0RANDOM", "/db-access").ephemeral
        assert ["For all"] == [message["text"] for message in slack.messages("C0RANDOM")]

    def test_a_reply_with_bad_blocks_is_not_shown(self, slack: SlackStandIn, app: App) -> None:
        """The immediate reply is checked like every message."""
        app.command("/db-access")(lambda ack: ack(text="x", blocks=[{"type": "section"}]))

        assert '"invalid_blocks"' in slack.command(ALICE, "C0RANDOM", "/db-access").error
        assert [] == slack.ephemerals(ALICE, "C0RANDOM")


class TestMessages:
    def test_posting_to_a_person_opens_their_direct_messages(self, slack: SlackStandIn, client: WebClient) -> None:
        """A user id as channel reaches that person alone, under a channel id that later calls use."""
        response = client.chat_postMessage(channel=ALICE, text="Ready", unfurl_links=False)

        assert "D0ALICE" == response["channel"]
        assert ["Ready"] == [message["text"] for message in slack.direct_messages(ALICE)]
        assert [] == slack.direct_messages(BOB)
        assert {"type": "message", "user": BOT, "bot_id": "B0BOT", "app_id": "A0EXAMPLE"} == {
            name: response["message"][name] for name in ("type", "user", "bot_id", "app_id")
        }

    def test_channels_are_found_by_id_and_by_name(self, slack: SlackStandIn, client: WebClient) -> None:
        """#name is as good as an id for posting."""
        for channel in ("C0APPROVALS", "#approvals"):
            client.chat_postMessage(channel=channel, text=channel)

        assert ["C0APPROVALS", "#approvals"] == [m["text"] for m in slack.messages("C0APPROVALS")]

    def test_opening_a_conversation_needs_a_scope_that_the_product_does_not_have(
        self, client: WebClient, clock: Clock
    ) -> None:
        """chat.postMessage opens direct messages by itself; with im:write the id could be asked for."""
        with a_slack(clock, manifest=with_scopes("im:write")) as slack:
            opened = WebClient(token=TOKEN, base_url=slack.api_url).conversations_open(users=ALICE)

        assert "D0ALICE" == opened["channel"]["id"]
        assert "im:write" == refusal(client.conversations_open, users=ALICE)["needed"]

    def test_messages_have_times_in_order_even_in_a_standing_clock(self) -> None:
        """ts identifies a message, so no two are alike."""
        with a_slack(lambda: 1_795_000_000.0) as slack:
            client = WebClient(token=TOKEN, base_url=slack.api_url)
            stamps = [client.chat_postMessage(channel=ALICE, text="x")["ts"] for _ in range(3)]

        assert ["1795000000.000000", "1795000000.000001", "1795000000.000002"] == stamps

    @pytest.mark.parametrize(
        ("channel", "error"),
        [
            ("C0RANDOM", "not_in_channel"),
            ("C0NONE", "channel_not_found"),
            ("#directmessage", "channel_not_found"),
        ],
    )
    def test_the_bot_posts_only_where_it_was_invited(self, client: WebClient, channel: str, error: str) -> None:
        """Without chat:write.public a channel needs the bot as a member."""
        client.chat_postMessage(channel=ALICE, text="opens a direct channel")

        assert error == refusal(client.chat_postMessage, channel=channel, text="x")["error"]

    def test_without_the_messages_tab_nobody_gets_direct_messages(self, clock: Clock) -> None:
        """A manifest that turns the messages tab off closes that way."""
        manifest = deepcopy(MANIFEST)
        manifest["features"]["app_home"]["messages_tab_enabled"] = False
        with a_slack(clock, manifest=manifest) as slack:
            client = WebClient(token=TOKEN, base_url=slack.api_url)

            assert "messages_tab_disabled" == refusal(client.chat_postMessage, channel=ALICE, text="x")["error"]

    def test_ids_are_filled_in(self, slack: SlackStandIn, client: WebClient) -> None:
        """A card without ids gets some, so that it can be pressed."""
        client.chat_postMessage(channel=ALICE, text="x", blocks=[card()[0]])

        assert slack.direct_messages(ALICE)[0]["blocks"][0]["block_id"]

    def test_bad_blocks_are_refused_with_pointers(self, slack: SlackStandIn, client: WebClient) -> None:
        """Nothing is posted; the answer says what is wrong and where."""
        response = refusal(client.chat_postMessage, channel=ALICE, text="x", blocks=card(button("a", style="green")))

        assert "invalid_blocks" == response["error"]
        assert ["[ERROR] must be one:primary|danger [json-pointer:/blocks/1/elements/0/style]"] == response[
            "response_metadata"
        ]["messages"]
        assert [] == slack.direct_messages(ALICE)

    @pytest.mark.parametrize(("text", "error"), [("", "no_text"), ("x" * 4001, "msg_too_long")])
    def test_text_is_needed_and_limited(self, client: WebClient, text: str, error: str) -> None:
        """A message says something, and not more than 4,000 characters."""
        message = {"channel": ALICE, "text": text}

        assert error == refusal(client.api_call, api_method="chat.postMessage", json=message)["error"]

    def test_messages_that_come_together_are_all_kept(self, slack: SlackStandIn, client: WebClient) -> None:
        """Many callers at once: no message is lost and no two have one ts."""
        with ThreadPoolExecutor(8) as callers:
            posts = [callers.submit(client.chat_postMessage, channel=ALICE, text=str(number)) for number in range(40)]

        assert 40 == len({post.result()["ts"] for post in posts})
        assert {str(number) for number in range(40)} == {message["text"] for message in slack.direct_messages(ALICE)}

    def test_a_reply_belongs_to_its_thread(self, slack: SlackStandIn, client: WebClient) -> None:
        """It names the message that it replies to, and is told apart when the channel sees it too."""
        root = client.chat_postMessage(channel="C0APPROVALS", text="Asked")["ts"]
        client.chat_postMessage(channel="C0APPROVALS", text="Reply", thread_ts=root)
        client.chat_postMessage(channel="C0APPROVALS", text="Seen by all", thread_ts=root, reply_broadcast=True)

        assert [(None, None), (root, None), (root, "thread_broadcast")] == [
            (message.get("thread_ts"), message.get("subtype")) for message in slack.messages("C0APPROVALS")
        ]

    def test_a_reply_needs_a_message(self, slack: SlackStandIn, client: WebClient) -> None:
        """Neither another channel's message nor an ephemeral starts a thread."""
        elsewhere = client.chat_postMessage(channel=ALICE, text="x")["ts"]
        ephemeral = client.chat_postEphemeral(channel="C0APPROVALS", user=BOB, text="x")["message_ts"]
        reply = {"channel": "C0APPROVALS", "text": "Reply"}

        for ts in (elsewhere, ephemeral):
            assert "thread_not_found" == refusal(client.chat_postMessage, thread_ts=ts, **reply)["error"]

    def test_an_update_changes_the_message_in_place(self, slack: SlackStandIn, client: WebClient) -> None:
        """The same ts shows the new card; text alone takes the old blocks away."""
        posted = client.chat_postMessage(channel="C0APPROVALS", text="Asked", blocks=card())
        client.chat_update(channel="C0APPROVALS", ts=posted["ts"], text="Approved")
        message = slack.messages("C0APPROVALS")[0]

        assert (posted["ts"], "Approved", []) == (message["ts"], message["text"], message["blocks"])

    def test_only_an_existing_message_under_its_channels_id_can_be_updated(self, client: WebClient) -> None:
        """A wrong ts, and a name where an id belongs, find nothing."""
        posted = client.chat_postMessage(channel="#approvals", text="Asked")

        assert "message_not_found" == refusal(client.chat_update, channel="C0APPROVALS", ts="1.1", text="x")["error"]
        assert (
            "message_not_found" == refusal(client.chat_update, channel="#approvals", ts=posted["ts"], text="x")["error"]
        )

    def test_ephemerals_are_seen_by_one_person_and_never_updated(self, slack: SlackStandIn, client: WebClient) -> None:
        """A message for Bob's eyes is in nobody else's channel and stays as it is."""
        posted = client.chat_postEphemeral(channel="C0APPROVALS", user=BOB, text="Not yours")
        response = refusal(client.chat_update, channel="C0APPROVALS", ts=posted["message_ts"], text="x")

        assert "cant_update_message" == response["error"]
        assert ["Not yours"] == [message["text"] for message in slack.ephemerals(BOB, "C0APPROVALS")]
        assert ([], []) == (slack.ephemerals(ALICE, "C0APPROVALS"), slack.messages("C0APPROVALS"))

    def test_an_ephemeral_needs_a_member(self, client: WebClient) -> None:
        """Alice isn't in Bob's channel, so nothing can be shown to her there."""
        response = refusal(client.chat_postEphemeral, channel="C0BOBS", user=ALICE, text="x")

        assert "user_not_in_channel" == response["error"]


class TestPressing:
    def test_a_press_reaches_the_listener(self, slack: SlackStandIn, served: Served, client: WebClient) -> None:
        """block_actions carries who, where, what and the message as it stands."""
        served.app.action("approve")(lambda ack: ack())
        posted = client.chat_postMessage(channel="C0APPROVALS", text="x", blocks=card(button("approve", value="R-1")))

        answer = slack.press(BOB, "C0APPROVALS", posted["ts"], "approve")
        payload = served.bodies[0]
        action = payload["actions"][0]

        assert Answer(status=200) == answer
        assert {"id": BOB, "username": "bob", "name": "bob", "team_id": TEAM} == payload["user"]
        assert (TEAM, "A0EXAMPLE", "C0APPROVALS") == (
            payload["team"]["id"],
            payload["api_app_id"],
            payload["channel"]["id"],
        )
        assert ("button", "approve", "decide", "R-1") == tuple(
            action[name] for name in ("type", "action_id", "block_id", "value")
        )
        assert (posted["ts"], False) == (
            payload["container"]["message_ts"],
            payload["container"]["is_ephemeral"],
        )
        assert posted["message"]["blocks"] == payload["message"]["blocks"]
        assert {"trigger_id", "response_url", "state"} <= payload.keys()

    def test_an_outsider_presses_as_a_member_of_their_own_team(
        self, slack: SlackStandIn, served: Served, client: WebClient
    ) -> None:
        """Whoever shares the channel can press; user.team_id is all that tells them apart."""
        served.app.action("approve")(lambda ack: ack())
        posted = client.chat_postMessage(channel="C0APPROVALS", text="x", blocks=card())
        slack.press(DAVE, "C0APPROVALS", posted["ts"], "approve")

        assert ("T0OTHER", TEAM) == (served.bodies[0]["user"]["team_id"], served.bodies[0]["team"]["id"])

    def test_an_ephemerals_press_has_no_message(self, slack: SlackStandIn, served: Served, client: WebClient) -> None:
        """Slack doesn't keep ephemerals, so it can't send them along."""
        served.app.action("approve")(lambda ack: ack())
        posted = client.chat_postEphemeral(channel="C0APPROVALS", user=BOB, text="x", blocks=card())
        slack.press(BOB, "C0APPROVALS", posted["message_ts"], "approve")

        assert served.bodies[0]["container"]["is_ephemeral"]
        assert "message" not in served.bodies[0]

    def test_nobody_presses_what_only_another_sees(self, slack: SlackStandIn, client: WebClient) -> None:
        """Neither another's direct message nor another's ephemeral is on one's screen."""
        direct = client.chat_postMessage(channel=ALICE, text="x", blocks=card())
        ephemeral = client.chat_postEphemeral(channel="C0APPROVALS", user=ALICE, text="x", blocks=card())

        with pytest.raises(NotOnScreenError):
            slack.press(BOB, "D0ALICE", direct["ts"], "approve")
        with pytest.raises(NotOnScreenError):
            slack.press(BOB, "C0APPROVALS", ephemeral["message_ts"], "approve")
        assert [] == slack.requests

    def test_a_button_that_was_taken_away_cannot_be_pressed(self, slack: SlackStandIn, client: WebClient) -> None:
        """After an update only what the card now shows can be pressed."""
        posted = client.chat_postMessage(channel="C0APPROVALS", text="x", blocks=card())
        client.chat_update(channel="C0APPROVALS", ts=posted["ts"], text="Approved", blocks=card(button("end")))

        with pytest.raises(NotOnScreenError, match="approve"):
            slack.press(BOB, "C0APPROVALS", posted["ts"], "approve")

    def test_a_menu_is_not_a_button(self, slack: SlackStandIn, client: WebClient) -> None:
        """Pressing a select sends nothing."""
        posted = client.chat_postMessage(channel="C0APPROVALS", text="x", blocks=card(LEVELS))

        with pytest.raises(NotOnScreenError):
            slack.press(BOB, "C0APPROVALS", posted["ts"], "level")

    def test_the_same_button_in_two_rows_is_told_apart_by_its_block(
        self, slack: SlackStandIn, served: Served, client: WebClient
    ) -> None:
        """A list with a button a row is pressed by action and block; the action alone is ambiguous."""
        served.app.action("end")(lambda ack: ack())
        rows = [{"type": "actions", "block_id": row, "elements": [button("end", value=row)]} for row in ("R-1", "R-2")]
        posted = client.chat_postMessage(channel=ALICE, text="x", blocks=rows)

        with pytest.raises(NotOnScreenError):
            slack.press(ALICE, "D0ALICE", posted["ts"], "end")
        assert Answer(status=200) == slack.press(ALICE, "D0ALICE", posted["ts"], "end", block_id="R-2")
        assert "R-2" == served.bodies[-1]["actions"][0]["value"]

    def test_a_dialog_is_asked_first(self, slack: SlackStandIn, served: Served, client: WebClient) -> None:
        """Backing out of the dialog sends nothing; confirming does."""
        served.app.action("approve")(lambda ack: ack())
        blocks = card(button("approve", confirm=DIALOG))
        posted = client.chat_postMessage(channel="C0APPROVALS", text="x", blocks=blocks)

        assert Answer() == slack.press(BOB, "C0APPROVALS", posted["ts"], "approve", confirm=False)
        assert [] == served.bodies
        assert Answer(status=200) == slack.press(BOB, "C0APPROVALS", posted["ts"], "approve")

    @pytest.mark.parametrize(
        ("element", "value", "expected"),
        [
            (menu("static_select"), "write", {"selected_option": LEVELS["options"][1]}),
            (menu("radio_buttons"), "read", {"selected_option": LEVELS["options"][0]}),
            (menu("overflow"), "write", {"selected_option": LEVELS["options"][1]}),
            (menu("checkboxes"), ["write"], {"selected_options": LEVELS["options"][1:]}),
        ],
    )
    def test_a_choice_reaches_the_listener(
        self, slack: SlackStandIn, served: Served, client: WebClient, element: Json, value: Any, expected: Json
    ) -> None:
        """What was chosen stands in the action, with the type of its element."""
        served.app.action("level")(lambda ack: ack())
        posted = client.chat_postMessage(channel="C0APPROVALS", text="x", blocks=card(element))
        answer = slack.press(BOB, "C0APPROVALS", posted["ts"], "level", value=value)
        action = served.bodies[0]["actions"][0]

        assert Answer(status=200) == answer
        assert {"type": element["type"], "action_id": "level", "block_id": "decide", **expected} == {
            name: action[name] for name in action.keys() - {"action_ts"}
        }

    def test_a_messages_choices_are_sent_along_and_are_each_persons_own(
        self, slack: SlackStandIn, served: Served, client: WebClient
    ) -> None:
        """state has what this person chose before in this message, and nothing of others."""
        served.app.action("level")(lambda ack: ack())
        served.app.action("approve")(lambda ack: ack())
        posted = client.chat_postMessage(channel="C0APPROVALS", text="x", blocks=card(LEVELS, button("approve")))
        slack.press(BOB, "C0APPROVALS", posted["ts"], "level", value="write")
        for user in (BOB, ALICE):
            slack.press(user, "C0APPROVALS", posted["ts"], "approve")
        bobs, alices = (body["state"]["values"]["decide"]["level"]["selected_option"] for body in served.bodies[1:])

        assert ("write", None) == (bobs["value"], alices)

    @pytest.mark.parametrize("value", ["admin", ["write"]])
    def test_what_a_menu_does_not_offer_cannot_be_chosen(
        self, slack: SlackStandIn, client: WebClient, value: Any
    ) -> None:
        """An option that isn't there, and two where one is asked for."""
        posted = client.chat_postMessage(channel="C0APPROVALS", text="x", blocks=card(LEVELS))

        with pytest.raises((LookupError, TypeError)):
            slack.press(BOB, "C0APPROVALS", posted["ts"], "level", value=value)
        assert [] == slack.requests

    def test_an_unhandled_button_shows_the_apps_failure(
        self, slack: SlackStandIn, served: Served, client: WebClient
    ) -> None:
        """The person sees a bare error on the card."""
        posted = client.chat_postMessage(channel="C0APPROVALS", text="x", blocks=card())

        assert Answer(status=404, error="dispatch_failed") == slack.press(BOB, "C0APPROVALS", posted["ts"], "approve")
        assert 1 == len(served.bodies)

    def test_a_captured_request_can_be_sent_again(self, slack: SlackStandIn, served: Served) -> None:
        """A replay is signed afresh and arrives twice: telling them apart is the app's task."""
        slack.command(ALICE, "C0RANDOM", "/db-access")
        slack.send(slack.requests[0].name, slack.requests[0].arguments)

        assert served.bodies[0] == served.bodies[1]


class TestModals:
    def test_a_trigger_opens_one_modal_for_its_person(self, slack: SlackStandIn, app: App) -> None:
        """The modal is in front of Alice alone, with everything that Slack adds to it."""
        view = open_form(slack, app)

        assert "ask" == view["callback_id"]
        assert {"why": {"reason": {"type": "plain_text_input", "value": None}}} == {
            "why": view["state"]["values"]["why"]
        }
        assert {"id", "hash", "team_id", "app_id", "bot_id", "private_metadata", "close"} <= view.keys()
        assert slack.view_of(BOB) is None

    def test_a_trigger_works_once(self, slack: SlackStandIn, served: Served, client: WebClient) -> None:
        """The second use is refused."""
        trigger = a_trigger(slack, served)
        client.views_open(trigger_id=trigger, view=form())

        assert "exchanged_trigger_id" == refusal(client.views_open, trigger_id=trigger, view=form())["error"]

    @pytest.mark.parametrize(("age", "opens"), [(2.9, True), (3.1, False)])
    def test_a_trigger_lives_three_seconds(
        self, slack: SlackStandIn, served: Served, client: WebClient, clock: Clock, age: float, opens: bool
    ) -> None:
        """A slow app finds its trigger expired."""
        frozen = time.time()
        slack.clock = lambda: frozen + clock.offset
        trigger = a_trigger(slack, served)
        clock.offset = age

        if opens:
            assert client.views_open(trigger_id=trigger, view=form())["ok"]
        else:
            assert "expired_trigger_id" == refusal(client.views_open, trigger_id=trigger, view=form())["error"]

    def test_an_invented_trigger_opens_nothing(self, client: WebClient) -> None:
        """Only Slack makes triggers."""
        assert "invalid_trigger_id" == refusal(client.views_open, trigger_id="1.2.3", view=form())["error"]

    def test_a_bad_view_is_refused_and_the_trigger_kept(
        self, slack: SlackStandIn, served: Served, client: WebClient
    ) -> None:
        """The pointer leads into the view; a corrected view still opens."""
        trigger = a_trigger(slack, served)
        response = refusal(client.views_open, trigger_id=trigger, view=form(title=plain("x" * 25)))

        assert "invalid_arguments" == response["error"]
        assert "[json-pointer:/view/title/text]" in response["response_metadata"]["messages"][0]
        assert client.views_open(trigger_id=trigger, view=form())["ok"]

    def test_an_update_replaces_the_view_but_keeps_what_was_entered(
        self, slack: SlackStandIn, app: App, client: WebClient
    ) -> None:
        """Fields that keep their ids keep their values; the hash is new."""
        view = open_form(slack, app)
        app.view("ask")(lambda ack: ack(response_action="errors", errors={"why": "Say more"}))
        slack.submit(ALICE, {"reason": "INC-42"})
        updated = client.views_update(view_id=view["id"], hash=view["hash"], view=form(title=plain("New")))["view"]

        assert "New" == updated["title"]["text"]
        assert "INC-42" == updated["state"]["values"]["why"]["reason"]["value"]
        assert view["hash"] != updated["hash"]
        assert view["id"] == updated["id"]

    def test_an_old_hash_is_a_conflict(self, slack: SlackStandIn, app: App, client: WebClient) -> None:
        """Two updates from the same state: the second loses."""
        view = open_form(slack, app)
        client.views_update(view_id=view["id"], hash=view["hash"], view=form())
        response = refusal(client.views_update, view_id=view["id"], hash=view["hash"], view=form())

        assert "hash_conflict" == response["error"]

    def test_a_closed_modal_cannot_be_updated(self, slack: SlackStandIn, app: App, client: WebClient) -> None:
        """What the person closed is gone."""
        view = open_form(slack, app)
        slack.close(ALICE)

        assert slack.view_of(ALICE) is None
        assert "not_found" == refusal(client.views_update, view_id=view["id"], view=form())["error"]

    def test_a_submission_carries_the_values_and_closes(self, slack: SlackStandIn, app: App, served: Served) -> None:
        """Texts and options arrive by block and action; an empty acknowledgement closes the modal."""
        open_form(slack, app)
        app.view("ask")(lambda ack: ack())
        answer = slack.submit(ALICE, {"reason": "INC-42", "levels": "write"})
        values = served.bodies[-1]["view"]["state"]["values"]

        assert Answer(status=200) == answer
        assert "INC-42" == values["why"]["reason"]["value"]
        assert "write" == values["levels"]["level"]["selected_option"]["value"]
        assert slack.view_of(ALICE) is None

    def test_errors_are_shown_and_the_modal_stays(self, slack: SlackStandIn, app: App) -> None:
        """The app's complaint stands under its field."""
        open_form(slack, app)
        app.view("ask")(lambda ack: ack(response_action="errors", errors={"why": "Say more"}))

        assert Answer(status=200, errors={"why": "Say more"}) == slack.submit(ALICE, {"reason": "x"})
        assert slack.view_of(ALICE)

    def test_errors_for_a_field_that_is_not_there_are_a_failure(self, slack: SlackStandIn, app: App) -> None:
        """Slack can't place them; the modal stays."""
        open_form(slack, app)
        app.view("ask")(lambda ack: ack(response_action="errors", errors={"where": "Say more"}))

        assert slack.submit(ALICE, {"reason": "x"}).error
        assert slack.view_of(ALICE)

    def test_a_submission_can_answer_with_another_view(self, slack: SlackStandIn, app: App) -> None:
        """response_action update shows it in the same modal."""
        before = open_form(slack, app)
        app.view("ask")(lambda ack: ack(response_action="update", view=form(title=plain("Sent"))))
        slack.submit(ALICE, {"reason": "x"})
        view = slack.view_of(ALICE)

        assert view
        assert (before["id"], "Sent") == (view["id"], view["title"]["text"])

    def test_clear_closes(self, slack: SlackStandIn, app: App) -> None:
        """response_action clear leaves no modal."""
        open_form(slack, app)
        app.view("ask")(lambda ack: ack(response_action="clear"))
        slack.submit(ALICE, {"reason": "x"})

        assert slack.view_of(ALICE) is None

    def test_a_submission_can_put_a_view_on_top(self, slack: SlackStandIn, app: App, served: Served) -> None:
        """The one below waits with what was entered; closing the upper one leads back to it."""
        below = open_form(slack, app)
        app.view("ask")(lambda ack: ack(response_action="push", view=form(callback_id="more")))
        slack.submit(ALICE, {"reason": "INC-42"})
        above = slack.view_of(ALICE) or {}
        slack.close(ALICE)
        again = slack.view_of(ALICE) or {}

        assert (below["id"], below["id"]) == (above["previous_view_id"], above["root_view_id"])
        assert "more" == above["callback_id"]
        assert (below["id"], "INC-42") == (again["id"], again["state"]["values"]["why"]["reason"]["value"])

    def test_a_finished_view_on_top_leads_back_and_clear_ends_all(self, slack: SlackStandIn, app: App) -> None:
        """An empty acknowledgement closes one view, clear the whole modal."""
        below = open_form(slack, app)
        app.view("ask")(lambda ack: ack(response_action="push", view=form(callback_id="more")))
        app.view("more")(lambda ack, view: ack(response_action="clear") if in_a_hurry(view) else ack())
        slack.submit(ALICE, {"reason": "x"})
        slack.submit(ALICE, {"reason": "slowly"})
        after_one = slack.view_of(ALICE) or {}
        slack.submit(ALICE, {"reason": "x"})
        slack.submit(ALICE, {"reason": "fast"})

        assert below["id"] == after_one["id"]
        assert slack.view_of(ALICE) is None

    def test_three_views_are_the_limit(self, slack: SlackStandIn, app: App, served: Served, client: WebClient) -> None:
        """The fourth is refused, by answer and by call."""
        open_form(slack, app)
        app.view("ask")(lambda ack: ack(response_action="push", view=form()))
        errors = [slack.submit(ALICE, {"reason": "x"}).error for _ in range(3)]
        trigger = slack._new_trigger(ALICE)["trigger_id"]

        assert ["", ""] == errors[:2]
        assert "push" in errors[2]
        assert "push_limit_reached" == refusal(client.views_push, trigger_id=trigger, view=form())["error"]

    def test_a_call_puts_a_view_on_top_of_an_open_modal_only(
        self, slack: SlackStandIn, served: Served, client: WebClient
    ) -> None:
        """Without one there is nothing to put it on."""
        served.app.action("approve")(
            lambda ack, body, client: (
                ack(),
                client.views_push(trigger_id=body["trigger_id"], view=form(title=plain("Above"))),
            )
        )
        trigger = a_trigger(slack, served)
        without = refusal(client.views_push, trigger_id=trigger, view=form())["error"]
        client.views_open(trigger_id=a_trigger(slack, served), view=form(*card()))
        slack.press_in_view(ALICE, "approve")

        assert "not_found" == without
        assert "Above" == (slack.view_of(ALICE) or {})["title"]["text"]

    @pytest.mark.parametrize(("everything", "views"), [(False, 1), (True, 2)])
    def test_the_app_hears_of_closing_where_it_asked_to(
        self, slack: SlackStandIn, app: App, served: Served, everything: bool, views: int
    ) -> None:
        """view_closed says whether the whole modal was closed; other views go silently."""
        open_form(slack, app, form(notify_on_close=True))
        app.view("ask")(lambda ack: ack(response_action="push", view=form(notify_on_close=True)))
        app.view_closed("ask")(lambda ack: ack())
        slack.submit(ALICE, {"reason": "x"})
        answer = slack.close(ALICE, everything=everything)
        closed = [body for body in served.bodies if body.get("type") == "view_closed"]

        assert Answer(status=200) == answer
        assert [everything] * views == [body["is_cleared"] for body in closed]

    @pytest.mark.parametrize(
        "reply",
        [
            "nonsense",
            "[]",
            '{"response_action": "dance"}',
            '{"response_action": "update"}',
            '{"response_action": "push", "view": {}}',
        ],
    )
    def test_an_answer_that_slack_cannot_use_leaves_the_modal_open(
        self, slack: SlackStandIn, app: App, reply: str
    ) -> None:
        """The person sees that it failed, whatever the app wrote."""
        view = open_form(slack, app)
        app.view("ask")(lambda: BoltResponse(status=200, body=reply))

        assert "can't use" in slack.submit(ALICE, {"reason": "x"}).error
        assert view["id"] == (slack.view_of(ALICE) or {})["id"]

    def test_a_failed_submission_leaves_the_modal_open(self, slack: SlackStandIn, app: App) -> None:
        """No listener, no success: the person can try again."""
        open_form(slack, app)

        assert Answer(status=404, error="dispatch_failed") == slack.submit(ALICE, {"reason": "x"})
        assert slack.view_of(ALICE)

    def test_required_fields_are_asked_for_before_anything_is_sent(
        self, slack: SlackStandIn, app: App, served: Served
    ) -> None:
        """Slack's client does this by itself; optional fields may stay empty."""
        open_form(slack, app)
        answer = slack.submit(ALICE, {"levels": "read"})

        assert {"why"} == answer.errors.keys()
        assert "view_submission" not in [body.get("type") for body in served.bodies]

    @pytest.mark.parametrize("values", [{"levels": "admin"}, {"reason": "x" * 21}, {"nothing": "x"}])
    def test_what_a_form_does_not_take_cannot_be_entered(
        self, slack: SlackStandIn, app: App, values: dict[str, str]
    ) -> None:
        """An option that isn't offered, a text over max_length and a field that isn't there."""
        open_form(slack, app)

        with pytest.raises(LookupError):
            slack.submit(ALICE, values)

    def test_a_modal_without_a_submit_button_cannot_be_submitted(self, slack: SlackStandIn, app: App) -> None:
        """A modal that only shows something has nothing to send."""
        open_form(slack, app, {"type": "modal", "title": plain("Token"), "blocks": card()})

        with pytest.raises(NotOnScreenError):
            slack.submit(ALICE, {})

    def test_a_button_in_a_modal_reaches_the_listener(self, slack: SlackStandIn, app: App, served: Served) -> None:
        """The payload points at the view, and there is no response_url."""
        view = open_form(slack, app, {"type": "modal", "title": plain("Token"), "blocks": card()})
        app.action("approve")(lambda ack: ack())
        answer = slack.press_in_view(ALICE, "approve")
        payload = served.bodies[-1]

        assert Answer(status=200) == answer
        assert {"type": "view", "view_id": view["id"]} == payload["container"]
        assert view == payload["view"]
        assert "response_url" not in payload

    def test_what_is_filled_in_goes_along_with_a_press(self, slack: SlackStandIn, app: App, served: Served) -> None:
        """A button in a form sends what stands in the fields by then, and it stays."""
        open_form(slack, app, form(*card()))
        app.action("approve")(lambda ack: ack())
        slack.press_in_view(ALICE, "approve", values={"why": {"reason": "half"}})
        sent = served.bodies[-1]["view"]["state"]["values"]["why"]["reason"]["value"]

        assert ("half", "half") == (sent, (slack.view_of(ALICE) or {})["state"]["values"]["why"]["reason"]["value"])

    def test_a_field_that_dispatches_is_sent_and_others_are_not(
        self, slack: SlackStandIn, app: App, served: Served
    ) -> None:
        """dispatch_action makes a choice in a form an act; without it the choice waits for the form."""
        level = {
            "type": "input",
            "label": plain("Place"),
            "element": menu("static_select", "place"),
            "dispatch_action": True,
        }
        open_form(slack, app, form(level))
        app.action("place")(lambda ack: ack())
        answer = slack.press_in_view(ALICE, "place", value="write")
        values = served.bodies[-1]["view"]["state"]["values"]

        assert Answer(status=200) == answer
        assert ["write"] == [v["place"]["selected_option"]["value"] for v in values.values() if "place" in v]
        with pytest.raises(NotOnScreenError):
            slack.press_in_view(ALICE, "level", value="write")

    def test_checkboxes_are_submitted_as_a_list(self, slack: SlackStandIn, app: App, served: Served) -> None:
        """Required ones need a tick."""
        extras = {
            "type": "input",
            "block_id": "extras",
            "label": plain("Extras"),
            "element": menu("checkboxes", "extra"),
        }
        open_form(slack, app, form(extras))
        app.view("ask")(lambda ack: ack())
        without = slack.submit(ALICE, {"reason": "x"})
        slack.submit(ALICE, {"extra": ["read", "write"]})
        sent = served.bodies[-1]["view"]["state"]["values"]["extras"]["extra"]["selected_options"]

        assert {"extras"} == without.errors.keys()
        assert ["read", "write"] == [option["value"] for option in sent]

    def test_there_is_nothing_to_press_without_a_modal(self, slack: SlackStandIn) -> None:
        """Whoever has no modal open can neither press nor submit."""
        with pytest.raises(NotOnScreenError):
            slack.press_in_view(ALICE, "approve")
        with pytest.raises(NotOnScreenError):
            slack.submit(ALICE, {})


def in_a_hurry(view: Json) -> bool:
    return bool(view["state"]["values"]["why"]["reason"]["value"] == "fast")


class TestHome:
    @pytest.fixture
    def slack(self, clock: Clock) -> Iterator[SlackStandIn]:
        with a_slack(clock, manifest=with_home("app_home_opened")) as stand_in:
            yield stand_in

    def test_the_app_hears_that_it_was_opened(self, slack: SlackStandIn, app: App, served: Served) -> None:
        """A signed event in JSON says who looks at which tab, and what stands there already."""
        app.event("app_home_opened")(lambda event, client: client.views_publish(user_id=event["user"], view=a_home()))
        answers = [slack.open_app(ALICE), slack.open_app(ALICE)]
        first, second = (body["event"] for body in served.bodies)

        assert [Answer(status=200)] * 2 == answers
        assert {"type": "app_home_opened", "user": ALICE, "channel": "D0ALICE", "tab": "home"} == {
            name: first[name] for name in first.keys() - {"event_ts"}
        }
        assert (slack.home_of(ALICE) or {})["id"] == second["view"]["id"]
        assert {"event_callback", TEAM, "A0EXAMPLE"} <= {
            served.bodies[0][name] for name in ("type", "team_id", "api_app_id")
        }

    def test_the_messages_tab_is_told_apart(self, slack: SlackStandIn, app: App, served: Served) -> None:
        """Both tabs are the same event."""
        app.event("app_home_opened")(lambda: None)
        slack.open_app(ALICE, "messages")

        assert "messages" == served.bodies[0]["event"]["tab"]

    def test_a_failed_event_is_sent_once_more(self, slack: SlackStandIn, served: Served) -> None:
        """With its number and why, so that the app can tell."""
        answer = slack.open_app(ALICE)

        assert Answer(status=404, error="dispatch_failed") == answer
        assert 2 == len(slack.requests)
        assert served.bodies[0]["event_id"] == served.bodies[1]["event_id"]

    def test_without_the_subscription_nothing_is_sent(self, clock: Clock) -> None:
        """The tab opens all the same."""
        with a_slack(clock, manifest=with_home()) as slack:
            assert Answer() == slack.open_app(ALICE)
            assert [] == slack.requests

    @pytest.mark.parametrize(("user", "tab"), [(DAVE, "home"), (ALICE, "about"), ("U0NOBODY", "home")])
    def test_not_everybody_has_every_tab(self, slack: SlackStandIn, user: str, tab: str) -> None:
        """Outsiders don't see the app's Home, and there are two tabs."""
        with pytest.raises(NotOnScreenError):
            slack.open_app(user, tab)

    def test_what_is_published_is_that_persons_alone(self, slack: SlackStandIn, client: WebClient) -> None:
        """Publishing again keeps the view's id; an old hash is a conflict."""
        first = client.views_publish(user_id=ALICE, view=a_home())["view"]
        second = client.views_publish(user_id=ALICE, view=a_home(card()[0]), hash=first["hash"])["view"]
        conflict = refusal(client.views_publish, user_id=ALICE, view=a_home(), hash=first["hash"])

        assert (first["id"], 1) == (second["id"], len((slack.home_of(ALICE) or {})["blocks"]))
        assert "hash_conflict" == conflict["error"]
        assert slack.home_of(BOB) is None

    def test_what_cannot_be_published_is_refused(self, client: WebClient) -> None:
        """A modal is no Home tab, nobody's Home tab can't be written, and a Home tab can't be opened."""
        assert "invalid_arguments" == refusal(client.views_publish, user_id=ALICE, view=form())["error"]
        assert "user_not_found" == refusal(client.views_publish, user_id="U0NOBODY", view=a_home())["error"]
        assert "invalid_arguments" == refusal(client.views_open, trigger_id="1.2.3", view=a_home())["error"]

    def test_without_a_home_tab_nothing_can_be_published(self, clock: Clock) -> None:
        """The manifest decides that."""
        manifest = with_home()
        manifest["features"]["app_home"]["home_tab_enabled"] = False
        with a_slack(clock, manifest=manifest) as slack:
            client = WebClient(token=TOKEN, base_url=slack.api_url)

            assert "not_enabled" == refusal(client.views_publish, user_id=ALICE, view=a_home())["error"]
            with pytest.raises(NotOnScreenError):
                slack.open_app(ALICE)

    def test_a_button_there_opens_a_modal_over_it(self, slack: SlackStandIn, served: Served, client: WebClient) -> None:
        """The payload points at the Home view; its trigger opens a modal."""
        view = client.views_publish(user_id=ALICE, view=a_home(*card(), form()["blocks"][0]))["view"]
        served.app.action("approve")(
            lambda ack, body, client: (ack(), client.views_open(trigger_id=body["trigger_id"], view=form()))
        )
        slack.press_in_view(ALICE, "approve", values={"reason": "typed"}, at_home=True)
        payload = served.bodies[-1]

        assert {"type": "view", "view_id": view["id"]} == payload["container"]
        assert "typed" == payload["view"]["state"]["values"]["why"]["reason"]["value"]
        assert "ask" == (slack.view_of(ALICE) or {})["callback_id"]

    def test_without_one_there_is_nothing_to_press(self, slack: SlackStandIn) -> None:
        """The tab is empty until the app publishes something."""
        with pytest.raises(NotOnScreenError):
            slack.press_in_view(ALICE, "approve", at_home=True)


class TestReading:
    def test_messages_are_unread_until_somebody_looks(self, slack: SlackStandIn, client: WebClient) -> None:
        """Each person for themselves; an update makes nothing unread again, and ephemerals don't count."""
        posted = client.chat_postMessage(channel="C0APPROVALS", text="one")
        client.chat_postEphemeral(channel="C0APPROVALS", user=ALICE, text="two")
        before = slack.unread(ALICE)["C0APPROVALS"]
        slack.read(ALICE, "C0APPROVALS")
        client.chat_update(channel="C0APPROVALS", ts=posted["ts"], text="changed")

        assert (1, 0, 1) == (before, slack.unread(ALICE)["C0APPROVALS"], slack.unread(BOB)["C0APPROVALS"])

    def test_nobody_reads_where_they_are_not(self, slack: SlackStandIn) -> None:
        """Bob's channel is not on Alice's screen."""
        with pytest.raises(NotOnScreenError):
            slack.read(ALICE, "C0BOBS")

    def test_nobody_types_where_sending_was_turned_off(self, slack: SlackStandIn) -> None:
        """The manifest makes the app's messages read-only."""
        with pytest.raises(NotOnScreenError, match="turned off"):
            slack.command(ALICE, "D0ALICE", "/db-access")


class TestResponseUrls:
    def respond(self, slack: SlackStandIn, served: Served) -> WebhookClient:
        slack.command(ALICE, "C0RANDOM", "/db-access")
        return WebhookClient(served.bodies[-1]["response_url"])

    def test_it_answers_the_person_where_the_bot_is_no_member(self, slack: SlackStandIn, served: Served) -> None:
        """Without a response_type only Alice sees it."""
        assert 200 == self.respond(slack, served).send(text="Later").status_code
        assert ["Later"] == [message["text"] for message in slack.ephemerals(ALICE, "C0RANDOM")]

    def test_it_works_five_times(self, slack: SlackStandIn, served: Served) -> None:
        """The sixth use is refused and shows nothing."""
        hook = self.respond(slack, served)

        assert [200] * 5 + [404] == [hook.send(text="x").status_code for _ in range(6)]
        assert 5 == len(slack.ephemerals(ALICE, "C0RANDOM"))

    def test_it_works_for_half_an_hour(self, slack: SlackStandIn, served: Served, clock: Clock) -> None:
        """Later answers have to be posted."""
        hook = self.respond(slack, served)
        clock.offset = 30 * 60 - 10
        in_time = hook.send(text="x")
        clock.offset = 30 * 60 + 10
        too_late = hook.send(text="x")

        assert (200, 404) == (in_time.status_code, too_late.status_code)
        assert "expired_url" in too_late.body

    def test_bad_blocks_are_refused_there_too(self, slack: SlackStandIn, served: Served) -> None:
        """No way around the checker."""
        response = self.respond(slack, served).send(text="x", blocks=[{"type": "section"}])

        assert 404 == response.status_code
        assert "invalid_blocks" in response.body

    def test_an_invented_url_leads_nowhere(self, slack: SlackStandIn) -> None:
        """Only Slack makes them."""
        hook = WebhookClient(slack.api_url.replace("/api/", "/hooks/0123"))

        assert 404 == hook.send(text="x").status_code

    def test_it_can_replace_the_ephemeral_that_was_pressed(
        self, slack: SlackStandIn, served: Served, client: WebClient
    ) -> None:
        """The only way to change an ephemeral."""
        served.app.action("approve")(lambda ack, respond: (ack(), respond("Done", replace_original=True)))
        posted = client.chat_postEphemeral(channel="C0APPROVALS", user=BOB, text="x", blocks=card())
        slack.press(BOB, "C0APPROVALS", posted["message_ts"], "approve")

        assert [("Done", [])] == [(m["text"], m["blocks"]) for m in slack.ephemerals(BOB, "C0APPROVALS")]


def with_scopes(*scopes: str) -> Json:
    manifest = deepcopy(MANIFEST)
    manifest["oauth_config"]["scopes"]["bot"] = list(scopes)
    return manifest


class TestTheWebApi:
    @pytest.mark.parametrize(("token", "error"), [("xoxb-wrong", "invalid_auth"), (None, "not_authed")])
    def test_a_call_needs_the_bots_token(self, slack: SlackStandIn, token: str | None, error: str) -> None:
        """A wrong token and none are told apart."""
        client = WebClient(token=token, base_url=slack.api_url)

        assert error == refusal(client.chat_postMessage, channel=ALICE, text="x")["error"]

    def test_a_scope_that_the_manifest_lacks_is_missing(self, clock: Clock) -> None:
        """The answer names what is needed and what there is."""
        with a_slack(clock, manifest=with_scopes("commands", "users:read")) as slack:
            client = WebClient(token=TOKEN, base_url=slack.api_url)
            response = refusal(client.chat_postMessage, channel=ALICE, text="x")

        assert ("missing_scope", "chat:write", "commands,users:read") == (
            response["error"],
            response["needed"],
            response["provided"],
        )

    def test_a_method_that_the_product_does_not_use_is_unknown(self, client: WebClient) -> None:
        """The stand-in doesn't guess at the rest of Slack."""
        assert "unknown_method" == refusal(client.conversations_list)["error"]

    @pytest.mark.parametrize("method", ["views", "chat.", "chat.post", "new.ts", "views.open.x"])
    def test_nothing_but_methods_can_be_called(self, client: WebClient, method: str) -> None:
        """What the stand-in calls its own parts isn't part of the API."""
        assert "unknown_method" == refusal(client.api_call, api_method=method)["error"]

    def test_arguments_are_checked(self, client: WebClient) -> None:
        """A missing and an unknown argument are refused."""
        missing = refusal(client.api_call, api_method="chat.postMessage", json={"text": "x"})
        unknown = refusal(client.chat_postMessage, channel=ALICE, text="x", link_names=True)

        assert ("invalid_arguments", "invalid_arguments") == (missing["error"], unknown["error"])

    def test_auth_test_names_the_team_and_the_bot(self, client: WebClient) -> None:
        """The ids that an operator compares with the configuration."""
        response = client.auth_test()

        assert (TEAM, BOT, "B0BOT") == (response["team_id"], response["user_id"], response["bot_id"])

    def test_the_bot_names_its_app_and_every_answer_its_scopes(self, client: WebClient) -> None:
        """How an operator learns which app a token belongs to, and what it may do."""
        answer = client.bots_info(bot="B0BOT")

        assert ("A0EXAMPLE", "commands,chat:write,users:read") == (
            answer["bot"]["app_id"],
            answer.headers["X-OAuth-Scopes"],
        )
        assert "bot_not_found" == refusal(client.bots_info, bot="B0OTHER")["error"]

    @pytest.mark.parametrize(
        ("channel", "days", "error"),
        [
            ("C0RANDOM", 1, "not_in_channel"),
            ("C0NOWHERE", 1, "channel_not_found"),
            ("C0BOBS", -1, "time_in_past"),
            ("C0BOBS", 121, "time_too_far"),
        ],
    )
    def test_a_message_is_scheduled_only_where_and_when_it_could_be_posted(
        self, slack: SlackStandIn, clock: Clock, client: WebClient, channel: str, days: int, error: str
    ) -> None:
        """As posting it would be refused."""
        later = int(clock() + days * 86_400)

        assert error == refusal(client.chat_scheduleMessage, channel=channel, text="x", post_at=later)["error"]
        assert {} == slack.scheduled

    def test_a_scheduled_message_is_taken_back_once(self, slack: SlackStandIn, clock: Clock, client: WebClient) -> None:
        """By its own channel and id."""
        made = client.chat_scheduleMessage(channel="C0BOBS", text="later", post_at=int(clock()) + 3600)
        named = {"channel": "C0BOBS", "scheduled_message_id": made["scheduled_message_id"]}
        waiting = [message["text"] for message in slack.scheduled.values()]
        elsewhere = refusal(client.chat_deleteScheduledMessage, **named | {"channel": "C0APPROVALS"})["error"]
        client.chat_deleteScheduledMessage(**named)

        assert (["later"], "invalid_scheduled_message_id") == (waiting, elsewhere)
        assert "invalid_scheduled_message_id" == refusal(client.chat_deleteScheduledMessage, **named)["error"]
        assert {} == slack.scheduled

    def test_people_are_shown_as_they_are(self, slack: SlackStandIn, client: WebClient) -> None:
        """An outsider isn't called a stranger; only the team id shows it. Changes show at once."""
        slack.people[BOB] = replace(slack.people[BOB], deleted=True)
        dave = client.users_info(user=DAVE)["user"]

        assert ("T0OTHER", False) == (dave["team_id"], dave["is_stranger"])
        assert client.users_info(user=BOB)["user"]["deleted"]
        assert "user_not_found" == refusal(client.users_info, user="U0NOBODY")["error"]

    def test_user_groups_are_listed_where_the_scope_is_asked_for(self, clock: Clock, client: WebClient) -> None:
        """The members as they are; a group that isn't there is refused."""
        settings: Json = {"manifest": with_scopes("usergroups:read"), "groups": {"S0DB": {BOB, ALICE}}}
        with a_slack(clock, **settings) as slack:
            allowed = WebClient(token=TOKEN, base_url=slack.api_url)

            assert [ALICE, BOB] == allowed.usergroups_users_list(usergroup="S0DB")["users"]
            assert "no_such_subteam" == refusal(allowed.usergroups_users_list, usergroup="S0NONE")["error"]
        assert "usergroups:read" == refusal(client.usergroups_users_list, usergroup="S0DB")["needed"]

    def test_a_rate_limit_names_a_wait_and_passes(self, slack: SlackStandIn, client: WebClient) -> None:
        """The limited call changes nothing; the next is served."""
        slack.fail_next("chat.postMessage", status=429)
        response = refusal(client.chat_postMessage, channel=ALICE, text="first")
        client.chat_postMessage(channel=ALICE, text="second")

        assert (429, "ratelimited", "1") == (
            response.status_code,
            response["error"],
            response.headers["Retry-After"],
        )
        assert ["second"] == [message["text"] for message in slack.direct_messages(ALICE)]

    def test_failures_come_as_often_as_asked_and_for_one_method(self, slack: SlackStandIn, client: WebClient) -> None:
        """Other methods go on."""
        slack.fail_next("chat.update", "internal_error", times=2)
        posted = client.chat_postMessage(channel="C0APPROVALS", text="x")
        change = {"channel": "C0APPROVALS", "ts": posted["ts"], "text": "y"}

        assert ["internal_error"] * 2 == [refusal(client.chat_update, **change)["error"] for _ in range(2)]
        assert client.chat_update(channel="C0APPROVALS", ts=posted["ts"], text="y")["ok"]

    def test_a_call_that_hangs_outlasts_the_caller(self, slack: SlackStandIn) -> None:
        """Nothing is answered before the app gives up, and nothing was done."""
        slack.hang_next("chat.postMessage", seconds=20)
        client = WebClient(token=TOKEN, base_url=slack.api_url, timeout=1)

        with pytest.raises(TimeoutError):
            client.chat_postMessage(channel=ALICE, text="x")
        assert [] == slack.direct_messages(ALICE)

    def test_a_call_whose_answer_is_lost_took_effect(self, slack: SlackStandIn, client: WebClient) -> None:
        """The message is there, though the app reads only an error; the next call is served."""
        slack.hang_next("chat.postMessage", seconds=0, takes_effect=True)
        response = refusal(client.chat_postMessage, channel=ALICE, text="first")
        client.chat_postMessage(channel=ALICE, text="second")

        assert 504 == response.status_code
        assert ["first", "second"] == [message["text"] for message in slack.direct_messages(ALICE)]

    @pytest.mark.parametrize("method", ["views.open", "views.update", "views.publish", "users.info"])
    def test_every_method_can_be_limited(self, slack: SlackStandIn, client: WebClient, method: str) -> None:
        """The refusal comes before anything else is looked at."""
        slack.fail_next(method, status=429)

        assert 429 == refusal(client.api_call, api_method=method).status_code

    def test_everything_is_on_record(self, slack: SlackStandIn, served: Served, client: WebClient) -> None:
        """Calls with arguments and answer, refused ones too, and requests with what the app said."""
        served.app.command("/db-access")(lambda ack: ack("Asked"))
        slack.command(ALICE, "C0RANDOM", "/db-access orders")
        client.chat_postMessage(channel=ALICE, text="Ready")
        refusal(client.chat_postMessage, channel="C0NONE", text="Lost")
        request = slack.requests[0]

        assert [("chat.postMessage", "Ready", True), ("chat.postMessage", "Lost", False)] == [
            (call.name, call.arguments["text"], call.answer["ok"]) for call in slack.calls
        ]
        assert ("orders", "Asked") == (request.arguments["text"], request.answer["body"])

    def test_a_record_does_not_change_afterwards(self, slack: SlackStandIn, client: WebClient) -> None:
        """What was answered then is not rewritten by an update, nor by whoever reads messages."""
        posted = client.chat_postMessage(channel="C0APPROVALS", text="before")
        client.chat_update(channel="C0APPROVALS", ts=posted["ts"], text="after")
        slack.messages("C0APPROVALS")[0]["text"] = "forged"

        assert "before" == slack.calls[0].answer["message"]["text"]
        assert "after" == slack.messages("C0APPROVALS")[0]["text"]


class TestWaiting:
    def test_it_ends_with_the_change_that_is_waited_for(self, slack: SlackStandIn, client: WebClient) -> None:
        """A message that another thread posts wakes whoever waits."""
        later = threading.Timer(0.05, lambda: client.chat_postMessage(channel=ALICE, text="Ready"))
        later.start()
        started = time.monotonic()
        seen = slack.wait_for(lambda: slack.direct_messages(ALICE), timeout=20)
        waited = time.monotonic() - started
        later.join()

        assert "Ready" == seen[0]["text"]
        assert waited < 10

    def test_it_gives_up_in_time(self, slack: SlackStandIn) -> None:
        """A wait for what never comes raises."""
        with pytest.raises(TimeoutError):
            slack.wait_for(lambda: slack.direct_messages(ALICE), timeout=0.05)


class TestThePage:
    def get(self, slack: SlackStandIn, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", port_of(slack), timeout=5)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        answer = response.status, dict(response.getheaders()), response.read().decode()
        connection.close()
        return answer

    @pytest.mark.parametrize("path", FILES)
    def test_its_files_are_served_and_may_load_nothing_from_elsewhere(self, slack: SlackStandIn, path: str) -> None:
        """No script but its own, in no frame, and read by no other origin."""
        status, headers, text = self.get(slack, path)

        assert (200, FILES[path][1]) == (status, headers["Content-Type"])
        assert headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in headers
        assert text

    @pytest.mark.parametrize("path", FILES)
    def test_under_a_foreign_name_there_is_no_page(self, slack: SlackStandIn, path: str) -> None:
        """A name that leads here by rebinding is nobody's."""
        assert 403 == self.get(slack, path, Host="evil.example")[0]

    def test_it_makes_text_of_everything(self) -> None:
        """Nothing in its script turns text into markup or code."""
        script = (PAGE / "page.js").read_text()

        assert [] == [
            word for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(") if word in script
        ]

    def test_other_files_are_not_served(self, slack: SlackStandIn) -> None:
        """Only what is listed."""
        assert [404] * 3 == [self.get(slack, path)[0] for path in ("/api.py", "/page/page.js", "/../api.py")]

    def test_a_page_that_waits_is_told_of_a_change(self, slack: SlackStandIn, client: WebClient) -> None:
        """The answer comes with the message, not after a time."""
        version = json.loads(self.get(slack, f"/ui/state?user={ALICE}")[2])["version"]
        with ThreadPoolExecutor(1) as pages:
            waiting = pages.submit(self.get, slack, f"/ui/state?user={ALICE}&after={version}")
            client.chat_postMessage(channel=ALICE, text="Ready")
            seen = json.loads(waiting.result(timeout=4)[2])

        assert "Ready" == seen["messages"]["D0ALICE"][0]["text"]

    def test_a_page_that_waits_does_not_hold_up_the_end(self, clock: Clock) -> None:
        """Stopping answers it; a page that has gone is no trouble either."""
        slack = a_slack(clock).start()
        request = f"GET /ui/state?after={slack.state()['version']} HTTP/1.1\r\nHost: 127.0.0.1:{port_of(slack)}\r\n\r\n"
        waiting, gone = (socket.create_connection(("127.0.0.1", port_of(slack)), timeout=5) for _ in range(2))
        for page in (waiting, gone):
            page.sendall(request.encode())
        gone.close()
        self.get(slack, "/")  # whoever came before is being served by then
        started = time.monotonic()
        slack.stop()
        took = time.monotonic() - started

        assert waiting.recv(100).startswith(b"HTTP/1.0 200")
        assert took < 5
        waiting.close()

    def test_what_runs_behind_is_asked_of_whoever_knows(self, slack: SlackStandIn) -> None:
        """Slack itself knows nothing of it."""
        before = json.loads(self.get(slack, "/ui/behind")[2])
        slack.behind = lambda: {"sections": ["all of it"]}

        assert ({}, {"sections": ["all of it"]}) == (before, json.loads(self.get(slack, "/ui/behind")[2]))


def port_of(slack: SlackStandIn) -> int:
    return int(slack.api_url.split(":")[2].split("/")[0])


class TestControlRoutes:
    def ask(
        self, slack: SlackStandIn, verb: str, path: str, body: Json | None = None, **headers: str
    ) -> tuple[int, Json]:
        port = int(slack.api_url.split(":")[2].split("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = json.dumps(body) if body is not None else None
        connection.request(verb, path, content, {"Content-Type": "application/json", **named})
        response = connection.getresponse()
        answer = response.status, json.loads(response.read())
        connection.close()
        return answer

    def test_the_whole_walk_over_http(self, slack: SlackStandIn, app: App, client: WebClient) -> None:
        """Another process can do and see what a test can."""
        app.command("/db-access")(
            lambda ack, client, body: (
                ack("Here"),
                client.views_open(trigger_id=body["trigger_id"], view=form(*card())),
            )
        )
        app.action("approve")(lambda ack: ack())
        app.view("ask")(lambda ack: ack())
        posted = client.chat_postMessage(channel=ALICE, text="Card", blocks=card())
        press = {"user": ALICE, "channel": "D0ALICE", "ts": posted["ts"], "action_id": "approve"}
        typed = {"user": ALICE, "channel": "C0RANDOM", "text": "/db-access"}

        assert "Here" == self.ask(slack, "POST", "/ui/command", typed)[1]["text"]
        _, state = self.ask(slack, "GET", f"/ui/state?user={ALICE}")
        assert (200, 200, 200) == (
            self.ask(slack, "POST", "/ui/press", press)[1]["status"],
            self.ask(slack, "POST", "/ui/view-press", {"user": ALICE, "action_id": "approve"})[1]["status"],
            self.ask(slack, "POST", "/ui/submit", {"user": ALICE, "values": {"reason": "x"}})[1]["status"],
        )
        assert {"C0APPROVALS": "approvals", "C0RANDOM": "random", "D0ALICE": "directmessage"} == state["channels"]
        assert "Card" == state["messages"]["D0ALICE"][0]["text"]
        assert "Here" == state["ephemerals"]["C0RANDOM"][0]["text"]
        assert "ask" == state["view"]["callback_id"]
        assert {"bob", TEAM} <= {*state["people"][1].values()}
        assert self.ask(slack, "GET", f"/ui/state?user={ALICE}")[1]["view"] is None

    def test_closing_over_http(self, slack: SlackStandIn, app: App) -> None:
        """The modal is gone afterwards."""
        open_form(slack, app)

        assert 200 == self.ask(slack, "POST", "/ui/close", {"user": ALICE})[0]
        assert slack.view_of(ALICE) is None

    @pytest.mark.parametrize(
        "headers",
        [
            {"Host": "evil.example:80"},
            {"Host": "127.0.0.1"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:1"},
        ],
    )
    @pytest.mark.parametrize("path", ["/ui/command", "/api/chat.postMessage", "/hooks/x"])
    def test_pages_from_elsewhere_cannot_drive_it(
        self, slack: SlackStandIn, path: str, headers: dict[str, str]
    ) -> None:
        """A foreign Origin, and a foreign name for this machine, are refused everywhere."""
        typed = {"user": ALICE, "channel": "C0RANDOM", "text": "/db-access"}

        assert 403 == self.ask(slack, "POST", path, typed, **headers)[0]
        assert ([], []) == (slack.requests, slack.calls)

    def test_its_own_page_may(self, slack: SlackStandIn) -> None:
        """A page that the stand-in itself serves has its origin, by either name."""
        port = slack.api_url.split(":")[2].split("/")[0]

        assert (
            200 == self.ask(slack, "GET", "/ui/state", Host=f"localhost:{port}", Origin=f"http://localhost:{port}")[0]
        )

    def test_reading_never_acts(self, slack: SlackStandIn) -> None:
        """An image tag on a foreign page sends no Origin, but it can only GET, and GET does nothing."""
        path = f"/ui/command?user={ALICE}&channel=C0RANDOM&text=/db-access"

        assert 400 == self.ask(slack, "GET", path)[0]
        assert [] == slack.requests

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/ui/press", {"user": ALICE, "channel": "C0RANDOM", "ts": "1.1", "action_id": "approve"}),
            ("/ui/command", {"user": ALICE}),
            ("/ui/nothing", {}),
        ],
    )
    def test_what_cannot_be_done_is_said(self, slack: SlackStandIn, path: str, body: Json) -> None:
        """An unseen message, a missing argument, an unknown act."""
        status, answer = self.ask(slack, "POST", path, body)

        assert 400 == status
        assert answer["error"]


def test_nothing_outlives_stop(clock: Clock) -> None:
    """The port is closed and no thread is left."""
    before = threading.active_count()
    with a_slack(clock) as slack:
        WebClient(token=TOKEN, base_url=slack.api_url).auth_test()
    port = int(slack.api_url.split(":")[2].split("/")[0])

    assert before == threading.active_count()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", port, timeout=1).request("GET", "/")


def test_secrets_stay_out_of_its_text(slack: SlackStandIn) -> None:
    """Printing the stand-in shows neither secret."""
    assert SECRET not in repr(slack)
    assert TOKEN not in repr(slack)


def test_the_manifest_asks_for_no_more_than_is_used() -> None:
    """Three scopes, one command, one URL for everything, nothing that needs a standing process."""
    settings, features = MANIFEST["settings"], MANIFEST["features"]
    command = features["slash_commands"][0]

    assert ["commands", "chat:write", "users:read"] == MANIFEST["oauth_config"]["scopes"]["bot"]
    assert "Drawbridge" == MANIFEST["display_information"]["name"]
    assert ("/db-access", 1) == (command["command"], len(features["slash_commands"]))
    assert {"https://API/slack/events"} == {command["url"], settings["interactivity"]["request_url"]}
    assert {"bot_events": ["app_home_opened"], "request_url": "https://API/slack/events"} == (
        settings["event_subscriptions"]
    )
    assert not settings["socket_mode_enabled"]
