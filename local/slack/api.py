"""One Slack workspace with one app: what people see and do, signed requests to the app, its calls, and its page."""

import hmac
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from local.slack.block_checker import Json, answer_of, elements, state_values
from local.slack.methods import Methods
from local.slack.team import BOT, NotOnScreenError, SlackError, SlackUser, T, only, require_view
from local.slack.web import Door, Request, Response

__all__ = ["BOT", "Answer", "Call", "NotOnScreenError", "SlackError", "SlackStandIn", "SlackUser"]
MOST_SECONDS_OF_WAITING = 20.0  # of a page, for the next change


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person sees after an act; `status` is the app's, None if there was none in time."""

    status: int | None = None
    error: str = ""
    text: str = ""
    blocks: Sequence[Json] = ()
    ephemeral: bool = True
    errors: Mapping[str, str] = field(default_factory=dict)


class Call(NamedTuple):
    """A call from the app (`name`: its method or `response_url`) or a request to it (`name`: its URL)."""

    name: str
    arguments: Json
    answer: Json


class Fault(NamedTuple):
    """What a call gets instead of its answer: a refusal at once, or silence, before or after it took effect."""

    refusal: SlackError
    silent_seconds: float = 0.0
    takes_effect: bool = False


def find_element(blocks: list[Json], names: set[str], is_button: bool) -> tuple[Json, Json]:
    """The one (block, element) with this action_id, block_id or both. Raises NotOnScreenError."""
    pairs = [(b, e) for b, e in elements(blocks) if names <= {b["block_id"], e["action_id"]}]
    return only([pair for pair in pairs if (pair[1]["type"] == "button") == is_button], " ".join(names))


