"""The API of the terminal client and of pipelines: signed as AWS wants it, by the people and the machine of the catalogue."""

from collections.abc import Iterator
from typing import Any

import boto3
import psycopg
import pytest

from local import seed
from local.workspace import Workspace
from tests.e2e.api_caller import ApiCaller, send
from tests.e2e.people import People, eventually
from tests.privileges.judge import Judge

REFUSED = (403, {"message": "The security token included in the request is invalid."})
NOT_YOURS = {
    "error": {
        "code": "not_found",
        "message": "None of your requests has this id. GET /v1/requests lists those that there are.",
    }
}


@pytest.fixture(scope="module")
def alice(workspace: Workspace) -> ApiCaller:
    return ApiCaller.person(workspace, "alice")


@pytest.fixture(scope="module")
def bob(workspace: Workspace) -> ApiCaller:
    return ApiCaller.person(workspace, "bob")


@pytest.fixture(scope="module")
def machine(workspace: Workspace) -> ApiCaller:
    return ApiCaller.machine(workspace)


@pytest.fixture
def held(alice: ApiCaller, request: pytest.FixtureRequest) -> Iterator[str]:
    """Read access to my-aurora-location that alice holds."""
    _, answer = alice.ask("my-aurora-location", "r", origin_id=request.node.name)
    request_id = answer["request"]["request_id"]
    alice.wait_for(request_id, "ready")
    yield request_id
    assert "finished" == alice.end(request_id)["outcome"]


def log_in(caller: ApiCaller, connection: dict[str, Any], *, user: str = "") -> str:
    """Sign a token with the caller's own identity and log in at the door of the databases."""
    rds = caller.client("rds")
    user = user or connection["user"]
    host, port = connection["host"], connection["port"]
    token = rds.generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user)
    bundle = connection["certificate_bundle_url"].removeprefix("file://")
    with psycopg.connect(
        host=host,
        hostaddr="127.0.0.1",
        port=port,
        dbname=connection["database"],
        user=user,
        password=token,
        sslmode="verify-full",
        sslrootcert=bundle,
    ) as opened:
        row = opened.execute("SELECT current_user").fetchone()
        assert row is not None
        return str(row[0])


class TestWhatACallerSees:
    """Views change nothing, and show each caller their own."""

    def test_a_person_sees_what_they_may_ask_for(self, workspace: Workspace) -> None:
        """With the same rules as in Slack."""
        status, answer = ApiCaller.person(workspace, "carol").call("GET", "/v1/locations")

        levels = {each["name"]: each["levels"] for each in answer["locations"]}
        assert 200 == status
        assert {"name": "carol", "is_machine": False} == answer["caller"]
        assert {"r", "w"} == set(levels["my-aurora-location"])
        assert {"r"} == set(levels["my-reports-location"])
        assert "urgent-location" not in levels

    def test_a_machine_sees_its_own_rules_alone(self, machine: ApiCaller) -> None:
        """Rules for everybody are for people."""
        status, answer = machine.call("GET", "/v1/locations")

        ((location, levels),) = [(each["name"], each["levels"]) for each in answer["locations"]]
        assert 200 == status
        assert {"name": "release-pipeline", "is_machine": True} == answer["caller"]
        assert ("my-aurora-location", {"r", "w"}) == (location, set(levels))
        assert (True, 900) == (levels["r"]["is_automatic"], levels["r"]["cap_seconds"])

    def test_a_rule_is_explained(self, alice: ApiCaller, machine: ApiCaller) -> None:
        """By its place in the catalogue, and who approves."""
        path = "/v1/locations/my-aurora-location/explanation?level=w"
        places = {"alice": "levels.w", "release-pipeline": "machines.release-pipeline.w"}
        for caller, place in zip((alice, machine), places.values(), strict=True):
            status, answer = caller.call("GET", path)

            explained = answer["explanation"]
            assert 200 == status
            assert f"locations.my-aurora-location.{place}" == explained["rule"]
            assert ("needs_approval", ["carol"]) == (explained["outcome"], explained["approvers"])

    def test_what_is_not_there_is_not_found(self, alice: ApiCaller) -> None:
        """With the nearest name."""
        status, answer = alice.call("GET", "/v1/locations/my-auora-location/explanation")

        assert 404 == status
        assert "Did you mean 'my-aurora-location'?" in answer["error"]["message"]


