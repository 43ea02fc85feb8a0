"""What people do besides the plain journey: forms, less than asked, more time, cancelling, several approvers, broken glass."""

import json
import shlex
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from chalicelib.domain.decisions import Verdict
from chalicelib.domain.grants import Grant
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.reviews import ReviewVerdict
from local.functions import environment
from local.workspace import Workspace
from tests.e2e.people import People, eventually, lines_of, payload_of, said_in


@pytest.fixture
def held(people: People) -> Iterator[str]:
    """Read access to my-aurora-location that bob holds."""
    request_id = people.ask("bob", "my-aurora-location r 30m")
    people.ready("bob", request_id)
    yield request_id
    people.reply("bob", f"/db-access end {request_id}")
    assert "Finished" == people.wait_for_end(request_id)


def test_the_form_is_filled_in_and_sent(people: People) -> None:
    """What is wrong stands at its field; what is right is filed, and the window says so."""
    people.slack.command("U0BOB", "C0GENERAL", "/db-access")
    filled = {"location": "my-reports-location", "level": "o", "reason": "why not", "port": "80"}

    wrong = people.slack.submit("U0BOB", filled)
    refused = people.slack.submit("U0BOB", {"port": "56999"})
    sent = people.slack.submit("U0BOB", {"level": "w"})
    shown = said_in(people.slack.view_of("U0BOB"))
    request_id = next(each.request_id for each in _asked(people, "bob"))

    assert ["port"] == list(wrong.errors)
    assert "You may not ask for operate access" in refused.errors["level"]
    assert {} == sent.errors
    assert f"Asked: write access to my-reports-location for 1 hour. {request_id}" in shown
    people.slack.close("U0BOB")
    people.deny("carol", request_id, "Ask <@U0ALICE> first.")
    assert "Denied" == people.wait_for_end(request_id)
    assert "Ask <@U0ALICE> first." in str(people.direct("bob", request_id, "was denied"))
    people.press_direct("bob", request_id, "ask_again")
    form = people.slack.view_of("U0BOB") or {}
    assert "why not" == form["state"]["values"]["reason"]["reason"]["value"]
    assert "56999" == form["state"]["values"]["port"]["port"]["value"]
    people.slack.press_in_view("U0BOB", "forget_profile")


def test_less_is_approved_than_was_asked(people: People) -> None:
    """As read and for a shorter time: the role in the database reads and nothing else, and the end is the shorter one."""
    request_id = people.ask("alice", "my-aurora-location w 1h")
    people.decide("carol", request_id, "approve_less")
    people.slack.submit("U0CAROL", {"level": "r", "duration": "900"})
    psql = lines_of(people.ready("alice", request_id))[1]
    token, grant = people.token("alice", request_id), _grant(people, request_id)

    with psycopg.connect(shlex.split(psql)[1], password=token, port=people.workspace.proxy.port) as connection:
        connection.read_only = False
        read = connection.execute("SELECT count(*) FROM shop.orders").fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE shop.orders SET state = 'mine'")

    assert (3,) == read
    assert PermissionLevel.READ is grant.facts.level
    assert "_r_alice" in grant.facts.role
    assert grant.delivered_at is not None
    assert timedelta(minutes=15) == grant.ends_at - grant.delivered_at
    people.press_ready("alice", request_id, "end")
    assert "Finished" == people.wait_for_end(request_id)


def test_two_of_two_approve(people: People) -> None:
    """The first yes is shown on the card and on Home, the second one grants; a third is late."""
    request_id = people.ask("alice", "my-reports-location o 1s")
    people.decide("bob", request_id)
    card = eventually("the progress", lambda: _card_with(people, request_id, "U0BOB"))
    people.press_home("carol", request_id, "approve")

    assert "Finished" == people.wait_for_end(request_id)
    assert "1 of 2" in str(card)
    assert Verdict.APPROVED is people.record(request_id).decisions.verdict
    assert request_id not in str(people.home("carol"))


