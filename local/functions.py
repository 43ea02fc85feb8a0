"""The process of the deployed functions: their environment, their log, and the handlers as the runtime loads them."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from chalicelib.observability import logger
from local import seed, stack
from local.aws import API_FUNCTION
from local.identities import SECRET, access_key_of
from local.lambdas import load_handler

_OURS = ("chalicelib.functions", "chalicelib.aws")


def aws_settings(endpoint_url: str, nowhere: Path) -> dict[str, str | None]:
    """The AWS variables of the Slack endpoint, and none of whoever runs this; None unsets one."""
    settings = {"ENDPOINT_URL": endpoint_url, "ACCESS_KEY_ID": access_key_of(API_FUNCTION), "SECRET_ACCESS_KEY": SECRET}
    settings |= {"DEFAULT_REGION": seed.REGION, "CONFIG_FILE": str(nowhere), "SHARED_CREDENTIALS_FILE": str(nowhere)}
    return {f"AWS_{name}": settings.get(name) for name in (*settings, "PROFILE", "SESSION_TOKEN", "REGION")}


def function_settings(
    *, state_machine: str, slack_api: str, catalogue: Path, certificates: Path, seconds: Mapping[str, int]
) -> dict[str, str]:
    """Our own variables of a function; ``seconds`` replaces durations by name."""
    settings = {
        "TABLE": seed.TABLE,
        "AUDIT_LOG": seed.AUDIT_LOG,
        "STATE_MACHINE": state_machine,
        "LAUNCH_TEMPLATE": stack.STACK,
        "STAGE": stack.STAGE,
    }
    settings |= {"SLACK_SECRET": seed.SECRET, "SLACK_API": slack_api, "AWS_READ_SECONDS": "15"}
    settings |= {"CERTIFICATE_BUNDLE": str(certificates), "DATABASE_CERTIFICATES": str(certificates)}
    settings |= {"CERTIFICATE_BUNDLE_URL": certificates.as_uri()}
    settings |= {"CATALOGUE": str(catalogue), "DATABASE_ADDRESS": "127.0.0.1", "ISSUE_TOKEN_FUNCTION": "IssueToken"}
    settings |= {f"{name}_SECONDS": str(number) for name, number in seconds.items()}
    return {f"DRAWBRIDGE_{name}": value for name, value in settings.items()}


def load_functions() -> dict[str, Any]:
    """Every deployed function by its logical id, each as at a cold start of its own: none remembers what another has read."""
    app = _load_alone("app.app")
    functions = [*app.pure_lambda_functions, *app.event_sources]
    named = {each.name.title().replace("_", ""): _load_alone(each.handler_string) for each in functions}
    return {API_FUNCTION: app} | named


def _load_alone(handler: str) -> Any:
    for name in [name for name in sys.modules if name.startswith(_OURS) or name == "app"]:
        del sys.modules[name]
    return load_handler(handler)


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
