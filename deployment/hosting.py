"""What RDS says of a location's cluster or instance, asked with the operator's own AWS identity. It changes nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chalicelib.aws.errors import translated
from chalicelib.aws.instances import RdsDirectory
from chalicelib.domain.errors import DatabaseNotFoundError, DatabaseUnavailableError
from chalicelib.domain.instances import DatabaseInstances, require_own_endpoints
from chalicelib.domain.locations import DatabaseKind, Location
from chalicelib.domain.roles import PROVISIONER
from chalicelib.postgres.setup_check import Finding, Mark
from deployment.account import find_useless_identity

_OVER = {"SWITCHOVER_COMPLETED", "DELETING"}
"""A blue/green deployment after which nothing more happens to its source."""

Rds = Callable[[str], Any]
"""Gives the RDS client of a region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosting:
    """A location's cluster or instance as RDS has it. ``major`` is PostgreSQL's version."""

    instances: DatabaseInstances
    arn: str
    resource: str
    major: int
    has_iam_authentication: bool
    security_groups: tuple[str, ...] = ()
    """The ids of those that guard its port."""

    @property
    def connect_arn(self) -> str:
        """What a policy for rds-db:connect calls Drawbridge's login here."""
        _, partition, _, region, account, *_ = self.arn.split(":")
        return f"arn:{partition}:rds-db:{region}:{account}:dbuser:{self.resource}/{PROVISIONER}"


def describe_hosting(location: Location, rds: Rds) -> Hosting:
    """Ask RDS. Raises DatabaseNotFoundError, DatabaseUnavailableError, and SettingsError for an AWS identity of no use."""
    is_cluster = location.kind is DatabaseKind.CLUSTER
    with _explained(), translated(DatabaseUnavailableError, f"RDS did not answer when asked for {location.identifier}"):
        instances = RdsDirectory(rds).find_instances(
            kind=location.kind, identifier=location.identifier, region=location.region
        )
        client = rds(location.region)
        if is_cluster:
            found = client.describe_db_clusters(DBClusterIdentifier=location.identifier)["DBClusters"][0]
        else:
            found = client.describe_db_instances(DBInstanceIdentifier=location.identifier)["DBInstances"][0]
    return Hosting(
        instances=instances,
        arn=found["DBClusterArn" if is_cluster else "DBInstanceArn"],
        resource=found["DbClusterResourceId" if is_cluster else "DbiResourceId"],
        major=int(found["EngineVersion"].partition(".")[0]),
        has_iam_authentication=found.get("IAMDatabaseAuthenticationEnabled", False),
        security_groups=tuple(group["VpcSecurityGroupId"] for group in found.get("VpcSecurityGroups", [])),
    )


def examine_hosting(location: Location, hosting: Hosting, rds: Rds) -> Iterator[Finding]:
    """What RDS has to say before anybody connects; a finding for each question."""
    yield _find_strange_endpoint(location, hosting)
    yield _find_iam_authentication(location, hosting)
    yield _find_switchover(location, hosting, rds)


def _find_strange_endpoint(location: Location, hosting: Hosting) -> Finding:
    writer = hosting.instances.writer
    try:
        require_own_endpoints(
            hosting.instances, kind=location.kind, identifier=location.identifier, region=location.region
        )
    except DatabaseNotFoundError as error:
        return Finding(
            mark=Mark.REPAIR,
            what=str(error),
            repair="-- Correct the location's name and region in the catalogue.",
        )
    return Finding(mark=Mark.HOLDS, what=f"RDS lists the writer {writer.host}:{writer.port}")


def _find_iam_authentication(location: Location, hosting: Hosting) -> Finding:
    if hosting.has_iam_authentication:
        return Finding(mark=Mark.HOLDS, what="IAM database authentication is on")
    return Finding(
        mark=Mark.REPAIR,
        what=f"IAM database authentication is off for the {location.kind} {location.identifier}",
        repair=f"aws rds modify-db-{location.kind} --region {location.region}"
        f" --db-{location.kind}-identifier {location.identifier}"
        " --enable-iam-database-authentication --apply-immediately",
    )


def _find_switchover(location: Location, hosting: Hosting, rds: Rds) -> Finding:
    try:
        with translated(DatabaseUnavailableError, "RDS did not say"):
            pages = rds(location.region).get_paginator("describe_blue_green_deployments")
            found = pages.paginate(Filters=[{"Name": "source", "Values": [hosting.arn]}]).build_full_result()
    except DatabaseUnavailableError as error:
        return Finding(
            mark=Mark.UNKNOWN,
            what=f"whether a blue/green deployment is under way: {error}",
            repair="-- Allow your AWS identity rds:DescribeBlueGreenDeployments.",
        )
    under_way = [each for each in found["BlueGreenDeployments"] if each["Status"] not in _OVER]
    if not under_way:
        return Finding(mark=Mark.HOLDS, what="no blue/green deployment is under way")
    names = ", ".join(f"{_name(each)} ({each['Status']})" for each in under_way)
    return Finding(
        mark=Mark.REPAIR,
        what=f"a blue/green deployment is under way: {names}. Users made or ended since are not so in its copy",
        repair=f"-- Before the switchover, end all access to {location.name}; after it, run this check again: the resource id\n"
        "-- has changed then, and policies that name it must change too.",
    )


def _name(deployment: dict[str, Any]) -> str:
    return str(deployment.get("BlueGreenDeploymentName") or deployment["BlueGreenDeploymentIdentifier"])


@contextmanager
def _explained() -> Iterator[None]:
    """Tell an AWS identity of no use from an RDS that does not answer."""
    try:
        yield
    except DatabaseUnavailableError as error:
        if (useless := find_useless_identity(error.__cause__)) is not None:
            raise useless from error
        raise
