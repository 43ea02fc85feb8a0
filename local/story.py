"""The whole story, played in the terminal by people who only do what people can: type, press, paste and look."""

import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg

from local.terminal import readable, readable_text
from local.workspace import Workspace

LOCATION = "my-aurora-location"
ASK = f"/db-access {LOCATION} w fix the stuck orders"
MOST_SECONDS = 60.0
_Value = TypeVar("_Value")


class StoryError(Exception):
    """The story cannot go on; one plain sentence says why."""


class Story:
    """Plays against a running workspace. ``marks`` keeps when each step was done, in seconds since ``started``."""

    def __init__(self, workspace: Workspace, tell: Callable[[str], None] = print) -> None:
        self._workspace, self._slack, self._tell = workspace, workspace.slack, tell
        self.started = time.monotonic()
        self._request_id, self._told = "", 0
        self.marks: dict[str, float] = {}

    def play(self) -> None:
        """From ask to receipt and back to a stopped bastion. Raises StoryError."""
        self._request_id = request_id = self.ask()
        self.decide(request_id)
        command, psql = self.receive(request_id)
        with self.tunnel(command):
            self.mark("tunnel open")
            token = self.show_token(request_id)
            self.query(psql, token)
            self.mark("query answered")
            self.see_the_end(request_id)
            self.be_refused(psql, token)
        self.see_the_bastion_stop()

    def mark(self, step: str) -> None:
        """Note when a step was done."""
        self.marks[step] = time.monotonic() - self.started

    def ask(self) -> str:
        """Alice asks for write access; returns the request's id."""
        self._act(f"alice types   {ASK}")
        answer = self._slack.command("U0ALICE", "C0GENERAL", ASK)
        self._show(answer.blocks, answer.error or answer.text)
        match = re.search(r"R-\w{6}", answer.text)
        if match is None:
            raise StoryError("Slack did not confirm the request, so the story ends here.")
        self.mark("asked")
        return match[0]

    def decide(self, request_id: str) -> None:
        """Alice may not approve herself; carol approves."""
        card = self._await("the approval card", lambda: self._find_message("C0APPROVALS", request_id))
        self._show(card["blocks"])
        self._act("alice presses Approve Access on her own request")
        self._slack.press("U0ALICE", "C0APPROVALS", card["ts"], "approve")
        refusal = self._await("the refusal", lambda: self._slack.ephemerals("U0ALICE", "C0APPROVALS"))
        self._show(refusal[-1]["blocks"])
        self._act("carol presses Approve Access")
        self.mark("approval pressed")
        self._slack.press("U0CAROL", "C0APPROVALS", card["ts"], "approve")

    def receive(self, request_id: str) -> tuple[str, str]:
        """The ready message arrives; returns its two lines, copied as a person would."""
        message = self._await("the ready message", lambda: self._find_direct(request_id, "'show_token'"))
        self.mark("delivered")
        self._show(message["blocks"])
        lines = [text for text in _preformatted(message["blocks"]) if text.startswith(("aws ", "psql "))]
        return lines[0], lines[1]

    @contextmanager
    def tunnel(self, command: str) -> Iterator[None]:
        """Alice pastes the first line into a shell, and keeps that terminal open."""
        self._act("alice pastes the first line into a terminal")
        shell = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            env=self._workspace.shells.settings("alice"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(_printed(shell, self._quote)), daemon=True)
        reader.start()
        try:
            self._await("the tunnel", lambda: self._is_tunnel_open(shell, lines))
            yield
        finally:
            _end(shell)
            reader.join(5)

    def _is_tunnel_open(self, shell: subprocess.Popen[str], lines: list[str]) -> bool:
        if shell.poll() is not None:
            said = lines[-1] if lines else "nothing"
            raise StoryError(
                f"The tunnel did not open. The command ended with status {shell.returncode} and said: {said}"
            )
        return any("Waiting for connections" in line for line in lines)

    def show_token(self, request_id: str) -> str:
        """Alice presses Show Token and copies the token from the modal that opens."""
        self._act("alice presses Show Token (the token itself is shown to her alone)")
        ready = self._await("the ready message", lambda: self._find_direct(request_id, "'show_token'"))
        direct = next(channel for channel in self._slack.state("U0ALICE")["channels"] if channel.startswith("D"))
        self._slack.press("U0ALICE", direct, ready["ts"], "show_token")
        view = self._await("the token", self._find_token_view)
        return next(text for text in _preformatted(view["blocks"]) if "X-Amz-Signature=" in text)

    def _find_token_view(self) -> dict[str, Any] | None:
        view = self._slack.view_of("U0ALICE")
        return view if view and any("X-Amz-Signature=" in text for text in _preformatted(view["blocks"])) else None

    def query(self, psql: str, token: str) -> None:
        """Alice connects with the second line, the token as password, and repairs the orders."""
        self._act("alice connects with the second line and runs her statements")
        try:
            with psycopg.connect(shlex.split(psql)[1], password=token) as connection:
                who = connection.execute("SELECT current_user, current_database()").fetchone()
                repaired = connection.execute("UPDATE shop.orders SET state = 'shipped' WHERE state = 'stuck'").rowcount
                secured = connection.pgconn.ssl_in_use
        except psycopg.OperationalError as error:
            raise StoryError(f"Alice's statements did not get through: {_reason(error)}") from error
        self._quote(f"{who[0]} in {who[1]}, TLS {'on' if secured else 'off'}: UPDATE {repaired}" if who else "nothing")

    def see_the_end(self, request_id: str) -> None:
        """Nobody does anything; access ends by itself."""
        self._act("nobody does anything; the end comes by itself")
        ended = self._await("the receipt", lambda: self._find_direct(request_id, "sessions left"))
        self.mark("receipt")
        self._show(ended["blocks"])

    def be_refused(self, psql: str, token: str) -> None:
        """The token is still young, but neither the tunnel nor the database lets it in."""
        self._act("alice tries again with the same token")
        conninfo = shlex.split(psql)[1]
        for way, changed in (("through the tunnel", {}), ("past the tunnel", {"port": self._workspace.proxy.port})):
            try:
                psycopg.connect(conninfo, password=token, connect_timeout=5, **changed).close()
            except psycopg.OperationalError as error:
                self._quote(f"{way}: {_reason(error)}")
            else:
                raise StoryError(f"Alice could still connect {way} after the receipt.")
        self.mark("refused")

    def see_the_bastion_stop(self) -> None:
        """Housekeeping stops the bastion, which nobody holds any more."""
        self._act("housekeeping finds the bastion idle")
        self._await("the stop of the bastion", lambda: self._workspace.bastion_state() == "stopped")
        self._quote("EC2 says: stopped")
        self.mark("bastion stopped")

    def _await(self, what: str, find: Callable[[], _Value | None]) -> _Value:
        deadline, pause = time.monotonic() + MOST_SECONDS, threading.Event()
        while not (found := find()):
            self._tell_progress()
            if failure := self._workspace.find_failure():
                raise StoryError(failure)
            if time.monotonic() > deadline:
                raise StoryError(f"{what.capitalize()} did not come within {MOST_SECONDS:.0f} seconds.")
            pause.wait(0.05)
        self._tell_progress()
        return found

    def _tell_progress(self) -> None:
        """Name the states that the workflow has entered since it was last looked at."""
        entered = self._workspace.states_entered(self._request_id) if self._request_id else []
        for state in entered[self._told :]:
            self._tell(f"         > {state}")
        self._told = len(entered)

    def _find_message(self, channel: str, request_id: str) -> dict[str, Any] | None:
        return next((m for m in self._slack.messages(channel) if request_id in str(m["blocks"])), None)

    def _find_direct(self, request_id: str, text: str) -> dict[str, Any] | None:
        messages = reversed(self._slack.direct_messages("U0ALICE"))
        return next((each for each in messages if request_id in str(each) and text in str(each["blocks"])), None)

    def _act(self, text: str) -> None:
        self._tell(f"\n{time.monotonic() - self.started:5.1f} s  {text}")

    def _show(self, blocks: Any, otherwise: str = "") -> None:
        for line in (readable(blocks) if blocks else readable_text(otherwise)).splitlines():
            self._quote(line)

    def _quote(self, line: str) -> None:
        self._tell(f"         | {line}")


def _preformatted(blocks: Any) -> Iterator[str]:
    """What stands alone in a box that people copy from."""
    for block in blocks:
        for element in block.get("elements", []):
            if element.get("type") == "rich_text_preformatted":
                yield "".join(part["text"] for part in element["elements"])


def _reason(error: psycopg.OperationalError) -> str:
    line = str(error).splitlines()[0]
    return line.rpartition("FATAL:" if "FATAL:" in line else "failed:")[2].strip()


def _printed(shell: subprocess.Popen[str], quote: Callable[[str], None]) -> Iterator[str]:
    for line in shell.stdout or ():
        if line.strip():
            quote(line.rstrip())
            yield line


def _end(shell: subprocess.Popen[str]) -> None:
    if shell.poll() is None:
        os.killpg(shell.pid, signal.SIGINT)
    try:
        shell.wait(5)
    except subprocess.TimeoutExpired:
        shell.kill()
        shell.wait(5)