class TestAccess:
    """Asked, prepared, held and ended by the same workflow as in Slack."""

    def test_automatic_access_from_the_ask_to_the_receipt(self, alice: ApiCaller, people: People) -> None:
        """The token is the caller's own work: no answer holds one, and Slack shows the very same access."""
        status, answer = alice.ask("my-aurora-location", "r", origin_id="whole-story")
        request_id = answer["request"]["request_id"]
        ready = alice.wait_for(request_id, "ready")
        user = log_in(alice, ready["connection"])
        shown = people.direct("alice", request_id, "'show_token'")
        ended = alice.end(request_id)

        assert (201, "asked") == (status, answer["standing"])
        assert ready["connection"]["user"] == user
        assert ready["connection"]["database_user_arn"].endswith(f"/{user}")
        assert shown is not None
        assert ("finished", None) == (ended["outcome"], ended["connection"])
        assert {"sessions_left": 0, "can_log_in": False}.items() <= ended["receipt"].items()
        assert request_id == alice.call("GET", "/v1/requests")[1]["requests"][0]["request_id"]

    def test_access_that_a_colleague_approves(self, alice: ApiCaller, people: People) -> None:
        """It waits for carol, who decides in Slack."""
        _, answer = alice.ask("my-aurora-location", "w", origin_id="to-approve")
        request_id = answer["request"]["request_id"]
        waiting = alice.wait_for(request_id, "waiting")
        people.decide("carol", request_id)
        alice.wait_for(request_id, "ready")
        ended = alice.end(request_id)

        assert "It waits for 1 more approval, until" in waiting["explanation"]
        assert "finished" == ended["outcome"]

    def test_access_that_a_colleague_denies(self, alice: ApiCaller, people: People) -> None:
        """Their reason reaches whoever asked."""
        _, answer = alice.ask("my-aurora-location", "w", origin_id="to-deny")
        request_id = answer["request"]["request_id"]
        people.deny("carol", request_id, "Not on a Friday.")
        ended = alice.wait_for(request_id, "ended")

        assert ("denied", None) == (ended["outcome"], ended["receipt"])
        assert "Not on a Friday." in ended["explanation"]

    def test_what_waits_is_cancelled(self, alice: ApiCaller) -> None:
        """And ending it once more is fine."""
        _, answer = alice.ask("my-aurora-location", "w", origin_id="to-cancel")
        request_id = answer["request"]["request_id"]
        alice.wait_for(request_id, "waiting")
        first = alice.end(request_id)

        assert "cancelled" == first["outcome"]
        assert (202, {"request": first}) == alice.call("DELETE", f"/v1/requests/{request_id}")

    def test_a_longer_access_is_a_request_of_its_own(self, alice: ApiCaller, held: str) -> None:
        """Its end moves the end of what is held."""
        before = alice.show(held)["ends_at"]
        body = {"duration_seconds": 600, "origin_id": "longer"}
        status, answer = alice.call("POST", f"/v1/requests/{held}/extensions", body)
        extension = alice.wait_for(answer["request"]["request_id"], "ended")

        assert (201, held) == (status, answer["request"]["extends"])
        assert f"The end of {held} was moved." == extension["explanation"]
        assert before < alice.show(held)["ends_at"]

    def test_beyond_the_cap_nothing_is_extended(self, alice: ApiCaller, held: str, people: People) -> None:
        """The refusal is the same as in Slack, and audited as there."""
        body = {"duration_seconds": 9 * 3600, "origin_id": "too-long"}
        status, answer = alice.call("POST", f"/v1/requests/{held}/extensions", body)

        assert (403, "refused") == (status, answer["error"]["code"])
        assert "8 hours" in answer["error"]["message"]
        assert "refused" in people.audited(held)


@pytest.mark.parametrize("who", ["alice", "machine"])
def test_the_tunnel_ends_with_the_access(who: str, request: pytest.FixtureRequest) -> None:
    """A person's is known by its owner, whatever reason it was opened with; a machine's by its reason."""
    caller: ApiCaller = request.getfixturevalue(who)
    _, answer = caller.ask("my-aurora-location", "r", origin_id=f"tunnel-{who}", seconds=600)
    request_id = answer["request"]["request_id"]
    connection = caller.wait_for(request_id, "ready")["connection"]
    ssm = caller.client("ssm")
    ssm.start_session(
        Target=connection["instance_id"],
        DocumentName=connection["document_name"],
        Parameters=connection["document_parameters"],
        Reason=request_id if who == "machine" else "mine",
    )
    ended = caller.end(request_id)

    assert 1 == ended["receipt"]["tunnels_ended"]


