"""What stands in the VPC of one provisioner: launch templates, security groups and their rules, endpoints if asked for. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from chalicelib.domain.bastions import INSTANCE_TYPES, TAG
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.errors import CatalogueError
from chalicelib.domain.locations import BastionGroup
from deployment.databases import Database, camel_case, databases_of
from deployment.parts import Template, add, skipped

STAGE_TAG = "drawbridge:stage"
FUNCTIONS_GROUP = "DatabaseFunctionsSecurityGroup"
ENDPOINTS_GROUP = "EndpointsSecurityGroup"
ENDPOINTS = ("ssm", "ssmmessages", "ec2messages")
_IMAGE = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
"""Looked up by EC2 at each launch, so that every new bastion is patched. The minimal image lacks the SSM agent."""
_HTTPS = 443
_EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A security group of ours, and the databases that it may reach."""

    group: str
    owner: str
    databases: Sequence[Database]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One provisioner's part of a catalogue."""

    provisioner: str
    groups: Sequence[BastionGroup]
    functions: Source
    bastions: Sequence[Source]
    """As many as groups, in their order."""

    @property
    def subnets(self) -> list[str]:
        """Those of all groups, each once; the functions are in them too."""
        return list(dict.fromkeys(subnet for group in self.groups for subnet in group.subnets))

    @property
    def vpc(self) -> str | None:
        """Where the catalogue says that the groups are."""
        return next((group.vpc for group in self.groups if group.vpc), None)


def network_of(catalogue: Catalogue, provisioner: str) -> Network:
    """Raises CatalogueError when no location is reached by this provisioner's functions."""
    groups = [group for group in catalogue.bastions.values() if group.provisioner == provisioner]
    locations = [each for each in catalogue.locations.values() if each.bastion.provisioner == provisioner]
    if not locations:
        raise CatalogueError(
            file="the catalogue",
            key="bastions",
            reason=f"has no location whose bastion has the provisioner '{provisioner}'",
        )
    return Network(
        provisioner=provisioner,
        groups=groups,
        functions=Source(group=FUNCTIONS_GROUP, owner="the database functions", databases=databases_of(locations)),
        bastions=[
            Source(
                group=f"Bastion{camel_case(group.name)}SecurityGroup",
                owner=f"the bastion {group.name}",
                databases=databases_of(each for each in locations if each.bastion.name == group.name),
            )
            for group in groups
        ],
    )


def network_resources(network: Network) -> Template:
    """The resources by their logical ids."""
    resources = {FUNCTIONS_GROUP: _security_group(network.functions, [])}
    for group, bastion in zip(network.groups, network.bastions, strict=True):
        add(resources, {f"Bastion{camel_case(group.name)}LaunchTemplate": _launch_template(group, bastion)})
        add(resources, {bastion.group: _security_group(bastion, [_way_to_session_manager()])})
    for source in (network.functions, *network.bastions):
        add(resources, _ingress_rules(source))
    add(resources, _interface_endpoints(network))
    return resources


def network_conditions(network: Network) -> Template:
    """For each source and database: is it the first of the source's databases behind this security group and port?

    Databases often share a group, and AWS refuses a rule that is there already. Only a deployment knows which do.
    """
    conditions: Template = {}
    for source in (network.functions, *network.bastions):
        for first, second in combinations(source.databases, 2):
            add(conditions, {_same(first, second): _are_same(first, second)})
        for place, database in enumerate(source.databases[1:], start=1):
            earlier = [{"Condition": _same(each, database)} for each in source.databases[:place]]
            add(conditions, {_opens(source, database): {"Fn::Not": [_any(earlier)]}})
    return conditions


def _launch_template(group: BastionGroup, bastion: Source) -> Template:
    name = {"Fn::Sub": f"drawbridge-${{Stage}}-{group.name}"}
    stage = {"Key": STAGE_TAG, "Value": {"Ref": "Stage"}}
    tags = [stage, {"Key": TAG, "Value": group.name}, {"Key": "Name", "Value": name}]
    return {
        "Type": "AWS::EC2::LaunchTemplate",
        "Properties": {
            "LaunchTemplateName": name,
            "LaunchTemplateData": {
                "ImageId": _IMAGE,
                "InstanceType": INSTANCE_TYPES[0],
                "IamInstanceProfile": {"Name": {"Fn::Sub": "drawbridge-${Stage}-bastion"}},
                # No network interface: a launch names its subnet, and AWS refuses both at once.
                "SecurityGroupIds": [{"Ref": bastion.group}],
                "MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1},
                "BlockDeviceMappings": [
                    {
                        "DeviceName": "/dev/xvda",
                        "Ebs": {"VolumeType": "gp3", "VolumeSize": 8, "Encrypted": True, "DeleteOnTermination": True},
                    }
                ],
                "CreditSpecification": {"CpuCredits": "standard"},  # unlimited ones could cost ten times the instance
                "InstanceInitiatedShutdownBehavior": "terminate",
                "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
            },
            "TagSpecifications": [{"ResourceType": "launch-template", "Tags": tags}],
        },
    }


