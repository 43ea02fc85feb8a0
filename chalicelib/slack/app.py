"""The Slack app on bolt: who is served at all, and what a person reads when something breaks. Makes no call of its own."""

import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from slack_bolt import App, BoltRequest, BoltResponse, Respond
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.internals import build_context
from slack_sdk import WebClient

from chalicelib.slack.actions import register_actions
from chalicelib.slack.acts import Acts
from chalicelib.slack.commands import register_commands
from chalicelib.slack.replies import broken_reply, refused_reply


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
        signing_secret=signing_secret,
        client=WebClient(base_url=api, timeout=2),
        authorize=lambda **_: identity,
        process_before_response=True,
        ssl_check_enabled=False,
        ignoring_self_events_enabled=False,
        logger=quiet,
    )

    @app.middleware
    def serve_only_our_own(body: dict[str, Any], next: Callable[[], BoltResponse]) -> BoltResponse:  # noqa: A002
        # bolt's own check ends at the signature; app, team and the person's team are ours to compare.
        if body.get("type") == "url_verification" or _is_ours(body, app_id, acts.team):
            return next()
        return _whispered(refused_reply(reason="This Drawbridge serves another Slack workspace."))

    @app.error
    def explain(error: Exception, body: dict[str, Any], respond: Respond) -> BoltResponse:
        error_id = secrets.token_hex(4)
        report_error(error_id, error)
        reply = broken_reply(error_id=error_id)
        if body.get("type") == "block_actions" and "response_url" in body:
            respond(response_type="ephemeral", replace_original=False, **reply)
        return _whispered(reply)

    register_commands(app, acts)
    register_actions(app, acts)
    return app


class SignedRequest(BoltRequest):
    """A request whose form is read as a form: bolt reads nothing where the word ``payload`` stands anywhere in the body.

    Raises ValueError or TypeError for a body that is neither a form nor a JSON object.
    """

    def __init__(self, *, body: str, headers: dict[str, str | Sequence[str]]) -> None:
        super().__init__(body=body, headers=headers)
        if not isinstance(self.body, dict):
            raise TypeError("the body holds no fields")
        if not self.body:
            self.body = dict(parse_qsl(body, keep_blank_values=True))
            self.context = build_context(self.context, self.body)


def has_readable_timestamp(headers: Mapping[str, str]) -> bool:
    """Is the signature's time stamp a number? bolt fails on anything else instead of refusing it."""
    return any(
        name.lower() == "x-slack-request-timestamp" and value.isascii() and value.isdigit()
        for name, value in headers.items()
    )


def _is_ours(body: dict[str, Any], app_id: str, team: str) -> bool:
    person = body.get("user")
    teams = {body["team_id"] if "team_id" in body else (body.get("team") or {}).get("id")}
    if isinstance(person, dict):
        teams.add(person.get("team_id"))
    return body.get("api_app_id") == app_id and teams == {team}


def _whispered(message: Any) -> BoltResponse:
    return BoltResponse(
        status=200,
        body=json.dumps({"response_type": "ephemeral", **message}),
        headers={"Content-Type": "application/json"},
    )
