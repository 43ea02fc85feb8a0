"""The AWS of the local workspace: one loopback front that sends each call to our handlers, our session server or moto."""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Self

from moto.core.config import default_user_config
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from local import quick_moto, strict_asl
from local.api_gateway import GatewayError, admit, http_response
from local.aws_calls import INVOKE, AwsCall, access_denied, read_call
from local.ec2_delays import Ec2Delays
from local.lambdas import Handler, Lambdas

API_FUNCTION, STAGE = "APIHandler", "api"  # as Chalice names them
LIMITS = {"name": 80, "input": 256 * 1024, "output": 256 * 1024, "error": 256, "cause": 32 * 1024}  # of Step Functions
FORBIDDEN = re.compile('[\\x00-\\x20\\x7f-\\x9f<>{}\\[\\]?*"#%\\\\^|~`$&,;:/]')  # in names of executions
_one_per_process = threading.Lock()  # moto keeps its data, port and configuration per process
_RequestHandler = type("_RequestHandler", (MotoRequestHandler,), {"log_request": lambda *_: None, "timeout": 10})


@dataclass(kw_only=True, eq=False)
class LocalAws:
    """Lambda Invoke, `/api/...`, SSM sessions and, through moto under one lock, every other call.

    `handlers` is looked up at each call: import ours after `start()`; the one named APIHandler gets the API's requests, by its
    routes if it has any.
    `ssm` has OPERATIONS, the names it answers, and handle(operation, request, access_key_id); its errors have `code` and
    `message`. `authorize` says why a signed call may not be made, or None. Ending takes `stop_seconds` at most; moto's sleep
    before a Retry may outlast it, and then does nothing.
    """

    handlers: Mapping[str, Handler]
    ssm: Any = None
    authorize: Callable[[AwsCall], str | None] | None = None
    pending_seconds: float = 0.0
    stopping_seconds: float = 0.0
    clock: Callable[[], float] = time.monotonic
    stop_seconds: float = 10.0

    def start(self) -> Self:
        """Serve on a free port of 127.0.0.1. RuntimeError while another one runs in this process."""
        if not _one_per_process.acquire(blocking=False):
            raise RuntimeError("Another LocalAws runs in this process: stop it first.")
        self._lambdas, self._moto = Lambdas(self.handlers), DomainDispatcherApplication(create_backend_app)
        ec2 = Ec2Delays(self.pending_seconds, self.stopping_seconds, self.clock)
        self.invoke, self.errors, self.fail_capacity = self._lambdas.call, self._lambdas.errors, ec2.fail_capacity
        self._moto_lock, self._api_lock = threading.Lock(), threading.Lock()
        with ExitStack() as undo:
            undo.callback(_one_per_process.release)
            undo.callback(moto_api_backend.reset)
            undo.enter_context(strict_asl.installed(ec2.mends + strict_asl.MENDS + quick_moto.MENDS))
            front = Request.application(self._answer)
            server = make_server("127.0.0.1", 0, front, threaded=True, request_handler=_RequestHandler)
            undo.callback(server.server_close)
            settings = {"MOTO_PORT": str(server.port), "MOTO_EC2_LOAD_DEFAULT_AMIS": "false", "TZ": "UTC"}
            settings["no_proxy"] = "127.0.0.1,localhost"  # a proxy would send what is meant for us elsewhere
            undo.callback(_set_environment, {name: os.environ.get(name) for name in settings})
            _set_environment(settings)
            undo.callback(default_user_config.__setitem__, "stepfunctions", default_user_config["stepfunctions"])
            default_user_config["stepfunctions"] = {"execute_state_machine": True}
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            undo.callback(thread.join)
            undo.callback(server.shutdown)
            undo.callback(_join, self.stop_seconds)  # before the shutdown: what still runs may still call us
            undo.callback(strict_asl.abort_executions)
            self._undo = undo.pop_all()
        self.endpoint_url = f"http://127.0.0.1:{server.port}"
        self.api_url = f"{self.endpoint_url}/{STAGE}"
        return self

    def stop(self, *_: object) -> None:
        """End executions, requests and handlers and undo all of `start()`. RuntimeError names what would not end."""
        self._undo.close()

    __enter__, __exit__ = start, stop

    def _answer(self, request: Request) -> Response:
        threading.current_thread().name = f"local-aws request {request.path}"
        body = request.get_data()  # before any lock: a slow client must not hold up the others
        if request.path.startswith(f"/{STAGE}/"):
            return self._api_call(request, body)
        call = read_call(request, body)
        if call and self.authorize and (refusal := self.authorize(call)):
            return access_denied(call, refusal)
        target, _, operation = request.headers.get("X-Amz-Target", "").partition(".")
        if invoked := INVOKE.fullmatch(request.path):
            kind = request.headers.get("X-Amz-Invocation-Type", "RequestResponse")
            return self._lambdas.invoke(invoked[1], body, kind)
        if target == "AWSStepFunctions" and (fault := _find_fault(operation, request.get_json(force=True))):
            return _refusal(*fault)
        if target == "AmazonSSM" and self.ssm is not None and operation in self.ssm.OPERATIONS:
            return self._session_call(operation, request, call.access_key_id if call else "")
        request.environ["wsgi.input"] = BytesIO(body)
        try:
            with self._moto_lock:  # moto's writes are not atomic
                return Response.from_app(self._moto, request.environ, buffered=True)
        except NotImplementedError as error:
            return Response(f"<html>Not implemented by moto: {error}</html>", 501)

    def _api_call(self, request: Request, body: bytes) -> Response:
        routes = getattr(self.handlers.get(API_FUNCTION), "routes", None)
        try:
            event = admit(request, body, stage=STAGE, routes=routes, authorize=self.authorize)
        except GatewayError as error:
            return error.response
        with self._api_lock:  # a Chalice app, like a Lambda instance, has one current request
            return http_response(self._lambdas.invoke(API_FUNCTION, json.dumps(event).encode()))

    def _session_call(self, operation: str, request: Request, access_key_id: str) -> Response:
        try:
            answer = self.ssm.handle(operation, request.get_json(force=True), access_key_id)
        except Exception as error:
            if not hasattr(error, "code") or not hasattr(error, "message"):
                raise
            return _refusal(error.code, error.message)
        return Response(json.dumps(answer), mimetype="application/x-amz-json-1.1")


def _find_fault(operation: str, asked: dict[str, Any]) -> tuple[str, str] | None:
    """Code and message of what Step Functions refuses and moto does not."""
    for name, limit in LIMITS.items():
        if len(asked.get(name, "").encode()) > limit:
            return "ValidationException", f"'{name}' must have length less than or equal to {limit}"
    if operation == "StartExecution" and FORBIDDEN.search(asked.get("name", "")):
        return "InvalidName", f"Invalid Name: '{asked['name']}'"
    if operation == "SendTaskSuccess":
        try:
            json.loads(asked["output"])
        except ValueError as error:
            return "InvalidOutput", f"Invalid Output: '{error}'"
    return None


def _refusal(code: str, message: str) -> Response:
    return Response(json.dumps({"__type": code, "message": message}), 400, mimetype="application/x-amz-json-1.1")


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        os.environ.update({} if value is None else {name: value})
    time.tzset()  # Lambda's time zone is UTC, and moto's interpreter reckons in this process's own


def _join(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("local-aws ")]
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if running := [thread.name for thread in threads if thread.is_alive()]:
        raise RuntimeError(f"Still running {seconds:g} s after they were told to end: {', '.join(running)}")