class TestMachines:
    """A pipeline asks under any session's name, by its own rules."""

    def test_what_is_automatic_for_it(self, machine: ApiCaller, workspace: Workspace) -> None:
        """Another run of the same pipeline holds the same access, as exactly its own user."""
        _, answer = machine.ask("my-aurora-location", "r", origin_id="run-42", seconds=600)
        request_id = answer["request"]["request_id"]
        connection = machine.wait_for(request_id, "ready")["connection"]
        user = log_in(machine, connection)
        other_run = ApiCaller.machine(workspace, "run-43")
        held = other_run.ask("my-aurora-location", "r", origin_id="run-43", seconds=600)
        ended = other_run.end(request_id)

        assert connection["user"] == user
        assert (200, "held", request_id) == (held[0], held[1]["standing"], held[1]["request"]["request_id"])
        assert ("finished", False) == (ended["outcome"], ended["receipt"]["can_log_in"])

    def test_what_a_person_approves_for_it(self, machine: ApiCaller, people: People) -> None:
        """On a card that says so."""
        _, answer = machine.ask("my-aurora-location", "w", origin_id="to-approve", seconds=600)
        request_id = answer["request"]["request_id"]
        card = people.approval_card(request_id)
        people.decide("carol", request_id)
        machine.wait_for(request_id, "ready")
        ended = machine.end(request_id)

        assert "release-pipeline" in str(card)
        assert "finished" == ended["outcome"]

    def test_what_it_is_not_offered(self, machine: ApiCaller) -> None:
        """Neither another level nor a location that does not name it, nor longer than its cap."""
        asked = [
            machine.ask(*wanted, origin_id=f"not-{number}", seconds=seconds)
            for number, (*wanted, seconds) in enumerate(
                [("my-aurora-location", "o", 60), ("my-reports-location", "r", 60), ("my-aurora-location", "r", 1800)]
            )
        ]

        assert [(403, "refused")] * 3 == [(status, answer["error"]["code"]) for status, answer in asked]

    def test_it_is_nobody_else(self, workspace: Workspace) -> None:
        """A session that it named after a person is still its own, and a person's role makes no machine."""
        posing = ApiCaller.machine(workspace, "alice@example.com")
        pretending = ApiCaller(workspace, "Developer", "release-pipeline")

        assert "release-pipeline" == posing.call("GET", "/v1/locations")[1]["caller"]["name"]
        assert "unknown_caller" == pretending.call("GET", "/v1/locations")[1]["error"]["code"]


class TestAskingTwice:
    """An ask is known by its origin and its person."""

    def test_a_repeated_ask_is_the_first(self, alice: ApiCaller, held: str, request: pytest.FixtureRequest) -> None:
        """As after an answer that was lost; another ask for the same access is told of what is held."""
        again = alice.ask("my-aurora-location", "r", origin_id=request.node.name)
        other = alice.ask("my-aurora-location", "r", origin_id="another")

        assert (201, "asked", held) == (again[0], again[1]["standing"], again[1]["request"]["request_id"])
        assert (200, "held", held) == (other[0], other[1]["standing"], other[1]["request"]["request_id"])

    def test_nobody_meets_the_ask_of_somebody_else(
        self, bob: ApiCaller, held: str, request: pytest.FixtureRequest
    ) -> None:
        """The same origin of another person is another ask."""
        status, answer = bob.ask("my-aurora-location", "r", origin_id=request.node.name)
        request_id = answer["request"]["request_id"]
        bob.end(request_id)

        assert (201, "asked") == (status, answer["standing"])
        assert held != request_id

    def test_too_many_at_once(self, alice: ApiCaller) -> None:
        """Three may be open; the answer names them."""
        wanted = [("my-aurora-location", "w"), ("my-aurora-location", "o"), ("my-reports-location", "o")]
        asked = [alice.ask(*each, origin_id="many" + "-".join(each))[1]["request"]["request_id"] for each in wanted]
        repeated = alice.ask("my-aurora-location", "w", origin_id="many-again")
        status, answer = alice.ask("my-reports-location", "r", origin_id="one-too-many")
        for request_id in asked:
            alice.end(request_id)

        assert (200, "asked_already") == (repeated[0], repeated[1]["standing"])
        assert (409, "too_many") == (status, answer["error"]["code"])
        assert all(request_id in answer["error"]["message"] for request_id in asked)


