"""What holds for every template of ours and no linter knows: one function for each rule, its reason in its first line. Pure.

The rules read CloudFormation as SAM translates it, or what SAM is given; they know nothing of how a template was made.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any

from deployment.references import conditions, references

Template = Mapping[str, Any]
Resources = Iterator[tuple[str, Mapping[str, Any]]]

# Actions for which AWS offers no resource (Service Authorization Reference), each with what it lets nobody do.
_CHANNELS = "opens the agent's own channel; AWS ties it to the instance that asks"
_TRACES = "sends traces and reads no one's"
_DELIVERIES = "a workflow's log is set up by deliveries, which have no ARN"
_INTERFACES = "Lambda makes the interfaces of functions in a VPC under their role, and looks for them by subnet"
_READS = "tells states, and changes nothing"
WITHOUT_RESOURCE: Mapping[str, str] = {
    "ssmmessages:CreateControlChannel": _CHANNELS,
    "ssmmessages:CreateDataChannel": _CHANNELS,
    "ssmmessages:OpenControlChannel": _CHANNELS,
    "ssmmessages:OpenDataChannel": _CHANNELS,
    "xray:GetSamplingRules": _TRACES,
    "xray:GetSamplingTargets": _TRACES,
    "xray:PutTelemetryRecords": _TRACES,
    "xray:PutTraceSegments": _TRACES,
    "logs:CreateLogDelivery": _DELIVERIES,
    "logs:DeleteLogDelivery": _DELIVERIES,
    "logs:DescribeLogGroups": _DELIVERIES,
    "logs:DescribeResourcePolicies": _DELIVERIES,
    "logs:GetLogDelivery": _DELIVERIES,
    "logs:ListLogDeliveries": _DELIVERIES,
    "logs:PutResourcePolicy": _DELIVERIES,
    "logs:UpdateLogDelivery": _DELIVERIES,
    "ec2:DescribeNetworkInterfaces": _INTERFACES,
    "ec2:DescribeSubnets": _INTERFACES,
    "ec2:DescribeInstances": _READS,
    "ssm:DescribeInstanceInformation": _READS,
    "ssm:DescribeSessions": _READS,
}
ATTACHING = frozenset(
    {
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:UnassignPrivateIpAddresses",
    }
)
"""What Lambda does on everything under the role of a function in a VPC; excused where the function's own code is denied it."""
_FROM_CODE = {"Null": {"lambda:SourceFunctionArn": "false"}}
_LIMITS = {"Resources": 500, "Parameters": 200, "Outputs": 200}
_LONGEST_BYTES = 1_000_000
_SECRETS = re.compile(r"xox[a-z]-|AKIA[A-Z0-9]{16}|-----BEGIN|https://hooks\.")
_NAMES_OF_KEPT = {"AWS::DynamoDB::Table": "TableName", "AWS::Logs::LogGroup": "LogGroupName"}
_EVERYWHERE, _NOWHERE = "0.0.0.0/0", "127.0.0.1/32"
_WITH_ADDRESS = {"Bool": {"ec2:AssociatePublicIpAddress": "true"}}
_ENDPOINTS = "EndpointsSecurityGroup"
_HTTPS = 443


def broken_rules(template: Template) -> list[str]:
    """What is wrong, in sentences that begin with the logical id; [] for nothing."""
    return [broken for rule in RULES for broken in rule(template)]


def nobody_comes_in(template: Template) -> Iterator[str]:
    """People reach a bastion through Session Manager alone; only databases let in our own groups, and endpoints the bastions."""
    for name, group in _of(template, "AWS::EC2::SecurityGroup"):
        if "SecurityGroupIngress" in group:
            yield f"{name} lets somebody in."
    groups = {name for name, _ in _of(template, "AWS::EC2::SecurityGroup")}
    for name, rule in _of(template, "AWS::EC2::SecurityGroupIngress"):
        target, source = _ref(rule.get("GroupId")), _ref(rule.get("SourceSecurityGroupId"))
        if any(key.startswith(("Cidr", "SourcePrefix")) for key in rule) or source not in groups:
            yield f"{name} lets in others than a group of ours."
        is_endpoint = target == _ENDPOINTS and rule.get("FromPort") == rule.get("ToPort") == _HTTPS
        is_database = _type_of_parameter(template, target) == "AWS::EC2::SecurityGroup::Id"
        if not (is_endpoint or is_database) or (is_database and not _is_a_databases_port(rule)):
            yield f"{name} opens something else than a database's port to us."


