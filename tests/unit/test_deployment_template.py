"""The template of a stage: what is in it, that every name agrees, and that no catalogue breaks it."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import app
from chalicelib.aws.table import WATCH_INDEX
from chalicelib.domain.errors import CatalogueError
from chalicelib.domain.locations import BastionGroup, DatabaseKind, Location, SessionDocument
from chalicelib.domain.session_documents import document_name, session_document
from deployment.databases import Database, camel_case, database_of, databases_of
from deployment.function_settings import function_settings
from deployment.references import references
from deployment.rules import broken_rules
from deployment.template import EACH_DATABASE, complete_template
from tests.factories import a_catalogue, a_group, a_location
from tests.strategies import RULE
from tests.unit.stack_template import (
    CONFIGURATION,
    DEFINITION,
    ROOT,
    STAGE,
    Template,
    completed,
    example_catalogue,
    generated,
)
from tests.unit.stack_values import Given, known_of

FUNCTIONS = ROOT / "chalicelib" / "functions"
CONFIGURED = next(iter(CONFIGURATION["stages"].values()))["lambda_functions"]
GROUP_TYPE, INGRESS_TYPE = "AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress"
names = st.from_regex(r"[a-z0-9](?:[a-z0-9x-]{0,8}[a-z0-9])?", fullmatch=True)


def logical_id(function: str) -> str:
    """As Chalice names it."""
    return "APIHandler" if function == "api_handler" else function.title().replace("_", "")


def properties(template: Template, name: str) -> Any:
    """Those of one resource."""
    return template["Resources"][name]["Properties"]


def of_type(template: Template, kind: str) -> dict[str, Any]:
    """The properties of the resources of a type."""
    return {name: each["Properties"] for name, each in template["Resources"].items() if each["Type"] == kind}


# Names


def test_every_function_of_the_app_is_configured_and_in_the_stack() -> None:
    """One list, however it is read: the code, its configuration, the template."""
    ours = {
        "api_handler",
        *(each.name for each in app.app.pure_lambda_functions),
        *(each.name for each in app.app.event_sources),
    }

    assert ours == set(CONFIGURED)
    assert {logical_id(name) for name in ours} == set(of_type(completed(), "AWS::Serverless::Function"))


def test_the_workflow_is_the_file() -> None:
    """Nothing is added to the definition on its way to AWS."""
    assert DEFINITION == json.loads(properties(completed(), "Workflow")["DefinitionString"])


def test_every_place_in_the_definition_is_filled_in() -> None:
    """By something that is in the stack, and nothing is filled in that has no place."""
    template = completed()
    given_ = properties(template, "Workflow")["DefinitionSubstitutions"]

    assert set(re.findall(r"\$\{(\w+)\}", json.dumps(DEFINITION))) == set(given_)
    assert references(given_) <= {*template["Resources"], "Stage"}


def test_the_workflow_may_invoke_what_it_names_and_nothing_else() -> None:
    """Plain functions by their ARN, those of each VPC by their name."""
    template = completed()
    text = json.dumps(DEFINITION)
    (policy,) = [each for each in properties(template, "WorkflowRole")["Policies"] if each["PolicyName"] == "Invoke"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    plain = [each["Fn::GetAtt"][0] for each in statement["Resource"] if "Fn::GetAtt" in each]
    named = [
        each["Fn::Sub"].rpartition("drawbridge-${Stage}-")[2] for each in statement["Resource"] if "Fn::Sub" in each
    ]

    assert sorted(set(re.findall(r"\$\{(\w+)Arn\}", text))) == plain
    assert ["main-ProvisionDatabaseUser", "main-RevokeAccess"] == named
    assert "lambda:InvokeFunction" == statement["Action"]


def test_the_two_functions_in_the_vpc_bear_the_names_that_the_workflow_asks_for() -> None:
    """Their ARNs would not do: each VPC has its own."""
    template = completed()
    fixed = {
        name: function["FunctionName"]["Fn::Sub"]
        for name, function in of_type(template, "AWS::Serverless::Function").items()
        if "FunctionName" in function
    }

    assert {name: f"drawbridge-${{Stage}}-main-{name}" for name in ("ProvisionDatabaseUser", "RevokeAccess")} == fixed


def test_only_the_two_database_functions_are_in_the_vpc() -> None:
    """In the subnets of their bastions; the others would lose their way to AWS."""
    template = completed()
    placed = {
        name: function["VpcConfig"]
        for name, function in of_type(template, "AWS::Serverless::Function").items()
        if "VpcConfig" in function
    }

    assert {"ProvisionDatabaseUser", "RevokeAccess"} == set(placed)
    for place in placed.values():
        assert {
            "SubnetIds": ["subnet-a", "subnet-b"],
            "SecurityGroupIds": [{"Ref": "DatabaseFunctionsSecurityGroup"}],
        } == place


# What each function is told


@cache
def _trees() -> dict[str, ast.Module]:
    return {file.stem: ast.parse(file.read_text(encoding="utf-8")) for file in FUNCTIONS.glob("*.py")}


def _required_settings() -> dict[str, str]:
    """The properties of Settings that have no default, with the words of their variables."""
    tree = ast.parse((ROOT / "chalicelib" / "settings.py").read_text(encoding="utf-8"))
    found = {}
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        for call in [node for node in ast.walk(function) if isinstance(node, ast.Call)]:
            if isinstance(call.func, ast.Attribute) and call.func.attr == "_text" and len(call.args) == 1:
                (argument,) = call.args
                if isinstance(argument, ast.Constant):
                    found[function.name] = str(argument.value)
    return found


class _Reader:
    """Follows a function through the modules beside it, and notes each setting that it comes by."""

    def __init__(self) -> None:
        self._trees = _trees()
        self._settings = _required_settings()
        self._seen: set[tuple[str, str]] = set()

    def reads(self, module: str, name: str) -> set[str]:
        """The words of the variables that a function reads, by whatever it calls here."""
        definition = self._definitions(module).get(name)
        if definition is None or (module, name) in self._seen:
            return set()
        self._seen.add((module, name))
        imports = dict(self._imports(module))
        found: set[str] = set()
        for node in ast.walk(definition):
            if isinstance(node, ast.Attribute):
                found |= {self._settings[node.attr]} if node.attr in self._settings else set()
                if isinstance(node.value, ast.Name) and imports.get(node.value.id, ("", ""))[1] is None:
                    found |= self.reads(imports[node.value.id][0], node.attr)
            elif isinstance(node, ast.Name):
                where, what = imports.get(node.id, (module, node.id))
                found |= self.reads(where, what) if what else set()
        return found

    def _definitions(self, module: str) -> dict[str, ast.AST]:
        body = self._trees[module].body if module in self._trees else []
        return {node.name: node for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}

    def _imports(self, module: str) -> Iterator[tuple[str, tuple[str, str | None]]]:
        for node in self._trees[module].body:
            if isinstance(node, ast.ImportFrom) and node.module == "chalicelib.functions":
                yield from ((each.asname or each.name, (each.name, None)) for each in node.names)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chalicelib.functions."):
                where = str(node.module).rpartition(".")[2]
                yield from ((each.asname or each.name, (where, each.name)) for each in node.names)


def _handlers() -> dict[str, tuple[str, str]]:
    functions: list[Any] = [*app.app.pure_lambda_functions, *app.app.event_sources]
    places = {each.name: each.handler_string.split(".")[-2:] for each in functions}
    return {
        **{name: (module, function) for name, (module, function) in places.items()},
        "api_handler": ("slack", "slack_events"),
    }


@pytest.mark.parametrize("function", sorted(CONFIGURED))
def test_a_function_is_told_what_its_code_reads(function: str) -> None:
    """Nothing is missing at three in the morning, and nothing is there for whoever breaks in."""
    read = _Reader().reads(*_handlers()[function])

    assert {f"DRAWBRIDGE_{word}" for word in read} == set(function_settings(logical_id(function)))


def test_the_api_reads_what_its_function_is_told() -> None:
    """It is answered by the function that answers Slack."""
    read = {
        word
        for name in ("list_requests", "ask_access", "show_request", "end_request")
        for word in _Reader().reads("api_calls", name)
    }

    assert {"STATE_MACHINE", "STAGE", "TABLE"} <= read
    assert {f"DRAWBRIDGE_{word}" for word in read} <= set(function_settings("APIHandler"))


def test_the_reader_of_code_finds_settings() -> None:
    """Otherwise the test above would hold for anything."""
    assert {"TABLE", "SLACK_SECRET", "STATE_MACHINE"} <= _Reader().reads("slack", "slack_events")


def test_the_workflows_arn_is_composed_of_its_name() -> None:
    """It cannot be referred to: the workflow refers to the functions."""
    template = completed()
    named = properties(template, "Workflow")["StateMachineName"]["Fn::Sub"]
    told = properties(template, "HoldAccess")["Environment"]["Variables"]

    assert told["DRAWBRIDGE_STATE_MACHINE"]["Fn::Sub"].endswith(f":stateMachine:{named}")


def test_bastions_are_launched_from_templates_that_are_there() -> None:
    """The adapter appends the group's name to the setting."""
    template = completed()
    prefix = properties(template, "WarmBastion")["Environment"]["Variables"]["DRAWBRIDGE_LAUNCH_TEMPLATE"]["Fn::Sub"]
    made = {each["LaunchTemplateName"]["Fn::Sub"] for each in of_type(template, "AWS::EC2::LaunchTemplate").values()}

    assert {f"{prefix}-{group}" for group in example_catalogue().bastions} == made


