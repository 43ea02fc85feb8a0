"""What each entry module loads, asked of a fresh interpreter: exact sets instead of milliseconds, so that it never flakes."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENTRY_MODULES = {
    "app": {"botocore", "chalice", "slack_bolt", "slack_sdk"},
    "chalicelib.functions.workflow": {"boto3", "botocore", "chalice"},
    "chalicelib.functions.conversation": {"boto3", "botocore", "chalice", "slack_sdk"},
    "chalicelib.functions.database": {"boto3", "botocore", "chalice", "psycopg", "psycopg_binary"},
}
HEAVY = {
    "aiohttp",
    "aws_xray_sdk",
    "awscli",
    "boto3",
    "botocore",
    "chalice",
    "cryptography",
    "flask",
    "hypothesis",
    "jinja2",
    "moto",
    "psycopg",
    "psycopg_binary",
    "psycopg_pool",
    "pydantic",
    "pytest",
    "requests",
    "slack_bolt",
    "slack_sdk",
    "werkzeug",
}
IMPORT_SEALED = """
import importlib, json, sys

def refuse(event, arguments):
    if event in {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen"}:
        raise RuntimeError(f"importing did {event} {arguments}")

sys.addaudithook(refuse)
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
importlib.import_module(sys.argv[2])
json.dump(sorted(set(sys.modules) - before), sys.stdout)
"""


@pytest.mark.parametrize(("entry", "heavy"), ENTRY_MODULES.items())
def test_an_entry_module_loads_only_what_its_functions_need(entry: str, heavy: set[str]) -> None:
    """Every heavy package that a cold start pays for is in this table, with the functions that pay for it."""
    assert heavy == _loaded(entry, on_lambda=True) & HEAVY


def test_the_slack_endpoint_loads_nothing_that_its_three_seconds_cannot_afford() -> None:
    """Slack gives up after three seconds, a cold start included."""
    assert set() == _loaded("app", on_lambda=True) & {"boto3", "psycopg", "pydantic", "aws_xray_sdk", "cryptography"}


def test_off_lambda_the_app_lists_every_function_for_deployment() -> None:
    """The packager has to see the functions that the endpoint itself must not load."""
    deployed_only = {f"chalicelib.functions.{name}" for name in ("conversation", "database", "workflow")}

    assert deployed_only == deployed_only & _loaded("app", on_lambda=False)
    assert set() == deployed_only & _loaded("app", on_lambda=True)


@pytest.mark.parametrize("entry", ENTRY_MODULES)
def test_importing_needs_no_environment_region_or_network(entry: str) -> None:
    """An import that needs none of them cannot fail in a cold start, nor in the packager."""
    assert entry in _loaded(entry, on_lambda=False)


def test_an_import_that_reaches_for_the_network_is_caught(tmp_path: Path) -> None:
    """The seal on the interpreter holds; otherwise the test above would prove nothing."""
    (tmp_path / "reaches_out.py").write_text("import socket\nsocket.create_connection(('127.0.0.1', 9))\n")

    with pytest.raises(AssertionError, match=r"importing did socket\.getaddrinfo"):
        _loaded("reaches_out", on_lambda=False, root=tmp_path)


@cache
def _loaded(entry: str, *, on_lambda: bool, root: Path = ROOT) -> frozenset[str]:
    """The modules that importing ``entry`` adds to an interpreter with no other environment and no network."""
    run = subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_SEALED, str(root), entry],
        env={"AWS_LAMBDA_FUNCTION_NAME": "drawbridge-prod-APIHandler"} if on_lambda else {},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return frozenset(json.loads(run.stdout))
