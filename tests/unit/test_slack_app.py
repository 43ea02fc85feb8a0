"""The Slack app's doors: what is read of a body, whose time stamps count, and what happens when secrets are rotated."""

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_bolt import BoltRequest, BoltResponse

from chalicelib.domain.errors import SettingsError
from chalicelib.slack.app import CurrentApp, SignedRequest, has_readable_signature


class _App:
    """Serves one secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def dispatch(self, request: BoltRequest) -> BoltResponse:
        is_signed = request.raw_body == f"signed={self._secret}"
        return BoltResponse(status=HTTPStatus.OK if is_signed else HTTPStatus.UNAUTHORIZED)


class _Secret:
    """A secret that can be rotated, and counts its readers."""

    def __init__(self) -> None:
        self.value, self.reads, self.now, self.is_readable = "old", 0, 0.0, True

    def read(self) -> str:
        self.reads += 1
        if not self.is_readable:
            raise SettingsError("Slack's secret cannot be read.")
        return self.value

    def app(self) -> CurrentApp[str]:
        build: Any = _App
        return CurrentApp(read=self.read, build=build, clock=lambda: self.now)


def _signed(secret: str) -> SignedRequest:
    return SignedRequest(body=f"signed={secret}", headers={})


def test_a_rotated_secret_is_noticed() -> None:
    """A request signed with the new secret is served once the old reading is a minute old."""
    secret = _Secret()
    app = secret.app()
    secret.value = "new"

    early = app.dispatch(_signed("new")).status
    secret.now = 61.0

    assert HTTPStatus.UNAUTHORIZED == early
    assert HTTPStatus.OK == app.dispatch(_signed("new")).status
    assert HTTPStatus.UNAUTHORIZED == app.dispatch(_signed("old")).status


def test_a_secret_that_signs_nothing_is_noticed_too() -> None:
    """A bot token that was rotated by itself: what is a quarter of an hour old is read again before anything is served."""
    secret = _Secret()
    app = secret.app()
    secret.value, secret.now = "new", 900.0

    assert HTTPStatus.UNAUTHORIZED == app.dispatch(_signed("old")).status
    assert HTTPStatus.OK == app.dispatch(_signed("new")).status
    assert 2 == secret.reads


def test_an_old_secret_serves_while_no_other_can_be_read() -> None:
    """A moment's trouble turns nobody away, and the next try waits as long again."""
    secret = _Secret()
    app = secret.app()
    secret.is_readable, secret.now = False, 900.0

    assert [HTTPStatus.OK] * 2 == [app.dispatch(_signed("old")).status for _ in range(2)]
    assert 2 == secret.reads


def test_strangers_cannot_make_us_read_the_secret_at_will() -> None:
    """However many signatures fail, the secret is read at most once a minute."""
    secret = _Secret()
    app = secret.app()

    for _ in range(50):
        secret.now += 10.0
        assert HTTPStatus.UNAUTHORIZED == app.dispatch(_signed("forged")).status

    assert 1 + 500 // 60 >= secret.reads


@given(text=st.text(max_size=200), user=st.text(max_size=20))
def test_a_form_is_read_whatever_words_are_in_it(text: str, user: str) -> None:
    """The word payload in what people type hides nothing."""
    fields = {"command": "/db-access", "text": f"payload {text}", "user_id": user}

    assert fields == SignedRequest(body=urlencode(fields), headers={}).body


def test_an_interaction_is_read_from_its_payload() -> None:
    """Buttons come as JSON within a form."""
    payload = {"type": "block_actions", "user": {"id": "U0ALICE"}}

    assert payload == SignedRequest(body=urlencode({"payload": json.dumps(payload)}), headers={}).body


@pytest.mark.parametrize(
    "body",
    [
        *("{", "payload={", "payload=[]", "payload=1", "payload=%22x%22", '{"user": false}', '{"authorizations": 1}'),
        pytest.param('{"a":' * 10_000, id="an object in an object"),
        pytest.param("payload=" + "[" * 10_000, id="a list in a list"),
    ],
)
def test_what_holds_no_fields_is_refused(body: str) -> None:
    """ValueError, which the endpoint answers with 400."""
    with pytest.raises(ValueError, match=r"."):
        SignedRequest(body=body, headers={})


@pytest.mark.parametrize("start", ["text=", "payload={}&a=", "{"])
def test_what_is_longer_than_anything_of_slacks_is_not_read(start: str) -> None:
    """Fields are read before the signature is checked, at our cost: strangers may not say how much that is."""
    longest = 1_000_000
    body = start + "a" * (longest + 1 - len(start))

    with pytest.raises(ValueError, match="too long"):
        SignedRequest(body=body, headers={})
    assert {"text": "a" * (longest - 5)} == SignedRequest(body="text=" + "a" * (longest - 5), headers={}).body


_DIGEST = "v0=" + "0a" * 32


def _signatures() -> Iterator[tuple[str, str, bool]]:
    yield from (("1795237377", _DIGEST, True), ("0", _DIGEST, True))
    for text in ("", "soon", "1e9", "-1", "1.5", "１２３", "²", " 1", "1\n", "9" * 5000):
        yield text, _DIGEST, False
    for digest in ("", "v0=", "v0=é", f"{_DIGEST}\n", _DIGEST[:-1], _DIGEST.upper(), f"\x80{_DIGEST}", f"{_DIGEST}0"):
        yield "1795237377", digest, False


@pytest.mark.parametrize(("at", "digest", "is_readable"), list(_signatures()))
def test_only_plain_digits_are_a_time_and_only_a_digest_is_a_signature(at: str, digest: str, is_readable: bool) -> None:
    """bolt would answer some others with an error of its own, and with an apology to whoever sent them."""
    headers = {"x-SLACK-request-TIMESTAMP": at, "X-Slack-Signature": digest}

    assert is_readable == has_readable_signature(headers)


@pytest.mark.parametrize("missing", ["X-Slack-Request-Timestamp", "X-Slack-Signature"])
def test_what_is_not_signed_has_no_readable_signature(missing: str) -> None:
    """Both belong to it."""
    headers = {"X-Slack-Request-Timestamp": "1795237377", "X-Slack-Signature": _DIGEST}
    del headers[missing]

    assert not has_readable_signature(headers)