# Functions


@pytest.mark.parametrize("function", sorted(CONFIGURED))
def test_a_function_is_as_configured_and_observed(function: str) -> None:
    """Memory and time as its configuration says; traces, and a log group of its own."""
    made, configured = properties(completed(), logical_id(function)), CONFIGURED[function]

    assert configured["lambda_memory_size"] == made["MemorySize"]
    assert configured["lambda_timeout"] == made["Timeout"]
    assert "Active" == made["Tracing"]
    assert {"LogGroup": {"Ref": f"{logical_id(function)}LogGroup"}, "LogFormat": "JSON"} == made["LoggingConfig"]
    assert {"Bucket": {"Ref": "ArtifactBucket"}, "Key": {"Ref": "ArtifactKey"}} == made["CodeUri"]


def test_the_function_that_owes_slack_an_answer_has_a_whole_processor() -> None:
    """Lambda gives one at 1769 MB; the others have time."""
    functions = of_type(completed(), "AWS::Serverless::Function")

    assert 1769 == functions.pop("APIHandler")["MemorySize"]
    assert 512 >= max(each["MemorySize"] for each in functions.values())


def test_what_is_not_waited_for_is_not_tried_again() -> None:
    """A token that is made hours after somebody asked would be made for nobody."""
    template = completed()

    assert {"IssueToken", "StopIdleBastions", "ReconcileGrants"} == {
        name
        for name, each in of_type(template, "AWS::Serverless::Function").items()
        if each.get("EventInvokeConfig", {}).get("MaximumRetryAttempts") == 0
    }


