"""Who somebody is and which groups they belong to, asked of a Slack that is as strict as Slack."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from slack_sdk import WebClient

from chalicelib import ports
from chalicelib.domain.errors import SlackUnavailableError
from chalicelib.slack.groups import SlackGroups
from chalicelib.slack.members import SlackMembers
from local.slack.api import SlackStandIn, SlackUser

TEAM, BOT_TOKEN = "T0EXAMPLE", "xoxb-example-bot-token"
ALICE = SlackUser(id="U0ALICE", name="alice", team_id=TEAM)
BOB = SlackUser(id="U0BOB", name="bob", team_id=TEAM)
GROUPS = {"S0OWNERS": {"U0BOB"}, "S0OPERATORS": {"U0ALICE", "U0BOB"}}
MANIFEST: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "chalicelib" / "slack" / "manifest.json")
    .read_text()
    .replace("//API", "//api.example.com")
)


def a_slack(*scopes: str) -> SlackStandIn:
    manifest = MANIFEST | {"oauth_config": {"scopes": {"bot": list(scopes)}}}
    return SlackStandIn(
        manifest=manifest,
        team=TEAM,
        users=[ALICE, BOB],
        channels={},
        groups=GROUPS,
        signing_secret="unused",
        bot_token=BOT_TOKEN,
        clock=time.time,
    )


@pytest.fixture
def slack() -> Iterator[SlackStandIn]:
    with a_slack("users:read", "usergroups:read") as running:
        yield running


def a_client(slack: SlackStandIn) -> WebClient:
    return WebClient(token=BOT_TOKEN, base_url=slack.api_url, timeout=2)


def members_of(slack: SlackStandIn) -> ports.Members:
    return SlackMembers(a_client(slack), TEAM)


def groups_of(slack: SlackStandIn) -> ports.Groups:
    return SlackGroups(a_client(slack))


class TestMembers:
    def test_nothing_is_said_against_a_full_member(self, slack: SlackStandIn) -> None:
        """The person is named by team and user, as everywhere."""
        assert members_of(slack).find_objection(f"{TEAM}/U0ALICE") is None

    @pytest.mark.parametrize(
        ("changes", "objection"),
        [
            ({"deleted": True}, "is deactivated"),
            ({"is_bot": True}, "is a bot"),
            ({"is_restricted": True}, "is a guest"),
            ({"is_ultra_restricted": True, "is_restricted": True}, "is a guest"),
            ({"is_stranger": True}, "belongs to another organisation"),
            ({"team_id": "T0ELSEWHERE"}, "belongs to another workspace"),
            ({"team_id": "T0ELSEWHERE", "is_stranger": False}, "belongs to another workspace"),
        ],
    )
    def test_whoever_is_less_is_told_why(self, slack: SlackStandIn, changes: dict[str, Any], objection: str) -> None:
        """Also an outsider in a shared channel, of whom Slack says that they are no stranger."""
        slack.people["U0ALICE"] = replace(ALICE, **changes)

        assert objection == members_of(slack).find_objection(f"{TEAM}/U0ALICE")

    def test_a_user_that_slack_does_not_know_is_no_member(self, slack: SlackStandIn) -> None:
        """That is an answer, and no failure of Slack's."""
        assert "is unknown to the workspace" == members_of(slack).find_objection(f"{TEAM}/U0NOBODY")

    def test_it_is_asked_anew_each_time(self, slack: SlackStandIn) -> None:
        """Who was deactivated a moment ago is no member any more."""
        members = members_of(slack)
        before = members.find_objection(f"{TEAM}/U0BOB")

        slack.people["U0BOB"] = replace(BOB, deleted=True)

        assert (None, "is deactivated") == (before, members.find_objection(f"{TEAM}/U0BOB"))

    def test_without_an_answer_nobody_is_taken_for_a_member(self, slack: SlackStandIn) -> None:
        """The workflow tries again."""
        slack.fail_next("users.info", "internal_error", status=500)

        with pytest.raises(SlackUnavailableError):
            members_of(slack).find_objection(f"{TEAM}/U0ALICE")

    def test_a_missing_scope_is_named_as_the_manifests(self) -> None:
        """Whoever runs Drawbridge reads what to compare."""
        with a_slack("commands") as slack, pytest.raises(SlackUnavailableError, match="scopes with its manifest"):
            members_of(slack).find_objection(f"{TEAM}/U0ALICE")


class TestGroups:
    @pytest.mark.parametrize(
        ("user", "asked", "found"),
        [
            ("U0ALICE", {"S0OPERATORS"}, "S0OPERATORS"),
            ("U0ALICE", {"S0OWNERS"}, ""),
            ("U0ALICE", {"S0OPERATORS", "S0OWNERS"}, "S0OPERATORS"),
            ("U0BOB", {"S0OWNERS", "S0OPERATORS"}, "S0OPERATORS"),
            ("U0NOBODY", {"S0OWNERS", "S0OPERATORS"}, ""),
            ("U0BOB", set[str](), ""),
        ],
    )
    def test_the_first_group_of_a_person_is_found(
        self, slack: SlackStandIn, user: str, asked: set[str], found: str
    ) -> None:
        """By the group's id, so that the same one is noted however often it is asked."""
        assert found == groups_of(slack).find_membership(f"{TEAM}/{user}", asked)

    def test_who_left_a_group_is_not_found_in_it(self) -> None:
        """Nothing is remembered from one question to the next."""
        members = {"U0BOB"}
        with a_slack("usergroups:read") as slack:
            slack.groups = {"S0OWNERS": members}
            groups = groups_of(slack)
            before = groups.find_membership(f"{TEAM}/U0BOB", {"S0OWNERS"})

            members.clear()

            assert ("S0OWNERS", "") == (before, groups.find_membership(f"{TEAM}/U0BOB", {"S0OWNERS"}))

    def test_a_group_that_is_not_there_is_an_error_and_no_no(self, slack: SlackStandIn) -> None:
        """A slip in the catalogue shows itself, and nobody is let through by it."""
        with pytest.raises(SlackUnavailableError, match="S0NONE"):
            groups_of(slack).find_membership(f"{TEAM}/U0BOB", {"S0NONE"})

    def test_without_an_answer_nobody_belongs_to_a_group(self, slack: SlackStandIn) -> None:
        """Silence is not taken for a yes."""
        slack.fail_next("usergroups.users.list", status=429)

        with pytest.raises(SlackUnavailableError, match="pause"):
            groups_of(slack).find_membership(f"{TEAM}/U0BOB", {"S0OWNERS"})

    def test_a_missing_scope_is_named_as_the_manifests(self) -> None:
        """An app that was installed before the catalogue named groups has to be installed again."""
        with a_slack("users:read") as slack, pytest.raises(SlackUnavailableError, match="scopes with its manifest"):
            groups_of(slack).find_membership(f"{TEAM}/U0BOB", {"S0OWNERS"})


class _Reticent:
    """A client to whom Slack says less of a person than it should."""

    def users_info(self, *, user: str) -> Any:
        return {"user": {"id": user}}


def test_somebody_whose_workspace_slack_does_not_say_is_none_of_ours() -> None:
    """What is not known is not taken for granted."""
    members = SlackMembers(cast("WebClient", _Reticent()), TEAM)

    assert "belongs to another workspace" == members.find_objection(f"{TEAM}/U0ALICE")
