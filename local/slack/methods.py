"""What the app may call: the methods of Slack's Web API that the product uses, and response_url. Any other is unknown."""

from dataclasses import asdict
from typing import Any

from local.slack.block_checker import Json
from local.slack.team import BOT, SlackError, Team, require_view
from local.slack.web import Request

SCOPES = {"auth": "", "views": "", "chat": "chat:write", "users": "users:read", "conversations": "im:write"}
SCOPES |= {"usergroups": "usergroups:read", "bots": "users:read"}
MOST_DAYS_AHEAD = 120  # of a scheduled message
WITHOUT_EFFECT = {"token", "team_id", "unfurl_links", "unfurl_media", "include_locale"}


class Methods(Team):
    """A function is named after its method and takes the method's arguments."""

    def _call(self, request: Request) -> Json:
        family, arguments, authorization = request.name.partition(".")[0], request.arguments, request.authorization
        function = getattr(self, f"_{request.name.replace('.', '_')}".lower(), None)
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

    def _hook(self, path: str, reply: Json) -> Json:
        hook = self._hooks.get(path, {"uses": 0, "until": 0})
        if not hook["uses"] or hook["until"] < self.clock():
            raise SlackError("expired_url" if hook["uses"] else "used_url")
        hook["uses"] -= 1
        self._reply(hook, reply)
        return {}

    def _bots_channel(self, reference: str) -> str:
        found = self._named(reference)
        if not found or BOT["user"] not in self.channels[found[0]][1]:
            raise SlackError("not_in_channel" if found else "channel_not_found")
        return found[0]

    def _auth_test(self) -> Json:
        return {"team_id": self.team, "user_id": BOT["user"], "bot_id": BOT["bot_id"]}

    def _bots_info(self, bot: str) -> Json:
        if bot != BOT["bot_id"]:
            raise SlackError("bot_not_found")
        return {"bot": {"id": bot, "app_id": self.app_id, "user_id": BOT["user"], "deleted": False}}

    def _users_info(self, user: str) -> Json:
        if user not in self.people:
            raise SlackError("user_not_found")
        return {"user": asdict(self.people[user])}

    def _conversations_open(self, users: str) -> Json:
        return {"channel": {"id": self._direct[self._users_info(users)["user"]["id"]]}}

    def _usergroups_users_list(self, usergroup: str) -> Json:
        if usergroup not in self.groups:
            raise SlackError("no_such_subteam")
        return {"users": sorted(self.groups[usergroup])}

    def _chat_postmessage(
        self, channel: str, text: str = "", blocks: Any = (), thread_ts: str = "", reply_broadcast: bool = False
    ) -> Json:
        if channel in self._direct and not self._app_home["messages_tab_enabled"]:
            raise SlackError("messages_tab_disabled")
        place = self._bots_channel(self._direct.get(channel, channel))
        thread: Json = {"thread_ts": thread_ts} if thread_ts else {}
        if thread and not any(m["ts"] == thread_ts and "only_for" not in m for m in self._messages[place]):
            raise SlackError("thread_not_found")
        thread |= {"subtype": "thread_broadcast"} if thread and reply_broadcast else {}
        message = self._post(place, self._content(text, blocks) | thread)
        return {"channel": place, "ts": message["ts"], "message": message}

    def _chat_postephemeral(self, channel: str, user: str, text: str = "", blocks: Any = ()) -> Json:
        place = self._bots_channel(channel)
        if user not in self.channels[place][1]:
            raise SlackError("user_not_in_channel")
        return {"message_ts": self._post(place, self._content(text, blocks) | {"only_for": user})["ts"]}

    def _chat_schedulemessage(self, channel: str, post_at: int, text: str = "", blocks: Any = ()) -> Json:
        place, seconds, key = self._bots_channel(channel), int(post_at) - self.clock(), f"Q{self._new_ts()}"
        if not 0 < seconds < MOST_DAYS_AHEAD * 86_400:
            raise SlackError("time_too_far" if seconds > 0 else "time_in_past")
        self.scheduled[key] = {"channel": place, "post_at": int(post_at), **self._content(text, blocks)}
        return {"channel": place, "scheduled_message_id": key, "post_at": int(post_at)}

    def _chat_deletescheduledmessage(self, channel: str, scheduled_message_id: str) -> Json:
        if self.scheduled.get(scheduled_message_id, {}).get("channel") != self._bots_channel(channel):
            raise SlackError("invalid_scheduled_message_id")
        del self.scheduled[scheduled_message_id]
        return {}

    def _chat_update(self, channel: str, ts: str, text: str = "", blocks: Any = ()) -> Json:
        place = self._bots_channel(channel)
        found = [m for m in self._messages[place] if m["ts"] == ts and place == channel]
        if not found or "only_for" in found[0]:
            raise SlackError("cant_update_message" if found else "message_not_found")
        found[0].update(self._content(text, blocks))
        return {"channel": channel, "ts": ts, "text": text, "message": found[0]}

    def _views_open(self, trigger_id: str, view: Any) -> Json:
        require_view(view)
        user = self._spend(trigger_id)
        self._views[user] = [self._new_view(view)]
        return {"view": self._views[user][0]}

    def _views_push(self, trigger_id: str, view: Any) -> Json:
        require_view(view)
        return {"view": self._push(self._spend(trigger_id), view)}

    def _views_update(self, view_id: str, view: Any, hash: str = "") -> Json:  # noqa: A002 -- Slack's name for it
        shown = [each for stack in self._views.values() for each in stack] + [*self._homes.values()]
        found = [each for each in shown if each["id"] == view_id]
        require_view(view, found[0]["type"] if found else "modal")
        if not found or hash not in {"", found[0]["hash"]}:
            raise SlackError("hash_conflict" if found else "not_found")
        return {"view": self._write_view(found[0], view)}

    def _views_publish(self, user_id: str, view: Any, hash: str = "") -> Json:  # noqa: A002 -- Slack's name for it
        if not self._app_home["home_tab_enabled"]:
            raise SlackError("not_enabled")
        self._users_info(user_id)
        require_view(view, "home")
        home = self._homes.get(user_id)
        if hash and home and hash != home["hash"]:
            raise SlackError("hash_conflict")
        self._homes[user_id] = self._write_view(home, view) if home else self._new_view(view)
        return {"view": self._homes[user_id]}
