"""Each way in which a call can fail ends in a sentence that names the link and the next step."""

from datetime import timedelta
from typing import Any

import boto3
import pytest

from drawbridge.api import PAUSES, Api, open_session
from drawbridge.errors import (
    ConfigurationError,
    CredentialsError,
    DrawbridgeError,
    RefusedError,
    ServiceError,
    UnreadableAnswerError,
)
from tests.drawbridge.fake_api import FakeApi
from tests.drawbridge_network.world import KEY, REGION, SECRET

WISH = {"location": "my-aurora-location", "level": "r", "reason": "a test"}


class Caller:
    """An API with its pauses written down instead of waited for."""

    def __init__(self, address: str) -> None:
        self.pauses: list[float] = []
        session = boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION)
        self.api = Api(address, session=session, pause=self.pauses.append)


@pytest.fixture
def caller(api: FakeApi) -> Caller:
    return Caller(api.address)


def failure(caller: Caller) -> DrawbridgeError:
    with pytest.raises(DrawbridgeError) as caught:
        caller.api.read_offers()
    return caught.value


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_trouble_is_asked_again(api: FakeApi, caller: Caller, status: int) -> None:
    """Whoever waits for access does not start anew because of one bad second."""
    api.broken = [(status, b'{"message": "Internal server error"}')]

    assert "alice" == caller.api.read_offers().caller
    assert [PAUSES[0]] == caller.pauses


def test_an_ask_that_is_repeated_is_one_ask(api: FakeApi, caller: Caller) -> None:
    """An answer that was lost does not become a second request."""
    api.broken = [(504, b"")]
    caller.api.ask(WISH)
    origins = {body["origin_id"] for method, _, body in api.calls if method == "POST"}

    assert (2, 1) == (len(api.calls), len(origins))


def test_another_ask_has_another_origin(api: FakeApi, caller: Caller) -> None:
    """Asking again is asking again."""
    caller.api.ask(WISH)
    caller.api.ask(WISH)
    origins = [body["origin_id"] for _, _, body in api.calls]

    assert 2 == len(set(origins))


def test_trouble_that_stays_is_told_after_bounded_attempts(api: FakeApi, caller: Caller) -> None:
    """With what the API said, and pauses that grow."""
    api.broken = [(503, b'{"error": {"code": "unavailable", "message": "Drawbridge cannot answer."}}')] * 5
    told = failure(caller)

    assert ServiceError is type(told)
    assert "is in trouble (503: Drawbridge cannot answer). Try again" in str(told)
    assert list(PAUSES) == caller.pauses


def test_an_address_where_nothing_listens_is_told(caller: Caller) -> None:
    """The sentence names the host."""
    unreachable = Caller("http://127.0.0.1:9/api")
    told = failure(unreachable)

    assert ServiceError is type(told)
    assert str(told).startswith("Drawbridge's API at 127.0.0.1:9 is not reached: the connection is refused.")
    assert list(PAUSES) == unreachable.pauses


@pytest.mark.parametrize(
    ("status", "content", "kind", "words"),
    [
        (
            403,
            '{"message": "The security token included in the request is expired"}',
            CredentialsError,
            "aws sso login",
        ),
        (
            403,
            '{"message": "The security token included in the request is invalid."}',
            CredentialsError,
            "aws sso login",
        ),
        (403, '{"message": "The request signature we calculated does not match"}', CredentialsError, "does not accept"),
        (403, '{"message": "Missing Authentication Token"}', ConfigurationError, "cfg set api"),
        (404, '{"message": "Not Found"}', ConfigurationError, "cfg set api"),
        (
            403,
            '{"Message": "User: arn:x is not authorized to perform: execute-api:Invoke"}',
            CredentialsError,
            "user policy",
        ),
        (403, '{"message": "Forbidden"}', CredentialsError, "403: Forbidden."),
        (403, '{"error": {"code": "unknown_caller", "message": "Nobody is behind arn:x."}}', CredentialsError, "arn:x"),
        (403, '{"error": {"code": "refused", "message": "Not you."}}', RefusedError, "Not you."),
        (409, '{"error": {"code": "too_many", "message": "Too many."}}', RefusedError, "Too many."),
        (200, "<html>", UnreadableAnswerError, "does not speak"),
        (200, "[]", UnreadableAnswerError, "does not speak"),
        (200, "{}", UnreadableAnswerError, "does not read"),
    ],
)
def test_each_refusal_is_named_for_what_it_is(
    api: FakeApi, caller: Caller, status: int, content: str, kind: type[DrawbridgeError], words: str
) -> None:
    """By AWS's texts and by ours; none of them is asked again."""
    api.broken = [(status, content.encode())]
    told = failure(caller)

    assert kind is type(told)
    assert words in str(told)
    assert 1 == len(api.calls)


def test_control_characters_of_an_answer_do_not_reach_the_terminal(api: FakeApi, caller: Caller) -> None:
    """Whoever writes a reason could colour or rewrite other people's screens."""
    api.broken = [(403, b'{"error": {"code": "refused", "message": "No\\u001b[31m\\nway."}}')]

    assert "No [31m way." == str(failure(caller))


@pytest.mark.parametrize(("minutes", "direction"), [(6, "behind"), (-6, "ahead")])
def test_a_clock_that_is_off_is_the_reason(api: FakeApi, caller: Caller, minutes: int, direction: str) -> None:
    """A refused signature is blamed on the clock where the API's own shows it."""
    api.ahead = timedelta(minutes=minutes)
    api.broken = [(403, b'{"message": "Signature expired: 20260302T120000Z is now earlier than 20260302T120500Z"}')]
    told = failure(caller)

    assert CredentialsError is type(told)
    assert f"This machine's clock is 6 min {direction}" in str(told)
    assert "Set the clock" in str(told)


def test_a_clock_that_is_nearly_right_hinders_nobody(api: FakeApi, caller: Caller) -> None:
    """A minute is within what AWS allows."""
    api.ahead = timedelta(minutes=1)
    caller.api.read_offers()
    caller.api.require_clock()

    assert caller.api.skew is not None
    assert 58 < caller.api.skew.total_seconds() <= 60


def test_a_name_cannot_lead_to_another_path(api: FakeApi, caller: Caller) -> None:
    """What was typed stays one segment of the path."""
    for typed in ("../locations", "a/b", "R-1?x=y", "R-1#x"):
        with pytest.raises(RefusedError):
            caller.api.watch(typed)
    paths: list[Any] = [path for _, path, _ in api.calls]

    assert [4] * 4 == [path.count("/") for path in paths], paths


def test_the_region_of_an_address_is_signed_for() -> None:
    """Whatever region the caller's profile has."""
    session = boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1")
    api = Api("https://abc123.execute-api.eu-west-1.amazonaws.com/api", session=session)

    assert "eu-west-1" == api._region


def test_an_address_without_a_region_needs_one() -> None:
    """A custom domain does not say in which region it is."""
    session = boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET)
    if session.region_name is None:
        with pytest.raises(ConfigurationError, match="AWS_REGION"):
            Api("https://drawbridge.example.com/api", session=session)


def test_a_profile_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the option that chooses another."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")

    with pytest.raises(CredentialsError, match=r"no AWS profile called 'nobody'.*--awsprofile"):
        open_session("nobody")


def test_nobody_without_credentials_is_told_to_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any call is made."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")

    with pytest.raises(CredentialsError, match="aws sso login"):
        open_session(None)
