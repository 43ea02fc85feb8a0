"""The people of `benchmarks.load`: what each of them does in the local workspace, in real time, and what they get to see."""

import queue
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import boto3
import psycopg

from local.slack.api import NotOnScreenError, SlackError
from local.slack.block_checker import elements
from local.workspace import Workspace
from tests import crowd
from tests.e2e.people import find_token

END_AFTER_SECONDS = 30.0
TRIES, TRY_AGAIN_SECONDS = 10, 5.0
QUERIES_EVERY = 5
"""Each fifth of those approved logs in and queries; the others open their tunnel and leave it."""
_TOKEN_SECONDS = 30.0
_REQUEST_ID = re.compile(r"R-\w{6}")
_VARYING = re.compile(r"<!date[^>]*>|\d\d:\d\d")


class GaveUpError(Exception):
    """Somebody waited in vain, tried often enough, or everything is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A message with a button of a request, and when it was there."""

    channel: str
    ts: str
    at: float


class Heard(NamedTuple):
    """A call of the app to Slack: its method, its channel if it has one, and when it was heard."""

    method: str
    channel: str
    at: float


class Eyes:
    """Looks at what the app posts as it posts it; whoever waits for a button of a request is woken by it."""

    def __init__(self, workspace: Workspace, deadline: float) -> None:
        self._slack, self.deadline = workspace.slack, deadline
        self._cards: dict[tuple[str, str], Card] = {}
        self._news: defaultdict[tuple[str, str], threading.Event] = defaultdict(threading.Event)
        self._noting, self.is_over = threading.Lock(), threading.Event()
        self.posts = Counter[tuple[str, str, str]]()
        """By channel, request and text: more than one is told twice."""
        self.heard: list[Heard] = []
        self._thread = threading.Thread(target=self._look, name="eyes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wake everybody; who still waits gives up."""
        self.is_over.set()
        with self._noting:
            for event in self._news.values():
                event.set()
        self._thread.join()

    def see(self, request_id: str, action: str) -> Card:
        """The first message with this button, once it is there. Raises GaveUpError."""
        with self._noting:
            event = self._news[request_id, action]
            if self.is_over.is_set():
                event.set()
        event.wait(self.deadline - time.monotonic())
        with self._noting:
            if found := self._cards.get((request_id, action)):
                return found
        raise GaveUpError(f"{action} of {request_id} did not come")

    def _look(self) -> None:
        seen = 0
        while not self.is_over.is_set():
            with suppress(TimeoutError):
                self._slack.wait_for(lambda: len(self._slack.calls) > seen, 0.5)  # noqa: B023 -- asked at once
            new = self._slack.calls[seen:]
            seen += len(new)
            for call in new:
                self._note(call, time.monotonic())

    def _note(self, call: Any, at: float) -> None:
        self.heard.append(Heard(call.name, str(call.answer.get("channel", "")), at))
        if call.name != "chat.postMessage" or not call.answer["ok"]:
            return
        channel, message = call.answer["channel"], call.answer["message"]
        request_id = next(iter(_REQUEST_ID.findall(str(message["blocks"]))), "")
        self.posts[channel, request_id, _VARYING.sub("", message["text"])] += 1
        card = Card(channel=channel, ts=call.answer["ts"], at=at)
        with self._noting:
            for _, element in elements(message["blocks"]):
                if value := element.get("value"):
                    self._cards.setdefault((value, element["action_id"]), card)
                    self._news[value, element["action_id"]].set()


@dataclass(kw_only=True)
class Life:
    """What one person saw. Moments of this machine's clock."""

    number: int
    request_id: str = ""
    asked_at: float = 0.0
    answered_at: float = 0.0
    card_at: float = 0.0
    decided_at: float = 0.0
    ready_at: float = 0.0
    instance_id: str = ""
    repeated: int = 0
    """Clicks and commands that had to be made again."""
    is_refused_after: bool | None = None
    """Did the database refuse them after the end, with the token that had let them in?"""
    trouble: str = ""


class Crowd:
    """Everybody asks once, each in a thread of their own; carol, who has one screen, decides each card when it comes."""

    def __init__(
        self, workspace: Workspace, size: int, eyes: Eyes, *, asking_seconds: float, access_seconds: int
    ) -> None:
        self._workspace, self._slack, self._eyes, self._access_seconds = (
            workspace,
            workspace.slack,
            eyes,
            access_seconds,
        )
        self._ssm: Any = boto3.client("ssm")
        self._cards: queue.Queue[Life | None] = queue.Queue()
        self.lives = [Life(number=number) for number in range(size)]
        self.began_at = time.monotonic()
        at = crowd.moments(size, asking_seconds)
        self._threads = [self._thread(self._live, life, at[life.number]) for life in self.lives]
        self._carol = self._thread(self._decide_all)

    def _thread(self, script: Callable[..., None], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=script, args=arguments, daemon=True)
        thread.start()
        return thread

    @property
    def is_busy(self) -> bool:
        """Is there anybody who has neither seen their end nor given up?"""
        return any(thread.is_alive() for thread in self._threads)

    def leave(self) -> None:
        """Wait for those who are not gone yet, once their eyes are closed or everything is over."""
        for thread in self._threads:
            thread.join()
        self._cards.put(None)
        self._carol.join()

    def _live(self, life: Life, at: float) -> None:
        try:
            self._pause(self.began_at + at - time.monotonic())
            self._ask(life)
            life.card_at = self._eyes.see(life.request_id, "approve").at
            self._cards.put(life)
            if crowd.is_approved(life.number):
                self._use(life)
            self._eyes.see(life.request_id, "ask_again")
        except (GaveUpError, psycopg.Error) as reason:
            life.trouble = str(reason)

    def _pause(self, seconds: float) -> None:
        if self._eyes.is_over.wait(max(0.0, seconds)):
            raise GaveUpError("everything was over before")

    def _ask(self, life: Life) -> None:
        who, line = crowd.slack_id(crowd.name_of(life.number)), f"{crowd.location_of(life.number)} w"
        life.asked_at = time.monotonic()
        for _ in range(TRIES):
            answer = self._slack.command(who, "C0GENERAL", f"/db-access {line} {self._access_seconds}s because")
            if found := _REQUEST_ID.search(answer.text):
                life.request_id, life.answered_at = found[0], time.monotonic()
                return
            life.repeated += 1
            self._pause(TRY_AGAIN_SECONDS)
        raise GaveUpError(f"it was never taken: {answer.error or answer.text}")

    def _decide_all(self) -> None:
        while (life := self._cards.get()) is not None:
            try:
                self._decide(life)
            except GaveUpError as reason:
                life.trouble = str(reason)

    def _decide(self, life: Life) -> None:
        if crowd.is_approved(life.number):
            life.decided_at = time.monotonic()
            self._press("U0CAROL", life, "approve")
            return
        for _ in range(TRIES):
            self._press("U0CAROL", life, "deny")
            with suppress(NotOnScreenError, SlackError):  # no window opened
                answer = self._slack.submit("U0CAROL", {"reason": "Not now."})
                if not answer.error and not answer.errors:
                    return
            life.repeated += 1
            self._slack.close("U0CAROL", everything=True)
        raise GaveUpError(f"the denial of {life.request_id} was never taken")

    def _press(self, who: str, life: Life, action: str) -> None:
        """Press a button, and again while it was not answered. One that is gone by then was taken."""
        card = self._eyes.see(life.request_id, action)
        for _ in range(TRIES):
            try:
                answer = self._slack.press(who, card.channel, card.ts, action)
            except (NotOnScreenError, SlackError):
                return
            if not answer.error:
                return
            life.repeated += 1
            self._pause(TRY_AGAIN_SECONDS)
        raise GaveUpError(f"{action} of {life.request_id} was never taken: {answer.error}")

    def _use(self, life: Life) -> None:
        ready = self._eyes.see(life.request_id, "show_token")
        life.ready_at = ready.at
        message = str(next(each for each in self._slack.messages(ready.channel) if each["ts"] == ready.ts))
        found = re.search(r"i-[0-9a-f]{17}", message)
        life.instance_id = found[0] if found else ""
        document = f"drawbridge-local-{crowd.location_of(life.number)}"
        tunnel = {"Target": life.instance_id, "DocumentName": document, "Reason": life.request_id}
        with suppress(self._ssm.exceptions.ClientError):  # it may all be over before this machine gets to it
            self._ssm.start_session(**tunnel)
        if life.number // 2 % QUERIES_EVERY == 0:
            self._query(life, message)
        elif crowd.ends_it(life.number):
            self._end(life)

    def _query(self, life: Life, message: str) -> None:
        """Log in with the token that the window shows, stay connected past the end, and try to come back."""
        who, role = crowd.slack_id(crowd.name_of(life.number)), re.search(r"jit_\w+", message)
        token = self._see_token(who, life)
        login: dict[str, Any] = {
            "host": self._workspace.endpoint,
            "hostaddr": "127.0.0.1",
            "port": self._workspace.proxy.port,
            "dbname": "depotpostgres",
            "user": role[0] if role else "",
            "password": token,
            "sslmode": "verify-full",
            "sslrootcert": str(self._workspace.certificates),
        }
        with psycopg.connect(autocommit=True, **login) as session:
            session.execute("INSERT INTO shop.orders (state) VALUES ('sent')")
            if crowd.ends_it(life.number):
                self._end(life)
            self._eyes.see(life.request_id, "ask_again")
            try:
                session.execute("SELECT 1")
            except psycopg.Error:
                life.is_refused_after = _is_refused(login)
            else:
                life.is_refused_after = False

    def _see_token(self, who: str, life: Life) -> str:
        """Press until the window shows one: Slack may not take it."""
        for _ in range(TRIES):
            self._press(who, life, "show_token")
            until = min(self._eyes.deadline, time.monotonic() + _TOKEN_SECONDS)
            while time.monotonic() < until:
                if token := find_token(self._slack.view_of(who)):
                    self._slack.close(who, everything=True)
                    return token
                self._pause(0.5)
            self._slack.close(who, everything=True)
            life.repeated += 1
        raise GaveUpError(f"no token was shown for {life.request_id}")

    def _end(self, life: Life) -> None:
        self._pause(END_AFTER_SECONDS)
        self._press(crowd.slack_id(crowd.name_of(life.number)), life, "end")


def _is_refused(login: Mapping[str, Any]) -> bool:
    try:
        psycopg.connect(**login).close()
    except psycopg.OperationalError:
        return True
    return False
