"""Journeys on the page, as people take them: by what they read and press. Nothing ends by itself here."""

import re
from typing import TYPE_CHECKING

import psycopg

from local.workspace import Workspace
from tests.e2e.people import eventually

if TYPE_CHECKING:
    from tests.browser.page import Page

REASON = "INC-42 <b>stuck</b> *orders* <!channel> & more"


def test_from_the_ask_to_the_receipt(page: "Page", workspace: Workspace) -> None:
    """Alice asks, carol approves, alice connects with her token; while she holds access and afterwards, all is to be seen."""
    request_id = _ask(page, "alice", f"my-aurora-location w 30m {REASON}")
    page.act_as("carol").open_channel("db-approvals").see(REASON)
    page.screenshot("approval-card").press("Approve Access", of=REASON)
    page.screenshot("approval-question").confirm("Approve").see("Approved by @carol", of=REASON)
    page.see("Live until", of=REASON)
    page.screenshot("approval-card-live")
    page.act_as("alice").open_app().see("Your database access is ready")
    page.screenshot("ready").press("Show Token").see("X-Amz-Signature=")
    page.screenshot("token")
    token = next(text for text in page.to_copy() if "X-Amz-Signature=" in text)
    page.close()
    assert "X-Amz-Signature" not in page.text()

    with _connect(workspace, token) as connection:
        user = connection.info.user
        page.behind("1 session")
        page.screenshot("behind-live")
        assert user.startswith("jit_")
        facts = page.behind(user).split("\n")
        assert {"HoldAccess", f"leased to {request_id}", "login on", "list price, us-east-1"} <= {*facts}
        page.open_app()
        _end(page, request_id)
        page.screenshot("ended")
    page.behind("Finished")
    assert user not in page.behind("no lease")
    assert [] == page.complaints()


def test_the_form_says_at_each_field_what_is_wrong(page: "Page") -> None:
    """Bob forgets the location, then wants too long, then gets it right."""
    page.act_as("bob").open_channel("general").type_command("/db-access")
    page.see("Ask for access")
    page.screenshot("form").submit().see("Please complete this required field.")
    page.fill("Location", "my-reports-location").fill("Level", "Write").fill("For how long?", "8 hours")
    page.fill("Reason", "close the month").submit().see("1 hour is the most for write access")
    page.screenshot("form-error")
    request_id = _id_in(page.fill("For how long?", "30 minutes").submit().see("Asked: write access"))
    page.screenshot("form-sent").press("Done")
    page.open_app().see("It waits for 1 approver", of=request_id)
    page.screenshot("asked-card").press("Cancel Request", of=request_id).see("was cancelled", of=request_id)
    page.screenshot("cancelled")
    page.act_as("carol").open_channel("db-approvals").see("Cancelled by the requester", of="close the month")


def test_a_denial_is_read_with_its_reason(page: "Page") -> None:
    """Carol cannot say no without a reason; bob reads hers."""
    _ask(page, "bob", "my-reports-location w 15m drop the old totals")
    page.act_as("carol").open_channel("db-approvals").press("Deny…", of="drop the old totals")
    page.see("Why not?")
    page.screenshot("deny-form").submit().see("Please complete this required field.")
    page.fill("Why not?", "Friday evening. Ask again on Monday, and take *read* access until then.").submit()
    page.see("Denied by @carol", of="drop the old totals")
    page.screenshot("approval-card-denied")
    page.act_as("bob").open_app().see("Friday evening. Ask again on Monday, and take *read*", of="was denied by @carol")
    page.screenshot("denied")


def test_more_time_is_asked_for_and_approved(page: "Page") -> None:
    """Where the level needs approval, so does more of it; the message with the commands shows the new end."""
    request_id = _ask(page, "alice", "my-aurora-location w 15m move the orders")
    _approve(page, "carol", "move the orders")
    page.act_as("alice").open_app().see("Your database access is ready", of=request_id)
    page.press("Extend…", of=request_id).see("How much longer?")
    page.screenshot("extend-form").fill("How much longer?", "30 minutes").submit().see("Asked to extend")
    page.screenshot("extend-sent").press("Done")
    page.act_as("carol").open_channel("db-approvals").see("asks to extend", of="Approve Extension")
    page.screenshot("extension-card").press("Approve Extension").confirm("Approve")
    page.see("Extended by 30 minutes", of="asks to extend")
    page.screenshot("extension-card-approved")
    page.act_as("alice").open_app().see("extended 1 time", of="Your database access is ready")
    page.see("now ends at")
    page.screenshot("extended")


