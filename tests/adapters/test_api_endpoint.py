"""Hostile calls through the real front, app and verbs: each is answered in the one shape, never with a 5xx, never with a token.

The workflow of these requests ends at once, so that enough of them can be tried.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chalicelib.domain.catalogue_text import load_catalogue, pack_catalogue
from local import seed
from local.aws import API_FUNCTION, LocalAws
from local.aws_calls import AwsCall
from local.functions import aws_settings, environment, function_settings
from local.identities import access_key_of, assume_role, find_credentials, own_credentials, users_of
from local.lambdas import load_handler
from tests.e2e.api_caller import ApiCaller

LOCAL_CATALOGUE = (Path(seed.__file__).parent / "catalogue.toml").read_text(encoding="utf-8")
ALICE = f"arn:aws:sts::{seed.ACCOUNT}:assumed-role/Developer/alice@example.com"
NOTHING = json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}})
words = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | words | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=3,
)
locations = st.sampled_from(["my-aurora-location", "my-reports-location", "nowhere", ""]) | words
bodies = st.fixed_dictionaries(
    {},
    optional={
        "location": locations | values,
        "level": st.sampled_from(["r", "w", "o", "x"]) | values,
        "reason": words | values,
        "origin_id": st.sampled_from(["a", "b", "c"]) | values,
        "duration_seconds": st.integers(0, 40_000) | values,
        "environment": st.sampled_from(["prod", "test"]) | values,
        "region": st.just("eu-west-1") | values,
        "port": st.integers(0, 70_000) | values,
        "profile": words | values,
        "more": values,
    },
)
calls = st.one_of(
    st.tuples(st.just("GET"), st.just("/v1/locations"), st.none()),
    st.tuples(st.just("GET"), st.just("/v1/requests"), st.none()),
    st.tuples(st.just("POST"), st.just("/v1/requests"), bodies | values),
    st.tuples(
        st.just("GET"),
        st.builds(
            lambda place, level: f"/v1/locations/{quote(place, safe='')}/explanation?level={quote(level, safe='')}",
            locations,
            words | st.sampled_from("rwo"),
        ),
        st.none(),
    ),
    st.tuples(
        st.sampled_from(["GET", "DELETE"]),
        st.builds(lambda name: f"/v1/requests/{quote(name, safe='')}", words | st.just("R-ABC234")),
        st.none(),
    ),
    st.tuples(
        st.just("POST"),
        st.builds(lambda name: f"/v1/requests/{quote(name, safe='')}/extensions", words | st.just("R-ABC234")),
        bodies | values,
    ),
)


class Front:
    """What the front asks whether it may be."""

    refused = ""

    def __call__(self, call: AwsCall) -> str | None:
        return "no" if self.refused and call.service == self.refused else None


class Ground:
    """The front with the ledger and the app; no part of the workflow."""

    def __init__(self, aws: LocalAws, front: Front) -> None:
        self.aws, self.front = aws, front

    def person(self, name: str) -> ApiCaller:
        return ApiCaller.person(self, name)  # type: ignore[arg-type]  # of a workspace it is this part that matters


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder, handlers, front = tmp_path_factory.mktemp("api"), dict[str, Any](), Front()
    catalogue = folder / "catalogue.json"
    catalogue.write_text(pack_catalogue(LOCAL_CATALOGUE, file=catalogue.name), encoding="utf-8")
    with (
        LocalAws(handlers=handlers, authorize=front) as aws,
        environment(aws_settings(aws.endpoint_url, folder / "nowhere")),
        own_credentials(),
    ):
        seed.seed_account()
        stepfunctions: Any = boto3.client("stepfunctions")
        machine = stepfunctions.create_state_machine(
            name="nothing", definition=NOTHING, roleArn=f"arn:aws:iam::{seed.ACCOUNT}:role/workflow"
        )["stateMachineArn"]
        given = function_settings(
            state_machine=machine,
            slack_api="http://127.0.0.1:9/",
            catalogue=catalogue,
            certificates=folder / "bundle.pem",
            seconds={},
        )
        with environment(given):
            handlers[API_FUNCTION] = load_handler("app.app")
            yield Ground(aws, front)
    assert [] == aws.errors


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=calls, who=st.sampled_from(["alice", "carol", "release-pipeline", "zoe"]))
@example(call=("GET", "/v1/requests/", None), who="alice")
@example(call=("POST", "/v1/requests", {"location": "payload", "reason": "payload=", "origin_id": "x"}), who="alice")
def test_every_call_is_answered(ground: Ground, call: tuple[str, str, Any], who: str) -> None:
    """With one of the statuses that are described, and with nothing that signs or was signed."""
    caller = _CALLERS.setdefault(who, _caller(ground, who))
    status, answer = caller.call(*call)

    told = json.dumps(answer)
    assert status in {200, 201, 202, 400, 403, 404, 409}
    assert (status >= 400) is ("error" in answer or "message" in answer)
    assert not [each for each in (*caller.keys.values(), "X-Amz-Signature", "Signature=") if each in told]
    assert who != "zoe" or (status, set(answer)) in [(403, {"error"}), (403, {"message"})]


_CALLERS: dict[str, ApiCaller] = {}


def _caller(ground: Ground, who: str) -> ApiCaller:
    if who == "release-pipeline":
        return ApiCaller.machine(ground)  # type: ignore[arg-type]  # likewise
    return ground.person(who)


def test_a_ledger_that_does_not_answer_is_no_error_of_the_caller_s(ground: Ground) -> None:
    """They may try again."""
    caller = ground.person("bob")
    ground.front.refused = "dynamodb"
    try:
        status, answer = caller.call("GET", "/v1/requests")
    finally:
        ground.front.refused = ""

    assert (503, "unavailable") == (status, answer["error"]["code"])


def test_whoever_no_policy_allows_is_refused_by_the_gateway(ground: Ground) -> None:
    """As IAM says it, before any code of ours."""
    caller = ground.person("bob")
    ground.front.refused = "execute-api"
    try:
        status, answer = caller.call("GET", "/v1/locations")
    finally:
        ground.front.refused = ""

    arn = "arn:aws:execute-api:eu-west-1:********9012:local/api/GET/v1/locations"
    who = f"arn:aws:sts::{seed.ACCOUNT}:assumed-role/Developer/bob@example.com"
    assert (403, f"User: {who} is not authorized to perform: execute-api:Invoke on resource: {arn}") == (
        status,
        answer["Message"],
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1"),
        ("PUT", "/v1/requests"),
        ("GET", "/v1/requests/R-ABC234/extensions"),
        ("GET", "/v1/requests//extensions"),
        ("GET", "/slack/events"),
        ("GET", "/v1/requests/R-ABC234/more"),
    ],
)
def test_what_is_no_route_is_answered_as_unsigned(ground: Ground, method: str, path: str) -> None:
    """So API Gateway does, however well it is signed."""
    assert (403, {"message": "Missing Authentication Token"}) == ground.person("alice").call(method, path)


def test_what_a_body_is_called_does_not_matter(ground: Ground) -> None:
    """It is read as what it must be, and refused in the one shape where it is not."""
    status, answer = ground.person("bob").call("POST", "/v1/requests", content_type="text/plain")

    assert (400, "bad_request") == (status, answer["error"]["code"])


def test_a_call_without_an_identity_is_nobody_s(ground: Ground) -> None:
    """If a deployment ever lost its authorizer, nobody would get in."""
    context = {"resourcePath": "/v1/locations", "httpMethod": "GET", "identity": {"sourceIp": "127.0.0.1"}}
    event = {"requestContext": context, "headers": {}, "multiValueQueryStringParameters": None, "pathParameters": None}
    event |= {"stageVariables": None, "isBase64Encoded": False, "body": None, "path": "/v1/locations"}
    answer = ground.aws.invoke(API_FUNCTION, event)

    assert 403 == answer["statusCode"]
    assert "unknown_caller" == json.loads(answer["body"])["error"]["code"]


class TestWhoMayConnect:
    """People and pipelines sign tokens with their own keys, for their own users and no others."""

    def test_exactly_one_s_own_users(self, ground: Ground) -> None:
        """At every location and level."""
        catalogue = load_catalogue(LOCAL_CATALOGUE, file="catalogue.toml")
        key = ground.person("alice").keys["aws_access_key_id"]
        credentials = find_credentials(key, None, lambda arn: users_of(arn, catalogue))
        other = users_of(ALICE.replace("alice", "bob"), catalogue)

        assert credentials is not None
        assert 6 == len([each for each in users_of(ALICE, catalogue) if credentials.may_connect(each)])
        assert not [each for each in (*other, "drawbridge", "root", "jit_x") if credentials.may_connect(each)]

    def test_whom_the_catalogue_does_not_know(self, ground: Ground) -> None:
        """As nobody."""
        catalogue = load_catalogue(LOCAL_CATALOGUE, file="catalogue.toml")
        key = assume_role("Stranger", "alice@example.com")["aws_access_key_id"]
        credentials = find_credentials(key, None, lambda arn: users_of(arn, catalogue))

        assert credentials is not None
        assert not [each for each in users_of(ALICE, catalogue) if credentials.may_connect(each)]

    def test_a_function_s_key_calls_no_api(self, ground: Ground) -> None:
        """It belongs to nobody whom the catalogue could know."""
        caller = ground.person("alice")
        changed = {"aws_access_key_id": access_key_of("IssueToken"), "aws_secret_access_key": "local-function-secret"}

        assert 403 == caller.call("GET", "/v1/locations", **changed, aws_session_token="")[0]
