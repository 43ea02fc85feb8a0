"""Deploy a stage: look at what there is, refuse what would strand access, build, show what changes, change it, tick the list.

Everything is safe to repeat and to interrupt. No secret is ever printed, logged or put into the template.
"""

import argparse
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.domain.locations import MAIN_PROVISIONER
from deployment.account import Account, DeploymentError, explained
from deployment.artifacts import Artifacts
from deployment.catalogue_file import add_locations_argument, catalogue_hash, read_catalogue
from deployment.doctor import print_list
from deployment.existing_network import (
    ExistingNetwork,
    HostedDatabase,
    describe_network,
    find_databases,
    find_networks,
    find_obstacles,
)
from deployment.grants import find_table, open_grants, refuse_to_strand
from deployment.prompts import Terminal
from deployment.session_preferences import find_session_preferences
from deployment.slack_findings import deploy_command
from deployment.slack_setup import SLACK_SECRET, Web, find_secrets, set_up_slack, slack_web
from deployment.stacks import ChangeSet, Deployable, Pause, Stack, Stacks
from deployment.stage import Stage, find_home, find_stage, stack_name

if TYPE_CHECKING:
    from deployment.package import Package

_GROUP = re.compile(r"sg-[0-9a-f]{8,17}")
EXIT_STATUS = "Exit status: 0 deployed, or nothing to change; 1 not deployed, with what to do; 130 ended by Ctrl-C."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.epilog = EXIT_STATUS
    parser.add_argument("--stage", required=True, metavar="STAGE", help="which deployment, such as prod")
    add_locations_argument(parser)
    parser.add_argument(
        "--certificates", metavar="FILE", type=Path, help="the RDS certificate bundle, if it cannot be fetched"
    )
    parser.add_argument("--vpc", default="", metavar="vpc-...", help="the VPC that the bastions' subnets must be in")
    parser.add_argument(
        "--database-security-group",
        action="append",
        default=[],
        metavar="NAME=sg-...",
        help="which security group of the database NAME is to let bastions in, where it has several; may be repeated",
    )
    # What is not said stays as it was deployed last.
    parser.add_argument(
        "--public-subnets",
        action=argparse.BooleanOptionalAction,
        help="whether bastions have a public address while they run, for subnets without a NAT",
    )
    parser.add_argument(
        "--interface-endpoints",
        action=argparse.BooleanOptionalAction,
        help="whether the endpoints are made that bastions need in a VPC without a way out",
    )
    parser.add_argument("--alarm-email", metavar="ADDRESS", help="whom alarms are sent to; nobody when it is empty")
    parser.add_argument("--slack", action="store_true", help="ask for Slack's secrets again")
    parser.add_argument("--yes", action="store_true", help="do not ask before changing anything")


def deploy(given: argparse.Namespace) -> int:
    """Deploy from this checkout. Returns the exit status; raises AccessError before anything was changed, or with what was."""
    # Packaging loads a translator, and needs a newer Python than the rest of this program.
    from deployment.package import ROOT, build_package, check_package  # noqa: PLC0415

    terminal = Terminal()

    def say(line: str) -> None:
        terminal.say(f"  {line}")

    def build(stage: Stage) -> "Package":
        package = build_package(
            root=ROOT,
            stage=stage.name,
            catalogue_file=Path(stage.catalogue_file),
            certificates=given.certificates,
            say=say,
        )
        check_package(package, say=say)
        return package

    return Deployment(given, build=build, terminal=terminal, web=slack_web, pause=threading.Event().wait).run()