def _security_group(source: Source, more: Sequence[Template]) -> Template:
    egress = [
        _if(
            _opens(source, database) if place else "",
            {
                "Description": f"The {database.kind} {database.identifier}",
                "IpProtocol": "tcp",
                "FromPort": {"Ref": database.port},
                "ToPort": {"Ref": database.port},
                "DestinationSecurityGroupId": {"Ref": database.security_group},
            },
        )
        for place, database in enumerate(source.databases)
    ]
    return {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {
            "GroupDescription": f"Drawbridge: where {source.owner} may go. Nobody may come.",
            "VpcId": {"Ref": "Vpc"},
            "SecurityGroupEgress": [*more, *egress],
        },
        "Metadata": skipped(CKV_AWS_23="Each rule has a description; checkov does not look into Fn::If."),
    }


def _way_to_session_manager() -> Template:
    """The one range of addresses: those of Session Manager are public, and AWS gives no list of them to name here."""
    https = {"IpProtocol": "tcp", "FromPort": _HTTPS, "ToPort": _HTTPS}
    return {
        "Fn::If": [
            "HasInterfaceEndpoints",
            {
                "Description": "Session Manager by its endpoints",
                **https,
                "DestinationSecurityGroupId": {"Ref": ENDPOINTS_GROUP},
            },
            {"Description": "Session Manager", **https, "CidrIp": _EVERYWHERE},
        ]
    }


def _ingress_rules(source: Source) -> Template:
    """What the stack adds to the databases' own groups, and takes away with itself."""
    return {
        f"{source.group.removesuffix('SecurityGroup')}To{database.name}": {
            "Type": "AWS::EC2::SecurityGroupIngress",
            **({"Condition": _opens(source, database)} if place else {}),
            "Properties": {
                "Description": f"Drawbridge: {source.owner}",
                "GroupId": {"Ref": database.security_group},
                "IpProtocol": "tcp",
                "FromPort": {"Ref": database.port},
                "ToPort": {"Ref": database.port},
                "SourceSecurityGroupId": {"Ref": source.group},
            },
        }
        for place, database in enumerate(source.databases)
    }


def _interface_endpoints(network: Network) -> Template:
    """For a VPC without a NAT. In one subnet: each further zone costs as much again, and bastions of other zones reach it too.

    No gateway endpoint for S3, though it is free: bastions are not let through to it, and get their updates by being replaced.
    """
    asked = {"Condition": "HasInterfaceEndpoints"}
    resources: Template = {
        ENDPOINTS_GROUP: {
            "Type": "AWS::EC2::SecurityGroup",
            **asked,
            "Properties": {
                "GroupDescription": "Drawbridge: the endpoints of Session Manager. Only bastions may come.",
                "VpcId": {"Ref": "Vpc"},
                "SecurityGroupEgress": [
                    {"Description": "Nowhere", "IpProtocol": "-1", "CidrIp": "127.0.0.1/32"}  # none would mean anywhere
                ],
            },
        }
    }
    for service in ENDPOINTS:
        resources[f"{service.capitalize()}Endpoint"] = {
            "Type": "AWS::EC2::VPCEndpoint",
            **asked,
            "Properties": {
                "VpcEndpointType": "Interface",
                "ServiceName": {"Fn::Sub": f"com.amazonaws.${{AWS::Region}}.{service}"},
                "VpcId": {"Ref": "Vpc"},
                "SubnetIds": network.subnets[:1],
                "SecurityGroupIds": [{"Ref": ENDPOINTS_GROUP}],
                "PrivateDnsEnabled": True,
            },
        }
    for bastion in network.bastions:
        resources[f"{bastion.group.removesuffix('SecurityGroup')}ToEndpoints"] = {
            "Type": "AWS::EC2::SecurityGroupIngress",
            **asked,
            "Properties": {
                "Description": f"Drawbridge: {bastion.owner}",
                "GroupId": {"Ref": ENDPOINTS_GROUP},
                "IpProtocol": "tcp",
                "FromPort": _HTTPS,
                "ToPort": _HTTPS,
                "SourceSecurityGroupId": {"Ref": bastion.group},
            },
        }
    return resources


def _if(condition: str, value: Template) -> Template:
    return {"Fn::If": [condition, value, {"Ref": "AWS::NoValue"}]} if condition else value


def _opens(source: Source, database: Database) -> str:
    return f"{source.group}Opens{database.name}"


def _same(first: Database, second: Database) -> str:
    return f"{first.name}Shares{second.name}"


def _are_same(first: Database, second: Database) -> Template:
    return {
        "Fn::And": [
            {"Fn::Equals": [{"Ref": first.security_group}, {"Ref": second.security_group}]},
            {"Fn::Equals": [{"Ref": first.port}, {"Ref": second.port}]},
        ]
    }


def _any(those: Sequence[Template]) -> Template:
    """Fn::Or of any number: CloudFormation takes two to ten."""
    while len(those) > 1:
        those = list(_tens(those))
    return those[0]


def _tens(those: Sequence[Template]) -> Iterator[Template]:
    for start in range(0, len(those), 10):
        ten = list(those[start : start + 10])
        yield {"Fn::Or": ten} if len(ten) > 1 else ten[0]
