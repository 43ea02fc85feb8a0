"""Nobody who has no business there gets anywhere, whichever door they try. Each test is one of them, at their door."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.domain.catalogue_text import load_catalogue
from chalicelib.domain.decisions import Verdict
from chalicelib.domain.errors import CatalogueError
from local import seed
from local.slack.api import NotOnScreenError
from local.workspace import Workspace
from tests.e2e.people import People, eventually, find_token, payload_of, said_in

Payload = dict[str, Any]
DOORS = ("card", "less", "deny", "home")


@pytest.fixture(scope="module")
def open_request(workspace: Workspace) -> Iterator[str]:
    """Alice's request for write access to my-aurora-location, which carol alone may decide."""
    people = People(workspace)
    request_id = people.ask("alice", "my-aurora-location w 15m <!channel> *stuck* <@U0CAROL>")
    people.approval_card(request_id)
    yield request_id
    people.reply("alice", f"/db-access cancel {request_id}")
    people.wait_for_end(request_id)


@pytest.fixture(scope="module")
def held(workspace: Workspace) -> Iterator[str]:
    """Read access that bob holds."""
    people = People(workspace)
    request_id = people.ask("bob", "my-aurora-location r 30m")
    people.ready("bob", request_id)
    yield request_id
    people.reply("bob", f"/db-access end {request_id}")
    people.wait_for_end(request_id)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("who", "refusal"),
    [
        ("alice", "cannot decide your own request"),
        ("bob", "not an approver"),
        ("grace", "not an approver"),
        ("mallory", "serves another Slack workspace"),
        ("sybil", "serves another Slack workspace"),
        ("nobody", "not listed"),
    ],
)
def test_no_door_lets_somebody_else_decide(
    people: People, open_request: str, door: str, who: str, refusal: str
) -> None:
    """The card, both forms and Home end in the same refusal, and the request stays open."""
    answer = _decide_through(people, door, open_request, who)

    assert refusal in answer
    assert Verdict.OPEN is people.record(open_request).decisions.verdict
    assert () == people.record(open_request).decisions.decisions


def test_two_names_for_one_slack_user_are_no_catalogue() -> None:
    """Somebody listed twice could approve themselves; the catalogue is refused when it is loaded."""
    text = (seed.LOCAL / "catalogue.toml").read_text() + '\n[people.alice-too]\nslack = "U0ALICE"\n'

    with pytest.raises(CatalogueError, match="is the Slack user of 'alice' already"):
        load_catalogue(text, file="catalogue.toml")


@pytest.mark.parametrize("approvers", ["[]", '["bob"]'])
def test_a_rule_without_an_approver_is_no_catalogue(approvers: str) -> None:
    """An empty list of approvers closes the door: it is refused when the catalogue is loaded, and opens nothing."""
    text = (seed.LOCAL / "catalogue.toml").read_text()
    text = text.replace('w = { who = ["bob"], approvers = ["carol"]', f'w = {{ who = ["bob"], approvers = {approvers}')

    with pytest.raises(CatalogueError, match="nobody who may ask could ever be approved"):
        load_catalogue(text, file="catalogue.toml")


@pytest.mark.parametrize("who", ["grace", "robot", "frank"])
def test_a_listed_approver_who_is_less_than_a_member_approves_nothing(people: People, who: str) -> None:
    """A guest, a bot, somebody deactivated: the catalogue may list them; Slack knows better, and their yes does not count."""
    request_id = people.ask("alice", "careless-location w 5m")
    people.approval_card(request_id)

    _click_as(people, request_id, "approve", who)

    assert "Denied" == people.wait_for_end(request_id)
    assert people.grant(request_id) is None
    assert "no full member" in str(people.direct("alice", request_id, "was denied"))
    assert {f"{seed.TEAM}/U0{who.upper()}"} == set(people.record(request_id).decisions.void)


@pytest.mark.parametrize("who", ["mallory", "sybil"])
def test_a_listed_approver_of_another_workspace_is_not_even_heard(people: People, who: str) -> None:
    """Their click names their own team, so nothing of it is recorded."""
    request_id = people.ask("alice", "careless-location w 5m")
    people.approval_card(request_id)

    _click_as(people, request_id, "approve", who)

    assert () == people.record(request_id).decisions.decisions
    people.deny("carol", request_id)
    assert "Denied" == people.wait_for_end(request_id)