@dataclass(kw_only=True, eq=False)
class SlackStandIn(Methods):
    """Requests go to `deliver_to`. `behind` says what the page shows beside Slack. People see modals in a stack of three."""

    request_timeout_seconds: float = 3.0
    trigger_seconds: float = 3.0
    deliver_to: str = ""
    behind: Callable[[], Json] = dict

    def __post_init__(self) -> None:
        super().__post_init__()
        self.calls, self.requests = list[Call](), list[Call]()
        self._faults: dict[str, list[Fault]] = {}
        self._entered: dict[tuple[str, str], Json] = defaultdict(dict)
        self._read: dict[tuple[str, str], str] = defaultdict(str)
        self._stopping = False
        self._door = Door(self.receive)
        self.page_url, self.api_url = f"{self._door.origins[0]}/", f"{self._door.origins[0]}/api/"

    def start(self) -> "SlackStandIn":
        self._door.start()
        return self

    def stop(self, *_: object) -> None:
        with self._change():
            self._stopping = True
        self._door.stop()

    __enter__, __exit__ = start, stop

    def wait_for(self, predicate: Callable[[], T], timeout: float) -> T:
        """The predicate's first true value, asked after every change. Raises TimeoutError."""
        with self._changed:
            if value := self._changed.wait_for(predicate, timeout):
                return value
        raise TimeoutError(f"Slack showed nothing of what the caller waits for within {timeout} s.")

    def fail_next(self, method: str, error: str = "ratelimited", status: int = 200, times: int = 1) -> None:
        """The next calls of a method (or response_url) change nothing and get this; a 429 says: in 1 s."""
        self._faults.setdefault(method, []).extend([Fault(SlackError(error, status=status))] * times)

    def hang_next(self, method: str, seconds: float, *, takes_effect: bool = False, times: int = 1) -> None:
        """The next calls of a method get no answer for so long, then a 504; with `takes_effect` they are carried out first."""
        fault = Fault(SlackError("timeout", status=504), seconds, takes_effect)
        self._faults.setdefault(method, []).extend([fault] * times)

    def messages(self, channel: str, only_for: str | None = None) -> list[Json]:
        """The channel's messages as they are now, oldest first: everybody's, or one person's ephemerals."""
        with self._changed:
            messages = self._messages[only(self._named(channel), channel)]
            return [deepcopy(message) for message in messages if message.get("only_for") == only_for]

    def ephemerals(self, user: str, channel: str) -> list[Json]:
        """The channel's messages that only this person sees."""
        return self.messages(channel, only_for=user)

    def direct_messages(self, user: str) -> list[Json]:
        """The messages between the app and this person."""
        return self.messages(self._direct[user])

    def view_of(self, user: str) -> Json | None:
        """The view in front of this person: the top of their modal."""
        with self._changed:
            return deepcopy(self._views[user][-1]) if self._views[user] else None

    def home_of(self, user: str) -> Json | None:
        """What the app has published on this person's Home tab."""
        with self._changed:
            return deepcopy(self._homes.get(user))

    def unread(self, user: str) -> dict[str, int]:
        """How many messages this person has not looked at yet, by channel; ephemerals don't count."""
        mine = [channel for channel, (_, members) in self.channels.items() if user in members]
        with self._changed:
            new = {place: [m for m in self._messages[place] if m["ts"] > self._read[user, place]] for place in mine}
            return {place: sum("only_for" not in m for m in messages) for place, messages in new.items()}

    def read(self, user: str, channel: str) -> Answer:
        """Looks at a channel to its end."""
        _, place = self._on_screen(user, channel)
        if self.unread(user)[place]:
            with self._change():
                self._read[user, place] = self._messages[place][-1]["ts"]
        return Answer()

    def state(self, user: str = "", after: str = "") -> Json:
        """Who there is, and all that this person sees; with `after`, once a version later than that is there, or in a while."""
        with self._changed:
            has_news = lambda: self._stopping or str(self._version) != after  # noqa: E731 -- read at each change
            self._changed.wait_for(has_news, MOST_SECONDS_OF_WAITING if after else 0)
            mine = {channel: name for channel, (name, members) in self.channels.items() if user in members}
            seen = {"channels": mine, "messages": {channel: self.messages(channel) for channel in mine}}
            seen |= {"ephemerals": {channel: self.ephemerals(user, channel) for channel in mine}}
            seen |= {"view": self.view_of(user), "depth": len(self._views[user]), "home": self.home_of(user)}
            seen |= {"people": [asdict(person) for person in self.people.values()], "team": self.team}
            seen |= {"unread": {person: self.unread(person) for person in self.people}, "now": self._new_ts()}
            return seen | {"features": self.manifest["features"], "version": str(self._version)}

    def command(self, user: str, channel: str, text: str) -> Answer:
        """Types a line, `/name` and its text, in a channel."""
        person, place = self._on_screen(user, channel)
        if place in self._direct.values() and self._app_home.get("messages_tab_read_only_enabled"):
            raise NotOnScreenError("Sending messages to this app has been turned off.")
        name, _, rest = text.partition(" ")
        urls = {entry["command"]: entry["url"] for entry in self.manifest["features"]["slash_commands"]}
        if name not in urls or "commands" not in self._scopes or person.team_id != self.team:
            return Answer(error=f"{name} is not a valid command")
        form = {"command": name, "text": rest, "user_id": user, "user_name": person.name, "token": "unused"}
        form |= {"channel_id": place, "channel_name": self.channels[place][0], "team_id": self.team}
        form |= {"team_domain": "example", "api_app_id": self.app_id, "is_enterprise_install": "false"}
        sent = self.send(urls[name], form | self._new_trigger(user, place))
        text = "" if sent["error"] else sent["body"]
        try:
            with self._change():
                reply = json.loads(text) if text[:1] == "{" else {"text": text}
                shown = self._reply({"channel": place, "user": user}, reply)
        except SlackError as refusal:
            error = sent["error"] or (text and str(refusal))
            return Answer(status=sent["status"], error=error and f'{name} failed with the error "{error}"')
        return Answer(status=200, text=shown["text"], blocks=shown["blocks"], ephemeral="only_for" in shown)

    def press(
        self,
        user: str,
        channel: str,
        ts: str,
        action_id: str,
        block_id: str = "",
        confirm: bool = True,
        value: Any = None,
    ) -> Answer:
        """Presses a message's button or chooses `value` in its menu; `confirm` answers the dialog, if there is one."""
        _, place = self._on_screen(user, channel)
        seen = [message for message in self._messages[place] if message.get("only_for", user) == user]
        source = only([message for message in seen if message["ts"] == ts], ts)
        container = {"type": "message", "message_ts": ts, "channel_id": place, "is_ephemeral": "only_for" in source}
        shown: Json = {"container": container, "channel": {"id": place, "name": self.channels[place][0]}}
        shown |= {} if "only_for" in source else {"message": source}
        values = self._entered[user, ts] = state_values(source["blocks"], self._entered[user, ts])
        shown |= {"state": {"values": values}} | self._new_trigger(user, place, source)
        return self._press(user, source["blocks"], {action_id, block_id} - {""}, confirm, value, values, shown)

    def press_in_view(
        self,
        user: str,
        action_id: str,
        block_id: str = "",
        confirm: bool = True,
        value: Any = None,
        values: Mapping[str, Any] | None = None,
        at_home: bool = False,
    ) -> Answer:
        """Presses or chooses in the open modal, or in the Home tab; `values` is what was filled in before, as in `submit`."""
        homes = [home for person, home in self._homes.items() if person == user]
        view = only(homes, "Home tab") if at_home else self._open_view(user)
        self._fill(view, values or {})
        shown = {"container": {"type": "view", "view_id": view["id"]}, "view": view} | self._new_trigger(user)
        names, entered = {action_id, block_id} - {""}, view["state"]["values"]
        return self._press(user, view["blocks"], names, confirm, value, entered, shown)

    def _press(
        self, user: str, blocks: list[Json], names: set[str], confirm: bool, value: Any, entered: Json, shown: Json
    ) -> Answer:
        block, element = find_element(blocks, names, is_button=value is None)
        if block["type"] == "input" and not block.get("dispatch_action"):
            raise NotOnScreenError(f"{element['action_id']!r} is only sent with its form.")
        given = {} if value is None else answer_of(element, value)
        if "confirm" in element and not confirm:
            return Answer()
        if element["action_id"] in entered.get(block["block_id"], {}):
            entered[block["block_id"]][element["action_id"]] |= given
        action = {name: element[name] for name in element.keys() & {"type", "action_id", "text", "value"}} | given
        action |= {"block_id": block["block_id"], "action_ts": self._new_ts()}
        sent = self._interact(user, "block_actions", shown | {"actions": [action]})
        return Answer(status=sent["status"], error=sent["error"])

    def submit(self, user: str, values: Mapping[str, Any]) -> Answer:
        """Fills in the open modal and presses its submit button; `values` by action_id, block_id or {block_id: {action_id: }}."""
        view = only([view for view in [self._open_view(user)] if view["submit"]], "submit button")
        self._fill(view, values)
        state = view["state"]["values"]
        needed = [b["block_id"] for b in view["blocks"] if b["type"] == "input" and not b.get("optional")]
        if empty := [
            k for k in needed for given in state[k].values() if None in given.values() or [] in given.values()
        ]:
            return Answer(errors=dict.fromkeys(empty, "Please complete this required field."))
        sent = self._interact(user, "view_submission", {"view": view, "response_urls": [], **self._new_trigger(user)})
        if sent["error"]:
            return Answer(status=sent["status"], error=sent["error"])
        try:
            with self._change():
                return self._follow(user, view, json.loads(sent["body"] or "{}"))
        except (SlackError, ValueError, LookupError, TypeError, AttributeError):
            return Answer(status=200, error=f"Slack can't use the response {sent['body']!r}")

    def _follow(self, user: str, view: Json, reply: Json) -> Answer:
        match reply.get("response_action"):
            case "errors" if reply["errors"].keys() <= view["state"]["values"].keys():
                return Answer(status=200, errors=reply["errors"])
            case "update":
                require_view(reply["view"])
                self._write_view(view, reply["view"])
            case "push":
                require_view(reply["view"])
                self._push(user, reply["view"])
            case "clear":
                self._views[user].clear()
            case None:
                self._views[user] = [each for each in self._views[user] if each is not view]
            case unusable:
                raise LookupError(unusable)
        return Answer(status=200)

    def _fill(self, view: Json, values: Mapping[str, Any]) -> None:
        pairs = [({name}, given) for name, given in values.items() if not isinstance(given, Mapping)]
        nested = [(name, given) for name, given in values.items() if isinstance(given, Mapping)]
        pairs += [({name, action}, given) for name, inner in nested for action, given in inner.items()]
        for names, given in pairs:
            block, element = find_element(view["blocks"], names, is_button=False)
            view["state"]["values"][block["block_id"]][element["action_id"]] |= answer_of(element, given)

    def close(self, user: str, everything: bool = False) -> Answer:
        """Closes the view in front, or the whole modal; the app is told only where it asked to be."""
        with self._change():
            stack = self._views[user]
            closed = [stack.pop() for _ in range(len(stack) if everything else min(1, len(stack)))]
        answer = Answer()
        for view in (each for each in closed if each.get("notify_on_close")):
            sent = self._interact(user, "view_closed", {"view": view, "is_cleared": everything})
            answer = Answer(status=sent["status"], error=sent["error"])
        return answer

    def open_app(self, user: str, tab: str = "home") -> Answer:
        """Looks at the app's `home` or `messages`; the app hears of it where its manifest subscribes to that."""
        person, place = self._on_screen(user, self._direct.get(user, user))
        if not self._app_home.get(f"{tab}_tab_enabled") or person.team_id != self.team:
            raise NotOnScreenError(f"The app shows {person.name} no tab called {tab!r}.")
        events = self.manifest["settings"].get("event_subscriptions", {"bot_events": []})
        if "app_home_opened" not in events["bot_events"]:
            return Answer()
        event = {"type": "app_home_opened", "user": user, "channel": place, "tab": tab, "event_ts": self._new_ts()}
        event |= {"view": self.home_of(user)} if tab == "home" and user in self._homes else {}
        installed = {"team_id": self.team, "user_id": BOT["user"], "is_bot": True, "is_enterprise_install": False}
        body: Json = {"type": "event_callback", "event": event, "event_id": f"Ev{secrets.token_hex(6).upper()}"}
        body |= {"team_id": self.team, "api_app_id": self.app_id, "token": "unused", "event_time": int(self.clock())}
        body |= {"authorizations": [installed | {"enterprise_id": None}]}
        sent = self.send(events["request_url"], body, is_json=True)
        if sent["error"]:  # of Slack's three further attempts only the one that comes at once
            reason = "http_error" if sent["status"] else "http_timeout"
            retry = {"X-Slack-Retry-Num": "1", "X-Slack-Retry-Reason": reason}
            sent = self.send(events["request_url"], body, is_json=True, headers=retry)
        return Answer(status=sent["status"], error=sent["error"])

    def send(self, url: str, content: Json, *, is_json: bool = False, headers: Mapping[str, str] | None = None) -> Json:
        """Signs and posts a form or JSON to the app: its `status`, its `body`, and the `error` that a person sees."""
        body, now = json.dumps(content) if is_json else urlencode(content), str(int(self.clock()))
        signature = hmac.new(self.signing_secret.encode(), f"v0:{now}:{body}".encode(), "sha256").hexdigest()
        signed = {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": f"v0={signature}", **(headers or {})}
        signed["Content-Type"] = "application/json" if is_json else "application/x-www-form-urlencoded"
        answer: Json = {"status": None, "body": "", "error": "dispatch_failed"}
        started = time.monotonic()
        connection = HTTPConnection(urlsplit(self.deliver_to).netloc, timeout=self.request_timeout_seconds)
        with suppress(OSError, HTTPException), closing(connection):
            connection.request("POST", urlsplit(url).path, body, signed)
            response = connection.getresponse()
            answer |= {"status": response.status, "body": response.read().decode()}
            answer["error"] = "" if response.status == 200 else "dispatch_failed"
        if time.monotonic() - started >= self.request_timeout_seconds:
            answer = {"status": None, "body": "", "error": "operation_timeout"}
        with self._change():
            self.requests.append(Call(url, dict(content), dict(answer)))
        return answer

    def _interact(self, user: str, kind: str, fields: Json) -> Json:
        person = self.people[user]
        who = {"id": user, "username": person.name, "name": person.name, "team_id": person.team_id}
        app = {"api_app_id": self.app_id, "token": "unused", "enterprise": None, "is_enterprise_install": False}
        payload = {"type": kind, "user": who, "team": {"id": self.team, "domain": "example"}} | app | fields
        url = self.manifest["settings"]["interactivity"]["request_url"]
        return self.send(url, {"payload": json.dumps(payload)})

    def _on_screen(self, user: str, channel: str) -> tuple[SlackUser, str]:
        active = [person for person in self.people.values() if person.id == user and not person.deleted]
        joined = [place for place in self._named(channel) if user in self.channels[place][1]]
        return only(active, user), only(joined, channel)

    def _open_view(self, user: str) -> Json:
        return only(self._views[user][-1:], "modal")

    def _new_trigger(self, user: str, place: str = "", source: Json | None = None) -> Json:
        trigger, path = f"{self._new_ts()}.{secrets.token_hex(16)}", secrets.token_hex(12)
        self._triggers[trigger] = (user, self.clock() + self.trigger_seconds)
        self._hooks[path] = {"channel": place, "user": user, "source": source, "until": self.clock() + 1800, "uses": 5}
        return {"trigger_id": trigger} | ({"response_url": f"{self._door.origins[0]}/hooks/{path}"} if place else {})

    def _control(self, act: str, arguments: Json) -> Response:
        acts: Json = {"POST command": self.command, "POST press": self.press, "GET state": self.state}
        acts |= {"POST view-press": self.press_in_view, "POST submit": self.submit, "POST close": self.close}
        acts |= {"POST open": self.open_app, "POST read": self.read, "GET behind": self.behind}
        try:
            shown = acts[act](**arguments)
        except (LookupError, TypeError) as error:
            return Response(content={"error": f"{type(error).__name__}: {error}"}, status=400)
        return Response(content=shown if isinstance(shown, dict) else asdict(shown))

    def receive(self, request: Request) -> Response:
        """Answers one HTTP request that came through the door."""
        if request.area == "ui":
            return self._control(f"{request.verb} {request.name}", request.arguments)
        if request.area not in {"api", "hooks"}:
            return Response(content={"error": "There is nothing here."}, status=404)
        is_hook = request.area == "hooks"
        called = "response_url" if is_hook else request.name
        status, headers, answer = 200, {} if is_hook else {"X-OAuth-Scopes": ",".join(self._scopes)}, {"ok": True}
        with self._change():
            planned = self._faults.get(called)
            fault = planned.pop(0) if planned else None
            try:
                if fault is None or fault.takes_effect:
                    answer |= deepcopy(self._hook(request.name, request.arguments) if is_hook else self._call(request))
                if fault is not None:
                    raise fault.refusal
            except SlackError as error:
                status, answer = max(error.status, 404 if is_hook else 200), error.answer
                headers |= error.headers
            self.calls.append(Call(called, request.arguments, answer))
        if fault is not None:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, fault.silent_seconds)
        return Response(content=answer, status=status, headers=headers)