class TestWhoIsRefused:
    """Nobody gets past the gateway unsigned, nor past the catalogue unlisted, and nobody reaches another's request."""

    @pytest.mark.parametrize(("method", "path"), [("GET", "/v1/locations"), ("POST", "/v1/requests"), ("GET", "/v1/x")])
    def test_the_unsigned(self, workspace: Workspace, method: str, path: str) -> None:
        """In API Gateway's own words, whether there is such a route or not."""
        answer = send(method, workspace.aws.api_url + path, b"", {})

        assert (403, {"message": "Missing Authentication Token"}) == answer

    def test_the_badly_signed(self, alice: ApiCaller) -> None:
        """A wrong secret, key or session."""
        wrong_secret = alice.call("GET", "/v1/locations", aws_secret_access_key="wrong")

        assert 403 == wrong_secret[0]
        assert "signature we calculated does not match" in wrong_secret[1]["message"]
        assert REFUSED == alice.call("GET", "/v1/locations", aws_access_key_id="ASIAUNKNOWN000000000")
        assert REFUSED == alice.call("GET", "/v1/locations", aws_session_token="")

    def test_another_account(self, workspace: Workspace) -> None:
        """Even where the names are the same."""
        status, answer = ApiCaller(workspace, "Developer", "alice@example.com", account="999999999999").call(
            "GET", "/v1/locations"
        )

        assert 403 == status
        assert "is not authorized to perform: execute-api:Invoke" in answer["Message"]

    @pytest.mark.parametrize(
        ("role", "session"),
        [("Stranger", "alice@example.com"), ("Developer", "zoe@example.com"), ("Developer", "alice@example.com.x")],
    )
    def test_whom_the_catalogue_does_not_know(self, workspace: Workspace, role: str, session: str) -> None:
        """They read which ARN to have added, and leave no trail."""
        status, answer = ApiCaller(workspace, role, session).ask("my-aurora-location", "r", origin_id="x")

        assert (403, "unknown_caller") == (status, answer["error"]["code"])
        assert f"arn:aws:sts::{seed.ACCOUNT}:assumed-role/{role}/{session}" in answer["error"]["message"]

    def test_whoever_names_somebody_else_s_request(
        self, bob: ApiCaller, machine: ApiCaller, alice: ApiCaller, held: str, people: People
    ) -> None:
        """They are told what they are told of one that there is not, and the attempt is written down."""
        extension = {"duration_seconds": 60, "origin_id": "theirs"}
        tried = [("GET", "", None), ("POST", "/extensions", extension), ("DELETE", "", None)]
        found = [
            caller.call(method, f"/v1/requests/{request_id}{path}", body)
            for caller in (bob, machine)
            for request_id in (held, "R-222222", "nonsense")
            for method, path, body in tried
        ]

        assert [(404, NOT_YOURS)] * len(found) == found
        assert "ready" == alice.show(held)["state"]
        assert 4 == people.audited(held).count("refused")
        assert held not in str(bob.call("GET", "/v1/requests"))

    def test_whoever_connects_as_somebody_else(self, bob: ApiCaller, alice: ApiCaller, held: str) -> None:
        """A token of one's own opens one's own user and no other."""
        connection = alice.show(held)["connection"]

        with pytest.raises(psycopg.OperationalError, match="PAM authentication failed"):
            log_in(bob, connection)

    @pytest.mark.parametrize(
        ("body", "named"),
        [
            ({}, "'location' is missing"),
            ({"location": 1}, "'location' cannot be read"),
            (
                {"location": "my-aurora-location", "reason": "", "origin_id": "x", "level": "x"},
                "'level' cannot be read",
            ),
            (
                {"location": "my-aurora-location", "reason": "", "origin_id": "x", "extends": "R-1"},
                "no field 'extends'",
            ),
            ([], "The body is no object"),
        ],
    )
    def test_whoever_writes_what_cannot_be_read(self, alice: ApiCaller, body: Any, named: str) -> None:
        """The field is named, with what to write."""
        status, answer = alice.call("POST", "/v1/requests", body)

        assert (400, "bad_request") == (status, answer["error"]["code"])
        assert named in answer["error"]["message"]


def test_nothing_of_a_caller_s_key_is_kept(alice: ApiCaller, workspace: Workspace, held: str) -> None:
    """Neither the ledger nor the log holds a signature, a session token or a secret."""
    alice.show(held)
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=seed.TABLE)
    kept = str(list(pages)) + (workspace.directory / "functions.log").read_text(encoding="utf-8")

    assert [] == [name for name, value in alice.keys.items() if name != "aws_access_key_id" and value in kept]
    assert "Signature=" not in kept


def test_a_refused_ask_stands_in_the_caller_s_own_trail(alice: ApiCaller, judge: Judge) -> None:
    """As one in Slack does."""
    status, _ = alice.ask("my-reports-location", "w", origin_id="refused-ask")
    key = {":pk": {"S": f"AUDIT#person {seed.TEAM}/U0ALICE"}}

    def find() -> list[Any]:
        found = boto3.client("dynamodb").query(
            TableName=seed.TABLE, KeyConditionExpression="pk = :pk", ExpressionAttributeValues=key
        )
        return [each for each in found["Items"] if "my-reports-location" in str(each)]

    assert 403 == status
    assert eventually("the entry", find)
    assert judge.has_seen("api_handler", "dynamodb:PutItem", "AUDIT#")