def test_more_time_by_one_click(people: People, held: str) -> None:
    """Where the level is automatic, so is its extension: the ready message shows the new end, and the role stays."""
    before = _grant(people, held)
    people.press_ready("bob", held, "extend")

    people.slack.submit("U0BOB", {"duration": "1800"})

    after = eventually("the new end", lambda: _longer(people, held, before))
    shown = eventually("the new end on the card", lambda: people.direct("bob", held, "extended 1 time"))
    assert timedelta(minutes=30) == after.ends_at - before.ends_at
    assert before.facts == after.facts
    assert "'show_token'" in str(shown)
    assert eventually("the message", lambda: people.direct("bob", held, "now ends at"))


def test_more_time_is_approved_like_the_access(people: People) -> None:
    """A denied extension leaves the end as it was; the cap of the level counts it in."""
    request_id = people.ask("bob", "my-reports-location w 30m")
    people.decide("carol", request_id)
    people.ready("bob", request_id)
    before = _grant(people, request_id)

    too_long = people.reply("bob", f"/db-access extend {request_id} 45m")
    asked = people.reply("bob", f"/db-access extend {request_id} 30m")
    extension = asked.partition("R-")[1] + asked.partition("R-")[2][:6]
    people.deny("carol", extension, "Finish first.")

    assert "can get at most 30 minutes more" in too_long
    assert "waits for 1 approver" in asked
    assert "Denied" == people.wait_for_end(extension)
    assert before.ends_at == _grant(people, request_id).ends_at
    people.reply("bob", "/db-access end all")
    assert "Finished" == people.wait_for_end(request_id)


def test_more_time_is_never_at_another_level(people: People) -> None:
    """Read access may have a longer cap; a form that was changed to approve an extension as read approves nothing."""
    request_id = people.ask("bob", "my-reports-location w 30m")
    people.decide("carol", request_id, "approve_less")
    people.slack.submit("U0CAROL", {"level": "w", "duration": "1800"})
    sent = people.sending(request_id, "approve_less")
    people.ready("bob", request_id)
    asked = people.reply("bob", f"/db-access extend {request_id} 30m")
    extension = asked.partition("R-")[1] + asked.partition("R-")[2][:6]
    people.approval_card(extension)

    def as_read(payload: dict[str, Any]) -> None:
        payload["view"]["private_metadata"] = extension
        payload["view"]["state"]["values"]["level"]["level"]["selected_option"]["value"] = "r"

    answer = people.forge(sent, as_read)

    assert "as asked, or shorter" in answer["body"]
    assert () == people.record(extension).decisions.decisions
    people.reply("bob", "/db-access end all")
    people.reply("bob", f"/db-access cancel {extension}")
    assert ["Finished", "Cancelled"] == [people.wait_for_end(request_id), people.wait_for_end(extension)]


@pytest.mark.parametrize("phase", ["waiting", "preparing", "ready"])
def test_a_request_is_taken_back_in_each_phase(people: People, phase: str) -> None:
    """Cancelled before it is granted, ended afterwards; nothing of it is left."""
    request_id = people.ask("alice", "my-aurora-location w 30m")
    card = eventually("the card to follow", lambda: people.direct("alice", request_id, "'cancel'"))
    if phase != "waiting":
        people.decide("carol", request_id)
    if phase == "ready":
        people.ready("alice", request_id)
        people.reply("alice", f"/db-access cancel {request_id}")
    elif phase == "preparing":
        people.reply("alice", f"/db-access cancel {request_id}")
    else:
        people.slack.press("U0ALICE", "D0ALICE", card["ts"], "cancel")

    end = people.wait_for_end(request_id)

    assert end == "Cancelled" if phase == "waiting" else end in {"Cancelled", "Finished"}
    assert [] == _logins(people.workspace, "alice", "w")
    assert "'cancel'" not in str([m for m in people.slack.direct_messages("U0ALICE") if request_id in str(m)])