def nobody_goes_out(template: Template) -> Iterator[str]:
    """A stolen bastion or function reaches its databases and no more; only bastions need the addresses of Session Manager."""
    bastions = {name for _, data in _launches(template) for name in references(data.get("SecurityGroupIds", []))}
    for name, group in _of(template, "AWS::EC2::SecurityGroup"):
        rules = list(_alternatives(group.get("SecurityGroupEgress", [])))
        if not rules:
            yield f"{name} states no egress, which AWS reads as everywhere."
        for rule in rules:
            cidr = rule.get("CidrIp")
            is_https = rule.get("IpProtocol") == "tcp" and rule.get("FromPort") == rule.get("ToPort") == _HTTPS
            if "CidrIpv6" in rule or "DestinationPrefixListId" in rule:
                yield f"{name} may go to addresses."
            elif cidr is not None and cidr != _NOWHERE and not (cidr == _EVERYWHERE and is_https and name in bastions):
                yield f"{name} may go to {cidr}, other than a bastion to port 443."
            elif cidr is None and not (
                _is_a_databases_port(rule) or _ref(rule["DestinationSecurityGroupId"]) == _ENDPOINTS
            ):
                yield f"{name} may go to other ports of a group than its database's."
    for name, _ in _of(template, "AWS::EC2::SecurityGroupEgress"):
        yield f"{name} adds egress where nobody looks for it: state it in the group."


def bastions_keep_their_role(template: Template) -> Iterator[str]:
    """Whoever may send requests from a bastion, such as through a proxy on it, must not get its credentials: IMDSv2, one hop."""
    for name, data in _launches(template):
        options = data.get("MetadataOptions", {})
        if options.get("HttpTokens") != "required" or options.get("HttpPutResponseHopLimit") != 1:
            yield f"{name} hands its credentials to whoever asks: require IMDSv2 with one hop."


def nobody_logs_in(template: Template) -> Iterator[str]:
    """There is no key to lose, and no program of ours on a bastion."""
    for name, data in _launches(template):
        if "KeyName" in data:
            yield f"{name} has a key pair."
        if "UserData" in data:
            yield f"{name} runs a program at its start."


def bastions_have_no_public_address(template: Template) -> Iterator[str]:
    """It costs, and invites. A launch template that names the interface also refuses the subnet that a launch names."""
    for name, data in _launches(template):
        if "NetworkInterfaces" in data:
            yield f"{name} names a network interface, which a launch with a subnet refuses."
    launchers = {
        name
        for name, statement in _statements(template)
        if statement["Effect"] == "Allow" and "ec2:RunInstances" in _listed(statement.get("Action", []))
    }
    refused = {
        role
        for _, policy in _of(template, "AWS::IAM::Policy")
        for statement in _listed(policy["PolicyDocument"]["Statement"])
        if statement["Effect"] == "Deny" and statement.get("Condition") == _WITH_ADDRESS
        for role in references(policy["Roles"])
    }
    for name in sorted(launchers - refused):
        yield f"{name} may launch a bastion with a public address."
    if launchers and template.get("Parameters", {}).get("PublicSubnets", {}).get("Default") != "no":
        yield "PublicSubnets is not 'no' by default."


def disks_are_encrypted(template: Template) -> Iterator[str]:
    """Core dumps and swapped memory may hold what went through a tunnel."""
    for name, data in _launches(template):
        if not all(each.get("Ebs", {}).get("Encrypted") is True for each in data.get("BlockDeviceMappings", [{}])):
            yield f"{name} has a disk that is not encrypted."


def rights_name_their_resources(template: Template) -> Iterator[str]:
    """A right on everything is a way to everything. AWS offers no resource for a few actions, listed with their reasons."""
    excused = set(WITHOUT_RESOURCE)
    denied = {
        name: ATTACHING & set(_listed(statement["Action"]))
        for name, statement in _statements(template)
        if statement["Effect"] == "Deny" and statement.get("Condition") == _FROM_CODE and statement["Resource"] == "*"
    }
    for name, statement in _statements(template):
        if statement["Effect"] != "Allow":
            continue
        for key in ("NotAction", "NotResource", "NotPrincipal"):
            if key in statement:
                yield f"{name} allows by {key}, which is everything else."
        for action in _listed(statement.get("Action", [])):
            if "*" in action:
                yield f"{name} may {action}: name each action."
            elif "*" in _listed(statement.get("Resource", [])) and action not in excused | denied.get(name, set()):
                yield f"{name} may {action} on everything: name the resources."


