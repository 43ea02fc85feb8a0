"""The whole template of a stage, from what Chalice made, the catalogue and the workflow's definition. Pure; reaches nothing.

What is fixed stands in ``.chalice/resources.yaml``, which Chalice has merged already.
"""

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.errors import CatalogueError
from chalicelib.domain.locations import MAIN_PROVISIONER, DatabaseKind, Location, SessionDocument
from chalicelib.domain.session_documents import document_name, session_document
from deployment.bastion_network import FUNCTIONS_GROUP, Network, network_conditions, network_of, network_resources
from deployment.databases import Database, camel_case, database_of, databases_of
from deployment.function_settings import function_settings
from deployment.parts import Template, add, skipped
from deployment.references import references
from deployment.user_policy import user_policy

DATABASE_FUNCTIONS = ("ProvisionDatabaseUser", "RevokeAccess")
"""They are in a VPC, and the workflow finds those of another VPC by their names."""
EACH_DATABASE, EACH_SUBNET = "Drawbridge::EachDatabase", "Drawbridge::EachSubnet"
_FUNCTION = "AWS::Serverless::Function"
_NAMES = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:drawbridge-${Stage}"
_LONGEST_FUNCTION_NAME = 64
_LOG_DAYS = 90
_NEEDS_ATTENTION = (
    "broke",
    "a listener failed",
    "not set up",
    "audit line not written*",
    "unreadable in the ledger*",
    "users without a grant",
)
"""What a function writes where a person must look; a CloudWatch filter on each, ``*`` stands for anything."""
_PLACE = re.compile(r"\$\{(\w+)Arn\}")
_ROUTED = re.compile(r"\$\{DatabaseFunctions\}-\{\}-(\w+)")
_SKIPPED = {
    "CKV_AWS_115": "Reserved concurrency fails to deploy in accounts with a small quota; the API is throttled instead.",
    "CKV_AWS_116": "The workflow waits for its functions and retries; what is not waited for is harmless to lose.",
    "CKV_AWS_117": "Only the two database functions need the VPC; the others would lose their way to AWS in it.",
    "CKV_AWS_173": "No variable is secret; a key of our own costs $1 a month.",
}


def complete_template(sam: Template, *, stage: str, catalogue: Catalogue, definition: Mapping[str, Any]) -> Template:
    """The SAM template that is deployed, from what ``chalice package`` made with our merge template.

    Raises CatalogueError for a catalogue that one stack cannot serve: locations in several regions, none whose bastion has the
    main provisioner, or names that are too long or too alike.
    """
    _refuse_several_regions(catalogue)
    _refuse_long_names(stage, catalogue)
    network = network_of(catalogue, MAIN_PROVISIONER)
    databases = databases_of(catalogue.locations.values())
    subnets = dict.fromkeys(subnet for group in catalogue.bastions.values() for subnet in group.subnets)
    template: Template = _expanded(
        copy.deepcopy(sam),
        {
            EACH_DATABASE: [_words_of(database) for database in databases],
            EACH_SUBNET: [{"Subnet": subnet} for subnet in subnets],
        },
    )
    resources = template["Resources"]
    functions = _named(resources, _FUNCTION)
    for name in functions:
        add(resources, _complete_function(name, resources[name]))
    for name in _named(resources, "AWS::Logs::QueryDefinition"):
        resources[name]["Properties"]["LogGroupNames"] = [{"Ref": f"{function}LogGroup"} for function in functions]
    place_database_functions(resources, network)
    add(resources, network_resources(network))
    add(resources, _session_documents(catalogue.locations.values()))
    _complete_workflow(resources, definition, catalogue)
    uses_aws = any(each.document is SessionDocument.AWS for each in catalogue.locations.values())
    resources["UserPolicy"]["Properties"]["PolicyDocument"] = user_policy(stage, uses_aws_document=uses_aws)
    add(template["Conditions"], network_conditions(network))
    template["Parameters"] |= database_parameters(databases)
    template["Outputs"] = dict(_outputs(resources["RestAPI"]["Properties"]["StageName"]))
    template["Description"] = f"Drawbridge, stage {stage}: short-lived access to private databases, asked for in Slack."
    return finished(template, stage=stage, vpc=network.vpc)


def _named(resources: Template, kind: str) -> list[str]:
    return [name for name, each in resources.items() if each["Type"] == kind]


