"""Which database instances a location has, as RDS lists them at the moment."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.clients import error_code, translated
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
                return DatabaseInstances(writer=self._instance(identifier, region))
            except ClientError as error:
                if error_code(error) in _UNKNOWN:
                    raise DatabaseNotFoundError(
                        f"RDS knows no {kind} '{identifier}' in {region}. Correct the catalogue's location."
                    ) from error
                raise

    def _cluster(self, identifier: str, region: str) -> DatabaseInstances:
        cluster = self._rds(region).describe_db_clusters(DBClusterIdentifier=identifier)["DBClusters"][0]
        readers = [
            self._instance(member["DBInstanceIdentifier"], region)
            for member in cluster["DBClusterMembers"]
            if not member["IsClusterWriter"]
        ]
        return DatabaseInstances(
            writer=Endpoint(host=cluster["Endpoint"], port=cluster["Port"]), readers=tuple(readers)
        )

    def _instance(self, identifier: str, region: str) -> Endpoint:
        found = self._rds(region).describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
        if "Endpoint" not in found:
            raise DatabaseUnavailableError(f"The instance {identifier} has no endpoint yet; RDS is still making it.")
        return Endpoint(host=found["Endpoint"]["Address"], port=found["Endpoint"]["Port"])