def roles_trust_one_service(template: Template) -> Iterator[str]:
    """A role that two may take has the rights of both; one that an account may take has those of whoever is there."""
    for name, role in _of(template, "AWS::IAM::Role"):
        principals = [each.get("Principal") for each in _listed(role["AssumeRolePolicyDocument"]["Statement"])]
        if len(principals) != 1 or set(principals[0]) != {"Service"} or len(_listed(principals[0]["Service"])) != 1:
            yield f"{name} trusts others than one service."
        if "ManagedPolicyArns" in role:
            yield f"{name} has a policy of somebody else's, who may widen it."


def functions_have_their_own_role(template: Template) -> Iterator[str]:
    """What one function must not do is no use if another with its role may."""
    users = sorted((role, name) for name, function in _functions(template) for role in references(function.get("Role")))
    for role, together in groupby(users, key=lambda user: user[0]):
        names = [name for _, name in together]
        if len(names) > 1:
            yield f"{role} is the role of {' and '.join(names)}."
    ours = {name for name, _ in _of(template, "AWS::IAM::Role")}
    for name, function in _functions(template):
        if not references(function.get("Role")) & ours:
            yield f"{name} has no role of ours."


def logs_are_kept_for_a_time(template: Template) -> Iterator[str]:
    """Logs without an end cost, and hold people's names, for ever. A function without a group of ours makes such a one."""
    groups = dict(_of(template, "AWS::Logs::LogGroup"))
    for name, group in groups.items():
        if not isinstance(group.get("RetentionInDays"), int):
            yield f"{name} keeps its lines for ever."
    for name, function in _functions(template):
        if _ref(function.get("LoggingConfig", {}).get("LogGroup")) not in groups:
            yield f"{name} writes to a log group of its own making."


