"""The network as it is: the subnets' VPC and zones, their way out, and the groups that guard each database. Changes nothing."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.locations import BastionGroup, Location
from deployment.account import Account, DeploymentError, explained
from deployment.databases import Database, database_of, databases_of
from deployment.hosting import Hosting, describe_hosting

_EVERYWHERE = "0.0.0.0/0"
_AGENT_ENDPOINTS = {"ssm", "ssmmessages", "ec2messages"}


class Route(StrEnum):
    """How an instance in a subnet reaches Session Manager."""

    NAT = "a NAT"
    ENDPOINTS = "the VPC's own interface endpoints"
    OTHER = "a gateway of yours (transit, peering or appliance)"
    INTERNET = "an internet gateway, which only an instance with a public address can use"
    NONE = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One subnet that bastions may be in."""

    id: str
    vpc: str
    zone: str
    route: Route
    gives_addresses: bool
    """Does every instance in it get a public address, unless its launch says otherwise? Ours say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingNetwork:
    """Where one provisioner's functions and bastions are: subnets of one VPC."""

    provisioner: str
    vpc: str
    subnets: Sequence[Subnet]

    @property
    def zones(self) -> list[str]:
        """Sorted, each once."""
        return sorted({subnet.zone for subnet in self.subnets})

    @property
    def routes(self) -> list[Route]:
        """Each once, the best first."""
        return [route for route in Route if any(subnet.route is route for subnet in self.subnets)]


def find_networks(account: Account, catalogue: Catalogue, *, vpc: str = "") -> list[ExistingNetwork]:
    """One network for each provisioner of the catalogue, the main one first. ``vpc``: where the main one has to be.

    Raises DeploymentError for subnets that are not there, or that are in several VPCs.
    """
    ec2 = account.client("ec2")
    groups = list(catalogue.bastions.values())
    with explained("describe the bastions' subnets"):
        found = _describe_subnets(ec2, sorted({subnet for group in groups for subnet in group.subnets}))
        tables = _route_tables(ec2, {each["VpcId"] for each in found.values()})
        endpoints = _endpoint_services(ec2, {each["VpcId"] for each in found.values()})
    subnets = {
        name: Subnet(
            id=name,
            vpc=each["VpcId"],
            zone=each["AvailabilityZone"],
            route=_route(name, each["VpcId"], tables, endpoints),
            gives_addresses=each["MapPublicIpOnLaunch"],
        )
        for name, each in found.items()
    }
    names = sorted({group.provisioner for group in groups}, key=lambda name: (name != "main", name))
    networks = [_network(name, [each for each in groups if each.provisioner == name], subnets) for name in names]
    if vpc and networks[0].vpc != vpc:
        raise DeploymentError(
            f"The bastions' subnets are in {networks[0].vpc}, not in {vpc}. Correct the catalogue or --vpc."
        )
    return networks


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a bastion would be refused or never come online, and what to do about it."""

    what: str
    repair: str


def describe_network(network: ExistingNetwork, *, interface_endpoints: bool) -> str:
    """Where bastions are, and how they reach Session Manager."""
    where = f"{network.vpc}, {', '.join(network.zones)}"
    if interface_endpoints:
        return f"{where}: the stage has interface endpoints for the bastions"
    return f"{where}: bastions reach Session Manager by {network.routes[0]}"


def find_obstacles(network: ExistingNetwork, *, interface_endpoints: bool, public_subnets: bool) -> Iterator[Obstacle]:
    """What is between the subnets' bastions and Session Manager, with the price of each way around it."""
    routed = [] if interface_endpoints else network.subnets
    if shut := _named(subnet for subnet in routed if subnet.route is Route.NONE):
        per_zone = 3 * 0.01 * 730
        yield Obstacle(
            what=f"From {shut} nothing leads out, and a bastion there never comes online.",
            repair="Name subnets with a NAT in the catalogue, or deploy with --interface-endpoints, about "
            f"${per_zone:.2f} a month for each zone (${per_zone * len(network.zones):.2f} here); a NAT gateway of its own "
            "costs about $33 a month.",
        )
    by_internet = [subnet for subnet in routed if subnet.route is Route.INTERNET]
    if by_internet and not public_subnets:
        yield Obstacle(
            what=f"{_named(by_internet)}: an internet gateway serves only instances with a public address.",
            repair="Deploy with --public-subnets, which lets bastions have one while they run ($0.005 an hour; still no port "
            "is open to the internet), or name subnets with a NAT.",
        )
    for subnet in by_internet:
        if not subnet.gives_addresses:
            yield Obstacle(
                what=f"{subnet.id} leads out by an internet gateway and gives instances no public address, so a bastion there "
                "never comes online.",
                repair=f"aws ec2 modify-subnet-attribute --map-public-ip-on-launch --subnet-id {subnet.id}",
            )
    for subnet in network.subnets:
        if subnet.gives_addresses and subnet not in by_internet and not public_subnets:
            yield Obstacle(
                what=f"{subnet.id} gives each instance a public address, and the bastions of this stage may have none: AWS may "
                "refuse to launch them.",
                repair="Deploy with --public-subnets ($0.005 an hour while one runs), name other subnets, or, if nothing else "
                f"there needs it: aws ec2 modify-subnet-attribute --no-map-public-ip-on-launch --subnet-id {subnet.id}",
            )


