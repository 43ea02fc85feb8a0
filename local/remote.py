"""Drives a workspace that is open in another process, through the doors that people have: Slack, and looking at AWS."""

import json
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from local import seed
from local.terminal import readable, readable_text
from local.workspace import Workspace


class NoWorkspaceError(Exception):
    """No workspace is open, or it refused; one plain sentence says which."""


def _register() -> Path:
    return Path(tempfile.gettempdir()) / f"drawbridge-workspace-{os.getuid()}.json"


@contextmanager
def registered(workspace: Workspace) -> Iterator[None]:
    """Let other processes of this account find the workspace while it is open."""
    register = _register()
    facts = {"slack": workspace.slack.api_url.removesuffix("/api/"), "aws": workspace.aws.endpoint_url}
    register.unlink(missing_ok=True)
    with os.fdopen(os.open(register, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(facts, file)
    try:
        yield
    finally:
        register.unlink(missing_ok=True)


def _facts() -> dict[str, str]:
    register = _register()
    try:
        if register.stat().st_uid != os.getuid():
            raise NoWorkspaceError(f"{register} belongs to somebody else, so it is not used.")
        facts: dict[str, str] = json.loads(register.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoWorkspaceError("No workspace is open. Start one in another terminal: make demo") from error
    return facts


def type_command(person: str, text: str) -> str:
    """Type a command in #general; what the person reads."""
    answer = _ask("/ui/command", {"user": _user(person), "channel": "C0GENERAL", "text": text})
    return answer["error"] or _read(answer)


def press(person: str, action: str, request: str) -> str:
    """Press the button on the newest message that has it; what the person sees then."""
    state, found = _state(person), []
    for channel in state["channels"]:
        for message in state["messages"][channel] + state["ephemerals"][channel]:
            buttons = [each for block in message["blocks"] for each in block.get("elements", [])]
            if any(each.get("action_id") == action and request in each.get("value", "") for each in buttons):
                found.append((message["ts"], channel))
    if not found:
        raise NoWorkspaceError(
            f"{person} sees no message with a button '{action}'" + (f" of {request}." if request else ".")
        )
    ts, channel = max(found)
    answer = _ask("/ui/press", {"user": _user(person), "channel": channel, "ts": ts, "action_id": action})
    return answer["error"] or f"Pressed. What {person} sees now: .venv/bin/python -m local status {person}"


def fill(person: str, fields: Iterable[str]) -> str:
    """Fill in the form that the person has open, each field as NAME=VALUE, and send it; what the person sees then."""
    values = dict(each.partition("=")[::2] for each in fields)
    if not _state(person)["view"]:
        raise NoWorkspaceError(f"{person} has no form open.")
    answer = _ask("/ui/submit", {"user": _user(person), "values": values})
    if wrong := [f"{name}: {reason}" for name, reason in answer["errors"].items()]:
        return "\n".join(wrong)
    view = _state(person)["view"]
    return answer["error"] or (readable(view["blocks"]) if view else "Sent.")


def describe(person: str) -> str:
    """What the person sees in Slack, and below it what runs in AWS."""
    state, lines = _state(person), []
    for channel, name in state["channels"].items():
        for message in state["messages"][channel] + state["ephemerals"][channel]:
            lines += [f"-- {name}", _read(message)]
    if state["view"]:
        lines += [f"-- modal: {state['view']['title']['text']}", readable(state["view"]["blocks"])]
    return "\n".join([*lines, "-- behind it, clearly not Slack", *_describe_aws()])


def _describe_aws() -> Iterator[str]:
    keys = {"aws_access_key_id": "AKIALOCALREADER00000", "aws_secret_access_key": "local"}
    place = {"endpoint_url": _facts()["aws"], "region_name": seed.REGION, **keys}
    ec2: Any = boto3.client("ec2", **place)
    for group in ec2.describe_instances()["Reservations"]:
        for instance in group["Instances"]:
            yield f"bastion {instance['InstanceId']}: {instance['State']['Name']}"
    for page in boto3.client("dynamodb", **place).get_paginator("scan").paginate(TableName=seed.TABLE):
        for item in page["Items"]:
            if item["sk"]["S"] in {"GRANT", "BASTION"}:
                holds = ", ".join(sorted(item.get("leases", {}).get("M", {})))
                yield f"{item['pk']['S']}: {item['state']['S']}" + (f", leased to {holds}" if holds else "")


def _read(message: dict[str, Any]) -> str:
    return readable(message["blocks"]) if message["blocks"] else readable_text(message["text"])


def _state(person: str) -> dict[str, Any]:
    return _ask(f"/ui/state?user={_user(person)}")


def _user(person: str) -> str:
    return f"U0{person.upper()}"


def _ask(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(
        _facts()["slack"] + path,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as response:
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        raise NoWorkspaceError(f"The workspace refused: {error.read().decode(errors='replace')[:300]}") from error
    except OSError as error:
        raise NoWorkspaceError(
            "The workspace does not answer; it may just have ended. Start it anew: make demo"
        ) from error
    return answer
