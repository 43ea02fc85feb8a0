"""Journeys in which time runs out: answers that do not come, access that ends, reviews that wait."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.browser.page import Page

SECONDS = {"ACCESS": 3600, "APPROVAL_WAIT": 8, "IDLE_GRACE": 60}


def test_what_timed_out_is_asked_again(page: "Page") -> None:
    """Approvers are reminded once and stay silent; bob asks again with what he had written."""
    page.act_as("bob").open_channel("general").answer_to("/db-access my-reports-location w 15m close the month")
    page.act_as("carol").open_channel("db-approvals").see("It still waits", of="Replied to a thread")
    page.screenshot("reminder").see("Timed out", of="close the month")
    page.screenshot("approval-card-timed-out")
    page.act_as("bob").open_app().see("was not answered in time")
    page.screenshot("timed-out").press("Ask Again").see("Ask for access")
    page.screenshot("form-prefilled")

    assert "my-reports-location" == page.value("Location")
    assert "900" == page.value("For how long?")
    assert "close the month" == page.value("Reason")
    page.submit().see("Asked: write access")


def test_the_warning_prolongs(page: "Page") -> None:
    """Told before the end, alice takes half an hour more by one click; the warning and the commands show the new end."""
    page.act_as("alice").open_channel("general").answer_to("/db-access my-aurora-location r 40s count the orders")
    page.open_app().see("Sessions that are open by then are closed")
    page.screenshot("ending-soon").press("Extend 30 Minutes").see("was extended and ends at")
    page.see("extended 1 time", of="Your database access is ready")
    page.see("What you have open stays open")
    page.screenshot("extended-from-the-warning")


def test_access_ends_by_itself(page: "Page") -> None:
    """Nobody does anything; the receipt comes, and Ask Again is there."""
    page.act_as("bob").open_channel("general").answer_to("/db-access my-reports-location r 2s")
    page.open_app().see("ended today")
    page.screenshot("ended-by-itself")

    assert "Ask Again" in page.see("Login: off", of="Database sessions left: 0")


def test_a_review_is_asked_for_until_it_is_done(page: "Page") -> None:
    """Carol is reminded of the broken glass, and finds it justified."""
    page.act_as("alice").open_channel("general").answer_to(
        "/db-access urgent-location w 15m --break-glass the shop is down"
    )
    page.act_as("carol").open_channel("db-approvals").see("nobody has reviewed it", of="Replied to a thread")
    page.screenshot("review-reminder").press("Justified", of="Was it justified?").see("is closed. Thank you.")
    page.see("Justified, says @carol", of="the shop is down")
    page.screenshot("review-justified")