@pytest.mark.parametrize(
    ("who", "objection"),
    [("grace", "is a guest"), ("robot", "is a bot"), ("frank", "is deactivated"), ("mallory", "another workspace")],
)
def test_a_listed_person_who_is_less_than_a_member_gets_nothing(people: People, who: str, objection: str) -> None:
    """Even where access is automatic."""
    typed = people.slack.command("U0ALICE", "C0GENERAL", "/db-access help")
    assert typed.error == ""
    form = people.slack.requests[-1].arguments | {"user_id": f"U0{who.upper()}", "trigger_id": f"forged.{who}"}

    answer = people.slack.send(people.slack.requests[-1].name, form | {"text": "careless-location r 5m"})
    request_id = re.findall(r"R-\w{6}", answer["body"])[0]

    assert "Denied" == people.wait_for_end(request_id)
    assert people.grant(request_id) is None
    assert objection in str(people.slack.direct_messages(f"U0{who.upper()}"))


def test_who_leaves_gets_no_token_any_more(people: People, held: str) -> None:
    """Even before the next turn of reconciliation, which ends the access: each token needs a member."""
    bob = people.slack.people["U0BOB"]
    people.press_ready("bob", held, "show_token")
    eventually("the token", lambda: find_token(people.slack.view_of("U0BOB")))
    with people.workspace.schedule.pause:
        people.slack.people["U0BOB"] = replace(bob, deleted=True)
        try:
            people.forge(people.click(held, "show_token"), lambda payload: _new_trigger(people, payload, "U0BOB"))
            shown = eventually("a refusal", lambda: _refused_token(people, "U0BOB"))
        finally:
            people.slack.people["U0BOB"] = bob

    assert "is deactivated" in shown


def test_an_outsider_has_no_command_and_no_home(people: People) -> None:
    """Slack offers neither; a forged opening of Home publishes nothing."""
    assert "not a valid command" in people.slack.command("U0MALLORY", "C0GENERAL", "/db-access list").error
    with pytest.raises(NotOnScreenError):
        people.slack.open_app("U0MALLORY")
    people.slack.open_app("U0ALICE")
    opened = people.slack.requests[-1]

    for who in ("U0MALLORY", "U0NOBODY", "U0BOT"):
        event = opened.arguments["event"] | {"user": who}
        assert 200 == people.slack.send(opened.name, opened.arguments | {"event": event}, is_json=True)["status"]

    assert people.slack.home_of("U0NOBODY") is None
    assert people.slack.home_of("U0BOT") is None


@pytest.mark.parametrize(
    "change",
    [
        {"api_app_id": "A0ANOTHER"},
        {"team": {"id": "T0ELSEWHERE", "domain": "elsewhere"}},
        {"team": None, "is_enterprise_install": True},
        {"user": {"id": "U0CAROL", "username": "carol", "name": "carol", "team_id": "T0ELSEWHERE"}},
        {"user": {"id": "U0CAROL", "username": "carol", "name": "carol", "team_id": None}},
        {"user": {"id": "U0BOB", "username": "carol", "name": "carol", "team_id": "T0EXAMPLE"}},
        {"user": {"id": "u0carol", "username": "carol", "name": "carol", "team_id": "T0EXAMPLE"}},
    ],
    ids=["another app", "another team", "an organisation", "her team", "no team", "a borrowed name", "small letters"],
)
def test_a_click_from_elsewhere_decides_nothing(people: People, open_request: str, change: Payload) -> None:
    """A good signature is not enough, and names prove nothing: app, team, the person's team and id must be ours."""
    people.decide("bob", open_request)
    by_bob = people.click(open_request, "approve")
    carol = payload_of(by_bob)["user"] | {"id": "U0CAROL", "username": "carol", "name": "carol"}

    answer = people.forge(by_bob, lambda payload: payload.update({"user": carol, **change}))

    assert 200 == answer["status"]
    assert () == people.record(open_request).decisions.decisions


def test_a_challenge_that_nobody_signed_is_not_answered(people: People) -> None:
    """Slack signs it when the address is entered; whoever else asks learns nothing."""
    content = {"type": "url_verification", "challenge": "canary", "token": "unused"}
    people.slack.open_app("U0ALICE")
    url = people.slack.requests[-1].name

    signed = people.slack.send(url, content, is_json=True)
    unsigned = people.slack.send(url, content, is_json=True, headers={"X-Slack-Signature": "v0=00"})

    assert (200, True) == (signed["status"], "canary" in signed["body"])
    assert (401, False) == (unsigned["status"], "canary" in unsigned["body"])


def test_markup_in_a_reason_pings_nobody(people: People, open_request: str) -> None:
    """What people wrote stands as text on every card, and never in a field that Slack would interpret."""
    shown = [people.approval_card(open_request), people.direct("alice", open_request, "stuck")]

    assert all("<!channel> *stuck* <@U0CAROL>" in str(message["blocks"]) for message in shown if message)
    assert 2 == len([message for message in shown if message])
    assert [] == [text for message in shown if message for text in _markup(message) if "<!channel>" in text]


