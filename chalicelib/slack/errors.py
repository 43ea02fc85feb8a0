"""What Slack's client raises, as errors of ours, with nothing of what Slack sent but its code."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException

from slack_sdk.errors import SlackApiError, SlackClientError

from chalicelib.domain.errors import SlackUnavailableError

_RATE_LIMITED = "ratelimited"
_SLACK_CODE = re.compile(r"[a-z_]{1,60}")
_ADVICE = {
    _RATE_LIMITED: "Slack asks for a pause.",
    **dict.fromkeys(
        ("account_inactive", "invalid_auth", "not_authed", "token_expired", "token_revoked"),
        "Reinstall the app in Slack and store its new bot token.",
    ),
    "missing_scope": "Compare the app's scopes with its manifest and reinstall it.",
    **dict.fromkeys(
        ("channel_not_found", "is_archived", "not_in_channel"),
        "Invite the app to the approvals channel and compare the Slack ids in the catalogue.",
    ),
}
_GENERAL_ADVICE = "Try again; if it stays, tell the people who run Drawbridge."


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Slack's and the network's errors as SlackUnavailableError, with Slack's code but nothing else of its answer."""
    try:
        yield
    except SlackApiError as error:
        code = slack_code(error)
        advice = _ADVICE.get(code, _GENERAL_ADVICE)
        raise SlackUnavailableError(f"Slack did not take {what}: {code}. {advice}") from error
    except (SlackClientError, OSError, HTTPException, ValueError) as error:
        # ValueError: the SDK lets a cut-off or undecodable answer through as the decoder's own error.
        raise SlackUnavailableError(
            f"Slack could not be reached for {what} ({type(error).__name__}). {_GENERAL_ADVICE}"
        ) from error


def slack_code(error: SlackApiError) -> str:
    """Slack's code for what went wrong, or the HTTP status. The SDK puts whole foreign bodies where a code should be."""
    response = error.response
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return _RATE_LIMITED
    code = response.data.get("error") if isinstance(response.data, dict) else None
    return code if isinstance(code, str) and _SLACK_CODE.fullmatch(code) else f"HTTP status {response.status_code}"
