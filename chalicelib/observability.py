"""Logs: one structured logger, correlated by request id and execution, and what must never be in it taken out."""

import functools
import json
import re
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools import Logger

from chalicelib.domain.errors import AccessError

Handler = Callable[[Any, Any], Any]

_TAKEN_OUT = "[taken out]"
_NAMES = (
    r"password|passwd|pgpassword|passfile|secret|secret_?access_?key|session_?token|security_?token|signing_?secret"
    r"|bot_?token|task_?token|client_?token|token|response_?url|authorization|x-slack-signature"
)
_SECRET_NAME = re.compile(rf"(?:\w*[_-])?(?:{_NAMES})", re.IGNORECASE)
# The last in JSON that is a string of another one.
_QUOTED = r"""\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|\\+[\"'](?:\\{3}[\"']|[^\"'\\]|\\(?![\"']))*"""
_SECRETS = re.compile(
    rf"""
      (?P<name> \b(?:\w*[_-])?(?:{_NAMES})\\*[\"']? \s*(?:[=:]|%3D|%3A)\s* )   # password=..., "bot_token": "...", secret: ...
        (?: {_QUOTED} | (?:bearer\s+)?\S+ )
    | (?P<query> X-Amz-(?:Signature|Credential|Security-Token)(?:=|%3D) ) [^&\s"']*
    | (?P<user> ://[^\s:/@]*: ) \S*(?=@)                                       # the password of a URL
    | \b x (?:ox[a-z]|app) - [A-Za-z0-9-]+                                     # Slack's tokens
    | https?://hooks\.[^\s"']+
    | \b (?:AKIA|ASIA)[A-Z0-9]{{12,}}
    | \b v0=[0-9a-f]{{16,}}                                                    # Slack's signatures
    | (?<![0-9A-Za-z]) [0-9a-f]{{32}} (?![0-9A-Za-z])                          # Slack's signing secrets
    """,
    re.IGNORECASE | re.VERBOSE,
)


def redacted(text: str) -> str:
    """The text without anything that looks like a token, a password, a key, a signature or a response URL, or is called one."""
    return _SECRETS.sub(lambda found: (found["name"] or found["query"] or found["user"] or "") + _TAKEN_OUT, text)


def redacted_values(value: Any) -> Any:
    """The same for everything in a structure; what stands under the name of a secret is taken out whatever it looks like."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {
            redacted(str(name)): _TAKEN_OUT if _SECRET_NAME.fullmatch(str(name)) else redacted_values(inner)
            for name, inner in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted_values(inner) for inner in value]
    return value if value is None or isinstance(value, (bool, int, float)) else redacted(str(value))


logger = Logger(
    service="drawbridge", json_serializer=lambda line: json.dumps(redacted_values(line), ensure_ascii=False)
)
"""Takes secrets out of every line, whoever writes it; so that nobody has to think of it."""


def observed(handler: Handler) -> Handler:
    """Log a function's end under the request's id and its execution. Errors of ours go on to the workflow, which matches their
    names; of any other one only the log says more than that it happened, since the runtime and the workflow would keep its text.

    The event itself is never logged: it may hold a task token.
    """

    @functools.wraps(handler)
    def wrapped(event: Any, context: Any = None) -> Any:  # a schedule of Chalice passes the event alone
        request_id = _find(event, "request_id")
        logger.append_keys(
            request_id=request_id,
            execution=_find(event, "execution"),
            function=handler.__name__,
            invocation=str(getattr(context, "aws_request_id", "")),
        )
        try:
            answer = handler(event, context)
        except AccessError as error:
            logger.warning("failed", extra={"error": type(error).__name__, "reason": str(error)})
            raise
        except Exception as error:  # noqa: BLE001  the last place before the runtime, which would log it as it is
            stack = traceback.format_exc()
            logger.error("broke", extra={"error": type(error).__name__, "stack": stack})  # noqa: TRY400  cleaned as a field
            raise _without_text(error)(f"{handler.__name__} broke; its log says where{_under(request_id)}.") from None
        logger.info("done")
        return answer

    return wrapped


def _find(event: Any, name: str) -> str:
    return str(event.get(name, "")) if isinstance(event, dict) else ""


def _without_text(error: Exception) -> type[Exception]:
    """The same by name, which is all that the workflow goes by."""
    return type(type(error).__name__, (Exception,), {})


def _under(request_id: str) -> str:
    return f", under {request_id}" if request_id else ""
