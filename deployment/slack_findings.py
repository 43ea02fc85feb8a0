"""Whether Slack is ready for a stage: the app, its scopes, its place in the approvals channel, and the people. Changes nothing.

Whether the bot may post is asked by scheduling a message and taking it back: reading a channel's members would need a scope that
the app has no other use for.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.errors import SlackUnavailableError
from chalicelib.domain.people import Person
from chalicelib.postgres.setup_check import Finding, Mark
from chalicelib.slack.members import find_objection_to
from chalicelib.slack.notifier import translated
from deployment.slack_setup import InstalledApp, describe_app, wanted_manifest
from deployment.stage import Stage

_SCHEDULED_DAYS = 100
"""Slack takes messages for up to 120 days ahead (chat.scheduleMessage). Nobody sees this one, save if taking it back fails."""
_PROBE = "Drawbridge's doctor looked whether it may post here. There is nothing to do."
_NOT_HERE = {"not_in_channel", "channel_not_found", "is_archived"}
_NOBODY = {"user_not_found", "user_not_visible"}
_NO_GROUP = {"no_such_subteam"}


def examine_slack(stage: Stage, *, app_id: str, api_url: str, web: WebClient) -> Iterator[Finding]:
    """At least one finding for each question; Slack's silence makes a question unknown, not wrong."""
    try:
        app = describe_app(web)
    except SlackUnavailableError as error:
        yield Finding(
            mark=Mark.REPAIR,
            what=f"the app is not installed, or its token is not the stored one: {error}",
            repair=f"Install the app and store its token: {deploy_command(stage)} --slack",
        )
        return
    yield from _examine_app(stage, app, app_id, api_url)
    yield _find_channel(stage.catalogue, web)
    for person in stage.catalogue.people.values():
        yield _find_person(person, stage.catalogue, web)
    for group in sorted(_groups(stage.catalogue)):
        yield _find_group(group, stage.catalogue, web)


def deploy_command(stage: Stage) -> str:
    """What deploys this stage."""
    return f"python -m deployment deploy {stage.flags}"


def _examine_app(stage: Stage, app: InstalledApp, app_id: str, api_url: str) -> Iterator[Finding]:
    again = f"Store the secrets of the right app: {deploy_command(stage)} --slack"
    if app.team != stage.catalogue.team:
        yield Finding(
            mark=Mark.REPAIR,
            what=f"the app is installed in the workspace {app.team}, and the catalogue's team is {stage.catalogue.team}",
            repair=again,
        )
    elif app.id != app_id:
        yield Finding(
            mark=Mark.REPAIR, what=f"the bot token is the app {app.id}'s, and the stored app is {app_id}", repair=again
        )
    else:
        yield Finding(mark=Mark.HOLDS, what=f"the app {app.id} is installed in {app.team}")
    wanted = set(wanted_manifest(stage, api_url)["oauth_config"]["scopes"]["bot"])
    if missing := sorted(wanted - app.scopes):
        yield Finding(
            mark=Mark.REPAIR,
            what=f"the app lacks the scopes {', '.join(missing)}",
            repair="Paste the manifest again at https://api.slack.com/apps, then reinstall the app:\n"
            f"python -m deployment manifest {api_url} {stage.locations}",
        )
    elif more := sorted(app.scopes - wanted):
        yield Finding(mark=Mark.CAUTION, what=f"the app has scopes that it does not need: {', '.join(more)}")
    else:
        yield Finding(mark=Mark.HOLDS, what=f"its scopes are {', '.join(sorted(wanted))}")


def _find_channel(catalogue: Catalogue, web: WebClient) -> Finding:
    channel, later = catalogue.approvals_channel, datetime.now(UTC) + timedelta(days=_SCHEDULED_DAYS)
    try:
        with translated(f"a message for {channel}"):
            try:
                made = web.chat_scheduleMessage(channel=channel, text=_PROBE, post_at=int(later.timestamp()))
            except SlackApiError as error:
                if error.response.get("error") in _NOT_HERE:
                    return Finding(
                        mark=Mark.REPAIR,
                        what=f"the bot may not post in the approvals channel {channel} ({error.response['error']})",
                        repair="In that channel, in Slack: /invite @Drawbridge. If it is the wrong one, correct "
                        "approvals_channel in the catalogue.",
                    )
                raise
            web.chat_deleteScheduledMessage(channel=channel, scheduled_message_id=made["scheduled_message_id"])
    except SlackUnavailableError as error:
        return Finding(mark=Mark.UNKNOWN, what=f"whether the bot is in the approvals channel: {error}")
    return Finding(mark=Mark.HOLDS, what=f"the bot is in the approvals channel {channel}")


def _find_person(person: Person, catalogue: Catalogue, web: WebClient) -> Finding:
    decides = sorted(
        name
        for name, location in catalogue.locations.items()
        if any(person.name in rule.approvers for rule in location.all_rules)
    )
    role = f", approves for {', '.join(decides)}" if decides else ""
    try:
        with translated(f"the question who {person.slack} is"):
            try:
                user: Mapping[str, Any] = web.users_info(user=person.slack)["user"]
            except SlackApiError as error:
                if error.response.get("error") not in _NOBODY:
                    raise
                user, objection = {}, "is unknown to the workspace"
            else:
                objection = find_objection_to(user, team=catalogue.team) or ""
    except SlackUnavailableError as error:
        return Finding(mark=Mark.UNKNOWN, what=f"{person.name}: {error}")
    if objection:
        return Finding(
            mark=Mark.REPAIR,
            what=f"{person.name}: {_named(person, user)} {objection}{role}",
            repair=f"Correct people.{person.name} in the catalogue, or take {person.name} out of it, and deploy.",
        )
    return Finding(mark=Mark.HOLDS, what=f"{person.name} is {_named(person, user)}{role}")


def _named(person: Person, user: Mapping[str, Any]) -> str:
    name = user.get("real_name") or user.get("profile", {}).get("real_name") or user.get("name")
    return f"{person.slack} ({name})" if name else person.slack


def _find_group(group: str, catalogue: Catalogue, web: WebClient) -> Finding:
    try:
        with translated(f"the question who belongs to {group}"):
            try:
                members = set(web.usergroups_users_list(usergroup=group)["users"])
            except SlackApiError as error:
                if error.response.get("error") not in _NO_GROUP:
                    raise
                members = set()
    except SlackUnavailableError as error:
        return Finding(mark=Mark.UNKNOWN, what=f"the user group {group}: {error}")
    listed = sorted(name for name, person in catalogue.people.items() if person.slack in members)
    if not listed:
        return Finding(
            mark=Mark.REPAIR,
            what=f"nobody of the catalogue is in the user group {group}, so nobody can approve by it",
            repair="Correct approver_groups in the catalogue, or the group's members in Slack.",
        )
    return Finding(mark=Mark.HOLDS, what=f"the user group {group} holds {', '.join(listed)}")


def _groups(catalogue: Catalogue) -> set[str]:
    return {
        group
        for location in catalogue.locations.values()
        for rule in location.all_rules
        for group in rule.approver_groups
    }
