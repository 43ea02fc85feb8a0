"""The client with which functions of the workflow call Slack: it waits for Slack itself only where that is short."""

from typing import Any

from slack_sdk import WebClient
from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler, RateLimitErrorRetryHandler
from slack_sdk.http_retry.response import HttpResponse

_ANSWER_SECONDS = 10
_LONGEST_PAUSE_SECONDS = 2
"""A longer one would outlast the function: Lambda ends it, no retry of ours catches that, and with it ends the request."""


class ShortPauses(RateLimitErrorRetryHandler):
    """Calls again after a pause that Slack asks for, once; a long one is the workflow's, which tries the whole state again."""

    def _can_retry(self, *, response: HttpResponse | None = None, **call: Any) -> bool:
        return super()._can_retry(response=response, **call) and _pause_of(response) <= _LONGEST_PAUSE_SECONDS


def new_web_client(token: str, base_url: str) -> WebClient:
    """One that raises what Slack does not take within seconds."""
    client = WebClient(token=token, base_url=base_url, timeout=_ANSWER_SECONDS)
    client.retry_handlers = [ConnectionErrorRetryHandler(max_retry_count=1), ShortPauses(max_retry_count=1)]
    return client


def _pause_of(response: HttpResponse | None) -> int:
    headers = {name.lower(): values for name, values in (response.headers if response else {}).items()}
    return int(headers.get("retry-after", ["0"])[0])