def place_database_functions(resources: Template, network: Network) -> None:
    """Give the two database functions their names and their place in the VPC."""
    for name in DATABASE_FUNCTIONS:
        resources[name]["Properties"] |= {
            "FunctionName": {"Fn::Sub": f"drawbridge-${{Stage}}-{network.provisioner}-{name}"},
            "VpcConfig": {"SubnetIds": network.subnets, "SecurityGroupIds": [{"Ref": FUNCTIONS_GROUP}]},
        }
        resources[f"{name}Role"]["Metadata"] = skipped(
            CKV_AWS_111="Lambda attaches the function to the VPC under this role; the function's own code is denied it."
        )


def database_parameters(databases: Sequence[Database]) -> Template:
    """The parameters that say what RDS knows of each database; the operator's program looks it up."""
    parameters: Template = {}
    for database in databases:
        what = f"the {database.kind} {database.identifier}"
        parameters |= {
            database.security_group: {
                "Type": "AWS::EC2::SecurityGroup::Id",
                "Description": f"The security group of {what}. It is given one rule for each of our own groups.",
            },
            database.port: {
                "Type": "Number",
                "Description": f"Where {what} listens.",
                "MinValue": 1,
                "MaxValue": 65535,
            },
            database.host: {"Type": "String", "Description": f"The name of the writer's endpoint of {what}."},
            database.resource_id: {
                "Type": "String",
                "Description": f"The resource id of {what}: {_resource_id(database)}, and not the identifier.",
                "AllowedPattern": "^(cluster|db)-[A-Z0-9]+$",
            },
        }
    return parameters


def finished(template: Template, *, stage: str, vpc: str | None) -> Template:
    """With the stage and the VPC filled in where they are known, and without the parameters that nothing refers to."""
    used = references({key: template[key] for key in ("Conditions", "Resources", "Outputs")})
    parameters = {name: given for name, given in template["Parameters"].items() if name in used}
    parameters["Stage"] |= {"Default": stage, "AllowedValues": [stage]}
    parameters["Vpc"].pop("Default", None)
    if vpc is not None:
        parameters["Vpc"]["Default"] = vpc
    return {**template, "Parameters": parameters}


def _complete_function(name: str, function: Template) -> Template:
    """Say what is the same for each function; returns its log group, and what watches it, by logical id."""
    function["Metadata"] = skipped(**_SKIPPED)
    function["Properties"] |= {
        "CodeUri": {"Bucket": {"Ref": "ArtifactBucket"}, "Key": {"Ref": "ArtifactKey"}},
        "Tracing": "Active",
        "LoggingConfig": {"LogGroup": {"Ref": f"{name}LogGroup"}, "LogFormat": "JSON"},
    }
    if settings := function_settings(name):
        function["Properties"]["Environment"] = {"Variables": settings}
    return {
        f"{name}LogGroup": {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {"LogGroupName": {"Fn::Sub": f"/drawbridge/${{Stage}}/{name}"}, "RetentionInDays": _LOG_DAYS},
            "Metadata": skipped(CKV_AWS_158="Holds no secret; a key of our own costs $1 a month."),
        },
        f"{name}NeedsAttention": {
            "Type": "AWS::Logs::MetricFilter",
            "Condition": "HasAlarms",
            "Properties": {
                "LogGroupName": {"Ref": f"{name}LogGroup"},
                "FilterPattern": "{ " + " || ".join(f'$.message = "{each}"' for each in _NEEDS_ATTENTION) + " }",
                "MetricTransformations": [
                    {
                        "MetricNamespace": {"Fn::Sub": "Drawbridge/${Stage}"},
                        "MetricName": "NeedsAttention",
                        "MetricValue": "1",
                    }
                ],
            },
        },
    }


def _expanded(value: Any, each: Mapping[str, Sequence[Mapping[str, str]]]) -> Any:
    """With every ``{marker: text}`` in a list replaced by one Fn::Sub for each that the marker stands for, in its words."""
    if isinstance(value, list):
        return [one for inner in value for one in _expanded_in_list(inner, each)]
    if isinstance(value, dict):
        return {key: _expanded(inner, each) for key, inner in value.items()}
    return value


def _expanded_in_list(value: Any, each: Mapping[str, Sequence[Mapping[str, str]]]) -> Iterator[Any]:
    marker = next((name for name in each if isinstance(value, dict) and name in value), None)
    if marker is None:
        yield _expanded(value, each)
        return
    for words in each[marker]:
        text = value[marker]
        for name, word in words.items():
            text = text.replace(f"${{{name}}}", word)
        yield {"Fn::Sub": text}


