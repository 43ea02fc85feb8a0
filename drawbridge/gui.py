"""What DBeaver, DataGrip, pgAdmin and others want to know about an open listener. No token is among it."""

from urllib.parse import quote

from drawbridge.access import Opened
from drawbridge.clipboard import copy
from drawbridge.errors import ConfigurationError


def describe_settings(opened: Opened) -> str:
    """The settings, one a line."""
    connection = opened.connection
    password = opened.secret or "none: leave it empty"
    lines = {
        "Host": "127.0.0.1",
        "Port": str(opened.port),
        "Database": connection.database,
        "User": connection.user,
        "Password": password,
        "SSL": "off: Drawbridge checks the server's certificate and encrypts",
        "JDBC": _jdbc_address(opened),
    }
    return "\n".join(f"{name:<9} {value}" for name, value in lines.items())


def copy_settings(opened: Opened) -> str:
    """Put the JDBC address on the clipboard; a sentence that says whether it is there."""
    password = f"&password={quote(opened.secret, safe='')}" if opened.secret else ""
    try:
        copy(_jdbc_address(opened) + password)
    except ConfigurationError as error:
        return f"Nothing was copied. {error}"
    return "The JDBC address is on the clipboard."


def _jdbc_address(opened: Opened) -> str:
    connection = opened.connection
    database, user = quote(connection.database, safe=""), quote(connection.user, safe="")
    return f"jdbc:postgresql://127.0.0.1:{opened.port}/{database}?user={user}&sslmode=disable"