# The ledger


def test_the_ledger_has_the_keys_that_the_code_uses() -> None:
    """A stage whose table differs from the tests' would fail at its first request."""
    table = properties(completed(), "Ledger")
    (index,) = table["GlobalSecondaryIndexes"]

    assert [("pk", "HASH"), ("sk", "RANGE")] == [
        (each["AttributeName"], each["KeyType"]) for each in table["KeySchema"]
    ]
    assert WATCH_INDEX == index["IndexName"]
    assert [("watch", "HASH"), ("ends_at", "RANGE")] == [
        (each["AttributeName"], each["KeyType"]) for each in index["KeySchema"]
    ]
    assert {"AttributeName": "expires_at", "Enabled": True} == table["TimeToLiveSpecification"]
    assert "PAY_PER_REQUEST" == table["BillingMode"]


def test_a_failed_creation_leaves_the_empty_ledger_alone() -> None:
    """AWS refuses to delete a protected table, which would make the rollback fail as well; the empty log goes with the rest."""
    resources = completed()["Resources"]

    assert ("Retain", True) == (
        resources["Ledger"]["DeletionPolicy"],
        resources["Ledger"]["Properties"]["DeletionProtectionEnabled"],
    )
    assert "RetainExceptOnCreate" == resources["AuditLog"]["DeletionPolicy"]


