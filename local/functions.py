"""The process of the deployed functions: their environment, their log, and the handlers as the runtime loads them."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from chalicelib.domain.roles import PERSON_PREFIX, PROVISIONER
from chalicelib.observability import logger
from local import seed
from local.aws import API_FUNCTION
from local.iam_proxy import Credentials
from local.lambdas import load_handler

KEY = "AKIALOCALFUNCTIONS00"
CREDENTIALS = Credentials(
    secret_access_key="local-function-secret",
    session_token=None,
    may_connect=lambda user: user == PROVISIONER or user.startswith(PERSON_PREFIX),
)
_OURS = ("chalicelib.functions", "chalicelib.aws")


def aws_settings(endpoint_url: str, nowhere: Path) -> dict[str, str | None]:
    """The AWS variables of a function, and none of whoever runs this; None unsets one."""
    settings = {"ENDPOINT_URL": endpoint_url, "ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": CREDENTIALS.secret_access_key}
    settings |= {"DEFAULT_REGION": seed.REGION, "CONFIG_FILE": str(nowhere), "SHARED_CREDENTIALS_FILE": str(nowhere)}
    return {f"AWS_{name}": settings.get(name) for name in (*settings, "PROFILE", "SESSION_TOKEN", "REGION")}


def function_settings(
    *, state_machine: str, slack_api: str, catalogue: Path, certificates: Path, seconds: Mapping[str, int]
) -> dict[str, str]:
    """Our own variables of a function; ``seconds`` replaces durations by name."""
    settings = {"TABLE": seed.TABLE, "STATE_MACHINE": state_machine, "LAUNCH_TEMPLATE": seed.LAUNCH_TEMPLATE}
    settings |= {"SLACK_SECRET": seed.SECRET, "SLACK_APP": seed.APP, "SLACK_API": slack_api}
    settings |= {"CERTIFICATE_BUNDLE": str(certificates), "DATABASE_CERTIFICATES": str(certificates)}
    settings |= {"CATALOGUE": str(catalogue), "DATABASE_ADDRESS": "127.0.0.1", "ISSUE_TOKEN_FUNCTION": "IssueToken"}
    settings |= {f"{name}_SECONDS": str(number) for name, number in seconds.items()}
    return {f"DRAWBRIDGE_{name}": value for name, value in settings.items()}


def load_functions() -> dict[str, Any]:
    """Every deployed function by its logical id, as at a cold start: nothing is left of what an earlier one remembered."""
    for name in [name for name in sys.modules if name.startswith(_OURS) or name == "app"]:
        del sys.modules[name]
    app = load_handler("app.app")
    functions = [*app.pure_lambda_functions, *app.event_sources]
    named = {each.name.title().replace("_", ""): load_handler(each.handler_string) for each in functions}
    return {API_FUNCTION: app} | named


@contextmanager
def logs_to(file: Path) -> Iterator[None]:
    """What the functions and the stand-ins log, kept apart from what the story tells."""
    root, ours = logging.getLogger(), logging.getLogger(logger.name).handlers
    with file.open("w", encoding="utf-8") as stream, ExitStack() as undo:
        for handler in (each for each in ours if isinstance(each, logging.StreamHandler)):
            undo.callback(handler.setStream, handler.setStream(stream))
        root.addHandler(logging.StreamHandler(stream))
        undo.callback(root.removeHandler, root.handlers[-1])
        yield


@contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables of this process, None to unset one, and put everything back afterwards."""
    before = {name: os.environ.get(name) for name in values}
    try:
        _apply(values)
        yield
    finally:
        _apply(before)


def _apply(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        os.environ.update({} if value is None else {name: value})
