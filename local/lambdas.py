"""Runs our handlers as Lambda would: JSON in and out, its errors and limits. One attempt each, no timeout, no sandbox."""

import json
import logging
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from importlib import import_module
from threading import Thread
from typing import Any

from werkzeug.wrappers import Response

Handler = Callable[[Any, Any], Any]
LIMIT_BYTES = {"RequestResponse": 6 * 1024 * 1024, "Event": 256 * 1024}  # AWS takes 1 MB for Event since October 2025
RUNNING: ContextVar[str] = ContextVar("RUNNING", default="")  # the name of the function that this thread runs
TIMEOUT_SECONDS = 60.0  # what Chalice deploys for a function that names none


def load_handler(name: str) -> Handler:
    """Import "package.module.function" as the Lambda runtime does. ImportError and AttributeError as they come."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


class LambdaContext:
    """What a handler may ask about its invocation."""

    def __init__(self, name: str) -> None:
        self.function_name, self.memory_limit_in_mb, self.aws_request_id = name, "256", str(uuid.uuid4())
        self.invoked_function_arn = f"arn:aws:lambda:eu-west-1:123456789012:function:{name}"
        self._deadline = time.monotonic() + TIMEOUT_SECONDS

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.monotonic()) * 1000))


class Lambdas:
    """Invokes `handlers`, looked up at each call. What ends an invocation is logged and kept in `errors`."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self.errors: list[BaseException] = []

    def call(self, name: str, event: Any, context: LambdaContext | None = None) -> Any:
        """What a function returns for an event, both gone through JSON. Raises what the handler raises."""
        before = RUNNING.set(name)
        try:
            value = self._handlers[name](json.loads(json.dumps(event)), context or LambdaContext(name))
        finally:
            RUNNING.reset(before)
        return json.loads(json.dumps(value, allow_nan=False))

    def invoke(self, function: str, payload: bytes, kind: str = "RequestResponse") -> Response:
        """Answer one Invoke call for a function's name or ARN. An Event gets one attempt, where AWS makes up to three."""
        name = function.rpartition(":function:")[2].partition(":")[0]
        context = LambdaContext(name)
        if name not in self._handlers:
            return _answer(context, {"Message": f"Function not found: {name}"}, 404, "ResourceNotFoundException")
        if len(payload) > LIMIT_BYTES[kind]:
            return _answer(context, {"Message": "The request is too large."}, 413, "RequestTooLargeException")
        if kind == "RequestResponse":
            return self._run(context, payload)
        Thread(target=self._run, args=(context, payload), name=f"local-aws function {name}", daemon=True).start()
        return Response(status=202, headers={"x-amzn-RequestId": context.aws_request_id})

    def _run(self, context: LambdaContext, payload: bytes) -> Response:
        try:
            return _answer(context, self.call(context.function_name, json.loads(payload or b"{}"), context))
        except BaseException as error:  # whatever a handler raises, SystemExit too, is its function's error
            logging.getLogger(__name__).warning("%s failed", context.function_name, exc_info=True)
            self.errors.append(error)
            trace = traceback.format_tb(error.__traceback__)
            described = {"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": trace}
            return _answer(context, described, failed=True)


def _answer(context: LambdaContext, value: Any, status: int = 200, code: str = "", *, failed: bool = False) -> Response:
    headers = {"x-amzn-RequestId": context.aws_request_id} | ({"x-amzn-ErrorType": code} if code else {})
    headers |= {"X-Amz-Function-Error": "Unhandled"} if failed else {}
    return Response(json.dumps(value), status, headers, mimetype="application/json")