# The network


def test_a_bastion_reaches_session_manager_and_its_databases() -> None:
    """And nothing else, wherever it is told to go."""
    template = completed()
    database = databases_of(example_catalogue().locations.values())[0]
    group = Given(template, known_of({database: ("sg-database", 5432)})).of_type(GROUP_TYPE)["BastionMainSecurityGroup"]

    assert [(443, {"CidrIp": "0.0.0.0/0"}), ("5432", {"DestinationSecurityGroupId": "sg-database"})] == [
        (rule["FromPort"], {key: value for key, value in rule.items() if key.startswith(("Cidr", "Destination"))})
        for rule in group["SecurityGroupEgress"]
    ]


def test_the_database_functions_reach_their_databases_only() -> None:
    """They call nothing of AWS, so there is nothing that could be carried away by them."""
    template = completed()
    database = databases_of(example_catalogue().locations.values())[0]
    groups = Given(template, known_of({database: ("sg-database", 5432)})).of_type(GROUP_TYPE)

    assert ["sg-database"] == [
        rule.get("DestinationSecurityGroupId")
        for rule in groups["DatabaseFunctionsSecurityGroup"]["SecurityGroupEgress"]
    ]


def test_with_interface_endpoints_a_bastion_reaches_no_address_outside() -> None:
    """Session Manager is then within the VPC, and only bastions may come to it."""
    given_ = Given(completed(), {"InterfaceEndpoints": "yes"})
    rules = given_.of_type(GROUP_TYPE)["BastionMainSecurityGroup"]["SecurityGroupEgress"]
    endpoints = given_.of_type("AWS::EC2::VPCEndpoint")

    assert not [rule for rule in rules if "CidrIp" in rule]
    assert {"Ref": "EndpointsSecurityGroup"} == rules[0]["DestinationSecurityGroupId"]
    assert {"Ref": "BastionMainSecurityGroup"} == given_.resources["BastionMainToEndpoints"]["Properties"][
        "SourceSecurityGroupId"
    ]
    assert ["ssm", "ssmmessages", "ec2messages"] == [
        each["ServiceName"]["Fn::Sub"].rpartition(".")[2] for each in endpoints.values()
    ]


def test_what_costs_is_not_there_unless_asked_for() -> None:
    """No endpoint, no alarm, no address: the stack's own defaults are the cheap ones."""
    given_ = Given(completed(), {})

    assert {} == given_.of_type("AWS::EC2::VPCEndpoint")
    assert {} == given_.of_type("AWS::CloudWatch::Alarm")
    assert {} == given_.of_type("AWS::SNS::Topic")
    assert "NoPublicAddress" in given_.resources
    assert {} == given_.of_type("AWS::KMS::Key")


def test_an_address_for_alarms_makes_all_of_them() -> None:
    """Executions that fail or are stopped, functions that fail or are silent, and lines that somebody must read."""
    given_ = Given(completed(), {"AlarmTopicEmail": "operator@example.com"})
    alarms = given_.of_type("AWS::CloudWatch::Alarm")

    executions = {"ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"}
    assert {*executions, "Errors", "Invocations", "NeedsAttention"} == {
        alarm["MetricName"] for alarm in alarms.values()
    }
    assert all([{"Ref": "AlarmTopic"}] == alarm["AlarmActions"] for alarm in alarms.values())


@pytest.mark.parametrize(
    ("parameter", "value", "action"),
    [
        ("SessionKeyArn", "arn:aws:kms:eu-west-1:123456789012:key/example", "kms:Decrypt"),
        ("SessionLogBucketArn", "arn:aws:s3:::logs.example.com", "s3:GetEncryptionConfiguration"),
    ],
)
def test_the_agent_may_use_what_the_sessions_preferences_name(parameter: str, value: str, action: str) -> None:
    """That one thing, and only where it is named."""
    template = completed()

    def granted(given_: Given) -> list[Any]:
        policies = given_.of_type("AWS::IAM::Policy").values()
        statements = [each["PolicyDocument"]["Statement"][0] for each in policies]
        return [each["Resource"] for each in statements if each["Action"] == action]

    assert [] == granted(Given(template, {}))
    assert [value] == granted(Given(template, {parameter: value}))