def test_access_is_ended_before_its_time(page: "Page") -> None:
    """A question comes first; then the commands are gone from the message, and the receipt is there."""
    request_id = _ask(page, "bob", "my-reports-location r 1h look at the totals")
    page.open_app().see("Your database access is ready", of=request_id)
    page.press("End Now", of=request_id).see("This ends your sessions")
    page.screenshot("end-question").confirm("Keep Access").see("Show Token", of=request_id)
    _end(page, request_id)
    page.screenshot("ended-early")

    assert "Show Token" not in page.text()


def test_broken_glass_is_reviewed(page: "Page") -> None:
    """Alice gets write access at once; carol is told, finds it not justified and says why; alice reads it on the card."""
    request_id = _ask(page, "alice", "my-aurora-location w 30m --break-glass the shop is down")
    page.see("You broke the glass: every approver is told now")
    page.screenshot("broke-glass")
    page.act_as("carol").notice("broke the glass")
    page.open_channel("db-approvals").see("Was it justified?", of="the shop is down")
    page.screenshot("review-card").press("Not Justified…").see("Why was it not justified?")
    page.screenshot("review-form").fill("Why was it not justified?", "A runbook exists: restart the worker.").submit()
    page.see("is closed")
    page.screenshot("review-sent").press("Done").see("Not justified, says @carol", of="the shop is down")
    page.screenshot("reviewed")
    page.act_as("alice").open_channel("db-approvals").see("A runbook exists", of="the shop is down")
    page.open_app().see("Your database access is ready", of=request_id)


def test_two_approvers_are_two_people(page: "Page") -> None:
    """The first yes is counted and not enough; neither the same person again nor the requester is the second."""
    request_id = _ask(page, "alice", "my-reports-location o 30m find the slow query")
    page.act_as("bob").open_channel("db-approvals").see("approvals needed: 2", of="find the slow query")
    page.press("Approve Access", of="find the slow query").see("1 of 2 approved by @bob", of="find the slow query")
    page.screenshot("one-of-two")
    page.press("Approve Access", of="find the slow query").see("Only visible to you")
    page.screenshot("one-of-two-again")
    page.act_as("alice").open_channel("db-approvals").press("Approve Access", of="find the slow query")
    page.see("cannot decide your own request")
    page.screenshot("one-of-two-self")
    page.act_as("carol").open_channel("db-approvals").press("Approve Access", of="find the slow query")
    page.see("Approved by @bob, @carol", of="find the slow query")
    page.screenshot("two-of-two")
    page.act_as("alice").open_app().see("Your database access is ready", of=request_id)
    page.screenshot("ready-operate").press("Who Blocks Whom…").see("pg_kill_connection")
    page.screenshot("who-blocks").close().press("Connect With a GUI…").see("DBeaver")
    page.screenshot("gui").close().press("First Time Here?").see("Session Manager plugin")
    page.screenshot("first-time").close()


def test_what_somebody_may_do_is_explained(page: "Page") -> None:
    """Which rule holds and who can approve; what there is, what was asked and held, and what it has cost."""
    page.act_as("alice").open_channel("general")
    explained = page.answer_to("/db-access explain my-aurora-location w")
    page.screenshot("explain")
    listed = page.answer_to("/db-access list")
    page.screenshot("list")
    mine = page.answer_to("/db-access mine")
    history = page.answer_to("/db-access history")
    page.screenshot("history")
    cost = page.answer_to("/db-access cost")
    page.screenshot("cost")
    helped = page.answer_to("/db-access help")
    page.screenshot("help")
    wrong = page.answer_to("/db-access my-auroa-location w 30m fix the orders")
    page.screenshot("wrong")

    assert "Who can approve now: @carol" in explained
    assert "my-reports-location (prod): read at once · operate with 2 approvals" in listed
    assert "You hold no access" in mine
    assert "ended today" in history
    assert "so far: $" in cost
    assert "/db-access" in helped
    assert "my-aurora-location" in wrong


def test_less_is_approved_than_was_asked(page: "Page") -> None:
    """Bob asks to write for an hour and gets to read for a quarter."""
    request_id = _ask(page, "bob", "my-reports-location w 1h count the totals")
    page.act_as("carol").open_channel("db-approvals").press("Approve as Read or Shorter…", of="count the totals")
    page.see("Approve less")
    page.screenshot("approve-less").fill("Level", "Read").fill("For how long?", "15 minutes").submit()
    page.see("as read for 15 minutes; asked: write for 1 hour", of="count the totals")
    page.see("Live until", of="count the totals")
    page.screenshot("approved-less")
    page.act_as("bob").open_app().see("Your database access is ready", of=request_id)
    page.see("Read access to my-reports-location", of=request_id)
    page.screenshot("ready-less")


