"""Our own rules over templates: what is built keeps them, and each deliberate break is named."""

from collections.abc import Callable
from typing import Any

import pytest

from deployment.rules import ATTACHING, RULES, WITHOUT_RESOURCE, broken_rules
from tests.unit.stack_template import Template, completed

Break = Callable[[Template], None]


def of(template: Template, name: str) -> Any:
    """The properties of a resource."""
    return template["Resources"][name]["Properties"]


def launch(template: Template) -> Any:
    """What bastions are launched with."""
    return of(template, "BastionMainLaunchTemplate")["LaunchTemplateData"]


def statement_of(template: Template, role: str) -> Any:
    """The first thing that a role may do."""
    return of(template, role)["Policies"][0]["PolicyDocument"]["Statement"][0]


def the_rule(template: Template, name: str = "BastionMainToClusterMyAurora") -> Any:
    """The one rule in a database's group for our bastions."""
    return of(template, name)


def listed(value: Any) -> list[Any]:
    """IAM takes one for a list of one."""
    return value if isinstance(value, list) else [value]


def _add(template: Template, name: str, kind: str, **properties: Any) -> None:
    template["Resources"][name] = {"Type": kind, "Properties": properties}


def _allow(template: Template, **changes: Any) -> None:
    statement = {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "arn:aws:s3:::example", **changes}
    policy = {"PolicyName": "More", "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
    of(template, "CheckPolicyRole")["Policies"].append(policy)


def _egress(template: Template, group: str, **rule: Any) -> None:
    of(template, group)["SecurityGroupEgress"].append({"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, **rule})


def _own_group_lets_in(template: Template) -> None:
    of(template, "BastionMainSecurityGroup")["SecurityGroupIngress"] = [{"IpProtocol": "tcp", "CidrIp": "10.0.0.0/8"}]


def _rule_lets_in_a_range(template: Template) -> None:
    del the_rule(template)["SourceSecurityGroupId"]
    the_rule(template)["CidrIp"] = "10.0.0.0/8"


def _rule_lets_in_a_stranger(template: Template) -> None:
    the_rule(template)["SourceSecurityGroupId"] = "sg-0123456789abcdef0"


def _rule_opens_all_ports(template: Template) -> None:
    the_rule(template).update(FromPort=0, ToPort=65535)


def _rule_opens_our_own_group(template: Template) -> None:
    the_rule(template)["GroupId"] = {"Ref": "DatabaseFunctionsSecurityGroup"}


def _rule_opens_ssh_of_endpoints(template: Template) -> None:
    the_rule(template, "BastionMainToEndpoints").update(FromPort=22, ToPort=22)


def _functions_reach_the_internet(template: Template) -> None:
    _egress(template, "DatabaseFunctionsSecurityGroup", CidrIp="0.0.0.0/0")


def _bastion_reaches_another_port(template: Template) -> None:
    _egress(template, "BastionMainSecurityGroup", CidrIp="0.0.0.0/0", FromPort=80, ToPort=443)


def _bastion_reaches_a_range(template: Template) -> None:
    _egress(template, "BastionMainSecurityGroup", CidrIp="10.0.0.0/8")


def _bastion_reaches_ipv6(template: Template) -> None:
    _egress(template, "BastionMainSecurityGroup", CidrIpv6="::/0")


def _bastion_reaches_all_ports_of_a_database(template: Template) -> None:
    group = {"Ref": "DatabaseClusterMyAuroraSecurityGroup"}
    _egress(template, "BastionMainSecurityGroup", DestinationSecurityGroupId=group, FromPort=0, ToPort=65535)


def _condition_hides_egress(template: Template) -> None:
    hidden = {"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}
    rules = of(template, "DatabaseFunctionsSecurityGroup")["SecurityGroupEgress"]
    rules.append({"Fn::If": ["HasAlarms", hidden, {"Ref": "AWS::NoValue"}]})


def _no_egress_is_stated(template: Template) -> None:
    del of(template, "DatabaseFunctionsSecurityGroup")["SecurityGroupEgress"]


def _egress_stands_alone(template: Template) -> None:
    _add(template, "More", "AWS::EC2::SecurityGroupEgress", GroupId="sg-1", CidrIp="0.0.0.0/0")


def _version_one_of_metadata(template: Template) -> None:
    launch(template)["MetadataOptions"]["HttpTokens"] = "optional"


def _two_hops_to_metadata(template: Template) -> None:
    launch(template)["MetadataOptions"]["HttpPutResponseHopLimit"] = 2


def _key_pair(template: Template) -> None:
    launch(template)["KeyName"] = "example"


def _user_data(template: Template) -> None:
    launch(template)["UserData"] = "IyEvYmluL3NoCg=="


def _public_address(template: Template) -> None:
    launch(template)["NetworkInterfaces"] = [{"DeviceIndex": 0, "AssociatePublicIpAddress": True}]


def _address_is_not_refused(template: Template) -> None:
    del template["Resources"]["NoPublicAddress"]


def _address_is_refused_to_one_only(template: Template) -> None:
    of(template, "NoPublicAddress")["Roles"] = [{"Ref": "WarmBastionRole"}]


def _public_by_default(template: Template) -> None:
    template["Parameters"]["PublicSubnets"]["Default"] = "yes"


def _plain_disk(template: Template) -> None:
    launch(template)["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] = False


def _default_disk(template: Template) -> None:
    del launch(template)["BlockDeviceMappings"]


def _right_on_everything(template: Template) -> None:
    _allow(template, Resource="*")


def _right_on_everything_among_others(template: Template) -> None:
    _allow(template, Resource=["arn:aws:s3:::example", "*"])


def _code_may_attach(template: Template) -> None:
    for policy in of(template, "RevokeAccessRole")["Policies"]:
        document = policy["PolicyDocument"]
        document["Statement"] = [each for each in document["Statement"] if each["Effect"] == "Allow"]


def _every_action(template: Template) -> None:
    _allow(template, Action=["dynamodb:*"])


def _everything_but(template: Template) -> None:
    _allow(template, NotAction="iam:PassRole")


def _policy_beside_a_role(template: Template) -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    _add(template, "More", "AWS::IAM::ManagedPolicy", PolicyDocument={"Version": "2012-10-17", "Statement": statement})


def _role_of_an_account(template: Template) -> None:
    trust = of(template, "BastionRole")["AssumeRolePolicyDocument"]["Statement"][0]
    trust["Principal"] = {"AWS": "arn:aws:iam::123456789012:root"}


def _role_of_two_services(template: Template) -> None:
    trust = of(template, "BastionRole")["AssumeRolePolicyDocument"]["Statement"][0]
    trust["Principal"]["Service"] = ["ec2.amazonaws.com", "lambda.amazonaws.com"]


def _policy_of_aws(template: Template) -> None:
    of(template, "BastionRole")["ManagedPolicyArns"] = ["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"]


def _shared_role(template: Template) -> None:
    of(template, "CheckPolicy")["Role"] = {"Fn::GetAtt": ["IssueTokenRole", "Arn"]}


def _role_from_elsewhere(template: Template) -> None:
    of(template, "CheckPolicy")["Role"] = "arn:aws:iam::123456789012:role/example"


def _endless_log(template: Template) -> None:
    del of(template, "WorkflowLog")["RetentionInDays"]


def _log_of_its_own_making(template: Template) -> None:
    del of(template, "IssueToken")["LoggingConfig"]


def _table_may_be_deleted(template: Template) -> None:
    of(template, "Ledger")["DeletionProtectionEnabled"] = False


def _table_goes_with_the_stack(template: Template) -> None:
    template["Resources"]["Ledger"]["DeletionPolicy"] = "Delete"


def _table_that_a_rollback_cannot_delete(template: Template) -> None:
    template["Resources"]["Ledger"]["DeletionPolicy"] = "RetainExceptOnCreate"


def _audit_log_goes_with_the_stack(template: Template) -> None:
    del template["Resources"]["AuditLog"]["DeletionPolicy"]


def _audit_log_is_replaced(template: Template) -> None:
    del template["Resources"]["AuditLog"]["UpdateReplacePolicy"]


def _table_with_a_name(template: Template) -> None:
    of(template, "Ledger")["TableName"] = "drawbridge"


def _audit_log_with_a_name(template: Template) -> None:
    of(template, "AuditLog")["LogGroupName"] = "drawbridge"


def _kept_role(template: Template) -> None:
    template["Resources"]["BastionRole"]["DeletionPolicy"] = "Retain"


def _table_without_backups(template: Template) -> None:
    del of(template, "Ledger")["PointInTimeRecoverySpecification"]


def _secret_with_a_value(template: Template) -> None:
    of(template, "SlackSecret")["SecretString"] = "{}"


def _token_in_a_variable(template: Template) -> None:
    of(template, "APIHandler")["Environment"]["Variables"]["TOKEN"] = "xoxb-example"


def _execution_data_in_the_log(template: Template) -> None:
    of(template, "Workflow")["LoggingConfiguration"]["IncludeExecutionData"] = True


def _execution_data_by_default(template: Template) -> None:
    del of(template, "Workflow")["LoggingConfiguration"]


def _no_traces(template: Template) -> None:
    del of(template, "Workflow")["TracingConfiguration"]


def _any_number_of_requests(template: Template) -> None:
    of(template, "RestAPI")["MethodSettings"] = []


def _too_many_parameters(template: Template) -> None:
    template["Parameters"] |= {f"More{number}": {"Type": "String"} for number in range(200)}


def _too_long(template: Template) -> None:
    template["Description"] = "a" * 1_000_000


def _reference_to_nothing(template: Template) -> None:
    template["Outputs"]["More"] = {"Value": {"Fn::Sub": "${Nothing}"}}


def _unknown_condition(template: Template) -> None:
    template["Resources"]["Ledger"]["Condition"] = "Never"


BREAKS: list[tuple[Break, str]] = [
    (_own_group_lets_in, "BastionMainSecurityGroup lets somebody in."),
    (_rule_lets_in_a_range, "BastionMainToClusterMyAurora lets in others than a group of ours."),
    (_rule_lets_in_a_stranger, "BastionMainToClusterMyAurora lets in others than a group of ours."),
    (_rule_opens_all_ports, "BastionMainToClusterMyAurora opens something else than a database's port to us."),
    (_rule_opens_our_own_group, "BastionMainToClusterMyAurora opens something else than a database's port to us."),
    (_rule_opens_ssh_of_endpoints, "BastionMainToEndpoints opens something else than a database's port to us."),
    (_functions_reach_the_internet, "DatabaseFunctionsSecurityGroup may go to 0.0.0.0/0"),
    (_bastion_reaches_another_port, "BastionMainSecurityGroup may go to 0.0.0.0/0"),
    (_bastion_reaches_a_range, "BastionMainSecurityGroup may go to 10.0.0.0/8"),
    (_bastion_reaches_ipv6, "BastionMainSecurityGroup may go to addresses."),
    (_bastion_reaches_all_ports_of_a_database, "BastionMainSecurityGroup may go to other ports"),
    (_condition_hides_egress, "DatabaseFunctionsSecurityGroup may go to 0.0.0.0/0"),
    (_no_egress_is_stated, "DatabaseFunctionsSecurityGroup states no egress"),
    (_egress_stands_alone, "More adds egress"),
    (_version_one_of_metadata, "BastionMainLaunchTemplate hands its credentials"),
    (_two_hops_to_metadata, "BastionMainLaunchTemplate hands its credentials"),
    (_key_pair, "BastionMainLaunchTemplate has a key pair."),
    (_user_data, "BastionMainLaunchTemplate runs a program"),
    (_public_address, "BastionMainLaunchTemplate names a network interface"),
    (_address_is_not_refused, "EnsureBastionRunningRole may launch a bastion with a public address."),
    (_address_is_refused_to_one_only, "EnsureBastionRunningRole may launch a bastion with a public address."),
    (_public_by_default, "PublicSubnets is not 'no' by default."),
    (_plain_disk, "BastionMainLaunchTemplate has a disk that is not encrypted."),
    (_default_disk, "BastionMainLaunchTemplate has a disk that is not encrypted."),
    (_right_on_everything, "CheckPolicyRole may dynamodb:GetItem on everything"),
    (_right_on_everything_among_others, "CheckPolicyRole may dynamodb:GetItem on everything"),
    (_code_may_attach, "RevokeAccessRole may ec2:CreateNetworkInterface on everything"),
    (_every_action, "CheckPolicyRole may dynamodb:*"),
    (_everything_but, "CheckPolicyRole allows by NotAction"),
    (_policy_beside_a_role, "More may s3:GetObject on everything"),
    (_role_of_an_account, "BastionRole trusts others than one service."),
    (_role_of_two_services, "BastionRole trusts others than one service."),
    (_policy_of_aws, "BastionRole has a policy of somebody else's"),
    (_shared_role, "IssueTokenRole is the role of CheckPolicy and IssueToken."),
    (_role_from_elsewhere, "CheckPolicy has no role of ours."),
    (_endless_log, "WorkflowLog keeps its lines for ever."),
    (_log_of_its_own_making, "IssueToken writes to a log group of its own making."),
    (_table_may_be_deleted, "Ledger may be deleted."),
    (_table_goes_with_the_stack, "Ledger goes with its stack, or"),
    (_table_that_a_rollback_cannot_delete, "Ledger goes with its stack, or"),
    (_audit_log_goes_with_the_stack, "AuditLog goes with its stack."),
    (_audit_log_is_replaced, "AuditLog goes with its stack."),
    (_table_with_a_name, "Ledger is kept, and has or may have a name that stays taken."),
    (_audit_log_with_a_name, "AuditLog is kept, and has or may have a name that stays taken."),
    (_kept_role, "BastionRole is kept, and has or may have a name that stays taken."),
    (_table_without_backups, "Ledger cannot be restored."),
    (_secret_with_a_value, "SlackSecret has a value in the template"),
    (_token_in_a_variable, "looks like a secret."),
    (_execution_data_in_the_log, "Workflow logs execution data."),
    (_execution_data_by_default, "Workflow leaves no log of its steps."),
    (_no_traces, "Workflow leaves no traces."),
    (_any_number_of_requests, "RestAPI takes any number of requests."),
    (_too_many_parameters, "a stack takes 200"),
    (_too_long, "CloudFormation takes 1,000,000"),
    (_reference_to_nothing, "Nothing is referred to, and is nothing."),
    (_unknown_condition, "Never is no condition."),
]


def test_what_is_built_keeps_every_rule() -> None:
    """For the catalogue that the documentation shows."""
    assert [] == broken_rules(completed())


@pytest.mark.parametrize(("broken", "sentence"), BREAKS, ids=[each.__name__.strip("_") for each, _ in BREAKS])
def test_a_deliberate_break_is_named(broken: Break, sentence: str) -> None:
    """With the resource, in words that say what is wrong."""
    template = completed()
    broken(template)

    assert any(sentence in found for found in broken_rules(template))


def test_every_rule_has_a_break_that_it_alone_finds() -> None:
    """A rule that nothing breaks would judge nothing."""
    finding = set()
    for broken, sentence in BREAKS:
        template = completed()
        broken(template)
        finding |= {rule.__name__ for rule in RULES if any(sentence in found for found in rule(template))}

    assert {rule.__name__ for rule in RULES} == finding


def test_every_rule_says_why() -> None:
    """Its docstring is its reason."""
    assert all((rule.__doc__ or "").strip() for rule in RULES)


def test_no_action_is_excused_that_nobody_has() -> None:
    """The list of actions without a resource shrinks with the policies."""
    roles = [each["Properties"] for each in completed()["Resources"].values() if each["Type"] == "AWS::IAM::Role"]
    statements = [
        statement
        for role in roles
        for policy in role["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    allowed = [each for each in statements if each["Effect"] == "Allow"]
    used = {action for each in allowed if "*" in listed(each["Resource"]) for action in listed(each["Action"])}

    assert {*WITHOUT_RESOURCE, *ATTACHING} == used