def test_locations_of_one_database_share_its_rules() -> None:
    """AWS refuses a rule that is there already."""
    template = completed(a_catalogue(a_location("orders"), a_location("reports", database="reports")))

    assert [
        "BastionMainToClusterOrdersCluster",
        "BastionMainToEndpoints",
        "DatabaseFunctionsToClusterOrdersCluster",
    ] == sorted(of_type(template, INGRESS_TYPE))


def _effective_rules(given_: Given) -> list[tuple[str, str, str]]:
    """Source, target and port of each rule between a group of ours and a database's."""
    rules = [rule for rule in given_.of_type(INGRESS_TYPE).values() if isinstance(rule["GroupId"], str)]
    return [(rule["SourceSecurityGroupId"]["Ref"], rule["GroupId"], rule["FromPort"]) for rule in rules]


@RULE
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([5432, 5433])), min_size=1, max_size=14))
def test_databases_behind_one_security_group_get_one_rule(behind: list[tuple[str, int]]) -> None:
    """From each of our groups to each group and port exactly one, both ways, however databases share them."""
    locations = [a_location(f"location-{place}", identifier=f"cluster-{place}") for place in range(len(behind))]
    databases = {database_of(each): where for each, where in zip(locations, behind, strict=True)}
    given_ = Given(completed(a_catalogue(*locations)), known_of(databases))
    sources = ["BastionMainSecurityGroup", "DatabaseFunctionsSecurityGroup"]
    wanted = sorted((source, group, str(port)) for source, (group, port) in product(sources, set(behind)))
    left = [
        (source, rule["DestinationSecurityGroupId"], rule["FromPort"])
        for source in sources
        for rule in given_.of_type(GROUP_TYPE)[source]["SecurityGroupEgress"]
        if "CidrIp" not in rule
    ]

    assert wanted == sorted(_effective_rules(given_))
    assert wanted == sorted(left)


# Session documents


def test_a_location_has_a_session_document_of_its_own() -> None:
    """Under the name that people's commands bear, with host and port of its database."""
    location = a_location("orders-prod")
    database = database_of(location)
    (document,) = of_type(completed(a_catalogue(location)), "AWS::SSM::Document").values()

    assert document_name(stage="${Stage}", location="orders-prod") == document["Name"]["Fn::Sub"]
    assert (
        session_document(location, host={"Ref": database.host}, port={"Fn::Sub": f"${{{database.port}}}"})
        == document["Content"]
    )
    assert ("Session", "/AWS::EC2::Instance", "NewVersion") == (
        document["DocumentType"],
        document["TargetType"],
        document["UpdateMethod"],
    )


@pytest.mark.parametrize(("document", "allowed"), [(SessionDocument.LOCATION, False), (SessionDocument.AWS, True)])
def test_the_document_of_aws_is_allowed_only_where_a_location_uses_it(document: SessionDocument, allowed: bool) -> None:
    """It lets whoever starts it choose the host."""
    template = completed(a_catalogue(a_location(document=document)))
    policy = json.dumps(properties(template, "UserPolicy")["PolicyDocument"])

    assert allowed == ("AWS-StartPortForwardingSessionToRemoteHost" in policy)
    assert allowed != bool(of_type(template, "AWS::SSM::Document"))


# Rights


