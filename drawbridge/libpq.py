"""What programs find the database by: the variables and the service file of libpq. Neither holds a token."""

import os
from collections.abc import Mapping
from pathlib import Path

from drawbridge.connection import Connection

SERVICE = "drawbridge"
# Anything of these would lead the command elsewhere, or ask for TLS that ends at the listener already.
_REPLACED = frozenset(
    {
        "PGHOST",
        "PGHOSTADDR",
        "PGPORT",
        "PGDATABASE",
        "PGUSER",
        "PGPASSWORD",
        "PGPASSFILE",
        "PGREQUIREAUTH",
        "PGSERVICE",
        "PGSERVICEFILE",
        "PGSSLMODE",
        "PGREQUIRESSL",
        "PGSSLNEGOTIATION",
        "PGGSSENCMODE",
        "PGCHANNELBINDING",
        "PGSSLROOTCERT",
        "PGSSLCERT",
        "PGSSLKEY",
        "PGTARGETSESSIONATTRS",
        "PGLOADBALANCEHOSTS",
    }
)


def child_environment(
    inherited: Mapping[str, str],
    connection: Connection,
    *,
    port: int,
    socket_directory: Path | None,
    secret: str | None,
    service_file: Path,
) -> dict[str, str]:
    """The environment for a command: by the private socket where there is one, else by 127.0.0.1 with the run's secret."""
    found = {name: value for name, value in inherited.items() if name.upper() not in _REPLACED}
    found |= {
        "PGHOST": str(socket_directory) if socket_directory else "127.0.0.1",
        "PGPORT": str(port),
        "PGDATABASE": connection.database,
        "PGUSER": connection.user,
        "PGSSLMODE": "disable",
        "PGGSSENCMODE": "disable",
        "PGSERVICEFILE": str(service_file),
        "DRAWBRIDGE_REQUEST": connection.request_id,
        "DRAWBRIDGE_PORT": str(port),
    }
    return found | ({"PGPASSWORD": secret} if secret and not socket_directory else {})


def write_service_file(file: Path, environment: Mapping[str, str]) -> None:
    """The same for programs that are told ``service=drawbridge``; only the owner may read it."""
    lines = [f"{key}={environment[name]}" for key, name in _SERVICE_KEYS.items() if name in environment]
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write("\n".join([f"[{SERVICE}]", *lines, ""]))


_SERVICE_KEYS = {
    "host": "PGHOST",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "sslmode": "PGSSLMODE",
    "gssencmode": "PGGSSENCMODE",
}
