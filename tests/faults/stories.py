"""What people do in a world: they ask, decide, connect, extend and end, and try again where something did not work."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from local.slack.api import NotOnScreenError, SlackError
from local.slack.block_checker import elements
from tests.faults.world import World

T = TypeVar("T")
LOCATION = "my-aurora-location"
GLANCE_SECONDS, TRY_AGAIN_SECONDS, TRIES = 10.0, 45.0, 4


class GaveUpError(Exception):
    """Somebody waited in vain, or tried often enough."""


class People:
    """Alice, bob and carol in one world, each in a task of their own."""

    def __init__(self, world: World) -> None:
        self.world, self._scheduler, self._slack = world, world.scheduler, world.ground.slack
        self.yeses: set[tuple[str, str]] = set()
        """Who pressed Approve on which request."""
        self.tokens: list[str] = []
        self.sessions: list[psycopg.Connection] = []
        self.made: list[str] = []
        """Tables that people made and that must not get lost."""
        self.asked: list[str] = []
        self.busy = 0
        self.gave_up: list[str] = []

    def start(self, who: str, script: Callable[[], None]) -> None:
        """Let somebody act."""
        self.busy += 1

        def act() -> None:
            try:
                script()
            except GaveUpError as reason:
                self.gave_up.append(f"{who}: {reason}")
            finally:
                self.busy -= 1

        self._scheduler.spawn(who, act)

    def wait(self, seconds: float) -> None:
        self._scheduler.sleep(seconds)

    def see(self, what: str, find: Callable[[], T | None], *, seconds: float = 1500.0) -> T:
        """Look again and again until there is something to see."""
        until = self._scheduler.now + seconds
        while not (found := find()):
            if self._scheduler.now > until:
                raise GaveUpError(f"{what} did not come")
            self._scheduler.sleep(GLANCE_SECONDS)
        return found

    def ask(self, who: str, text: str) -> str:
        """Type a command until it is taken; the request's id."""
        for _ in range(TRIES):
            answer = self._slack.command(_id(who), "C0GENERAL", f"/db-access {text}")
            if found := re.search(r"R-\w{6}", answer.text):
                if found[0] not in self.asked:
                    self.asked.append(found[0])
                return found[0]
            self._scheduler.sleep(TRY_AGAIN_SECONDS)
        raise GaveUpError(f"'{text}' was never taken")

    def extend(self, who: str, request_id: str, text: str) -> str:
        """Ask for more time until it is taken; the id of the extension."""
        for _ in range(TRIES):
            answer = self._slack.command(_id(who), "C0GENERAL", f"/db-access extend {request_id} {text}")
            for found in re.findall(r"R-\w{6}", answer.text):
                if found != request_id:
                    if found not in self.asked:
                        self.asked.append(found)
                    return str(found)
            self._scheduler.sleep(TRY_AGAIN_SECONDS)
        raise GaveUpError(f"{request_id} was never extended")

    def find_button(self, place: str, action: str, request_id: str) -> str | None:
        """The newest message that has this button for a request."""
        for message in reversed(self._slack.look(place)):
            for _, element in elements(message["blocks"]):
                if (element.get("action_id"), element.get("value")) == (action, request_id):
                    return str(message["ts"])
        return None

    def press(self, who: str, place: str, action: str, request_id: str, *, seconds: float = 1500.0) -> None:
        """Press a button once it is there, and again while it stays and was not taken."""
        for _ in range(TRIES):
            ts = self.see(
                f"{action} for {request_id}", partial(self.find_button, place, action, request_id), seconds=seconds
            )
            if action == "approve":
                self.yeses.add((who, request_id))
            try:
                answer = self._slack.press(_id(who), place, ts, action)
            except (NotOnScreenError, SlackError):
                continue
            if not answer.error:
                return
            self._scheduler.sleep(TRY_AGAIN_SECONDS)
        raise GaveUpError(f"{action} for {request_id} was never taken")

    def submit(self, who: str, values: dict[str, Any]) -> None:
        """Send the form that is open, again where it was not taken."""
        for _ in range(TRIES):
            try:
                answer = self._slack.submit(_id(who), values)
            except (NotOnScreenError, SlackError):
                return
            if not answer.error and not answer.errors:
                return
            self._scheduler.sleep(TRY_AGAIN_SECONDS)

    def connect(self, who: str, request_id: str) -> None:
        """Show the token, log in with it, open a tunnel, and leave something in the database."""
        direct = f"D0{who.upper()}"
        ts = self.see("the ready message", partial(self.find_button, direct, "show_token", request_id))
        card = next(str(each) for each in self._slack.look(direct) if each["ts"] == ts)
        role, instance = re.search(r"jit_\w+", card), re.search(r"i-[0-9a-f]{17}", card)
        for _ in range(TRIES):
            try:
                self._slack.press(_id(who), direct, ts, "show_token")
                token = self.see("the token", partial(self._find_token, who), seconds=60.0)
            except (GaveUpError, NotOnScreenError, SlackError):
                self._slack.close(_id(who), everything=True)
                continue
            self._slack.close(_id(who), everything=True)
            self.tokens.append(token)
            if role and instance and self._log_in(role[0], token):
                self._open_tunnel(who, instance[0], request_id)
                return
        raise GaveUpError(f"{request_id} gave no token that works")

    def _find_token(self, who: str) -> str | None:
        view = self._slack.view_of(_id(who))
        found = re.search(r"[\w.-]+:\d+/\?[^'\"\s]*X-Amz-Signature=[0-9a-f]+", str(view))
        return found[0] if found else None

    def _log_in(self, role: str, token: str) -> bool:
        ground = self.world.ground
        try:
            session = psycopg.connect(
                make_conninfo(
                    host=ground.endpoint,
                    hostaddr="127.0.0.1",
                    port=ground.wire.port,
                    dbname="depotpostgres",
                    user=role,
                    password=token,
                    sslmode="verify-full",
                    sslrootcert=str(ground.certificates),
                ),
                autocommit=True,
            )
            self.sessions.append(session)
            if "_w_" in role:
                name = f"work_{len(self.made)}"
                session.execute(
                    f"CREATE SCHEMA {name}; CREATE TABLE {name}.notes (t text); INSERT INTO {name}.notes VALUES ('kept')".encode()
                )
                self.made.append(f"{name}.notes")
        except psycopg.Error:
            return False
        return True

    def stay_connected(self) -> bool:
        """Is the newest session alive, or another one to be had?"""
        session = self.sessions[-1]
        try:
            session.execute("SELECT 1")
        except psycopg.OperationalError:
            info = session.info
            return self._log_in(info.user, info.password)
        return True

    def _open_tunnel(self, who: str, instance_id: str, request_id: str) -> None:
        document = next(each.name for each in self.world.sessions.documents if each.name.endswith(LOCATION))
        try:
            self.world.sessions.handle(
                "StartSession", {"Target": instance_id, "DocumentName": document, "Reason": request_id}, who
            )
        except Exception as error:  # the stand-in's refusals have a code and no common name
            if not hasattr(error, "code"):
                raise