def test_a_right_on_each_database_names_all_of_them() -> None:
    """By the resource id that RDS gave: the identifier in such an ARN gives nobody anything."""
    sam = generated()
    right = {EACH_DATABASE: "arn:${AWS::Partition}:rds-db:${Region}:${AWS::AccountId}:dbuser:${ResourceId}/jit_*"}
    statement = {"Effect": "Allow", "Action": "rds-db:connect", "Resource": ["arn:aws:s3:::first", right]}
    sam["Resources"]["IssueTokenRole"]["Properties"]["Policies"] = [{"PolicyDocument": {"Statement": [statement]}}]
    locations = a_location("orders"), a_location("books", identifier="books", kind=DatabaseKind.INSTANCE)
    template = complete_template(sam, stage=STAGE, catalogue=a_catalogue(*locations), definition=DEFINITION)
    start, end = "arn:${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:${", "}/jit_*"

    assert [
        "arn:aws:s3:::first",
        {"Fn::Sub": f"{start}DatabaseClusterOrdersClusterResourceId{end}"},
        {"Fn::Sub": f"{start}DatabaseInstanceBooksResourceId{end}"},
    ] == properties(template, "IssueTokenRole")["Policies"][0]["PolicyDocument"]["Statement"][0]["Resource"]


@pytest.mark.parametrize("role", ["WarmBastionRole", "EnsureBastionRunningRole", "StopIdleBastionsRole"])
def test_bastions_are_launched_in_the_catalogues_subnets_only(role: str) -> None:
    """In those of every group, wherever its database functions are: the main stack launches them all."""
    near = a_location("orders", bastion=a_group("main", "subnet-a", "subnet-b"))
    elsewhere = replace(a_group("far", "subnet-c"), provisioner="other")
    template = completed(a_catalogue(near, a_location("books", identifier="books", bastion=elsewhere)))
    statements = [
        statement
        for policy in properties(template, role)["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == "ec2:RunInstances"
    ]
    allowed = re.findall(r":subnet/([^\"]*)", json.dumps(statements))

    assert ["subnet-a", "subnet-b", "subnet-c"] == allowed


def test_no_macro_of_ours_is_left() -> None:
    """AWS would not know it."""
    assert "Drawbridge::" not in json.dumps(completed())


# Parameters and outputs


def test_parameters_are_described_and_used() -> None:
    """Whoever deploys by hand sees what each is for."""
    template = completed()
    used = references([template["Resources"], template["Conditions"], template["Outputs"]])

    assert set(template["Parameters"]) <= used
    assert all(each["Description"].endswith(".") for each in template["Parameters"].values())


@pytest.mark.parametrize("parameter", ["AlarmTopicEmail", "InterfaceEndpoints", "PublicSubnets"])
def test_what_costs_says_its_price(parameter: str) -> None:
    """Before anybody turns it on."""
    assert "$" in completed()["Parameters"][parameter]["Description"]


def test_the_stage_cannot_be_changed_at_the_deployment() -> None:
    """The archive holds one stage's catalogue."""
    parameter = completed(stage="prod")["Parameters"]["Stage"]

    assert ("prod", ["prod"]) == (parameter["Default"], parameter["AllowedValues"])


def test_the_vpc_is_the_one_that_the_catalogue_names() -> None:
    """And asked for where it names none."""
    named = replace(a_group(), vpc="vpc-0123456789abcdef0")

    assert "vpc-0123456789abcdef0" == completed(a_catalogue(a_location(bastion=named)))["Parameters"]["Vpc"]["Default"]
    assert "Default" not in completed(a_catalogue())["Parameters"]["Vpc"]


def test_the_outputs_are_ours() -> None:
    """One name for each thing, and none of Chalice's."""
    assert ["ApiAddress", "AuditLogName", "SlackSecretName", "TableName", "UserPolicyArn", "WorkflowArn"] == sorted(
        completed()["Outputs"]
    )


@pytest.mark.parametrize(
    ("permission", "routes"),
    [("APIHandlerInvokePermission", "/*/POST/slack/events"), ("SignedInvokePermission", "/*/*/v1/*")],
)
def test_the_gateway_may_call_for_these_routes_only(permission: str, routes: str) -> None:
    """One permission for the route that Slack calls, and one for those that callers sign."""
    source = properties(completed(), permission)["SourceArn"]["Fn::Sub"]

    assert source.endswith(routes)


def test_the_given_template_is_left_as_it_was() -> None:
    """Completing it twice gives the same twice."""
    sam = generated()
    first = complete_template(sam, stage=STAGE, catalogue=example_catalogue(), definition=DEFINITION)

    assert generated() == sam
    assert first == complete_template(sam, stage=STAGE, catalogue=example_catalogue(), definition=DEFINITION)


# Catalogues that one stack cannot serve


@pytest.mark.parametrize(
    ("locations", "reason"),
    [
        ([a_location("a"), a_location("b", region="us-east-1")], "a stage is in one"),
        ([a_location(bastion=replace(a_group("far"), provisioner="far"))], "the provisioner 'main'"),
        (
            [
                a_location("a"),
                a_location("b", bastion=replace(a_group("far"), provisioner="a-provisioner-with-a-long-name")),
            ],
            "shorten it by",
        ),
    ],
)
def test_a_catalogue_that_one_stack_cannot_serve_is_refused(locations: list[Location], reason: str) -> None:
    """Before anything is uploaded, with what to correct."""
    with pytest.raises(CatalogueError, match=re.escape(reason)):
        completed(a_catalogue(*locations))


def test_names_so_alike_that_two_things_would_be_one_are_refused() -> None:
    """Silence would leave one of them without its rule."""
    first = a_location("a", identifier="b-to-cluster-c", bastion=a_group("a"))
    second = a_location("b", identifier="c", bastion=a_group("a-to-cluster-b"))

    with pytest.raises(CatalogueError, match="so alike"):
        completed(a_catalogue(first, second))


# Any catalogue


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("orders", "Orders"),
        ("orders-prod", "OrdersProd"),
        ("a-b", "AB"),
        ("ab", "Ab"),
        ("a-1", "AX1"),
        ("a1", "A1"),
        ("a--b", "AXhB"),
        ("x-ray", "XXRay"),
        ("2nd", "X2nd"),
    ],
)
def test_a_name_becomes_a_part_of_a_logical_id(name: str, part: str) -> None:
    """Readable where that is possible."""
    assert part == camel_case(name)


