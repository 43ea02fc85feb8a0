"""One Slack workspace with one app: what people see and do, the Web API, signed requests in between."""

import hmac
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Condition, Thread
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from local.slack.block_checker import Json, answer_of, check_blocks, check_view, elements, state_values, with_ids

T = TypeVar("T")
BOT = {"user": "U0BOT", "bot_id": "B0BOT"}
SCOPES = {"auth": "", "views": "", "chat": "chat:write", "users": "users:read", "conversations": "im:write"}
WITHOUT_EFFECT = {"token", "team_id", "unfurl_links", "unfurl_media", "include_locale"}
UNSET = dict.fromkeys(("title", "submit", "close")) | dict.fromkeys(("private_metadata", "callback_id"), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackUser:
    """An account as `users.info` shows it; an outsider's `team_id` is another workspace's."""

    id: str
    name: str
    team_id: str
    deleted: bool = False
    is_bot: bool = False
    is_restricted: bool = False
    is_ultra_restricted: bool = False
    is_stranger: bool = False


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


class NotOnScreenError(LookupError):
    """Slack's clients don't offer a person what was tried: an unseen message, a button that isn't there."""


class SlackError(Exception):
    """Slack refuses what the app sent; `answer` is the body of its refusal."""

    def __init__(self, error: str, problems: Sequence[object] = (), status: int = 200, **more: str) -> None:
        super().__init__(error)
        self.status, self.headers = status, {"Retry-After": "1"} if status == 429 else {}
        messages = [f"[ERROR] {problem}" for problem in problems]
        self.answer: Json = {"ok": False, "error": error, "response_metadata": {"messages": messages}} | more


def only(found: Sequence[T], name: str) -> T:
    """The one thing of this name. Raises NotOnScreenError."""
    if len(found) != 1:
        raise NotOnScreenError(f"There are {len(found)} things called {name!r} on this person's screen.")
    return found[0]


def find_element(blocks: list[Json], names: set[str], is_button: bool) -> tuple[Json, Json]:
    """The one (block, element) with this action_id, block_id or both. Raises NotOnScreenError."""
    pairs = [(b, e) for b, e in elements(blocks) if names <= {b["block_id"], e["action_id"]}]
    return only([pair for pair in pairs if (pair[1]["type"] == "button") == is_button], " ".join(names))


@dataclass(kw_only=True, eq=False)
class SlackStandIn:
    """One team and one app; `people` and the members of `channels` may change meanwhile.

    U0BOT is a member only where `channels` says so; requests go to `deliver_to`; views are not stacked.
    """

    manifest: Json
    team: str
    users: Sequence[SlackUser]
    channels: dict[str, tuple[str, Collection[str]]]
    signing_secret: str = field(repr=False)
    bot_token: str = field(repr=False)
    clock: Callable[[], float]
    app_id: str = "A0EXAMPLE"
    request_timeout_seconds: float = 3.0
    deliver_to: str = ""

    def __post_init__(self) -> None:
        self.people = {user.id: user for user in self.users}
        self._direct = {user: f"D{user[1:]}" for user in self.people}
        direct = {place: ("directmessage", {user, BOT["user"]}) for user, place in self._direct.items()}
        self.channels = self.channels | direct
        self.calls, self.requests = list[Call](), list[Call]()
        self._scopes: list[str] = self.manifest["oauth_config"]["scopes"]["bot"]
        self._messages: dict[str, list[Json]] = defaultdict(list)
        self._views, self._hooks = dict[str, Json](), dict[str, Json]()
        self._triggers: dict[str, tuple[str, float]] = {}
        self._failures: dict[str, list[SlackError]] = {}
        self._last_ts, self._changed = 0, Condition()
        self._server = ThreadingTCPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"stand_in": self}))
        self._origins = [f"http://{host}:{self._server.server_address[1]}" for host in ("127.0.0.1", "localhost")]
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))
        self.api_url = f"{self._origins[0]}/api/"

    def start(self) -> "SlackStandIn":
        self._thread.start()
        return self

    def stop(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    __enter__, __exit__ = start, stop

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._changed:
            yield
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[], T], timeout: float) -> T:
        """The predicate's first true value, asked after every change. Raises TimeoutError."""
        with self._changed:
            if value := self._changed.wait_for(predicate, timeout):
                return value
        raise TimeoutError(f"Slack showed nothing of what the caller waits for within {timeout} s.")

    def fail_next(self, method: str, error: str = "ratelimited", status: int = 200, times: int = 1) -> None:
        """The next calls of a method (or response_url) change nothing and get this; a 429 says: in 1 s."""
        self._failures.setdefault(method, []).extend([SlackError(error, status=status)] * times)

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
        """The modal in front of this person."""
        return deepcopy(self._views.get(user))

    def state(self, user: str = "") -> Json:
        """Who there is, and all that this person sees."""
        with self._changed:
            mine = {channel: name for channel, (name, members) in self.channels.items() if user in members}
            seen = {"channels": mine, "messages": {channel: self.messages(channel) for channel in mine}}
            seen |= {"ephemerals": {channel: self.ephemerals(user, channel) for channel in mine}}
            return seen | {"view": self.view_of(user), "users": {key: self.people[key].name for key in self.people}}

    def command(self, user: str, channel: str, text: str) -> Answer:
        """Types a line, `/name` and its text, in a channel."""
        person, place = self._on_screen(user, channel)
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
        self, user: str, channel: str, ts: str, action_id: str, block_id: str = "", confirm: bool = True
    ) -> Answer:
        """Presses a message's button; `confirm` is the answer to its dialog, if it has one."""
        _, place = self._on_screen(user, channel)
        seen = [message for message in self._messages[place] if message.get("only_for", user) == user]
        source = only([message for message in seen if message["ts"] == ts], ts)
        container = {"type": "message", "message_ts": ts, "channel_id": place, "is_ephemeral": "only_for" in source}
        shown: Json = {"container": container, "channel": {"id": place, "name": self.channels[place][0]}}
        shown |= {"state": {"values": state_values(source["blocks"], {})}} | self._new_trigger(user, place, source)
        shown |= {} if "only_for" in source else {"message": source}
        return self._press(user, source["blocks"], {action_id, block_id} - {""}, confirm, shown)

    def press_in_view(self, user: str, action_id: str, block_id: str = "", confirm: bool = True) -> Answer:
        """Presses a button in the open modal."""
        view = self._open_view(user)
        shown = {"container": {"type": "view", "view_id": view["id"]}, "view": view} | self._new_trigger(user)
        return self._press(user, view["blocks"], {action_id, block_id} - {""}, confirm, shown)

    def _press(self, user: str, blocks: list[Json], names: set[str], confirm: bool, shown: Json) -> Answer:
        block, element = find_element(blocks, names, is_button=True)
        if "confirm" in element and not confirm:
            return Answer()
        action = {name: element[name] for name in element.keys() & {"type", "action_id", "text", "value"}}
        action |= {"block_id": block["block_id"], "action_ts": self._new_ts()}
        sent = self._interact(user, "block_actions", shown | {"actions": [action]})
        return Answer(status=sent["status"], error=sent["error"])

    def submit(self, user: str, values: Mapping[str, str]) -> Answer:
        """Fills in the open modal, by action_id or block_id, and presses its submit button."""
        view = only([view for view in [self._open_view(user)] if view["submit"]], "submit button")
        state = view["state"]["values"]
        for name, given in values.items():
            block, element = find_element(view["blocks"], {name}, is_button=False)
            state[block["block_id"]][element["action_id"]] |= answer_of(element, given)
        needed = [b["block_id"] for b in view["blocks"] if b["type"] == "input" and not b.get("optional")]
        if empty := [key for key in needed for answer in state[key].values() if None in answer.values()]:
            return Answer(errors=dict.fromkeys(empty, "Please complete this required field."))
        sent = self._interact(user, "view_submission", {"view": view, "response_urls": [], **self._new_trigger(user)})
        reply: Json = {"response_action": "none"} if sent["error"] else json.loads(sent["body"] or "{}")
        with self._change():
            match reply.get("response_action"):
                case "errors" if reply["errors"].keys() <= state.keys():
                    return Answer(status=200, errors=reply["errors"])
                case "update" if not check_view(reply["view"]):
                    self._write_view(view, reply["view"])
                case None | "clear":
                    self._views.pop(user, None)
                case unusable:
                    sent["error"] = sent["error"] or f"Slack can't use the response {unusable!r}"
        return Answer(status=sent["status"], error=sent["error"])

    def close(self, user: str) -> Answer:
        """Closes the open modal; the app isn't told."""
        with self._change():
            self._views.pop(user, None)
        return Answer()

    def send(self, url: str, form: Mapping[str, str]) -> Json:
        """Signs and posts a form to the app: its `status`, its `body`, and the `error` that a person sees."""
        body, now = urlencode(form), str(int(self.clock()))
        signature = hmac.new(self.signing_secret.encode(), f"v0:{now}:{body}".encode(), "sha256").hexdigest()
        headers = {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": f"v0={signature}"}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer: Json = {"status": None, "body": "", "error": "dispatch_failed"}
        started = time.monotonic()
        connection = HTTPConnection(urlsplit(self.deliver_to).netloc, timeout=self.request_timeout_seconds)
        with suppress(OSError, HTTPException), closing(connection):
            connection.request("POST", urlsplit(url).path, body, headers)
            response = connection.getresponse()
            answer |= {"status": response.status, "body": response.read().decode()}
            answer["error"] = "" if response.status == 200 else "dispatch_failed"
        if time.monotonic() - started >= self.request_timeout_seconds:
            answer = {"status": None, "body": "", "error": "operation_timeout"}
        with self._change():
            self.requests.append(Call(url, dict(form), dict(answer)))
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
        return only([self._views[user]] if user in self._views else [], "modal")

    def _named(self, reference: str) -> list[str]:
        names = {f"#{name}": channel for channel, (name, _) in self.channels.items() if channel[0] == "C"}
        return [channel for channel in (reference, names.get(reference)) if channel in self.channels]

    def _bots_channel(self, reference: str) -> str:
        found = self._named(reference)
        if not found or BOT["user"] not in self.channels[found[0]][1]:
            raise SlackError("not_in_channel" if found else "channel_not_found")
        return found[0]

    def _new_ts(self) -> str:
        with self._changed:
            self._last_ts = max(int(self.clock() * 1_000_000), self._last_ts + 1)
            return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06}"

    def _new_trigger(self, user: str, place: str = "", source: Json | None = None) -> Json:
        trigger, path = f"{self._new_ts()}.{secrets.token_hex(16)}", secrets.token_hex(12)
        self._triggers[trigger] = (user, self.clock() + 3)
        self._hooks[path] = {"channel": place, "user": user, "source": source, "until": self.clock() + 1800, "uses": 5}
        return {"trigger_id": trigger} | ({"response_url": f"{self._origins[0]}/hooks/{path}"} if place else {})

    def _content(self, text: str, blocks: Any) -> Json:
        problems = check_blocks(blocks or [])
        faults = {"invalid_blocks": problems, "no_text": not text and not blocks, "msg_too_long": text[4000:]}
        for error in filter(faults.get, faults):
            raise SlackError(error, problems)
        return {"text": text, "blocks": with_ids(blocks or [])}

    def _post(self, place: str, content: Json) -> Json:
        message = {"type": "message", "ts": self._new_ts(), "app_id": self.app_id, "team": self.team}
        self._messages[place].append(message | BOT | content)
        return self._messages[place][-1]

    def _reply(self, hook: Json, reply: Json) -> Json:
        content = self._content(reply.get("text", ""), reply.get("blocks"))
        if hook.get("source") and reply.get("replace_original"):
            hook["source"].update(content)
            return content
        seen_by = {} if reply.get("response_type") == "in_channel" else {"only_for": hook["user"]}
        return self._post(hook["channel"], content | seen_by)

    def _write_view(self, view: Json, given: Json) -> Json:
        """What the app gives, over the view; fields that keep their ids keep what the person entered."""
        blocks = with_ids(given["blocks"])
        state = {"values": state_values(blocks, view.get("state", {"values": {}})["values"])}
        view |= UNSET | given | {"blocks": blocks, "state": state, "hash": secrets.token_hex(8)}
        return view

    def _auth_test(self) -> Json:
        return {"team_id": self.team, "user_id": BOT["user"], "bot_id": BOT["bot_id"]}

    def _users_info(self, user: str) -> Json:
        if user not in self.people:
            raise SlackError("user_not_found")
        return {"user": asdict(self.people[user])}

    def _conversations_open(self, users: str) -> Json:
        return {"channel": {"id": self._direct[self._users_info(users)["user"]["id"]]}}

    def _chat_postmessage(self, channel: str, text: str = "", blocks: Any = ()) -> Json:
        if channel in self._direct and not self.manifest["features"]["app_home"]["messages_tab_enabled"]:
            raise SlackError("messages_tab_disabled")
        place = self._bots_channel(self._direct.get(channel, channel))
        message = self._post(place, self._content(text, blocks))
        return {"channel": place, "ts": message["ts"], "message": message}

    def _chat_postephemeral(self, channel: str, user: str, text: str = "", blocks: Any = ()) -> Json:
        place = self._bots_channel(channel)
        if user not in self.channels[place][1]:
            raise SlackError("user_not_in_channel")
        return {"message_ts": self._post(place, self._content(text, blocks) | {"only_for": user})["ts"]}

    def _chat_update(self, channel: str, ts: str, text: str = "", blocks: Any = ()) -> Json:
        place = self._bots_channel(channel)
        found = [m for m in self._messages[place] if m["ts"] == ts and place == channel]
        if not found or "only_for" in found[0]:
            raise SlackError("cant_update_message" if found else "message_not_found")
        found[0].update(self._content(text, blocks))
        return {"channel": channel, "ts": ts, "text": text, "message": found[0]}

    def _views_open(self, trigger_id: str, view: Any) -> Json:
        if problems := check_view(view):
            raise SlackError("invalid_arguments", problems)
        user, until = self._triggers.get(trigger_id, ("", -1))
        if until < self.clock():
            raise SlackError({-1: "invalid", -2: "exchanged"}.get(int(until), "expired") + "_trigger_id")
        self._triggers[trigger_id] = (user, -2)
        key = f"V{secrets.token_hex(6).upper()}"
        new = {"id": key, "root_view_id": key, "previous_view_id": None, "team_id": self.team, "app_id": self.app_id}
        self._views[user] = self._write_view(new | BOT, view)
        return {"view": self._views[user]}

    def _views_update(self, view_id: str, view: Any, hash: str = "") -> Json:  # noqa: A002 -- Slack's name for it
        if problems := check_view(view):
            raise SlackError("invalid_arguments", problems)
        found = [shown for shown in self._views.values() if shown["id"] == view_id]
        if not found or hash not in {"", found[0]["hash"]}:
            raise SlackError("hash_conflict" if found else "not_found")
        return {"view": self._write_view(found[0], view)}

    def _hook(self, path: str, reply: Json) -> Json:
        hook = self._hooks.get(path, {"uses": 0, "until": 0})
        if not hook["uses"] or hook["until"] < self.clock():
            raise SlackError("expired_url" if hook["uses"] else "used_url")
        hook["uses"] -= 1
        self._reply(hook, reply)
        return {}

    def _method(self, method: str, headers: Any, arguments: Json) -> Json:
        family, authorization = method.partition(".")[0], headers["Authorization"]
        function = getattr(self, f"_{method.replace('.', '_')}".lower(), None)
        if family not in SCOPES or not callable(function):
            raise SlackError("unknown_method")
        if authorization != f"Bearer {self.bot_token}":
            raise SlackError("invalid_auth" if authorization else "not_authed")
        if SCOPES[family] not in ("", *self._scopes):
            raise SlackError("missing_scope", needed=SCOPES[family], provided=",".join(self._scopes))
        try:
            return dict(function(**{name: arguments[name] for name in arguments.keys() - WITHOUT_EFFECT}))
        except TypeError as error:
            raise SlackError("invalid_arguments", [error]) from error

    def _control(self, act: str, arguments: Json) -> tuple[int, Mapping[str, str], Json]:
        acts: Json = {"POST command": self.command, "POST press": self.press, "GET state": self.state}
        acts |= {"POST view-press": self.press_in_view, "POST submit": self.submit, "POST close": self.close}
        try:
            shown = acts[act](**arguments)
        except (LookupError, TypeError) as error:
            return 400, {}, {"error": f"{type(error).__name__}: {error}"}
        return 200, {}, shown if isinstance(shown, dict) else asdict(shown)

    def receive(self, verb: str, path: str, headers: Any, body: str) -> tuple[int, Mapping[str, str], Json]:
        """Answers one HTTP request; under another host's name or from a foreign page, nobody gets any."""
        if not {f"http://{headers['Host']}", headers.get("Origin", self._origins[0])} <= {*self._origins}:
            return 403, {}, {"error": "Only programs and pages of this machine may ask the local Slack."}
        url, is_json = urlsplit(path), "json" in headers.get("Content-Type", "")
        arguments = dict(parse_qsl(url.query)) | (json.loads(body or "{}") if is_json else dict(parse_qsl(body)))
        area, _, name = url.path[1:].partition("/")
        if area == "ui":
            return self._control(f"{verb} {name}", arguments)
        called = "response_url" if area == "hooks" else name
        status, more, answer = 200, {}, {"ok": True}
        with self._change():
            try:
                if planned := self._failures.get(called):
                    raise planned.pop(0)
                done = self._hook(name, arguments) if area == "hooks" else self._method(name, headers, arguments)
                answer |= deepcopy(done)
            except SlackError as error:
                status, more, answer = max(error.status, 404 if area == "hooks" else 200), error.headers, error.answer
            self.calls.append(Call(called, arguments, answer))
        return status, more, answer


class Handler(BaseHTTPRequestHandler):
    """One request; an idle connection is given up so that `stop` can join its thread."""

    stand_in: SlackStandIn
    timeout = 5

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        status, headers, answer = self.stand_in.receive(self.command, self.path, self.headers, body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815 -- the base class calls this name

    def log_message(self, *_: object) -> None:
        """Says nothing."""
