"""Servers of a test's own on 127.0.0.1, each as long as it is entered."""

import json
import re
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from local.ssm.documents import SsmError
from local.ssm.server import SessionManager


class Serving(socketserver.BaseServer):
    """A thread of its own serves it while it is entered. The class of the server stands behind this one."""

    daemon_threads = True

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class HttpServer(Serving, ThreadingHTTPServer):
    """Has answered what it was asked before it is left."""

    daemon_threads = False


class Silent:
    """Makes a handler of requests one that prints nothing."""

    def log_message(self, *_: object) -> None: ...


class SessionManagerFront(HttpServer):
    """The HTTP in front of Session Manager's operations. It keeps what it was asked; a ``refusal`` answers StartSession."""

    def __init__(self, manager: SessionManager) -> None:
        front = self
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refusal: SsmError | None = None

        class Handler(Silent, BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                operation = self.headers["X-Amz-Target"].removeprefix("AmazonSSM.")
                key = re.search("Credential=([^/]+)", self.headers["Authorization"])
                front.calls.append((operation, request))
                try:
                    if front.refusal and operation == "StartSession":
                        raise front.refusal
                    status, answer = 200, manager.handle(operation, request, key[1] if key else "")
                except SsmError as error:
                    status, answer = 400, {"__type": error.code, "message": error.message}
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"