def test_the_glass_is_broken_and_reviewed(people: People) -> None:
    """At once, with every approver told; the review is asked for again until somebody else than the taker closes it."""
    refused = people.reply("alice", "/db-access urgent-location w --break-glass")
    request_id = people.ask("alice", "urgent-location w 1s --break-glass --reason fire")
    card = eventually("the review card", lambda: _card_with(people, request_id, "not_justified"))
    people.slack.press("U0ALICE", "C0APPROVALS", card["ts"], "justified")
    eventually("the reminder", lambda: _card_with(people, request_id, "nobody has reviewed it"))
    people.slack.press("U0CAROL", "C0APPROVALS", card["ts"], "not_justified")
    people.slack.submit("U0CAROL", {"note": "That was no fire."})

    review = people.record(request_id).review
    assert "needs a reason" in refused
    assert [each for each in people.whispers("alice") if "cannot review your own access" in each]
    assert ("<@U0CAROL>" in str(card), ReviewVerdict.NOT_JUSTIFIED) == (True, review.verdict)
    assert "That was no fire." in str(_card_with(people, request_id, "Not justified"))
    assert "Finished" == people.wait_for_end(request_id)
    assert "Finished" == people.wait_for_end(f"{request_id}-review")


def test_a_second_tunnel_gets_another_port(people: People, held: str) -> None:
    """Two live grants of one person never ask for the same local port."""
    port = _grant(people, held).facts.port
    second = people.ask("bob", f"my-reports-location r 30m --port {port}")
    people.ready("bob", second)

    assert port + 1 == _grant(people, second).facts.port
    people.press_ready("bob", second, "end")
    assert "Finished" == people.wait_for_end(second)


def test_a_profile_is_remembered_until_it_is_forgotten(people: People) -> None:
    """The next request has it without being told, until Forget is pressed in the form."""
    lines = []
    for option in (" --profile prod-read", "", ""):
        request_id = people.ask("alice", f"my-aurora-location r 30m{option}")
        lines.append(lines_of(people.ready("alice", request_id))[0])
        people.press_ready("alice", request_id, "end")
        assert "Finished" == people.wait_for_end(request_id)
        if len(lines) == 2:
            people.slack.command("U0ALICE", "C0GENERAL", "/db-access")
            people.slack.press_in_view("U0ALICE", "forget_profile")
            forgotten = said_in(people.slack.view_of("U0ALICE"))

    assert [True, True, False] == ["--profile prod-read" in line for line in lines]
    assert "are forgotten" in forgotten


def test_the_token_is_shown_by_a_command(people: People, held: str) -> None:
    """Without an id, when there is one that can be meant."""
    people.slack.command("U0BOB", "C0GENERAL", "/db-access token")

    assert eventually("the token", lambda: "X-Amz-Signature=" in said_in(people.slack.view_of("U0BOB")))


def test_questions_are_answered(people: People, held: str) -> None:
    """Which rule, what is mine, what ended, what it cost: for the eyes of who asked."""
    answers = {word: str(_blocks(people, word)) for word in ("list", "mine", "history", "cost", "help")}
    explained = str(_blocks(people, "explain my-reports-location w"))
    people.slack.open_app("U0BOB")

    assert held in answers["mine"]
    assert "my-reports-location" in answers["list"]
    assert "$" in answers["cost"]
    assert "/db-access extend" in answers["help"]
    assert "<@U0CAROL>" in explained
    assert "1 hour in all" in explained
    assert held in str(people.home("bob"))


def test_what_ended_stands_in_the_history(people: People) -> None:
    """And on Home, from where it can be asked again."""
    request_id = people.ask("carol", "my-aurora-location r 1s")
    people.wait_for_end(request_id)

    history = people.slack.command("U0CAROL", "C0GENERAL", "/db-access history")

    assert request_id in str(history.blocks)
    eventually("the end on Home", lambda: f"'value': '{request_id}'" in str(people.home("carol")))