@pytest.mark.parametrize("who", ["alice", "carol", "grace"])
@pytest.mark.parametrize(
    "action", ["show_token", "gui", "first_time", "who_blocks", "extend", "extend_30", "end", "cancel"]
)
def test_nobody_uses_the_access_of_somebody_else(people: People, held: str, who: str, action: str) -> None:
    """The buttons of the ready message, pressed by another: a reason, no connection, and the access stays as it is."""
    people.press_ready("bob", held, "first_time")
    people.slack.close("U0BOB")
    before = people.grant(held)
    place = f"U0{who.upper()}"

    people.forge(people.click(held, "first_time"), lambda payload: _as_another(people, payload, place, action))
    eventually("an answer", lambda: people.slack.view_of(place) or people.slack.ephemerals(place, "C0GENERAL"))
    eventually("the answer", lambda: "Making a fresh token" not in said_in(people.slack.view_of(place)))

    assert before == people.grant(held)
    assert people.record(held).end_asked_at is None
    assert "my-aurora" not in said_in(people.slack.view_of(place))
    people.slack.close(place, everything=True)


def test_asking_again_shows_nothing_of_another(people: People, held: str) -> None:
    """The form that opens holds nothing of what somebody else asked."""
    people.press_ready("bob", held, "first_time")
    people.slack.close("U0BOB")

    people.forge(people.click(held, "first_time"), lambda payload: _as_another(people, payload, "U0ALICE", "ask_again"))

    form = eventually("the form", lambda: people.slack.view_of("U0ALICE"))
    assert "ask" == form["callback_id"]
    assert form["state"]["values"]["location"]["location"]["selected_option"] is None


@pytest.mark.parametrize("form", ["extend", "deny", "approve_less", "not_justified"])
def test_a_form_with_a_forged_request_is_refused(people: People, held: str, open_request: str, form: str) -> None:
    """What a form is about stands in its metadata; whoever changes that gets what they could have had anyway: nothing."""
    people.slack.command("U0ALICE", "C0GENERAL", "/db-access")
    people.slack.submit("U0ALICE", {"location": "my-reports-location", "reason": "x", "port": "1"})
    sent = people.sending("", "ask")
    before = people.grant(held)

    people.forge(sent, lambda payload: _as_form(payload, form, held))
    answer = people.forge(sent, lambda payload: _as_form(payload, form, open_request))

    assert 200 == answer["status"]
    assert before == people.grant(held)
    assert Verdict.OPEN is people.record(open_request).decisions.verdict


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"level": "o"}, "level"),
        ({"duration": "3596400"}, "duration"),
        ({"location": "careless-location", "level": "o"}, "level"),
        ({"location": "nowhere"}, "location"),
        ({"port": "1"}, "port"),
        ({"port": "99999"}, "port"),
        ({"profile": "; rm -rf /"}, "profile"),
        ({"break_glass": "yes", "location": "my-reports-location"}, "break_glass"),
    ],
)
def test_a_form_outside_its_options_is_refused_at_the_field(people: People, values: dict[str, str], field: str) -> None:
    """What the form never offered is refused beside its field, and nothing is filed."""
    people.slack.command("U0CAROL", "C0GENERAL", "/db-access")
    filled = {"location": "my-aurora-location", "reason": "because", "level": "r"}
    people.slack.submit("U0CAROL", filled | {"port": "1"})
    sent = people.sending("", "ask")

    answer = people.forge(sent, lambda payload: _fill(payload, {"port": "", **values}))

    assert (200, "errors") == (answer["status"], json.loads(answer["body"])["response_action"])
    assert [field] == list(json.loads(answer["body"])["errors"])


@pytest.mark.parametrize(
    "values", [{"level": "o"}, {"duration": "3596400"}, {"duration": "-900"}, {"level": ""}, {"duration": "0"}]
)
def test_less_is_never_more(people: People, open_request: str, values: dict[str, str]) -> None:
    """An approver who is shown less, and sends something else, approves nothing."""
    people.decide("carol", open_request, "approve_less")
    people.slack.command("U0ALICE", "C0GENERAL", "/db-access")
    people.slack.submit("U0ALICE", {"location": "my-reports-location", "port": "1"})

    def less(payload: Payload) -> None:
        _as_form(payload, "approve_less", open_request)
        payload["user"] = _user(people, "carol")
        _fill(payload, values)

    answer = people.forge(people.sending("", "ask"), less)

    assert 200 == answer["status"]
    assert () == people.record(open_request).decisions.decisions


def test_a_denial_that_comes_late_changes_nothing(people: People) -> None:
    """The form was opened before the decision and sent after it: its sender reads that it was decided already."""
    request_id = people.ask("alice", "my-reports-location o 1s")
    people.decide("carol", request_id, "deny")
    people.decide("bob", request_id)
    people.reply("alice", f"/db-access cancel {request_id}")

    people.slack.submit("U0CAROL", {"reason": "Too late."})

    assert "cancelled already" in said_in(people.slack.view_of("U0CAROL"))
    assert "Cancelled" == people.wait_for_end(request_id)


