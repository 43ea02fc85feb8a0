"""Whether AWS is ready for a stage: its stacks, its catalogue, the databases, the path to them, bastions and people's rights.

Changes nothing. A question that AWS does not answer is unknown, and does not keep the others from being asked.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from chalicelib.aws.request_ledger import DynamoRequestLedger
from chalicelib.aws.table import Table
from chalicelib.defaults import MINIMUM_AGENT_VERSION
from chalicelib.domain.bastions import TAG, is_agent_new_enough
from chalicelib.domain.errors import AccessError
from chalicelib.domain.grants import GrantState, revocation_attempt
from chalicelib.domain.locations import BastionGroup, Location
from chalicelib.postgres.setup_check import Finding, Mark
from deployment.account import explained
from deployment.artifacts import Artifacts
from deployment.bastion_network import FUNCTIONS_GROUP, STAGE_TAG
from deployment.catalogue_file import catalogue_hash
from deployment.databases import camel_case
from deployment.existing_network import HostedDatabase, describe_network, find_databases, find_networks, find_obstacles
from deployment.grants import describe, find_table, open_grants
from deployment.hosting import examine_hosting
from deployment.slack_findings import deploy_command
from deployment.stacks import Stack
from deployment.stage import Stage, stack_name

_USER_POLICY = "UserPolicy"


def asked(what: str, ask: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of a question; one that says why when it cannot be answered."""
    try:
        yield from ask()
    except AccessError as error:
        yield Finding(mark=Mark.UNKNOWN, what=f"{what}: {error}")


def examine_stacks(stage: Stage) -> Iterator[Finding]:
    """Does every stack stand, with the catalogue that the operator holds?"""
    for provisioner, stack in stage.stacks.items():
        yield _find_stack(stage, stack_name(stage.name, provisioner), stack)
    if stage.main is not None:
        yield from asked("whether the catalogue is deployed", lambda: [_find_catalogue(stage)])
        yield from asked("whether access waits for its receipt", lambda: _find_late_grants(stage))


def examine_databases(stage: Stage) -> Iterator[Finding]:
    """Does RDS let us in, and may the bastions and functions reach it?"""
    try:
        databases = find_databases(stage.account, stage.catalogue)
    except AccessError as error:
        yield Finding(mark=Mark.REPAIR, what=str(error), repair="Correct the location in the catalogue.")
        return
    for found in databases:
        yield from examine_hosting(found.locations[0], found.hosting, lambda _: stage.account.client("rds"))
        yield from asked(f"whether the path to {found.database.identifier} is open", partial(_find_paths, stage, found))
        yield from _find_changed(stage, found)
        for location in found.locations:
            yield from asked(f"whether {location.name} is set up", partial(_find_setup, stage, location))


def examine_networks(stage: Stage) -> Iterator[Finding]:
    """Would a bastion of each subnet come online?"""
    yield from asked("how bastions reach Session Manager", lambda: _find_ways_out(stage))


def examine_bastions(stage: Stage) -> Iterator[Finding]:
    """Are the bastions that run now online, with an agent that is new enough?"""
    for group in stage.catalogue.bastions.values():
        yield from asked(f"how the bastion {group.name} is", partial(_find_bastion, stage, group))


def examine_people(stage: Stage) -> Iterator[Finding]:
    """May anybody tunnel?"""
    yield from asked("who may tunnel", lambda: _find_user_policy(stage))


def _find_stack(stage: Stage, name: str, stack: Stack | None) -> Finding:
    if stack is None:
        return Finding(
            mark=Mark.REPAIR, what=f"there is no stack {name} in {stage.place}", repair=f"{deploy_command(stage)}"
        )
    if stack.is_changing:
        return Finding(mark=Mark.UNKNOWN, what=f"the stack {name} is being changed ({stack.status})", repair="Wait.")
    if not stack.is_standing:
        return Finding(
            mark=Mark.REPAIR,
            what=f"the stack {name} is {stack.status}",
            repair="Its events in the CloudFormation console name the cause. Then deploy again.",
        )
    return Finding(mark=Mark.HOLDS, what=f"the stack {name} stands in {stage.place} ({stack.status})")


def _find_catalogue(stage: Stage) -> Finding:
    key = stage.main.parameters.get("ArtifactKey", "") if stage.main else ""
    deployed = Artifacts(stage.account, stage.name).find_catalogue_hash(key)
    if deployed is None:
        return Finding(
            mark=Mark.UNKNOWN,
            what="whether the catalogue is deployed: the deployed package is not in the bucket",
            repair=f"Deploy again: {deploy_command(stage)}",
        )
    if deployed != catalogue_hash(stage.catalogue_file):
        return Finding(
            mark=Mark.REPAIR,
            what=f"{stage.catalogue_file} is not the catalogue that is deployed",
            repair=f"Take the reviewed one, or deploy this one: {deploy_command(stage)}",
        )
    return Finding(mark=Mark.HOLDS, what=f"the catalogue is deployed as it is in {stage.catalogue_file}")