class Deployment:
    """One run of the verb. ``build`` makes the package of a stage, once everything that could be refused is known to be fine."""

    def __init__(
        self,
        given: argparse.Namespace,
        *,
        build: "Callable[[Stage], Package]",
        terminal: Terminal,
        web: Web,
        pause: Pause,
    ) -> None:
        self._given = given
        self._build = build
        self._terminal = terminal
        self._web = web
        self._pause = pause
        self._state = "Nothing was changed."

    def run(self) -> int:
        """Returns the exit status. Ctrl-C leaves a sentence about what is as it was."""
        return self._terminal.until_interrupted(self._run, state=lambda: self._state)

    def _run(self) -> int:
        catalogue = read_catalogue(self._given.locations)
        account = find_home(catalogue)
        self._stacks = Stacks(account, say=self._terminal.say, pause=self._pause)
        stage = find_stage(
            self._given.stage, catalogue_file=self._given.locations, stacks=self._stacks, account=account
        )
        self._terminal.say(f"Drawbridge {stage.name} in {stage.place}, as {account.caller.rpartition(':')[2]}")
        parameters = self._find_parameters(stage)
        self._refuse_to_strand(stage)
        self._terminal.say("\nPackaging:")
        package: Package = self._build(stage)
        if package.missing_certificates:
            raise DeploymentError(f"{package.missing_certificates} Nothing was changed.")
        artifacts = Artifacts(account, stage.name)
        keys = self._upload(stage, package, artifacts)
        parameters |= {"ArtifactBucket": artifacts.bucket, "ArtifactKey": keys[0]}
        deployed, changed = self._deploy_stacks(stage, package, artifacts, parameters, keys)
        if deployed is None:
            return 1
        stage = deployed
        stale = set(artifacts.keys()) - set(keys)
        artifacts.remove(stale)
        self._state = f"The stage is deployed. What is left: python -m deployment doctor {stage.flags}"
        if not changed:
            self._terminal.say("\nNo changes: everything is deployed as it is here.")
        self._set_up_slack(stage)
        self._terminal.say("")
        print_list(stage, terminal=self._terminal, web=self._web)
        return 0

    def _find_parameters(self, stage: Stage) -> dict[str, str]:
        """What the templates ask for, as far as AWS and the flags say it."""
        given, before = self._given, stage.main.parameters if stage.main else {}
        preferences = find_session_preferences(stage.account)
        parameters = {
            "Stage": stage.name,
            "AlarmTopicEmail": before.get("AlarmTopicEmail", "") if given.alarm_email is None else given.alarm_email,
            "InterfaceEndpoints": _yes_or_no(given.interface_endpoints, before.get("InterfaceEndpoints")),
            "PublicSubnets": _yes_or_no(given.public_subnets, before.get("PublicSubnets")),
            "SessionKeyArn": preferences.key,
            "SessionLogBucketArn": preferences.log_bucket,
        }
        networks = find_networks(stage.account, stage.catalogue, vpc=given.vpc)
        for network in networks:
            has_endpoints = parameters["InterfaceEndpoints"] == "yes"
            self._terminal.say(f"  {describe_network(network, interface_endpoints=has_endpoints)}")
            for each in find_obstacles(
                network, interface_endpoints=has_endpoints, public_subnets=parameters["PublicSubnets"] == "yes"
            ):
                self._terminal.say(f"! {each.what} {each.repair}")
        groups = _parse_groups(given.database_security_group)
        databases = find_databases(stage.account, stage.catalogue)
        if strangers := sorted(groups.keys() - {each.database.identifier for each in databases}):
            raise DeploymentError(
                f"--database-security-group names {', '.join(strangers)}, which is no cluster or instance of the catalogue."
            )
        for found in databases:
            database, writer = found.database, found.hosting.instances.writer
            parameters[database.security_group] = self._choose_group(stage, found, groups)
            parameters[database.port] = str(writer.port)
            parameters[database.host] = writer.host
            parameters[database.resource_id] = found.hosting.resource
            self._terminal.say(
                f"  {database.kind} {database.identifier} at {writer.host}:{writer.port}, guarded by "
                f"{parameters[database.security_group]}"
            )
        self._vpcs = {network.provisioner: network for network in networks}
        _warn_of_other_vpcs(stage.account, databases, self._vpcs, parameters, self._terminal)
        return parameters

    def _choose_group(self, stage: Stage, found: HostedDatabase, groups: Mapping[str, str]) -> str:
        """The group that is to let ours in: the flag's, the only one, the one that was chosen before, or the answer."""
        identifier, guards = found.database.identifier, found.hosting.security_groups
        if identifier in groups:
            return groups[identifier]
        if len(guards) == 1:
            return guards[0]
        before = stage.main.parameters.get(found.database.security_group) if stage.main else None
        if before in guards:
            return str(before)
        there = f"is guarded by {', '.join(guards)}" if guards else "is guarded by no security group that RDS names"
        if not self._terminal.is_there:
            raise DeploymentError(
                f"{identifier} {there}. Say which one is to let bastions in: --database-security-group {identifier}=sg-..."
            )
        while True:
            answer = self._terminal.ask(f"{identifier} {there}. Which one is to let bastions in?")
            if _GROUP.fullmatch(answer):
                return answer
            self._terminal.say("Write its id, such as sg-0123456789abcdef0.")

    def _refuse_to_strand(self, stage: Stage) -> None:
        table = find_table(stage.main)
        if table is not None and stage.main is not None and stage.main.is_standing:
            refuse_to_strand(open_grants(stage.account, table), stage.catalogue)

    def _upload(self, stage: Stage, package: "Package", artifacts: Artifacts) -> list[str]:
        """The keys of everything that is deployed, the functions' code first, then the templates in the stacks' order."""
        if artifacts.ensure_bucket():
            self._terminal.say(f"\nMade the bucket {artifacts.bucket}: private, encrypted, TLS only")
        archive = package.archive.read_bytes()
        key, is_new = artifacts.put_package(archive, catalogue_sha256=catalogue_hash(stage.catalogue_file))
        said = "uploaded" if is_new else "is there already"
        self._terminal.say(f"\nThe package, {len(archive) / 1e6:.1f} MB, {said}")
        self._state = "No stack was changed. The package stays in the bucket and is used by the next run."
        templates = [package.stack, *(package.spokes[each] for each in stage.stacks if each != MAIN_PROVISIONER)]
        return [key, *(artifacts.put(_compact(each), ending="json")[0] for each in templates)]

    def _deploy_stacks(
        self,
        stage: Stage,
        package: "Package",
        artifacts: Artifacts,
        parameters: Mapping[str, str],
        keys: Sequence[str],
    ) -> tuple[Stage | None, bool]:
        """The stage as it stands afterwards, None when the operator did not agree; and whether anything was changed."""
        standing, changed = dict(stage.stacks), False
        for (provisioner, stack), key in zip(stage.stacks.items(), keys[1:], strict=True):
            template = package.stack if provisioner == MAIN_PROVISIONER else package.spokes[provisioner]
            wanted = Deployable(
                name=stack_name(stage.name, provisioner),
                stage=stage.name,
                template_url=artifacts.address(key),
                parameters=fill_parameters(template, {**parameters, "Vpc": self._vpcs[provisioner].vpc}),
            )
            change_set = self._stacks.prepare(wanted, stack)
            if change_set is None:
                continue
            if not self._is_agreed(stage, wanted.name, change_set):
                self._terminal.say(f"{wanted.name} was left as it is.")
                return None, changed
            self._state = (
                f"CloudFormation goes on changing {wanted.name} by itself, or undoes it if something fails. "
                f"When it is done, run this again: {deploy_command(stage)}"
            )
            standing[provisioner] = self._stacks.carry_out(change_set)
            changed = True
            self._state = f"{wanted.name} is deployed. Run this again for the rest: {deploy_command(stage)}"
        for stack in self._stacks.of_stage(stage.name):
            if stack.name not in {stack_name(stage.name, each) for each in stage.stacks}:
                changed = self._remove_spoke(stack) or changed
        return replace(stage, stacks=standing), changed

    def _is_agreed(self, stage: Stage, name: str, change_set: ChangeSet) -> bool:
        """May it be carried out? If not, or if access was given meanwhile that it would strand, it is dropped."""
        try:
            is_agreed = self._asks(f"\n{describe_changes(name, change_set)}")
            if is_agreed:
                self._refuse_to_strand(stage)
                return True
        except BaseException:
            self._stacks.drop(change_set)
            raise
        self._stacks.drop(change_set)
        return False

    def _remove_spoke(self, stack: Stack) -> bool:
        """Delete the stack of a provisioner that the catalogue names no more; nobody's live access needs it. Was it deleted?"""
        if not self._asks(f"\n! {stack.name} is removed: the catalogue names its provisioner no more"):
            self._terminal.say(f"{stack.name} was left as it is.")
            return False
        self._stacks.delete(stack)
        return True

    def _asks(self, what: str) -> bool:
        """Show what would be done; may it be?"""
        self._terminal.say(what)
        if self._given.yes:
            return True
        if self._terminal.is_there:
            return self._terminal.agrees("Go on?")
        self._terminal.say("There is no terminal to ask on. To go on without being asked, add --yes.")
        return False

    def _set_up_slack(self, stage: Stage) -> None:
        main = stage.main
        if main is None:
            return
        secret_id, api_url = main.find_physical(SLACK_SECRET), main.outputs.get("ApiAddress", "")
        self._terminal.say("")
        for name, value in sorted(main.outputs.items()):
            self._terminal.say(f"  {name}: {value}")
        if secret_id is None or not api_url:
            return
        is_stored = find_secrets(stage.account, secret_id) is not None
        if is_stored and not self._given.slack:
            return
        if not self._terminal.is_there:
            self._terminal.say(
                "\nSlack's secrets are not stored. On a terminal, run: "
                f"{deploy_command(stage)} --slack\nThe app's manifest: "
                f"python -m deployment manifest {api_url} {stage.locations}"
            )
            return
        set_up_slack(stage, api_url=api_url, secret_id=secret_id, terminal=self._terminal, web=self._web)


