"""What a person chooses on the page is what the app is sent. The app is away here, so that each failure shows too."""

import json
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from slack_sdk import WebClient

from local import seed
from local.slack.api import SlackStandIn
from tests.browser.blocks import CARD, FORM, field, options, plain

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from tests.browser.page import Page

ALICE = "U0ALICE"
MANIFEST = json.loads((seed.ROOT / "chalicelib" / "slack" / "manifest.json").read_text(encoding="utf-8"))
DIALOG = {name: plain(name.title()) for name in ("title", "text", "confirm", "deny")}
CHOICES = [
    {"type": "static_select", "action_id": "place", "options": options("Here", "There"), "placeholder": plain("Place")},
    {"type": "checkboxes", "action_id": "extras", "options": options("Tea", "Cake")},
    {"type": "button", "action_id": "go", "text": plain("Go"), "value": "R-1", "confirm": DIALOG},
]


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """An app that takes every request and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def slack(silent: socket.socket) -> Iterator[SlackStandIn]:
    """Slack alone, and impatient, so that nothing takes three seconds."""
    features = MANIFEST["features"] | {"app_home": {"home_tab_enabled": True, "messages_tab_enabled": True}}
    events = {"bot_events": ["app_home_opened"], "request_url": "https://API/slack/events"}
    manifest = MANIFEST | {"features": features, "settings": MANIFEST["settings"] | {"event_subscriptions": events}}
    people = {"team": seed.TEAM, "users": seed.SLACK_USERS, "channels": seed.SLACK_CHANNELS}
    secrets = {"signing_secret": "a", "bot_token": seed.BOT_TOKEN}
    patience = {"request_timeout_seconds": 0.2, "deliver_to": f"http://127.0.0.1:{silent.getsockname()[1]}"}
    with SlackStandIn(manifest=manifest, clock=time.time, **people, **secrets, **patience) as running:
        yield running


@pytest.fixture
def client(slack: SlackStandIn) -> WebClient:
    """What the app calls Slack with."""
    return WebClient(token=seed.BOT_TOKEN, base_url=slack.api_url)


@pytest.fixture
def page(browser: "Chrome", slack: SlackStandIn) -> Iterator["Page"]:
    """Alice, in front of the page."""
    from tests.browser.page import Page  # noqa: PLC0415  it needs Selenium, which this machine may lack

    yield Page(browser, slack.page_url).resize(1280).load().act_as("alice")
    browser.get("about:blank")


def test_a_choice_in_a_message_is_sent_at_once(page: "Page", slack: SlackStandIn, client: WebClient) -> None:
    """Menus, ticks and the overflow menu; and what was chosen before goes along."""
    client.chat_postMessage(channel=ALICE, text="x", blocks=[*CARD[:2], {"type": "actions", "elements": CHOICES}])
    page.open_app().choose("Place", "There").choose("extras", "Tea").press("More actions").press("Two")
    page.wait("three acts", lambda: len(_sent(slack, "block_actions")) == 3)
    place, extras, more = (payload["actions"][0] for payload in _sent(slack, "block_actions"))

    assert "there" == place["selected_option"]["value"]
    assert ["tea"] == [option["value"] for option in extras["selected_options"]]
    assert ("overflow", "two") == (more["type"], more["selected_option"]["value"])


def test_a_question_comes_first(page: "Page", slack: SlackStandIn, client: WebClient) -> None:
    """Backing out sends nothing; a failure of the app is shown."""
    client.chat_postMessage(channel=ALICE, text="x", blocks=[{"type": "actions", "elements": CHOICES}])
    page.open_app().press("Go").confirm("Deny")
    before = len(_sent(slack, "block_actions"))
    page.press("Go").confirm("Confirm")

    assert "operation_timeout" in page.notice("That didn't work")
    assert (0, 1) == (before, len(_sent(slack, "block_actions")))


def test_a_form_is_sent_as_it_was_filled_in(page: "Page", slack: SlackStandIn, client: WebClient) -> None:
    """Every kind of field; the app's silence is shown in the form, which stays with what was entered."""
    page.open_channel("general")
    client.views_open(trigger_id=slack._new_trigger(ALICE)["trigger_id"], view=FORM)
    page.see("A form")
    page.fill("Reason", "one\ntwo").fill("Place", "There").fill("Level", "Write").fill("Extras", "Cake").submit()
    page.see("operation_timeout")
    values = _sent(slack, "view_submission")[0]["view"]["state"]["values"]

    assert "one\ntwo" == values["reason"]["reason"]["value"]
    assert ("there", "write") == tuple(values[name][name]["selected_option"]["value"] for name in ("place", "level"))
    assert ["cake"] == [option["value"] for option in values["extras"]["extras"]["selected_options"]]
    assert "one\ntwo" == page.value("Reason")


