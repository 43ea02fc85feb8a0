"""Logs: one structured logger, correlated by request id, and what must never be in it taken out."""

import functools
import re
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger

from chalicelib.domain.errors import AccessError

logger = Logger(service="drawbridge")

_SECRETS = re.compile(
    r"X-Amz-(?:Signature|Credential|Security-Token)=[^&\s\"']*|xox[a-z]-[A-Za-z0-9-]+|https?://hooks\.[^\s\"']+",
)

Handler = Callable[[Any, Any], Any]


def redacted(text: str) -> str:
    """The text without anything that looks like a database token, a Slack token or a response URL."""
    return _SECRETS.sub("[taken out]", text)


def observed(handler: Handler) -> Handler:
    """Log a function's start and end under the request's id. Errors go on to the workflow, which matches their names.

    The event itself is never logged: it may hold a task token.
    """

    @functools.wraps(handler)
    def wrapped(event: Any, context: Any = None) -> Any:  # a schedule of Chalice passes the event alone
        logger.append_keys(request_id=_request_id(event), function=handler.__name__)
        try:
            answer = handler(event, context)
        except AccessError as error:
            logger.warning("%s: %s", type(error).__name__, redacted(str(error)))
            raise
        logger.info("done")
        return answer

    return wrapped


def _request_id(event: Any) -> str:
    return str(event.get("request_id", "")) if isinstance(event, dict) else ""