def describe_changes(name: str, change_set: ChangeSet) -> str:
    """What a change set would do: counts, and each change that takes something away."""
    words = {"Add": "made", "Modify": "changed", "Remove": "removed"}
    counts = {word: sum(words.get(each.action) == word for each in change_set.changes) for word in words.values()}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "settings only"
    risky = [each for each in change_set.changes if each.action == "Remove" or each.is_replaced]
    lines = [
        f"! {each.logical_id} ({each.kind}) is {'removed' if each.action == 'Remove' else 'or may be replaced by a new one'}"
        for each in risky
    ]
    return "\n".join([f"{name} {'is new' if change_set.is_first else 'changes'}: {told}", *lines])


def fill_parameters(template: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
    """A value for each parameter that the template has. Raises DeploymentError for one that nothing gives."""
    wanted: Mapping[str, Mapping[str, Any]] = template.get("Parameters", {})
    missing = sorted(name for name, facts in wanted.items() if name not in known and "Default" not in facts)
    if missing:
        raise DeploymentError(f"The template asks for {', '.join(missing)}, which nothing gives. Package it anew.")
    return {name: known[name] for name in wanted if name in known}


def _yes_or_no(given: bool | None, before: str | None) -> str:
    if given is None:
        return before or "no"
    return "yes" if given else "no"


def _parse_groups(given: Iterable[str]) -> dict[str, str]:
    groups: dict[str, str] = {}
    for each in given:
        name, _, group = each.partition("=")
        if not name or not _GROUP.fullmatch(group):
            raise DeploymentError(
                f"'{each[:80]}' is not NAME=sg-...: write --database-security-group my-aurora=sg-0123456789abcdef0."
            )
        groups[name] = group
    return groups


def _warn_of_other_vpcs(
    account: Account,
    databases: Sequence[HostedDatabase],
    networks: Mapping[str, ExistingNetwork],
    parameters: Mapping[str, str],
    terminal: Terminal,
) -> None:
    """A rule may name a group of another VPC only where the two are peered."""
    chosen = sorted({parameters[each.database.security_group] for each in databases})
    with explained("describe the databases' security groups"):
        found = account.client("ec2").describe_security_groups(GroupIds=chosen)["SecurityGroups"]
    vpcs = {group["GroupId"]: group["VpcId"] for group in found}
    for each in databases:
        theirs = vpcs[parameters[each.database.security_group]]
        for location in each.locations:
            ours = networks[location.bastion.provisioner].vpc
            if theirs != ours:
                terminal.say(
                    f"! {location.name} is in {theirs} and its bastion in {ours}: that works only where the two are peered. "
                    "Otherwise give it a bastion group of its own there, with another provisioner."
                )


def _compact(template: Mapping[str, Any]) -> bytes:
    return json.dumps(template, separators=(",", ":")).encode()