def test_a_view_on_top_leads_back(page: "Page", slack: SlackStandIn, client: WebClient) -> None:
    """What was typed below is still there."""
    page.open_channel("general")
    client.views_open(trigger_id=slack._new_trigger(ALICE)["trigger_id"], view=FORM)
    page.see("A form")
    page.fill("Reason", "half")
    above = {"type": "modal", "title": plain("Above"), "close": plain("Back"), "blocks": CARD[:1]}
    client.views_push(trigger_id=slack._new_trigger(ALICE)["trigger_id"], view=above)
    page.see("Above")
    page.press("Back").see("A form")

    assert "half" == page.value("Reason")


def test_the_home_tab_is_opened_and_used(page: "Page", slack: SlackStandIn, client: WebClient) -> None:
    """The app hears of it; a press sends what stands in the fields."""
    page.home().see("The app has put nothing here yet.")
    home = {
        "type": "home",
        "blocks": [field("Reason", "plain_text_input"), {"type": "actions", "elements": CHOICES[2:]}],
    }
    client.views_publish(user_id=ALICE, view=home)
    page.fill("Reason", "at home").press("Go").confirm("Confirm")
    page.wait("the press", lambda: _sent(slack, "block_actions"))
    payload = _sent(slack, "block_actions")[0]
    events = [call.arguments["event"]["tab"] for call in slack.requests if "event" in call.arguments]

    assert "at home" == payload["view"]["state"]["values"]["reason"]["reason"]["value"]
    assert "home" in events


def test_people_who_can_sign_in_may_be_acted_as(page: "Page") -> None:
    """A guest and outsiders among them, and marked so; nobody else."""
    offered = page.options("Act as")

    assert {"alice", "bob", "carol", "grace (guest)", "mallory (outsider)"} <= {*offered}
    assert not [name for name in offered if name.startswith(("robot", "frank"))]


def test_what_people_write_is_shown_as_text(page: "Page", client: WebClient) -> None:
    """No markup, no script, no foreign picture; nothing that the browser had to refuse."""
    hostile = "<script>document.title='gone'</script><img src=x onerror=alert(1)> javascript:alert(1) &lt;b&gt;"
    client.chat_postMessage(channel=ALICE, text=hostile.replace("<", "&lt;").replace(">", "&gt;"))
    quoted = {"type": "rich_text_quote", "elements": [{"type": "text", "text": hostile}]}
    client.chat_postMessage(channel=ALICE, text="x", blocks=[{"type": "rich_text", "elements": [quoted]}])
    page.open_app().see("onerror=alert(1)", of="&lt;b&gt;")

    assert "Slack stand-in" in page.browser.title
    assert [] == page.browser.find_elements("css selector", "#log :is(script, img, a)")
    assert [] == page.complaints()


def _sent(slack: SlackStandIn, kind: str) -> list[dict[str, Any]]:
    payloads = [json.loads(call.arguments["payload"]) for call in slack.requests if "payload" in call.arguments]
    return [payload for payload in payloads if payload["type"] == kind]