def test_home_is_enough(page: "Page") -> None:
    """Alice asks from there, carol decides there, and alice sees and ends what she holds."""
    page.act_as("alice").home().see("What you may ask for")
    page.press("Ask for Access").fill("Location", "my-aurora-location").fill("Level", "Operate")
    page.fill("For how long?", "15 minutes").fill("Reason", "who locks the orders").submit().see("Asked: operate")
    page.press("Done").home().see("Your requests")
    page.screenshot("home-asked")
    page.act_as("carol").home().see("Waiting for your decision")
    page.screenshot("home-decide").press("Approve Access").wait(
        "the end of waiting", lambda: "Waiting for" not in page.text()
    )
    page.act_as("alice").home()
    page.see("Your access")
    page.see("Operate access to my-aurora-location until")
    page.screenshot("home-held").press("End Now").confirm("End Now").see("You get the receipt in a direct message.")
    page.press("Done").see("You hold no access at the moment.")
    page.see("ended today at")
    page.screenshot("home-ended")


def test_a_phone_is_enough(page: "Page") -> None:
    """At 360 pixels alice asks, carol approves, and alice reads how to connect; nobody scrolls sideways."""
    page.resize(360, 740)
    widths = []

    def look(name: str) -> None:
        page.screenshot(f"phone-{name}")
        widths.append((name, page.is_too_wide()))

    page.act_as("alice").open_channel("general").type_command("/db-access")
    page.see("Ask for access")
    look("form")
    page.fill("Location", "my-aurora-location").fill("Level", "Write").fill("Reason", "on the train").submit()
    request_id = _id_in(page.see("Asked: write"))
    look("sent")
    page.press("Done")
    page.act_as("carol").open_channel("db-approvals").see("on the train")
    look("card")
    page.press("Approve Access", of="on the train").confirm("Approve").see("Approved", of="on the train")
    page.act_as("alice").open_app().see("Your database access is ready", of=request_id)
    look("ready")
    page.press("Show Token").see("X-Amz-Signature=")
    look("token")
    page.close().home().see("Your access")
    look("home")
    page.press("End Now").confirm("End Now").see("You get the receipt in a direct message.")
    look("sent-from-home")
    page.press("Done").open_app().see("Database sessions left: 0", of=request_id)
    look("ended")

    assert [] == [name for name, is_too_wide in widths if is_too_wide]


def test_whoever_may_not_approve_is_told_so(page: "Page") -> None:
    """Bob himself, and alice, who is no approver: each is told alone, until the page is reloaded, and the card stays."""
    _ask(page, "bob", "my-reports-location w month's end")
    for who in ("bob", "alice"):
        page.act_as(who).open_channel("db-approvals").press("Approve Access", of="month's end").confirm("Approve")
        page.see("Only visible to you")
    page.act_as("carol")

    assert "Only visible to you" not in page.text()
    page.load().act_as("alice").open_channel("db-approvals").see("Approve Access", of="month's end")
    assert "Only visible to you" not in page.text()


def test_an_outsider_has_no_command(page: "Page") -> None:
    """Slack answers it, not the app, and leaves what was typed."""
    page.act_as("mallory").open_channel("general").type_command("/db-access my-aurora-location r")

    assert "/db-access is not a valid command" in page.see("is not a valid command")


def test_a_card_for_somebody_is_announced(page: "Page") -> None:
    """Whoever looks elsewhere reads the fallback text, and sees what is unread; reading takes the mark away."""
    page.act_as("alice").open_channel("general").type_command("/db-access my-aurora-location o")
    page.notice("New for alice")

    assert 0 < page.unread("db-approvals")
    assert 0 == page.open_channel("db-approvals").open_channel("general").unread("db-approvals")


def _ask(page: "Page", who: str, line: str) -> str:
    return _id_in(page.act_as(who).open_channel("general").answer_to(f"/db-access {line}"))


def _id_in(answer: str) -> str:
    found = re.search(r"Asked: .*(R-\w{6})", answer)
    assert found, answer
    return found[1]


def _end(page: "Page", request_id: str) -> None:
    page.press("End Now", of=request_id).confirm("End Now").see("Database sessions left: 0", of=request_id)


def _approve(page: "Page", who: str, reason: str) -> None:
    page.act_as(who).open_channel("db-approvals").press("Approve Access", of=reason).confirm("Approve")
    page.see("Approved by", of=reason)


def _connect(workspace: Workspace, token: str) -> "psycopg.Connection[tuple[object, ...]]":
    user = token.partition("DBUser=")[2].partition("&")[0]
    login = f"host=127.0.0.1 port={workspace.proxy.port} dbname=depotpostgres user={user} sslmode=require"
    return eventually("a connection", lambda: psycopg.connect(login, password=token))