@RULE
@given(names)
def test_a_name_can_be_read_back(name: str) -> None:
    """So no two names share a part."""

    def spelled(found: re.Match[str]) -> str:
        return {"Xh": "-", "XX": "-x"}.get(found[0]) or f"-{found[0].removeprefix('X').lower()}"

    read = re.sub(r"X[Xh0-9]|[A-Z]", spelled, camel_case(name))

    assert camel_case(name).isalnum()
    assert f"-{name}" == read


@st.composite
def catalogues(draw: Callable[..., Any]) -> Any:
    """Many locations, bastions and databases, of which several locations share some."""
    groups = [
        BastionGroup(name=name, subnets=("subnet-a",))
        for name in draw(st.lists(names, min_size=1, max_size=4, unique=True))
    ]
    databases = draw(st.lists(st.tuples(st.sampled_from(DatabaseKind), names), min_size=1, max_size=8, unique=True))
    locations = []
    for name in draw(st.lists(names, min_size=1, max_size=16, unique=True)):
        kind, identifier = draw(st.sampled_from(databases))
        bastion, document = draw(st.sampled_from(groups)), draw(st.sampled_from(SessionDocument))
        locations.append(a_location(name, kind=kind, identifier=identifier, bastion=bastion, document=document))
    return a_catalogue(*locations)


@RULE
@given(catalogues())
def test_any_catalogue_makes_a_stack_that_keeps_our_rules(catalogue: Any) -> None:
    """Everything is there once for each location, bastion and database, and refers to what is there."""
    template = completed(catalogue)
    locations = catalogue.locations.values()
    own = [each for each in locations if each.document is SessionDocument.LOCATION]
    pairs = {(each.bastion.name, database_of(each)) for each in locations}
    rules = [each for each in of_type(template, INGRESS_TYPE) if not each.endswith("ToEndpoints")]

    assert [] == broken_rules(template)
    assert len(own) == len(of_type(template, "AWS::SSM::Document"))
    assert len(catalogue.bastions) == len(of_type(template, "AWS::EC2::LaunchTemplate"))
    assert len(pairs) + len(databases_of(locations)) == len(rules)


def test_a_database_is_known_by_kind_and_identifier() -> None:
    """A cluster and an instance may bear one name."""
    parts = {Database(kind=kind, identifier="orders").name for kind in DatabaseKind}

    assert {"ClusterOrders", "InstanceOrders"} == parts