def _words_of(database: Database) -> dict[str, str]:
    return {
        "Region": "${AWS::Region}",
        "ResourceId": f"${{{database.resource_id}}}",
        "Kind": database.kind,
        "Identifier": database.identifier,
    }


def _session_documents(locations: Iterable[Location]) -> Template:
    documents: Template = {}
    for location in locations:
        if location.document is SessionDocument.AWS:
            continue
        database = database_of(location)
        documents[f"Session{camel_case(location.name)}Document"] = {
            "Type": "AWS::SSM::Document",
            "Properties": {
                "Name": {"Fn::Sub": document_name(stage="${Stage}", location=location.name)},
                "DocumentType": "Session",
                "DocumentFormat": "JSON",
                "TargetType": "/AWS::EC2::Instance",
                "UpdateMethod": "NewVersion",  # AWS cannot replace what has a fixed name
                "Content": session_document(
                    location, host={"Ref": database.host}, port={"Fn::Sub": f"${{{database.port}}}"}
                ),
            },
        }
    return documents


def _complete_workflow(resources: Template, definition: Mapping[str, Any], catalogue: Catalogue) -> None:
    # As text: CloudFormation is known to turn numbers within a document into texts, and the workflow refuses those.
    text = json.dumps(definition)
    functions = sorted(set(_PLACE.findall(text)))
    resources["Workflow"]["Properties"] |= {
        "DefinitionString": text,
        "DefinitionSubstitutions": {
            **{f"{function}Arn": {"Fn::GetAtt": [function, "Arn"]} for function in functions},
            "DatabaseFunctions": {"Fn::Sub": _NAMES},
        },
    }
    routed = [
        {"Fn::Sub": f"{_NAMES}-{provisioner}-{function}"}
        for provisioner in _provisioners(catalogue)
        for function in sorted(set(_ROUTED.findall(text)))
    ]
    invoke = {
        "Effect": "Allow",
        "Action": "lambda:InvokeFunction",
        "Resource": [{"Fn::GetAtt": [function, "Arn"]} for function in functions] + routed,
    }
    resources["WorkflowRole"]["Properties"]["Policies"].append(
        {"PolicyName": "Invoke", "PolicyDocument": {"Version": "2012-10-17", "Statement": [invoke]}}
    )


def _outputs(api_stage: str) -> Iterator[tuple[str, Template]]:
    def output(name: str, value: Any, description: str) -> tuple[str, Template]:
        return name, {"Value": value, "Description": description}

    url = f"https://${{RestAPI}}.execute-api.${{AWS::Region}}.${{AWS::URLSuffix}}/{api_stage}"
    about = "Where Slack sends everything, with /slack/events after it, and where the terminal client asks."
    yield output("ApiAddress", {"Fn::Sub": url}, about)
    yield output("WorkflowArn", {"Ref": "Workflow"}, "The workflow of access requests.")
    yield output("TableName", {"Ref": "Ledger"}, "The ledger. It is kept when the stack is deleted.")
    yield output("AuditLogName", {"Ref": "AuditLog"}, "The log group with the audit trail's hashes. It is kept, too.")
    yield output("SlackSecretName", {"Fn::Sub": "drawbridge/${Stage}/slack"}, "The secret for Slack's three values.")
    yield output("UserPolicyArn", {"Ref": "UserPolicy"}, "To attach to the permission sets of the people who ask.")


def _refuse_several_regions(catalogue: Catalogue) -> None:
    regions = sorted({location.region for location in catalogue.locations.values()})
    if len(regions) > 1:
        raise CatalogueError(
            file="the catalogue",
            key="locations",
            reason=f"names the regions {', '.join(regions)}; a stage is in one: make a stage with a catalogue for each",
        )


def _refuse_long_names(stage: str, catalogue: Catalogue) -> None:
    for provisioner in _provisioners(catalogue):
        longest = max((f"drawbridge-{stage}-{provisioner}-{name}" for name in DATABASE_FUNCTIONS), key=len)
        if (excess := len(longest) - _LONGEST_FUNCTION_NAME) > 0:
            raise CatalogueError(
                file="the catalogue",
                key="bastions",
                reason=f"has a provisioner '{provisioner}' by which a function would be called {longest}; shorten it by {excess}",
            )


def _provisioners(catalogue: Catalogue) -> list[str]:
    return sorted({group.provisioner for group in catalogue.bastions.values()})


def _resource_id(database: Database) -> str:
    return "cluster-…" if database.kind is DatabaseKind.CLUSTER else "db-…"
