"""The HTTP door of the local Slack on 127.0.0.1: refuses other hosts' names and foreign pages, serves the page's files."""

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]
PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
# Nothing from elsewhere is loaded, no other page may frame this one, and no answer is read by another origin.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that may be answered: `area` and `name` of its path, and its query and body as arguments."""

    verb: str
    area: str
    name: str
    arguments: Json
    authorization: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """JSON, its status and further headers."""

    content: Json
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Door:
    """Listens from `start()` to `stop()`; `receive` answers, in a thread for each request."""

    def __init__(self, receive: Callable[[Request], Response]) -> None:
        handler = type("Handler", (_Handler,), {"door": self})
        self.receive, self._server = receive, _Server(("127.0.0.1", 0), handler)
        self.origins = [f"http://{host}:{self._server.server_address[1]}" for host in ("127.0.0.1", "localhost")]
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))
        self.start = self._thread.start

    def stop(self) -> None:
        """Answers what is being answered, then closes."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingTCPServer):
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A request that fails is logged, not printed into the story."""
        logging.getLogger(__name__).warning("The local Slack failed", exc_info=True)  # noqa: LOG014 -- its caller handles one


class _Handler(BaseHTTPRequestHandler):
    """One request; a connection that says nothing is given up so that `stop` can join its thread."""

    door: Door
    timeout = 1

    def handle(self) -> None:
        with suppress(ConnectionError):  # a page that was closed reads no answer
            super().handle()

    def do_POST(self) -> None:
        origin = self.headers.get("Origin", self.door.origins[0])
        length, url = int(self.headers.get("Content-Length", 0)), urlsplit(self.path)
        body = self.rfile.read(length).decode()
        if not {f"http://{self.headers['Host']}", origin} <= {*self.door.origins}:
            refusal = {"error": "Only programs and pages of this machine may ask the local Slack."}
            return self._answer(Response(content=refusal, status=403))
        if self.command == "GET" and url.path in FILES:
            name, kind = FILES[url.path]
            return self._send(200, {"Content-Type": kind}, (PAGE / name).read_bytes())
        is_json = "json" in self.headers.get("Content-Type", "")
        given = json.loads(body or "{}") if is_json else dict(parse_qsl(body))
        area, _, name = url.path[1:].partition("/")
        arguments, authorization = dict(parse_qsl(url.query)) | given, self.headers["Authorization"]
        request = Request(verb=self.command, area=area, name=name, arguments=arguments, authorization=authorization)
        return self._answer(self.door.receive(request))

    do_GET = do_POST  # noqa: N815 -- the base class calls this name

    def _answer(self, response: Response) -> None:
        headers = {"Content-Type": "application/json", **response.headers}
        self._send(response.status, headers, json.dumps(response.content).encode())

    def _send(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
