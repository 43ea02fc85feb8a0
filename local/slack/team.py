"""What one Slack workspace with one app holds: people, channels, messages, views, triggers. Whoever acts on it is elsewhere."""

import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition
from typing import Any, TypeVar

from local.slack.block_checker import Json, check_blocks, check_view, state_values, with_ids

T = TypeVar("T")
BOT = {"user": "U0BOT", "bot_id": "B0BOT"}
UNSET = dict.fromkeys(("title", "submit", "close")) | dict.fromkeys(("private_metadata", "callback_id"), "")
MOST_VIEWS = 3  # of one modal, on top of each other


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


@dataclass(kw_only=True, eq=False)
class Team:
    """One team and one app; `people` and the members of `channels` may change meanwhile. U0BOT is a member only where said."""

    manifest: Json
    team: str
    users: Sequence[SlackUser]
    channels: dict[str, tuple[str, Collection[str]]]
    signing_secret: str = field(repr=False)
    bot_token: str = field(repr=False)
    clock: Callable[[], float]
    app_id: str = "A0EXAMPLE"
    groups: Mapping[str, Collection[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.people = {user.id: user for user in self.users}
        self._direct = {user: f"D{user[1:]}" for user in self.people}
        direct = {place: ("directmessage", {user, BOT["user"]}) for user, place in self._direct.items()}
        self.channels = self.channels | direct
        self._scopes: list[str] = self.manifest["oauth_config"]["scopes"]["bot"]
        self._app_home: Json = self.manifest["features"]["app_home"]
        self._messages: dict[str, list[Json]] = defaultdict(list)
        self._views: dict[str, list[Json]] = defaultdict(list)
        self._homes, self._hooks, self.scheduled = dict[str, Json](), dict[str, Json](), dict[str, Json]()
        self._triggers: dict[str, tuple[str, float]] = {}
        self._last_ts, self._version, self._changed = 0, 0, Condition()

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._changed:
            yield
            self._version += 1
            self._changed.notify_all()

    def _named(self, reference: str) -> list[str]:
        names = {f"#{name}": channel for channel, (name, _) in self.channels.items() if channel[0] == "C"}
        return [channel for channel in (reference, names.get(reference)) if channel in self.channels]

    def _new_ts(self) -> str:
        with self._changed:
            self._last_ts = max(int(self.clock() * 1_000_000), self._last_ts + 1)
            return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06}"

    def _spend(self, trigger_id: str) -> str:
        """Whose trigger this is; it works once, and for three seconds."""
        user, until = self._triggers.get(trigger_id, ("", -1))
        if until < self.clock():
            raise SlackError({-1: "invalid", -2: "exchanged"}.get(int(until), "expired") + "_trigger_id")
        self._triggers[trigger_id] = (user, -2)
        return user

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

    def _reply(self, hook: Json, reply: Mapping[str, Any]) -> Json:
        content = self._content(reply.get("text", ""), reply.get("blocks"))
        if hook.get("source") and reply.get("replace_original"):
            hook["source"].update(content)
            return content
        seen_by = {} if reply.get("response_type") == "in_channel" else {"only_for": hook["user"]}
        return self._post(hook["channel"], content | seen_by)

    def _new_view(self, given: Any, below: Json | None = None) -> Json:
        key = f"V{secrets.token_hex(6).upper()}"
        new = {"id": key, "root_view_id": key, "previous_view_id": None, "team_id": self.team, "app_id": self.app_id}
        new |= {"root_view_id": below["root_view_id"], "previous_view_id": below["id"]} if below else {}
        return self._write_view(new | BOT, given)

    def _write_view(self, view: Json, given: Json) -> Json:
        """What the app gives, over the view; fields that keep their ids keep what the person entered."""
        blocks = with_ids(given["blocks"])
        state = {"values": state_values(blocks, view.get("state", {"values": {}})["values"])}
        view |= UNSET | given | {"blocks": blocks, "state": state, "hash": secrets.token_hex(8)}
        return view

    def _push(self, user: str, given: Any) -> Json:
        stack = self._views[user]
        if not 0 < len(stack) < MOST_VIEWS:
            raise SlackError("push_limit_reached" if stack else "not_found")
        stack.append(self._new_view(given, below=stack[-1]))
        return stack[-1]


def require_view(view: Any, kind: str = "modal") -> None:
    """Raises SlackError with every violation."""
    if problems := check_view(view, kind):
        raise SlackError("invalid_arguments", problems)
