"""Which user groups a person belongs to, read when it is asked for and never remembered."""

from collections.abc import Collection

from slack_sdk import WebClient

from chalicelib.slack.errors import translated


class SlackGroups:
    """Asks ``usergroups.users.list``, which needs the scope ``usergroups:read``."""

    def __init__(self, client: WebClient) -> None:
        self._client = client

    def find_membership(self, person_id: str, groups: Collection[str]) -> str:
        """The first of the groups that the person belongs to; empty when it is none. Raises SlackUnavailableError."""
        user_id = person_id.rpartition("/")[2]
        for group in sorted(groups):
            with translated(f"the question who belongs to {group}"):
                if user_id in self._client.usergroups_users_list(usergroup=group)["users"]:
                    return group
        return ""
