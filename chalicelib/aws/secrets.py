"""What ties us to one Slack app, kept as one secret in Secrets Manager: its id, its signing secret and its bot token."""

import json
from dataclasses import dataclass, field
from typing import Any

from chalicelib.aws.errors import translated
from chalicelib.domain.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackSecrets:
    """The app's id, and two secrets that do not show in a repr. Requests meant for another app are refused."""

    app_id: str
    signing_secret: str = field(repr=False)
    bot_token: str = field(repr=False)


def read_slack_secrets(secretsmanager: Any, secret_id: str) -> SlackSecrets:
    """Read all three. Raises SettingsError when the secret cannot be read or lacks a part."""
    with translated(SettingsError, "Slack's secret cannot be read; store it with the deployment"):
        answer = secretsmanager.get_secret_value(SecretId=secret_id)
    try:
        values = json.loads(answer["SecretString"])
        return SlackSecrets(**{name: _part(values, name) for name in ("app_id", "signing_secret", "bot_token")})
    except (ValueError, TypeError, KeyError):
        # Not chained: the cause would quote the secret.
        raise SettingsError(
            "Slack's secret must hold an app_id, a signing_secret and a bot_token; store it anew."
        ) from None


def _part(values: Any, name: str) -> str:
    """Anybody could sign with an empty secret, or with the text of a null."""
    value = values[name]
    if not isinstance(value, str) or not value:
        raise ValueError(name)
    return value