def _named(subnets: Iterable[Subnet]) -> str:
    return ", ".join(subnet.id for subnet in subnets)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedDatabase:
    """A database of the catalogue, the locations on it, and how RDS has it."""

    database: Database
    locations: Sequence[Location]
    hosting: Hosting


def find_databases(account: Account, catalogue: Catalogue) -> list[HostedDatabase]:
    """Each cluster and instance of the catalogue once. Raises DatabaseNotFoundError and DatabaseUnavailableError."""
    locations = list(catalogue.locations.values())
    together = {each: [one for one in locations if database_of(one) == each] for each in databases_of(locations)}
    return [
        HostedDatabase(
            database=database, locations=on_it, hosting=describe_hosting(on_it[0], lambda _: account.client("rds"))
        )
        for database, on_it in together.items()
    ]


def _network(name: str, groups: Sequence[BastionGroup], subnets: Mapping[str, Subnet]) -> ExistingNetwork:
    ours = [subnets[each] for each in sorted({subnet for group in groups for subnet in group.subnets})]
    for group in groups:
        if group.vpc and any(subnets[each].vpc != group.vpc for each in group.subnets):
            found = " and ".join(sorted({subnets[each].vpc for each in group.subnets}))
            raise DeploymentError(
                f"[bastions.{group.name}] names {group.vpc}, and its subnets are in {found}. Correct the catalogue."
            )
    vpcs = sorted({subnet.vpc for subnet in ours})
    if len(vpcs) > 1:
        raise DeploymentError(
            f"The bastions {', '.join(group.name for group in groups)} share the provisioner '{name}' and are in "
            f"{' and '.join(vpcs)}. A function is in one VPC: give the bastions of the other one another provisioner."
        )
    return ExistingNetwork(provisioner=name, vpc=vpcs[0], subnets=ours)


def _describe_subnets(ec2: Any, names: Collection[str]) -> dict[str, dict[str, Any]]:
    pages = ec2.get_paginator("describe_subnets").paginate(Filters=[{"Name": "subnet-id", "Values": list(names)}])
    found = {each["SubnetId"]: each for page in pages for each in page["Subnets"]}
    if missing := sorted(set(names) - set(found)):
        raise DeploymentError(
            f"There is no {' and no '.join(missing)} here. Correct [bastions] in the catalogue, or look whose account and"
            " which region this is."
        )
    return found


def _route_tables(ec2: Any, vpcs: Collection[str]) -> list[dict[str, Any]]:
    pages = ec2.get_paginator("describe_route_tables").paginate(Filters=[{"Name": "vpc-id", "Values": sorted(vpcs)}])
    return [table for page in pages for table in page["RouteTables"]]


def _endpoint_services(ec2: Any, vpcs: Collection[str]) -> dict[str, set[str]]:
    """For each VPC, the last words of the services that it has interface endpoints for."""
    pages = ec2.get_paginator("describe_vpc_endpoints").paginate(Filters=[{"Name": "vpc-id", "Values": sorted(vpcs)}])
    services: dict[str, set[str]] = {vpc: set() for vpc in vpcs}
    for page in pages:
        for each in page["VpcEndpoints"]:
            if each.get("VpcEndpointType") == "Interface" and each.get("State", "").lower() == "available":
                services[each["VpcId"]].add(each["ServiceName"].rpartition(".")[2])
    return services


def _route(subnet: str, vpc: str, tables: Sequence[Mapping[str, Any]], endpoints: Mapping[str, set[str]]) -> Route:
    def is_for(table: Mapping[str, Any], **wanted: object) -> bool:
        return any(
            all(each.get(key) == value for key, value in wanted.items()) for each in table.get("Associations", [])
        )

    here = [table for table in tables if table["VpcId"] == vpc]
    own = [table for table in here if is_for(table, SubnetId=subnet)]
    tables_here = own or [table for table in here if is_for(table, Main=True)]
    default = [
        route
        for table in tables_here
        for route in table["Routes"]
        if route.get("DestinationCidrBlock") == _EVERYWHERE and route.get("State", "active") == "active"
    ]
    if any(
        route.get("NatGatewayId") or route.get("InstanceId") or route.get("NetworkInterfaceId") for route in default
    ):
        return Route.NAT
    if endpoints.get(vpc, set()) >= _AGENT_ENDPOINTS:
        return Route.ENDPOINTS
    if any(str(route.get("GatewayId", "")).startswith("igw-") for route in default):
        return Route.INTERNET
    return Route.OTHER if default else Route.NONE
