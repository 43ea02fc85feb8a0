"""Drawbridge's API for the client's own tests: the local catalogue's location for alice and one machine, time by the call.

The contract in ``api_contract.py`` holds it to what the real one answers. It signs nothing and believes every key.
"""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.serving import HttpServer, Silent

LOCATION = "my-aurora-location"
CAPS = {"r": 8 * 3600, "w": 2 * 3600, "o": 4 * 3600}
_KEY = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/execute-api/aws4_request")
_FIELDS = {"location", "level", "duration_seconds", "reason", "environment", "region", "port", "profile", "origin_id"}
_NOT_FOUND = (404, "not_found", "None of your requests has this id. GET /v1/requests lists those that there are.")


@dataclass(slots=True, kw_only=True)
class _Request:
    caller: str
    origin_id: str
    answer: dict[str, Any]
    looks: int = 0
    is_decided: bool = False


@dataclass(slots=True, kw_only=True)
class FakeApi:
    """``machines`` are the access keys of machines. ``broken`` are answers that come before any other, each once."""

    address: str = ""
    machines: set[str] = field(default_factory=set)
    broken: list[tuple[int, bytes]] = field(default_factory=list)
    ahead: timedelta = timedelta()
    """How far the clock of its Date header is ahead."""
    connection: dict[str, Any] = field(default_factory=dict)
    """What differs in the connections that it hands out."""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    _requests: list[_Request] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def decide(self, request_id: str, outcome: str | None = None, explanation: str = "") -> None:
        """Approve it, or end it with an outcome."""
        with self._lock:
            request = next(each for each in self._requests if each.answer["request_id"] == request_id)
            request.is_decided, answer = True, request.answer
            state = "ended" if outcome else "preparing"
            answer |= {"state": state, "outcome": outcome, "explanation": explanation or "It is being prepared."}

    def states(self) -> dict[str, str]:
        """Of each request, by its id."""
        with self._lock:
            return {each.answer["request_id"]: each.answer["state"] for each in self._requests}

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and content."""
        with self._lock:
            parts = urlsplit(path)
            content = json.loads(body) if body else None
            self.calls.append((method, parts.path, content))
            if self.broken:
                return self.broken.pop(0)
            key = _KEY.match(headers.get("Authorization", ""))
            if key is None:
                return 403, b'{"message": "Missing Authentication Token"}'
            status, answer = self._route(method, parts.path, parse_qs(parts.query), content, key[1])
            return status, json.dumps(answer).encode()

    def _route(self, method: str, path: str, query: Any, body: Any, caller: str) -> tuple[int, Any]:
        match [method, *path.removeprefix("/api/v1/").split("/")]:
            case ["GET", "locations"]:
                return 200, {"caller": self._caller(caller), "locations": [_location()]}
            case ["GET", "locations", name, "explanation"]:
                return self._explain(name, query["level"][0])
            case ["GET", "requests"]:
                own = [each.answer for each in reversed(self._requests) if each.caller == caller]
                return 200, {"requests": own}
            case ["POST", "requests"]:
                return self._ask(body, caller)
        found = re.fullmatch(r"/api/v1/requests/([^/]+)(/extensions)?", path)
        own_requests = [each for each in self._requests if each.caller == caller]
        request = next((each for each in own_requests if found and each.answer["request_id"] == found[1]), None)
        if request is None:
            return _error(*_NOT_FOUND) if found else (403, {"message": "Missing Authentication Token"})
        if method == "POST":
            return self._extend(request, body)
        if method == "DELETE":
            _end(request)
            return 202, {"request": request.answer}
        self._go_on(request)
        return 200, {"request": request.answer}

    def _explain(self, name: str, level: str) -> tuple[int, Any]:
        if name != LOCATION:
            return _error(404, "not_found", f"No location called '{name}'. There is: {LOCATION}.")
        outcome = "allowed" if level == "r" else "needs approval"
        explanation = {"location": name, "level": level, "outcome": outcome, "rule": f"locations.{name}.levels.{level}"}
        explanation |= {"sentence": f"{level}: {outcome}", "approvers": [] if level == "r" else ["carol"]}
        return 200, {"explanation": explanation}

    def _ask(self, body: Any, caller: str) -> tuple[int, Any]:
        if unknown := set(body) - _FIELDS:
            return _error(400, "bad_request", f"There is no field '{min(unknown)}'.")
        if body["location"] != LOCATION:
            return _error(404, "not_found", f"No location called '{body['location']}'. There is: {LOCATION}.")
        level, seconds = body.get("level", "o"), body.get("duration_seconds", 3600)
        if seconds > CAPS[level]:
            return _error(403, "refused", f"At most {CAPS[level]} seconds are given.")
        same = [each for each in self._requests if each.caller == caller and each.answer["level"] == level]
        for each in same:
            if each.origin_id == body["origin_id"]:
                return 201, {"request": each.answer, "standing": "asked"}
            if each.answer["state"] not in {"ending", "ended"}:
                standing = "held" if each.answer["state"] == "ready" else "asked_already"
                return 200, {"request": each.answer, "standing": standing}
        answer = self._new(level, seconds, body["reason"], body.get("port", 56789), extends=None)
        self._requests.append(_Request(caller=caller, origin_id=body["origin_id"], answer=answer))
        return 201, {"request": answer, "standing": "asked"}

    def _extend(self, held: _Request, body: Any) -> tuple[int, Any]:
        if held.answer["state"] != "ready":
            return _error(403, "refused", "Only access that is held can be extended.")
        level, seconds = held.answer["level"], body["duration_seconds"]
        answer = self._new(level, seconds, "", 56789, extends=held.answer["request_id"])
        self._requests.append(_Request(caller=held.caller, origin_id=body["origin_id"], answer=answer))
        return 201, {"request": answer}

    def _new(self, level: str, seconds: int, reason: str, port: int, *, extends: str | None) -> dict[str, Any]:
        return {
            "request_id": f"R-{'ABC' if extends is None else 'EXT'}{234 + len(self._requests)}",
            "location": LOCATION,
            "level": level,
            "duration_seconds": seconds,
            "reason": reason,
            "asked_at": _written(datetime.now(UTC)),
            "extends": extends,
            "state": "preparing",
            "outcome": None,
            "explanation": "It is being prepared.",
            "ends_at": None,
            "connection": None,
            "receipt": None,
            "_port": port,
        }

    def _go_on(self, request: _Request) -> None:
        """What is prepared is ready, and what is ending has ended, at the second look."""
        answer = request.answer
        if answer["level"] != "r" and not request.is_decided and answer["state"] == "preparing":
            answer |= {"state": "waiting", "explanation": "It waits for 1 more approval."}
            return
        request.looks = request.looks + 1 if answer["state"] in {"preparing", "ending"} else 0
        if request.looks < 2:
            return
        request.looks = 0
        if answer["state"] == "ending":
            receipt = {"sessions_left": 0, "can_log_in": False, "tunnels_ended": 1}
            answer |= {
                "state": "ended",
                "outcome": "finished",
                "explanation": "The access has ended.",
                "receipt": receipt,
            }
        elif answer["extends"]:
            held = next(each.answer for each in self._requests if each.answer["request_id"] == answer["extends"])
            held["ends_at"] = _written(
                datetime.fromisoformat(held["ends_at"]) + timedelta(seconds=answer["duration_seconds"])
            )
            answer |= {"state": "ended", "outcome": "finished", "explanation": "The end was moved."}
        else:
            ends_at = _written(datetime.now(UTC) + timedelta(seconds=answer["duration_seconds"]))
            connection = {**_connection(answer["_port"]), **self.connection}
            answer |= {"state": "ready", "explanation": "It is ready.", "ends_at": ends_at, "connection": connection}

    def _caller(self, key: str) -> dict[str, Any]:
        return {"name": "release-pipeline" if key in self.machines else "alice", "is_machine": key in self.machines}


def _end(request: _Request) -> None:
    answer = request.answer
    if answer["state"] == "ready":
        answer |= {"state": "ending", "connection": None, "explanation": "It is ending."}
    elif answer["state"] != "ended":
        answer |= {"state": "ended", "outcome": "cancelled", "explanation": "It was cancelled."}


def _location() -> dict[str, Any]:
    levels = {
        level: {"is_automatic": level == "r", "cap_seconds": cap, "explanation": f"up to {cap} s"}
        for level, cap in CAPS.items()
    }
    place = {"environment": "prod", "region": "eu-west-1", "database": "depotpostgres", "port": 56789}
    return {"name": LOCATION, "levels": levels, **place}


def _connection(port: int) -> dict[str, Any]:
    return {
        "instance_id": "i-0123456789abcdef0",
        "document_name": f"drawbridge-local-{LOCATION}",
        "document_parameters": {"localPortNumber": [str(port)]},
        "host": "my-aurora.cluster-example.eu-west-1.rds.amazonaws.com",
        "port": 5432,
        "database": "depotpostgres",
        "user": "jit_abcdefghij_r_alice",
        "region": "eu-west-1",
        "local_port": port,
        "stage": "local",
        "certificate_bundle_url": "file:///nowhere/bundle.pem",
        "database_user_arn": "arn:aws:rds-db:eu-west-1:123456789012:dbuser:cluster-EXAMPLE/jit_abcdefghij_r_alice",
    }


def _error(status: int, code: str, message: str) -> tuple[int, Any]:
    return status, {"error": {"code": code, "message": message}}


def _written(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


@contextmanager
def fake_api() -> Iterator[FakeApi]:
    """On 127.0.0.1, by a free port."""
    api = FakeApi()

    class Handler(Silent, BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = api.answer(self.command, self.path, self.headers, body)  # type: ignore[arg-type]  # as a mapping
            self.send_response_only(status)
            self.send_header("Date", format_datetime(datetime.now(UTC) + api.ahead, usegmt=True))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815  the server's names

    with HttpServer(Handler) as server:
        api.address = f"http://127.0.0.1:{server.port}/api"
        yield api
