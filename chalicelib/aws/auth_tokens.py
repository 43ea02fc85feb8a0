"""Database tokens, signed locally from the function's own credentials. Makes no call."""

from typing import Any

from chalicelib.aws.clients import client
from chalicelib.aws.errors import translated
from chalicelib.domain.errors import DatabaseUnavailableError
from chalicelib.domain.instances import Endpoint


class RdsAuthTokens:
    """IAM authentication tokens; each opens new connections for 15 minutes (Aurora guide, IAM database authentication)."""

    def sign(self, endpoint: Endpoint, user: str, region: str) -> str:
        """A token for exactly this endpoint and user."""
        rds: Any = client("rds", region)
        with translated(DatabaseUnavailableError, "No token could be signed; the function has no credentials"):
            return str(
                rds.generate_db_auth_token(DBHostname=endpoint.host, Port=endpoint.port, DBUsername=user, Region=region)
            )