Story = Callable[[People], None]


def approved(people: People) -> None:
    """Write access that carol approves, used, extended with her consent and ended by its holder."""

    def alice() -> None:
        request_id = people.ask("alice", f"{LOCATION} w 25m to mend an order")
        people.start("carol", partial(approve_all, people, request_id))
        people.connect("alice", request_id)
        people.wait(240)
        extension = people.extend("alice", request_id, "10m")
        people.start("carol", partial(approve_all, people, extension))
        people.wait(400)
        people.press("alice", "D0ALICE", "end", request_id, seconds=60)

    people.start("alice", alice)


def approve_all(people: People, request_id: str) -> None:
    """Carol approves."""
    people.press("carol", "C0APPROVALS", "approve", request_id)


def automatic(people: People) -> None:
    """Read access that needs nobody and ends by the clock, while somebody else shares the bastion."""

    def alice() -> None:
        people.connect("alice", people.ask("alice", f"{LOCATION} r 9m"))

    def bob() -> None:
        people.wait(60)
        people.connect("bob", people.ask("bob", f"{LOCATION} r 4m"))

    people.start("alice", alice)
    people.start("bob", bob)


def brief(people: People) -> None:
    """Read access that needs nobody and ends by the clock."""
    people.start("alice", lambda: people.connect("alice", people.ask("alice", f"{LOCATION} r 4m")))


def stubborn(people: People) -> None:
    """The same, with a program that logs in again whenever it is thrown out, until it is refused."""

    def alice() -> None:
        people.connect("alice", people.ask("alice", f"{LOCATION} r 4m"))
        while people.stay_connected():
            people.wait(2.0)

    people.start("alice", alice)


def denied(people: People) -> None:
    """Carol says no."""

    def bob() -> None:
        request_id = people.ask("bob", f"{LOCATION} w 20m because")
        people.start("carol", partial(deny, request_id))

    def deny(request_id: str) -> None:
        people.press("carol", "C0APPROVALS", "deny", request_id)
        people.submit("carol", {"reason": "Not now."})

    people.start("bob", bob)


def broken_glass(people: People) -> None:
    """Write access taken at once, and reviewed afterwards."""

    def bob() -> None:
        request_id = people.ask("bob", f"{LOCATION} w 4m --break-glass --reason fire")
        people.start("carol", partial(review, request_id))
        people.connect("bob", request_id)

    def review(request_id: str) -> None:
        people.wait(200)
        people.press("carol", "C0APPROVALS", "justified", request_id)

    people.start("bob", bob)


def unanswered(people: People) -> None:
    """Nobody decides."""
    people.start("alice", lambda: people.ask("alice", f"{LOCATION} o 20m") and None)


def cancelled(people: People) -> None:
    """Alice takes back what she asked."""

    def alice() -> None:
        request_id = people.ask("alice", f"{LOCATION} w 20m because")
        people.wait(30)
        people.press("alice", "D0ALICE", "cancel", request_id, seconds=300)

    people.start("alice", alice)


# The short ones first: a call that several have is tried in the first.
STORIES: dict[str, Story] = {
    "cancelled": cancelled,
    "denied": denied,
    "unanswered": unanswered,
    "brief": brief,
    "stubborn": stubborn,
    "broken-glass": broken_glass,
    "automatic": automatic,
    "approved": approved,
}


def _id(who: str) -> str:
    return f"U0{who.upper()}"
