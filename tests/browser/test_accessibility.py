"""The page by keyboard, by ear and on a phone. The blocks are our own: every kind of element that Slack's apps use here."""

from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.keys import Keys
from slack_sdk import WebClient

from local import seed
from local.workspace import Workspace
from tests.browser.blocks import CARD, FORM, plain

if TYPE_CHECKING:
    from tests.browser.page import Page

ALICE = "U0ALICE"


@pytest.fixture
def card(workspace: Workspace) -> None:
    """A direct message with one of everything."""
    client = WebClient(token=seed.BOT_TOKEN, base_url=workspace.slack.api_url)
    client.chat_postMessage(channel=ALICE, text="A card", blocks=CARD)


@pytest.fixture
def form(page: "Page", workspace: Workspace) -> "Page":
    """The form, in front of alice; the focus is where a real press would have left it."""
    client = WebClient(token=seed.BOT_TOKEN, base_url=workspace.slack.api_url)
    page.act_as("alice").open_channel("general")
    trigger = workspace.slack._new_trigger(ALICE)["trigger_id"]
    client.views_open(trigger_id=trigger, view=FORM)
    page.see("A form")
    return page


@pytest.mark.usefixtures("card")
def test_everything_that_can_be_used_has_a_name(page: "Page") -> None:
    """Whoever hears the page knows what each button and field is."""
    page.act_as("alice").open_app().see("A card")

    assert [] == [each.get_attribute("outerHTML") for each in page.controls() if not each.accessible_name.strip()]


def test_the_form_has_names_too(form: "Page") -> None:
    """Fields are named by their labels, and described by their hints."""
    names = [each.accessible_name for each in form.controls()]

    assert ["Close", "Reason", "Place", "Read", "Write", "Tea", "Cake", "Cancel", "Send"] == names


def test_the_focus_stays_in_the_form(form: "Page") -> None:
    """Once round with Tab, in the order in which the form is read, and back again."""
    first = form.focused().accessible_name
    stops = [form.keys(Keys.TAB).focused().accessible_name for _ in range(8)]
    back = [form.keys(Keys.TAB, shift=True).focused().accessible_name for _ in range(2)]

    assert "Reason" == first
    assert ["Place", "Read", "Tea", "Cake", "Cancel", "Send", "Close", "Reason"] == stops
    assert ["Close", "Send"] == back


def test_escape_closes_the_form(form: "Page", workspace: Workspace) -> None:
    """The focus goes back to the page, and Slack knows that the form is gone."""
    form.close()

    assert workspace.slack.view_of(ALICE) is None


def test_what_is_missing_is_said_at_the_field(form: "Page") -> None:
    """The first field with an error gets the focus, and says what is wrong with it."""
    form.submit().see("Please complete this required field.")

    assert "Reason" == form.focused().accessible_name
    described = form.focused().get_attribute("aria-describedby").split()
    assert "Please complete this required field." in [
        form.browser.find_element("id", each).text for each in described if form.browser.find_elements("id", each)
    ]


def test_a_redraw_keeps_what_is_typed_and_the_focus(form: "Page", workspace: Workspace) -> None:
    """The app changes the form while alice types; fields of the same ids stay as they are."""
    form.fill("Reason", "half a sen")
    client = WebClient(token=seed.BOT_TOKEN, base_url=workspace.slack.api_url)
    view = workspace.slack.view_of(ALICE) or {}
    client.views_update(view_id=view["id"], view=FORM | {"title": plain("Another title")})
    form.see("Another title")
    form.keys("tence")

    assert "half a sentence" == form.focused().get_attribute("value")


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(page: "Page", scheme: str) -> None:
    """At 360 pixels each panel fits, the longest lines too."""
    page.resize(360, scheme=scheme).act_as("alice").open_app().see("A card")
    is_too_wide = [page.is_too_wide()]
    page.behind("Money so far")

    assert [False, False] == [*is_too_wide, page.is_too_wide()]


@pytest.mark.usefixtures("card")
def test_only_safe_addresses_are_links(page: "Page") -> None:
    """What is not https is shown as text."""
    page.act_as("alice").open_app().see("no page")

    assert {"https://example.com/"} == {each.get_attribute("href") for each in page.links()}