def the_ledger_is_protected(template: Template) -> Iterator[str]:
    """It says who has access; without it nothing is ended. ``RetainExceptOnCreate`` and protection make a rollback fail."""
    for name, table in _of(template, "AWS::DynamoDB::Table"):
        resource = template["Resources"][name]
        if not table.get("DeletionProtectionEnabled"):
            yield f"{name} may be deleted."
        if {resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")} != {"Retain"}:
            yield f"{name} goes with its stack, or is in the way of a rollback."
        if not table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
            yield f"{name} cannot be restored."


def what_is_kept_has_no_name(template: Template) -> Iterator[str]:
    """AWS makes one up each time. A fixed name would still be taken when the same stage is made anew, and creating it fail."""
    for name, resource in template["Resources"].items():
        if resource.get("DeletionPolicy", "Delete") == "Delete":
            continue
        named = _NAMES_OF_KEPT.get(resource["Type"])
        if named is None or named in resource.get("Properties", {}):
            yield f"{name} is kept, and has or may have a name that stays taken."


def the_audit_log_is_kept(template: Template) -> Iterator[str]:
    """It is the witness of the ledger. Only the stack that was never whole takes it along: it is empty then."""
    resource = template["Resources"].get("AuditLog")
    if resource is None:  # a stack of another VPC has none
        return
    is_kept = resource.get("DeletionPolicy") in {"Retain", "RetainExceptOnCreate"}
    if not is_kept or resource.get("UpdateReplacePolicy") != "Retain":
        yield "AuditLog goes with its stack."


def no_secret_stands_in_it(template: Template) -> Iterator[str]:
    """Whoever may read stacks may read templates."""
    for name, secret in _of(template, "AWS::SecretsManager::Secret"):
        if "SecretString" in secret or "GenerateSecretString" in secret:
            yield f"{name} has a value in the template, and an update would put it back."
    if found := _SECRETS.search(json.dumps(template)):
        yield f"Something that begins with {found[0][:6]} looks like a secret."


def task_tokens_are_not_logged(template: Template) -> Iterator[str]:
    """Whoever holds a task token may answer for the approvers."""
    for name, machine in _of(template, "AWS::StepFunctions::StateMachine"):
        logging = machine.get("LoggingConfiguration", {})
        if logging.get("IncludeExecutionData") is not False:
            yield f"{name} logs execution data."
        if logging.get("Level") != "ALL":
            yield f"{name} leaves no log of its steps."
        if machine.get("TracingConfiguration") != {"Enabled": True}:
            yield f"{name} leaves no traces."


def the_api_is_throttled(template: Template) -> Iterator[str]:
    """Anybody may call it, and each call costs."""
    for name, stage in _of(template, "AWS::ApiGateway::Stage", "AWS::Serverless::Api"):
        settings = stage.get("MethodSettings", [])
        if not any(_is_throttled(each) for each in settings):
            yield f"{name} takes any number of requests."


def it_fits(template: Template) -> Iterator[str]:
    """CloudFormation's own limits, told before an upload rather than after it."""
    for section, most in _LIMITS.items():
        if (count := len(template.get(section, {}))) > most:
            yield f"{section} are {count}, and a stack takes {most}: split the catalogue into stages."
    if (size := len(json.dumps(template))) > _LONGEST_BYTES:
        yield f"The template has {size:,} bytes, and CloudFormation takes {_LONGEST_BYTES:,}: split the catalogue into stages."


def everything_referred_to_is_there(template: Template) -> Iterator[str]:
    """A reference to nothing is found by AWS only after the upload."""
    parts = {key: template.get(key, {}) for key in ("Conditions", "Resources", "Outputs")}
    there = {*template.get("Parameters", {}), *template["Resources"]}
    for name in sorted(references(parts) - there):
        yield f"{name} is referred to, and is nothing."
    for name in sorted(conditions(parts) - set(template.get("Conditions", {}))):
        yield f"{name} is no condition."


RULES: tuple[Callable[[Template], Iterator[str]], ...] = (
    nobody_comes_in,
    nobody_goes_out,
    bastions_keep_their_role,
    nobody_logs_in,
    bastions_have_no_public_address,
    disks_are_encrypted,
    rights_name_their_resources,
    roles_trust_one_service,
    functions_have_their_own_role,
    logs_are_kept_for_a_time,
    the_ledger_is_protected,
    the_audit_log_is_kept,
    what_is_kept_has_no_name,
    no_secret_stands_in_it,
    task_tokens_are_not_logged,
    the_api_is_throttled,
    it_fits,
    everything_referred_to_is_there,
)


def _of(template: Template, *kinds: str) -> Resources:
    for name, resource in template["Resources"].items():
        if resource["Type"] in kinds:
            yield name, resource.get("Properties", {})


def _functions(template: Template) -> Resources:
    return _of(template, "AWS::Lambda::Function", "AWS::Serverless::Function")


def _launches(template: Template) -> Resources:
    for name, launch_template in _of(template, "AWS::EC2::LaunchTemplate"):
        yield name, launch_template["LaunchTemplateData"]


def _statements(template: Template) -> Resources:
    """Every statement of what somebody may do, with the name of the resource that holds it."""
    for name, role in _of(template, "AWS::IAM::Role"):
        for policy in _alternatives(role.get("Policies", [])):
            yield from ((name, each) for each in _listed(policy["PolicyDocument"]["Statement"]))
    for name, policy in _of(template, "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        yield from ((name, each) for each in _listed(policy["PolicyDocument"]["Statement"]))


def _alternatives(those: Any) -> Iterator[Mapping[str, Any]]:
    """Each thing in a list, whatever condition it stands under."""
    for each in _listed(those):
        if "Fn::If" in each:
            yield from _alternatives(each["Fn::If"][1:])
        elif each != {"Ref": "AWS::NoValue"}:
            yield each


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _ref(value: Any) -> str | None:
    """The name behind a Ref or a GetAtt of a group."""
    return next(iter(references(value)), None)


def _type_of_parameter(template: Template, name: str | None) -> str | None:
    parameter: Mapping[str, str] = template.get("Parameters", {}).get(name, {})
    return parameter.get("Type")


def _is_a_databases_port(rule: Mapping[str, Any]) -> bool:
    """One port, which belongs to the same database as the group."""
    group = _ref(rule.get("GroupId", rule.get("DestinationSecurityGroupId"))) or ""
    port = {"Ref": f"{group.removesuffix('SecurityGroup')}Port"}
    return rule.get("IpProtocol") == "tcp" and rule.get("FromPort") == rule.get("ToPort") == port


def _is_throttled(settings: Mapping[str, Any]) -> bool:
    is_for_all = (settings.get("HttpMethod"), settings.get("ResourcePath")) == ("*", "/*")
    return is_for_all and settings.get("ThrottlingRateLimit", 0) > 0 and settings.get("ThrottlingBurstLimit", 0) > 0
