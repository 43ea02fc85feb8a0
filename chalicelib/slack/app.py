"""The Slack app on bolt: who is served at all, and what a person reads when something breaks. Makes no call of its own."""

import json
import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

from slack_bolt import App, BoltRequest, BoltResponse
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.internals import build_context
from slack_sdk import WebClient

from chalicelib.domain.errors import SettingsError
from chalicelib.slack.actions import register_actions, tell_presser
from chalicelib.slack.acts import Acts
from chalicelib.slack.commands import register_commands
from chalicelib.slack.events import register_events
from chalicelib.slack.replies.answers import broken_reply, refused_reply
from chalicelib.slack.submissions import register_submissions

_Secrets = TypeVar("_Secrets")
_REREAD_SECONDS, _STALE_SECONDS = 60, 15 * 60
_LONGEST_BODY = 1_000_000
"""Characters. A view, the largest thing that Slack sends, has 250 kB at most, and each sign of it may be written as three."""
_SIGNED_BY = {
    "x-slack-request-timestamp": re.compile(r"[0-9]{1,12}"),
    "x-slack-signature": re.compile(r"v0=[0-9a-f]{64}"),
}


def build_app(
    *,
    acts: Acts,
    app_id: str,
    signing_secret: str,
    bot_token: str,
    api: str,
    report_error: Callable[[str, Exception], None],
) -> App:
    """An app that serves one Slack app and one team. ``report_error`` logs what broke under an id that the person reads.

    With ``authorize`` bolt asks Slack nothing at a cold start. Its logger stays quiet: it would log whole bodies.
    """
    quiet = logging.getLogger("drawbridge.bolt")
    quiet.setLevel(logging.CRITICAL)
    identity = AuthorizeResult(
        enterprise_id=None, team_id=acts.team, bot_token=bot_token, bot_id="B0", bot_user_id="U0"
    )
    app = App(
        name="drawbridge.bolt",  # else bolt takes the time to look through the source of the whole stack for one
        signing_secret=signing_secret,
        client=WebClient(base_url=api, timeout=2),
        authorize=lambda **_: identity,
        process_before_response=True,
        ssl_check_enabled=False,
        ignoring_self_events_enabled=False,
        logger=quiet,
    )

    @app.middleware
    def serve_only_our_own(body: dict[str, Any], next: Callable[[], BoltResponse]) -> BoltResponse:  # noqa: A002  bolt's name for it
        # bolt's own check ends at the signature; app, team and the person's team are ours to compare.
        if body.get("type") == "url_verification" or _is_ours(body, app_id, acts.team):
            return next()
        return _whispered(refused_reply(reason="This Drawbridge serves another Slack workspace."))

    @app.error
    def explain(error: Exception, body: dict[str, Any], client: WebClient) -> BoltResponse:
        error_id = secrets.token_hex(4)
        report_error(error_id, error)
        reply = broken_reply(error_id=error_id)
        if body.get("type") == "block_actions":
            tell_presser(reply, body, client)
        return _whispered(reply)

    register_commands(app, acts)
    register_actions(app, acts)
    register_submissions(app, acts)
    register_events(app, acts)
    return app


class CurrentApp(Generic[_Secrets]):
    """The app for the secrets as last read. They are read again, at most once a minute, when a signature fails: somebody
    may have rotated them, and strangers must not make us read them at will. A bot token fails no signature, so they are
    also read again when a quarter of an hour old; if they cannot be then, the old ones serve on.
    """

    def __init__(
        self, *, read: Callable[[], _Secrets], build: Callable[[_Secrets], App], clock: Callable[[], float]
    ) -> None:
        self._read, self._build, self._clock = read, build, clock
        self._secrets, self._read_at = read(), clock()
        self._app = build(self._secrets)

    def dispatch(self, request: BoltRequest) -> BoltResponse:
        """Serve a request; one whose signature fails by the old secrets gets a second chance by new ones."""
        if self._clock() - self._read_at >= _STALE_SECONDS:
            with suppress(SettingsError):
                self._has_new_secrets()
        answer = self._app.dispatch(request)
        if answer.status == HTTPStatus.UNAUTHORIZED and self._has_new_secrets():
            return self._app.dispatch(request)
        return answer

    def _has_new_secrets(self) -> bool:
        if self._clock() - self._read_at < _REREAD_SECONDS:
            return False
        self._read_at = self._clock()
        fresh = self._read()
        if fresh == self._secrets:
            return False
        self._secrets, self._app = fresh, self._build(fresh)
        return True


class SignedRequest(BoltRequest):
    """A request whose fields are read as Slack writes them; its signature is still to be verified.

    bolt reads no field at all where the word ``payload`` stands anywhere in a form. Raises ValueError for a body that is neither
    a form nor a JSON object, or longer than anything of Slack's: strangers' bodies are read too, at our cost.
    """

    def __init__(self, *, body: str, headers: dict[str, str | Sequence[str]]) -> None:
        super().__init__(body="", headers=headers)
        self.raw_body, self.body = body, _read_fields(body)
        try:
            self.context = build_context(self.context, self.body)
        except (AttributeError, LookupError, TypeError) as error:  # bolt believes everybody, signed or not
            raise ValueError("the body's fields are none of Slack's") from error


def _read_fields(body: str) -> dict[str, Any]:
    if len(body) > _LONGEST_BODY:
        raise ValueError("the body is too long")
    form = dict(parse_qsl(body, keep_blank_values=True))
    text = body if body.startswith("{") else form.get("payload")
    try:
        fields = form if text is None else json.loads(text)
    except RecursionError as error:
        raise ValueError("the body is too deep") from error
    if not isinstance(fields, dict):
        raise ValueError("the body holds no fields")  # noqa: TRY004  for the caller every unreadable body is alike
    return fields


def has_readable_signature(headers: Mapping[str, str]) -> bool:
    """Do time and signature look like Slack's? On some others bolt fails, and would apologise to a stranger."""
    given = {name.lower(): value for name, value in headers.items()}
    return all(pattern.fullmatch(given.get(name, "")) for name, pattern in _SIGNED_BY.items())


def _is_ours(body: dict[str, Any], app_id: str, team: str) -> bool:
    """For our app, in our workspace, by one of us? What an installation for a whole organisation sends names no workspace."""
    person, workspace = body.get("user"), body.get("team")
    places = [body["team_id"]] if "team_id" in body else []
    places += [workspace.get("id")] if isinstance(workspace, dict) else []
    homes = [person.get("team_id")] if isinstance(person, dict) else []
    return body.get("api_app_id") == app_id and bool(places) and all(each == team for each in places + homes)


def _whispered(message: Any) -> BoltResponse:
    return BoltResponse(
        status=200,
        body=json.dumps({"response_type": "ephemeral", **message}),
        headers={"Content-Type": "application/json"},
    )