def _find_late_grants(stage: Stage) -> Iterator[Finding]:
    table = find_table(stage.main)
    if table is None:
        return
    grants, now = open_grants(stage.account, table), datetime.now(UTC)
    late = [grant for grant in grants if revocation_attempt(grant, now) > 0]
    live = sum(grant.state is GrantState.LIVE for grant in grants)
    if late:
        yield Finding(
            mark=Mark.REPAIR,
            what="access is past its end and has no receipt yet:\n  " + "\n  ".join(describe(each) for each in late),
            repair="It is tried again every few minutes. The execution of that name in Step Functions names the cause.",
        )
    else:
        yield Finding(mark=Mark.HOLDS, what=f"no access waits for its receipt ({live} live now)")


def _find_paths(stage: Stage, found: HostedDatabase) -> Iterator[Finding]:
    """Each bastion group and each provisioner that leads to the database, by the rules of the groups that guard it."""
    ec2, guards, port = stage.account.client("ec2"), found.hosting.security_groups, found.hosting.instances.writer.port
    with explained("describe the rules of the database's security groups"):
        pages = ec2.get_paginator("describe_security_group_rules").paginate(
            Filters=[{"Name": "group-id", "Values": list(guards)}]
        )
        rules = [rule for page in pages for rule in page["SecurityGroupRules"]]
    let_in = {rule.get("ReferencedGroupInfo", {}).get("GroupId") for rule in rules if _admits(rule, port)}
    sources = _sources(stage, found)
    shut = [what for what, group in sources.items() if group not in let_in]
    name = found.database.identifier
    if shut:
        yield Finding(
            mark=Mark.REPAIR,
            what=f"port {port} of {name} is shut to {', '.join(shut)}",
            repair=f"The stack opens it in the group of the parameter {found.database.security_group}; of the database's groups "
            f"({', '.join(guards) or 'none'}) none lets them in.\nDeploy again: {deploy_command(stage)}",
        )
    else:
        yield Finding(mark=Mark.HOLDS, what=f"port {port} of {name} is open to {', '.join(sources)}")


def _sources(stage: Stage, found: HostedDatabase) -> dict[str, str | None]:
    """Who must reach a database, in words, and the id of its security group."""
    sources: dict[str, str | None] = {}
    for group in {location.bastion.name: location.bastion for location in found.locations}.values():
        stack = stage.stacks.get(group.provisioner)
        functions = "the functions" if group.provisioner == "main" else f"the functions of {group.provisioner}"
        bastion = f"Bastion{camel_case(group.name)}SecurityGroup"
        sources[f"the bastion {group.name}"] = stack.find_physical(bastion) if stack else None
        sources[functions] = stack.find_physical(FUNCTIONS_GROUP) if stack else None
    return sources


def _admits(rule: Mapping[str, Any], port: int) -> bool:
    is_any = rule["IpProtocol"] == "-1"
    is_ours = rule["IpProtocol"] in {"tcp", "6"} and rule.get("FromPort", -1) <= port <= rule.get("ToPort", -1)
    return not rule["IsEgress"] and (is_any or is_ours)


def _find_changed(stage: Stage, found: HostedDatabase) -> Iterator[Finding]:
    """A restored or switched-over cluster has another resource id, and every rds-db policy names the old one."""
    database, writer = found.database, found.hosting.instances.writer
    now = {
        database.resource_id: found.hosting.resource,
        database.port: str(writer.port),
        database.host: writer.host,
    }
    deployed = {name: value for stack in stage.stacks.values() if stack for name, value in stack.parameters.items()}
    changed = [f"{deployed[name]} is {value} now" for name, value in now.items() if deployed.get(name, value) != value]
    if changed:
        yield Finding(
            mark=Mark.REPAIR,
            what=f"{database.identifier} has changed since it was deployed: {'; '.join(changed)}",
            repair=f"Deploy again: {deploy_command(stage)}",
        )


def _find_setup(stage: Stage, location: Location) -> Iterator[Finding]:
    if given := _last_given(stage, location):
        yield Finding(
            mark=Mark.HOLDS, what=f"{location.name} is set up: access to it was given on {given:%Y-%m-%d %H:%M} UTC"
        )
        return
    named = f"{location.name} {stage.locations}"
    yield Finding(
        mark=Mark.UNKNOWN,
        what=f"whether the owner of {location.database} has run the SQL of {location.name}: nobody was given access yet",
        repair=f"python -m deployment location sql {named}\n"
        f"python -m deployment location check {named} --address 127.0.0.1:{location.port}\n"
        "(The first prints what the owner runs once; the second tries it, through a tunnel of yours, and tells how to open one.)",
    )


