"""Stands in for AWS Systems Manager Session Manager: the operations on its sessions, and their data channels."""

import asyncio
import hmac
import re
import secrets
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Self

from botocore import validate, xform_name
from botocore.session import get_session

from local.ssm.channel import DataChannel
from local.ssm.documents import Document, aws_document, require
from local.ssm.protocol import ProtocolError, WebSocket, json_field

Json = dict[str, Any]
_ON_SESSIONS = {"StartSession", "ResumeSession", "TerminateSession", "DescribeSessions"}
_WATCH_SECONDS, _OPENING_SECONDS = 0.2, 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What Session Manager needs to know of an EC2 instance; the state is EC2's word for it."""

    instance_id: str
    state: str
    running_since: datetime | None


@dataclass(slots=True)
class _Session:
    """One tunnel, from StartSession on. The token opens one websocket and is gone afterwards."""

    document: Document
    record: Json  # as DescribeSessions shows it while the session lives
    properties: dict[str, str]
    started_at: datetime
    active_at: datetime
    token: str = field(default_factory=secrets.token_urlsafe, repr=False)
    end: Json = field(default_factory=dict)  # what DescribeSessions shows over the record afterwards
    serving: asyncio.Task[None] | None = None


@dataclass(kw_only=True, eq=False)
class SessionManager:
    """Its instances are connected once running for `boot_seconds`, but for those that are `unreachable`."""

    OPERATIONS = frozenset(_ON_SESSIONS | {"DescribeInstanceInformation", "GetConnectionStatus"})
    find_instance: Callable[[str], Instance | None]
    list_instances: Callable[[], Sequence[Instance]]
    targets: Mapping[tuple[str, int], tuple[str, int]]
    caller: Callable[[str], str]
    clock: Callable[[], datetime]
    boot_seconds: float = 1.0
    agent_version: str = "3.3.1142.0"
    unreachable: set[str] = field(default_factory=set)
    documents: list[Document] = field(default_factory=lambda: [aws_document()])
    _sessions: dict[str, _Session] = field(default_factory=dict, init=False)
    _pages: dict[str, list[Json]] = field(default_factory=dict, init=False)
    _model: Any = field(default_factory=cache(lambda: get_session().get_service_model("ssm")), init=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)

    def start(self) -> Self:
        """Listens from the moment it returns."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts inherits this
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="local-ssm", daemon=True)
        self._thread.start()
        return self

    def stop(self, *_: object) -> None:
        """Ends every session and tells its client so."""
        self._stopping.set()
        self._thread.join()

    __enter__ = start
    __exit__ = stop

    def handle(self, operation: str, request: Json, access_key_id: str) -> Json:
        """Answers one operation of the JSON API, from any thread. Raises SsmError."""
        require(operation in self.OPERATIONS, "NotImplemented", f"{operation} is not emulated here.")
        shape = self._model.operation_model(operation).input_shape
        report = validate.ParamValidator().validate(request, shape)
        require(not report.has_errors(), "ValidationException", report.generate_report())
        for name, value in request.items():  # botocore leaves upper limits, patterns and enums to the service
            rules, size = shape.members[name].metadata, value if isinstance(value, int) else len(value)
            matches = re.fullmatch(rules.get("pattern", "(?s:.*)"), str(value))
            fits = matches and size <= rules.get("max", size) and value in rules.get("enum", [value])
            require(fits, "ValidationException", f"{value!r} is not a {shape.members[name].name}.")
        if operation == "StartSession":
            return self._start_session(request, self.caller(access_key_id))
        return getattr(self, f"_{xform_name(operation)}")(request)

    def _start_session(self, request: Json, owner: str) -> Json:
        name, target, now = request.get("DocumentName"), request["Target"], self.clock()
        document = next((each for each in self.documents if each.name == name), None)
        require(document, "InvalidDocument", f"There is no document {name} here by which a port is forwarded.")
        properties = document.fill(request.get("Parameters", {}))
        require(self._is_connected(target), "TargetNotConnected", f"{target} is not connected.")
        able = [int(part) for part in self.agent_version.split(".")] >= [3, 1, 1374, 0]
        require(able, "BadRequest", f"Agent {self.agent_version} cannot forward to remote hosts.")
        session_id = f"{re.split('[/:]', owner)[-1]}-{secrets.token_hex(9)[1:]}"
        record: Json = {name: request[name] for name in ("Target", "DocumentName", "Reason") if name in request}
        record |= {"SessionId": session_id, "Owner": owner, "Status": "Connecting", "AccessType": "Standard"}
        longest = document.minutes("maxSessionDuration")
        record |= {"StartDate": now.timestamp()} | ({"MaxSessionDuration": longest} if longest else {})
        session = self._sessions[session_id] = _Session(document, record, properties, now, now)
        url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/v1/data-channel/{session_id}?role=publish_subscribe"
        return {"SessionId": session_id, "TokenValue": session.token, "StreamUrl": url}

    def _resume_session(self, request: Json) -> Json:
        return {"SessionId": request["SessionId"]}  # no token: the client takes the session for timed out

    def _terminate_session(self, request: Json) -> Json:
        session_id = request["SessionId"]
        require(session_id in self._sessions, "DoesNotExistException", f"There is no session {session_id}.")
        require(self._end(self._sessions[session_id]), "ValidationException", f"{session_id} has ended before.")
        return {"SessionId": session_id}

    def _describe_sessions(self, request: Json) -> Json:
        sessions, ended = reversed(list(self._sessions.values())), request["State"] == "History"
        records = [each.record | each.end for each in sessions if bool(each.end) == ended]
        return self._page("Sessions", records, request, {"Target", "Owner", "Status", "SessionId"})

    def _describe_instance_information(self, request: Json) -> Json:
        facts = {"AgentVersion": self.agent_version, "PlatformType": "Linux", "ResourceType": "EC2Instance"}
        ping = {True: "Online", False: "ConnectionLost"}
        ids = [each.instance_id for each in self.list_instances() if each.state in {"running", "stopping"}]
        records = [facts | {"InstanceId": each, "PingStatus": ping[self._is_connected(each)]} for each in ids]
        return self._page("InstanceInformationList", records, request, {"InstanceIds", "PingStatus"})

    def _get_connection_status(self, request: Json) -> Json:
        status = "connected" if self._is_connected(request["Target"]) else "notconnected"
        return {"Target": request["Target"], "Status": status}

    def _page(self, name: str, records: list[Json], request: Json, filters: set[str]) -> Json:
        """The first records that fit; the rest, as it is now, waits under the token of the next page."""
        for condition in request.get("Filters", []):
            parts = {part.lower(): value for part, value in condition.items()}
            key, values = parts["key"], parts.get("values", [parts.get("value")])
            require(key in filters, "InvalidFilterKey", f"The filter {key} is not emulated here.")
            records = [each for each in records if each[key.replace("Ids", "Id")] in values]
        if token := request.get("NextToken"):
            require(token in self._pages, "InvalidNextToken", "This token was not given out here.")
            records = self._pages[token]
        size, token = request.get("MaxResults", 10), secrets.token_urlsafe()
        self._pages[token] = records[size:]
        return {name: records[:size]} | ({"NextToken": token} if records[size:] else {})

    def _is_connected(self, target: str) -> bool:
        instance = self.find_instance(target)
        since = instance.running_since if instance and instance.state == "running" else None
        booted = since is not None and since + timedelta(seconds=self.boot_seconds) <= self.clock()
        return booted and target not in self.unreachable

    def _end(self, session: _Session, status: str = "Terminated") -> bool:
        """Has the task that serves the session say so. False when it had ended before: an end is final."""
        if session.end:
            return False
        session.end, session.token = {"Status": status, "EndDate": self.clock().timestamp()}, ""
        if serving := session.serving:
            serving.get_loop().call_soon_threadsafe(serving.cancel)
        return True

    def _end_overdue(self) -> None:
        """Ends sessions that are over by their document, and those whose instance has gone."""
        now = self.clock()
        for session in [each for each in list(self._sessions.values()) if not each.end]:
            is_over = session.document.is_over(lasted=now - session.started_at, idle=now - session.active_at)
            if is_over or not self._is_connected(session.record["Target"]):
                self._end(session)

    async def _serve(self) -> None:
        with closing(await asyncio.start_server(self._connect, sock=self._listener)):
            while not await asyncio.to_thread(self._stopping.wait, _WATCH_SECONDS):
                await asyncio.to_thread(self._end_overdue)
        # Now asyncio.run cancels the tasks that serve sessions, and waits while they tell their clients.

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Whoever breaks off or is not a client of ours needs no answer."""
        with closing(writer), suppress(ProtocolError, OSError, EOFError, asyncio.LimitOverrunError):
            websocket = WebSocket(reader, writer)
            async with asyncio.timeout(_OPENING_SECONDS):
                session = self._sessions.get(await websocket.accept())
                token = str(json_field(await websocket.receive(), "TokenValue")).encode(errors="replace")
            if session and session.token and hmac.compare_digest(session.token.encode(), token):
                session.token, session.serving = "", asyncio.current_task()
                await self._tunnel(session, websocket)
            else:
                await websocket.close(1008)

    async def _tunnel(self, session: _Session, websocket: WebSocket) -> None:
        def note_activity() -> None:
            session.active_at, session.record["Status"] = self.clock(), "Connected"

        channel = DataChannel(websocket, self.agent_version, session.properties, self.targets, note_activity)
        status, output = "Terminated", ""
        try:
            if not session.end:  # as it may have since its token was compared
                await channel.serve()
        except asyncio.CancelledError:
            pass  # ended from outside, or all is stopping
        except ProtocolError as error:
            status, output = "Failed", str(error)
        except (OSError, EOFError):
            session.record["Status"] = "Disconnected"
            return
        session.serving = None
        self._end(session, status)
        await channel.say_closed(session.record["SessionId"], output)
