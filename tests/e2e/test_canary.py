"""No secret is anywhere but where its owner looks: everything that the system wrote is searched."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import boto3
import psycopg
import pytest

from local import seed
from local.workspace import Workspace
from tests.e2e.people import People, lines_of


@pytest.fixture(scope="module")
def token(workspace: Workspace) -> str:
    """A token that alice was shown and used, after its grant has ended."""
    people = People(workspace)
    request_id = people.ask("alice", "my-aurora-location r 30m look for a canary")
    shown = people.token("alice", request_id)
    conninfo = shlex.split(lines_of(people.ready("alice", request_id))[1])[1]
    with psycopg.connect(conninfo, password=shown, port=workspace.proxy.port) as connection:
        connection.execute("SELECT 1")
    people.press_ready("alice", request_id, "end")
    assert "Finished" == people.wait_for_end(request_id)
    return shown


def test_the_search_would_find_what_is_there(workspace: Workspace, token: str) -> None:
    """The canary of the canary: the reason, which may stand in the ledger, is found there."""
    assert any("look for a canary" in text for text in _rows())
    assert any("jit_" in text and "alice" in text for text in _slack_calls(workspace, views=False))
    assert any(_signature(token) in text for text in _slack_calls(workspace, views=True))


def test_no_token_is_in_any_state_or_row(workspace: Workspace, token: str) -> None:
    """Neither the workflow's history nor the ledger ever held it."""
    assert [] == [text for text in (*_histories(workspace), *_rows()) if _is_secret(text, token)]


def test_no_token_is_in_any_message(workspace: Workspace, token: str) -> None:
    """Only views hold it, and those were opened by its owner."""
    assert [] == [text for text in _slack_calls(workspace, views=False) if _is_secret(text, token)]


def test_no_token_is_in_any_file(workspace: Workspace, token: str) -> None:
    """Neither a log nor anything else on disk holds it, PostgreSQL's own files included."""
    folders = (workspace.directory, workspace.database.directory)
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]

    assert [] == [str(file) for file in files if _is_secret(_read(file), token)]


def test_no_way_to_answer_is_kept(workspace: Workspace, token: str) -> None:
    """A response URL posts as us and bypasses a channel's rules: it is neither logged nor stored."""
    kept = (*_rows(), *_histories(workspace), _read(workspace.directory / "functions.log"))

    assert [] == [text for text in kept if "/hooks/" in text]


def test_no_task_token_is_logged(workspace: Workspace, token: str) -> None:
    """Whoever holds a task token can wake an execution."""
    log = _read(workspace.directory / "functions.log")
    stored = [row.partition("'task_token': {'S': '")[2].partition("'")[0] for row in _rows()]

    assert any(stored)
    assert [] == [each for each in stored if each and each in log]


def _is_secret(text: str, token: str) -> bool:
    secrets = (_signature(token), "X-Amz-Signature=", seed.SIGNING_SECRET, "local-function-secret")
    return any(secret in text for secret in secrets)


def _signature(token: str) -> str:
    return parse_qs(token.partition("?")[2])["X-Amz-Signature"][0]


def _rows() -> list[str]:
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=seed.TABLE)
    return [str(item) for page in pages for item in page["Items"]]


def _histories(workspace: Workspace) -> Iterator[str]:
    stepfunctions = boto3.client("stepfunctions")
    for execution in stepfunctions.list_executions(stateMachineArn=workspace.state_machine)["executions"]:
        arn = execution["executionArn"]
        yield str(stepfunctions.describe_execution(executionArn=arn))
        yield str(stepfunctions.get_execution_history(executionArn=arn, maxResults=1000)["events"])


def _slack_calls(workspace: Workspace, *, views: bool) -> list[str]:
    return [str(call) for call in workspace.slack.calls if call.name.startswith("views.") == views]


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")