def _last_given(stage: Stage, location: Location) -> datetime | None:
    table = find_table(stage.main)
    if table is None:
        return None
    ledger, now = DynamoRequestLedger(Table(stage.account.client("dynamodb"), table)), datetime.now(UTC)
    months = {f"{now:%Y-%m}", f"{now - timedelta(days=now.day):%Y-%m}"}
    ended = [each for month in months for each in ledger.ended_in(month)]
    held = [grant for grant in open_grants(stage.account, table) if grant.delivered_at is not None]
    given = [
        each.granted_at
        for each in ended
        if each.granted_at and each.outcome == "finished" and each.request.location == location.name
    ]
    given += [
        grant.delivered_at for grant in held if grant.facts.location == location.name and grant.delivered_at is not None
    ]
    return max(given, default=None)


def _find_ways_out(stage: Stage) -> Iterator[Finding]:
    parameters = stage.main.parameters if stage.main else {}
    has_endpoints, is_public = (parameters.get(name) == "yes" for name in ("InterfaceEndpoints", "PublicSubnets"))
    for network in find_networks(stage.account, stage.catalogue):
        obstacles = list(find_obstacles(network, interface_endpoints=has_endpoints, public_subnets=is_public))
        for each in obstacles:
            yield Finding(mark=Mark.REPAIR, what=each.what, repair=each.repair)
        if not obstacles:
            yield Finding(mark=Mark.HOLDS, what=describe_network(network, interface_endpoints=has_endpoints))


def _find_bastion(stage: Stage, group: BastionGroup) -> Iterator[Finding]:
    ec2, ssm = stage.account.client("ec2"), stage.account.client("ssm")
    filters = {f"tag:{STAGE_TAG}": [stage.name], f"tag:{TAG}": [group.name], "instance-state-name": ["running"]}
    with explained("describe the bastions"):
        pages = ec2.get_paginator("describe_instances").paginate(
            Filters=[{"Name": name, "Values": values} for name, values in filters.items()]
        )
        running = [each["InstanceId"] for page in pages for one in page["Reservations"] for each in one["Instances"]]
        known = _agents(ssm, running) if running else {}
    if not running:
        yield Finding(
            mark=Mark.HOLDS, what=f"no bastion {group.name} runs now: it starts when somebody asks, and stops by itself"
        )
    for instance in running:
        agent = known.get(instance, {})
        version = str(agent.get("AgentVersion", ""))
        if agent.get("PingStatus") != "Online":
            yield Finding(
                mark=Mark.REPAIR,
                what=f"the bastion {group.name} ({instance}) runs and is not online in Session Manager",
                repair="Wait two minutes. If it stays so although its way out is ticked, look at its system log in EC2.",
            )
        elif not is_agent_new_enough(version):
            least = ".".join(str(part) for part in MINIMUM_AGENT_VERSION)
            yield Finding(
                mark=Mark.REPAIR,
                what=f"the agent of the bastion {group.name} ({instance}) is {version}, older than {least}",
                repair=f"The next one starts from a new image: aws ec2 terminate-instances --instance-ids {instance}",
            )
        else:
            yield Finding(mark=Mark.HOLDS, what=f"the bastion {group.name} ({instance}) is online, agent {version}")


def _agents(ssm: Any, instances: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    pages = ssm.get_paginator("describe_instance_information").paginate(
        Filters=[{"Key": "InstanceIds", "Values": list(instances)}]
    )
    return {each["InstanceId"]: each for page in pages for each in page["InstanceInformationList"]}


def _find_user_policy(stage: Stage) -> Iterator[Finding]:
    arn = stage.main.find_physical(_USER_POLICY) if stage.main else None
    if arn is None:
        yield Finding(
            mark=Mark.REPAIR, what="the policy for people who tunnel is not there", repair=deploy_command(stage)
        )
        return
    holders = find_policy_holders(stage.account.client("iam"), arn)
    name = arn.rpartition("/")[2]
    if holders:
        yield Finding(mark=Mark.HOLDS, what=f"{name} is attached to {', '.join(holders)}")
    else:
        yield Finding(
            mark=Mark.REPAIR,
            what=f"{name} is attached to nobody, so nobody may open a tunnel",
            repair=f"Add the customer managed policy {name} to your permission set in IAM Identity Center, or attach it:\n"
            f"aws iam attach-role-policy --role-name THEIR-ROLE --policy-arn {arn}",
        )


def find_policy_holders(iam: Any, arn: str) -> list[str]:
    """Whoever a managed policy is attached to, as in ``role Developers``. Raises DeploymentError."""
    kinds = {
        "PolicyRoles": ("role", "RoleName"),
        "PolicyUsers": ("user", "UserName"),
        "PolicyGroups": ("group", "GroupName"),
    }
    with explained("list who holds the policy for tunnels"):
        pages = list(iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=arn))
    return [
        f"{word} {each[name]}" for kind, (word, name) in kinds.items() for page in pages for each in page.get(kind, [])
    ]