def test_home_follows_each_change(people: People) -> None:
    """Nobody opens it in between: what waits, what is held and what has ended is published by itself."""
    request_id = people.ask("alice", "my-aurora-location w 30m")
    eventually("what waits", lambda: request_id in str(people.home("carol")))
    asked = eventually("the request", lambda: "'cancel'" in str(people.home("alice")))
    people.press_home("carol", request_id, "approve")
    people.ready("alice", request_id)
    held = eventually("the access", lambda: "'show_token'" in str(people.home("alice")))
    people.press_home("alice", request_id, "end")
    assert "Finished" == people.wait_for_end(request_id)
    eventually("the end", lambda: "'show_token'" not in str(people.home("alice")))

    assert (True, True) == (asked, held)
    assert "'approve'" not in str(people.home("carol"))


def test_a_refusal_on_home_is_seen(people: People) -> None:
    """Home has no message to answer beside; a window says why nothing was done."""
    request_id = people.ask("alice", "my-aurora-location w 30m")
    eventually("what waits", lambda: request_id in str(people.home("carol")))
    people.press_home("carol", request_id, "deny")
    people.slack.close("U0CAROL")
    opened = people.click(request_id, "deny")
    people.reply("alice", f"/db-access cancel {request_id}")
    people.wait_for_end(request_id)

    def approve(payload: dict[str, Any]) -> None:
        payload["actions"][0]["action_id"] = "approve"
        payload.update(people.slack._new_trigger("U0CAROL"))

    people.forge(opened, approve)

    assert "home" == payload_of(opened)["view"]["type"]
    assert "has ended already (cancelled)" in said_in(people.slack.view_of("U0CAROL"))


def test_a_spent_budget_stops_what_nobody_approves(people: People, workspace: Workspace) -> None:
    """Automatic access is refused with the reason; what somebody approves, and an emergency, goes on."""
    catalogue = json.loads((workspace.directory / "catalogue.json").read_text(encoding="utf-8"))
    poor = workspace.directory / "poor.json"
    poor.write_text(json.dumps(catalogue | {"budget": 0.0001}), encoding="utf-8")
    with environment({"DRAWBRIDGE_CATALOGUE": str(poor)}):
        refused = people.reply("alice", "/db-access my-aurora-location r")
        request_id = people.ask("alice", "my-aurora-location w 1s")
        people.decide("carol", request_id)

        assert "budget of $0.00 is spent" in refused
        assert "Finished" == people.wait_for_end(request_id)


def _asked(people: People, who: str) -> list[Any]:
    """A person's open requests, newest last."""
    found = people.slack.command(f"U0{who.upper()}", "C0GENERAL", "/db-access mine")
    values = [each["value"] for block in found.blocks for each in block.get("elements", []) if each.get("value")]
    return sorted((people.record(each).request for each in values), key=lambda request: request.asked_at)


def _blocks(people: People, command: str) -> Any:
    answer = people.slack.command("U0BOB", "C0GENERAL", f"/db-access {command}")
    assert answer.ephemeral
    return answer.blocks


def _grant(people: People, request_id: str) -> Grant:
    grant = people.grant(request_id)
    assert isinstance(grant, Grant)
    return grant


def _longer(people: People, request_id: str, before: Grant) -> Grant | None:
    grant = _grant(people, request_id)
    return grant if grant.ends_at > before.ends_at else None


def _card_with(people: People, request_id: str, text: str) -> dict[str, Any] | None:
    messages = reversed(people.slack.messages("C0APPROVALS"))
    return next((each for each in messages if request_id in str(each) and text in str(each["blocks"])), None)


def _logins(workspace: Workspace, who: str, level: str) -> list[Any]:
    with workspace.database.connect() as connection:
        pattern = f"jit\\_%\\_{level}\\_{who}"
        return connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", (pattern,)).fetchall()
