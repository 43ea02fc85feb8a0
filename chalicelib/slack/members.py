"""What Slack itself says about a person: a full member of our workspace, or something less."""

from collections.abc import Mapping
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from chalicelib.slack.errors import translated

_LESS = {
    "deleted": "is deactivated",
    "is_bot": "is a bot",
    "is_restricted": "is a guest",
    "is_ultra_restricted": "is a guest",
    "is_stranger": "belongs to another organisation",
}
_NOBODY = {"user_not_found", "user_not_visible"}


class SlackMembers:
    """Asks ``users.info`` (Slack: "user object"). ``is_stranger`` alone proves nothing: it is false for outsiders who share a
    channel with the app, so their team is compared too.
    """

    def __init__(self, client: WebClient, team: str) -> None:
        self._client = client
        self._team = team

    def find_objection(self, person_id: str) -> str | None:
        """Why the person is no full member, as in "is deactivated". Raises SlackUnavailableError."""
        user_id = person_id.rpartition("/")[2]
        with translated(f"the question who {user_id} is"):
            try:
                user: dict[str, Any] = self._client.users_info(user=user_id)["user"]
            except SlackApiError as error:
                if error.response.get("error") in _NOBODY:
                    return "is unknown to the workspace"
                raise
        return find_objection_to(user, team=self._team)


def find_objection_to(user: Mapping[str, Any], *, team: str) -> str | None:
    """Why the account that ``users.info`` shows is no full member of the team; None when it is one."""
    if user.get("team_id") != team:
        return "belongs to another workspace"
    return next((words for attribute, words in _LESS.items() if user.get(attribute)), None)
