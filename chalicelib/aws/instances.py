"""Which database instances a location has, as RDS lists them at the moment."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.errors import error_code, translated
from chalicelib.domain.errors import DatabaseNotFoundError, DatabaseUnavailableError
from chalicelib.domain.instances import DatabaseInstances, Endpoint
from chalicelib.domain.locations import DatabaseKind

_UNKNOWN = {"DBClusterNotFoundFault", "DBInstanceNotFound", "DBInstanceNotFoundFault"}


class RdsDirectory:
    """``rds`` gives the RDS client of a region."""

    def __init__(self, rds: Callable[[str], Any]) -> None:
        self._rds = rds

    def find_instances(self, *, kind: DatabaseKind, identifier: str, region: str) -> DatabaseInstances:
        """Writer and readers. Raises DatabaseNotFoundError, or DatabaseUnavailableError when RDS does not answer."""
        with translated(DatabaseUnavailableError, f"RDS did not answer when asked for the {kind} {identifier}"):
            try:
                if kind is DatabaseKind.CLUSTER:
                    return self._cluster(identifier, region)
                return self._single(identifier, region)
            except ClientError as error:
                if error_code(error) in _UNKNOWN:
                    raise DatabaseNotFoundError(
                        f"RDS knows no {kind} '{identifier}' in {region}. Correct the catalogue's location."
                    ) from error
                raise

    def _cluster(self, identifier: str, region: str) -> DatabaseInstances:
        cluster = self._rds(region).describe_db_clusters(DBClusterIdentifier=identifier)["DBClusters"][0]
        members = [
            member["DBInstanceIdentifier"] for member in cluster["DBClusterMembers"] if not member["IsClusterWriter"]
        ]
        readers = [endpoint for member in members if (endpoint := self._find_reader(member, region))]
        return DatabaseInstances(
            writer=Endpoint(host=cluster["Endpoint"], port=cluster["Port"]),
            readers=tuple(readers),
            resource_id=cluster.get("DbClusterResourceId"),
            # Only a cluster whose capacity may go down to nothing pauses (Aurora guide, "Scaling to zero ACUs").
            may_sleep=cluster.get("ServerlessV2ScalingConfiguration", {}).get("MinCapacity") == 0,
        )

    def _find_reader(self, identifier: str, region: str) -> Endpoint | None:
        """None for one that is being made or was just removed: nobody is connected to it, and no revocation may wait for it."""
        try:
            found = self._describe(identifier, region)
        except ClientError as error:
            if error_code(error) in _UNKNOWN:
                return None
            raise
        return _endpoint(found) if "Endpoint" in found else None

    def _single(self, identifier: str, region: str) -> DatabaseInstances:
        found = self._describe(identifier, region)
        if cluster := found.get("DBClusterIdentifier"):
            # Its roles are the cluster's, and so are its tokens: as two locations they would not know of each other.
            raise DatabaseNotFoundError(
                f"'{identifier}' in {region} is an instance of the cluster '{cluster}'. "
                f'Write cluster = "{cluster}" in the catalogue\'s location.'
            )
        return DatabaseInstances(writer=_endpoint(found), resource_id=found.get("DbiResourceId"))

    def _describe(self, identifier: str, region: str) -> Any:
        return self._rds(region).describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]


def _endpoint(instance: Any) -> Endpoint:
    if "Endpoint" not in instance:
        raise DatabaseUnavailableError(
            f"The instance {instance['DBInstanceIdentifier']} has no endpoint yet; RDS is still making it."
        )
    return Endpoint(host=instance["Endpoint"]["Address"], port=instance["Endpoint"]["Port"])