@pytest.mark.parametrize("door", DOORS)
def test_an_old_card_decides_nothing(people: People, door: str) -> None:
    """A button or form that was kept from before the end: the ledger says that it is over."""
    request_id = people.ask("bob", "my-aurora-location w 15m")
    kept = people.approval_card(request_id)
    people.reply("bob", f"/db-access cancel {request_id}")
    people.wait_for_end(request_id)

    answer = _decide_through(people, door, request_id, "carol", kept)

    assert "cancelled" in answer
    assert people.grant(request_id) is None


def _decide_through(people: People, door: str, request_id: str, who: str, kept: Any = None) -> str:
    """Try to decide as somebody through one of the four doors, and read the answer."""
    card = kept or people.approval_card(request_id)
    action = {"card": "approve", "less": "approve_less", "deny": "deny", "home": "approve"}[door]
    block = next(b for b in card["blocks"] if "approve" in str(b.get("elements", ""))) if "approve" in str(card) else {}
    payload: Payload = {
        "type": "block_actions",
        "user": _user(people, who),
        "team": {"id": seed.TEAM, "domain": "example"},
        "api_app_id": seed.APP,
        "token": "unused",
        "enterprise": None,
        "is_enterprise_install": False,
        "actions": [
            {"type": "button", "action_id": action, "block_id": block.get("block_id", "x"), "value": request_id}
        ],
    }
    place = f"U0{who.upper()}"
    payload |= people.slack._new_trigger(place, "C0APPROVALS")
    if door == "home":
        payload.pop("response_url")
        payload["view"] = {"type": "home", "id": "V0HOME", "blocks": []}
    url = people.slack.manifest["settings"]["interactivity"]["request_url"]
    before = len(people.slack.ephemerals(place, "C0APPROVALS"))
    first = people.slack.send(url, {"payload": json.dumps(payload)})
    assert 200 == first["status"]
    if door in {"less", "deny"} and people.slack.view_of(place):
        values = {"reason": "No."} if door == "deny" else {"level": "r", "duration": "900"}
        view = {"id": f"V{request_id}{who}", "callback_id": action, "private_metadata": request_id, "type": "modal"}
        view |= {"state": {"values": {name: {name: _entered(name, value)} for name, value in values.items()}}}
        sent = people.slack.send(url, {"payload": json.dumps(payload | {"type": "view_submission", "view": view})})
        return str(sent["body"])
    whispers = [message["text"] for message in people.slack.ephemerals(place, "C0APPROVALS")][before:]
    return " ".join([first["body"], *whispers, said_in(people.slack.view_of(place))])


def _entered(name: str, value: str) -> Payload:
    if name in {"location", "level", "duration"}:
        return {"selected_option": {"value": value}}
    return {"selected_options": [{"value": value}]} if name == "break_glass" else {"value": value}


def _fill(payload: Payload, values: dict[str, str]) -> None:
    payload["view"]["state"]["values"].update({name: {name: _entered(name, value)} for name, value in values.items()})


def _as_form(payload: Payload, callback_id: str, request_id: str) -> None:
    payload["view"].update(callback_id=callback_id, private_metadata=request_id)
    _fill(payload, {"duration": "900", "level": "r", "reason": "forged", "note": "forged"})


def _as_another(people: People, payload: Payload, user: str, action: str) -> None:
    payload["user"] = _user(people, user.removeprefix("U0").lower())
    payload["actions"][0].update(action_id=action)
    payload.update(people.slack._new_trigger(user, "C0GENERAL"))


def _new_trigger(people: People, payload: Payload, user: str) -> None:
    payload.update(people.slack._new_trigger(user, "C0GENERAL"))


def _click_as(people: People, request_id: str, action: str, who: str) -> None:
    people.decide("bob", request_id, action)
    people.forge(people.click(request_id, action), lambda payload: payload.update(user=_user(people, who)))


def _user(people: People, who: str) -> Payload:
    known = people.slack.people.get(f"U0{who.upper()}")
    team = known.team_id if known else seed.TEAM
    return {"id": f"U0{who.upper()}", "username": "carol", "name": "carol", "team_id": team}


def _refused_token(people: People, user: str) -> str:
    shown = said_in(people.slack.view_of(user))
    return shown if "no token for you" in shown else ""


def _markup(message: Payload) -> Iterator[str]:
    """Every text that Slack interprets."""

    def inside(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if part.get("type") == "mrkdwn":
                yield part["text"]
            for each in part.values():
                yield from inside(each)
        elif isinstance(part, list):
            for each in part:
                yield from inside(each)

    yield message["text"]
    yield from inside(message["blocks"])
