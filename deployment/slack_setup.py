"""Slack's side of a deployment: the app's three facts, asked of the operator without echo, tried, and kept in the secret."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from slack_sdk import WebClient

from chalicelib.aws.errors import error_code
from chalicelib.aws.secrets import SlackSecrets, read_slack_secrets
from chalicelib.domain.errors import SettingsError, SlackUnavailableError
from chalicelib.settings import current_settings
from chalicelib.slack.notifier import translated
from deployment.account import Account, DeploymentError, explained
from deployment.manifest import fill_in
from deployment.prompts import Terminal
from deployment.stage import Stage

SLACK_SECRET = "SlackSecret"  # noqa: S105  its logical id in the stack
_SIGNING_SECRET = re.compile(r"[0-9a-f]{32}")
_BOT_TOKEN = re.compile(r"xoxb-[A-Za-z0-9-]{10,250}")
_SCOPES_HEADER = "x-oauth-scopes"
_SECONDS = 15
_NOTHING_STORED = "ResourceNotFoundException"

Web = Callable[[str], WebClient]
"""Gives Slack's Web API as a bot token sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledApp:
    """What Slack says of the app behind a bot token."""

    id: str
    team: str
    scopes: frozenset[str]


def slack_web(token: str) -> WebClient:
    """Slack's Web API, with bounded waits."""
    return WebClient(token=token, base_url=current_settings().slack_api, timeout=_SECONDS)


def describe_app(web: WebClient) -> InstalledApp:
    """Ask Slack whose token it is. Raises SlackUnavailableError, also for a token that Slack refuses."""
    with translated("the question whose bot token this is"):
        answer = web.auth_test()
        bot: dict[str, Any] = web.bots_info(bot=answer["bot_id"])["bot"]
    headers = {name.lower(): value for name, value in answer.headers.items()}
    scopes = frozenset(each.strip() for each in headers.get(_SCOPES_HEADER, "").split(",") if each.strip())
    return InstalledApp(id=str(bot["app_id"]), team=str(answer["team_id"]), scopes=scopes)


def needs_groups(stage: Stage) -> bool:
    """Does a rule of the catalogue name Slack user groups?"""
    return any(rule.approver_groups for location in stage.catalogue.locations.values() for rule in location.all_rules)


def wanted_manifest(stage: Stage, api_url: str) -> dict[str, Any]:
    """What Slack's "From a manifest" takes."""
    return fill_in(api_url.removesuffix("/"), asks_groups=needs_groups(stage))


def find_secrets(account: Account, secret_id: str) -> SlackSecrets | None:
    """What is stored; None when it is nothing that could be used. Raises DeploymentError when the secret cannot be read."""
    client = account.client("secretsmanager")
    try:
        return read_slack_secrets(client, secret_id)
    except SettingsError as error:
        cause = error.__cause__
        if cause is not None and not (isinstance(cause, ClientError) and error_code(cause) == _NOTHING_STORED):
            raise DeploymentError(f"{error} Your AWS identity needs secretsmanager:GetSecretValue on it.") from error
        return None


def set_up_slack(stage: Stage, *, api_url: str, secret_id: str, terminal: Terminal, web: Web) -> None:
    """Show the manifest, ask for what only Slack's pages show, try it, and store it. Raises DeploymentError."""
    terminal.say(f"\n{json.dumps(wanted_manifest(stage, api_url), indent=2)}\n")
    terminal.say(
        "In Slack: https://api.slack.com/apps, 'Create New App', 'From a manifest', your workspace; paste the lines above "
        "from { to }.\nThen 'Install to Workspace'. What is asked for now stands there:"
    )
    signing_secret = terminal.ask_secret(
        "Signing Secret, under Basic Information",
        is_one=lambda text: bool(_SIGNING_SECRET.fullmatch(text)),
        looks_like="32 digits and letters from a to f",
    )
    bot_token = terminal.ask_secret(
        "Bot User OAuth Token, under OAuth & Permissions",
        is_one=lambda text: bool(_BOT_TOKEN.fullmatch(text)),
        looks_like="xoxb-... and is not the one that begins with xoxp or xapp",
    )
    try:
        app = describe_app(web(bot_token))
    except SlackUnavailableError as error:
        raise DeploymentError(f"{error} Nothing was stored.") from error
    if app.team != stage.catalogue.team:
        raise DeploymentError(
            f"That token belongs to the workspace {app.team}, and the catalogue's [slack] team is {stage.catalogue.team}. "
            "Nothing was stored: install the app there, or correct the catalogue."
        )
    _store(stage.account, secret_id, app_id=app.id, signing_secret=signing_secret, bot_token=bot_token)
    terminal.say(
        f"Stored for the app {app.id} of {app.team}. Functions read it at their next start, or when a signature fails."
    )


def _store(account: Account, secret_id: str, *, app_id: str, signing_secret: str, bot_token: str) -> None:
    text = json.dumps({"app_id": app_id, "signing_secret": signing_secret, "bot_token": bot_token})
    with explained("store Slack's secret"):
        account.client("secretsmanager").put_secret_value(SecretId=secret_id, SecretString=text)
