"""What a client needs to reach the database of one request, as the API says it. Holds no token and no password."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from drawbridge.errors import UnreadableAnswerError

PORTS = range(1, 65_536)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The database of a request that is ready, the bastion in front of it, and until when the access lasts."""

    request_id: str
    location: str
    level: str
    host: str
    """The real endpoint: the name in the server's certificate, and in the token."""
    port: int
    database: str
    user: str
    region: str
    instance_id: str
    document_name: str
    document_parameters: Mapping[str, tuple[str, ...]]
    local_port: int
    """The port that people's tools expect on their own machine, unless they asked for another."""
    certificate_bundle_url: str
    database_user_arn: str | None
    """What the caller's own AWS identity must be allowed to rds-db:connect to."""
    ends_at: datetime

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> Self:
        """The connection of the API's ``Request`` in state ready. Raises UnreadableAnswerError, which names the field."""
        details = _read(request, "connection", dict)
        return cls(
            request_id=_text(request, "request_id"),
            location=_text(request, "location"),
            level=_text(request, "level"),
            host=_text(details, "host"),
            port=_port(details, "port"),
            database=_text(details, "database"),
            user=_text(details, "user"),
            region=_text(details, "region"),
            instance_id=_text(details, "instance_id"),
            document_name=_text(details, "document_name"),
            document_parameters=_parameters(details),
            local_port=_port(details, "local_port"),
            certificate_bundle_url=_text(details, "certificate_bundle_url"),
            database_user_arn=_text(details, "database_user_arn") if details.get("database_user_arn") else None,
            ends_at=_instant(request, "ends_at"),
        )


def _read(source: Mapping[str, Any], name: str, kind: type) -> Any:
    value = source.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _unreadable(name)
    return value


def _text(source: Mapping[str, Any], name: str) -> str:
    value = str(_read(source, name, str))
    if not value or "\0" in value:  # NUL ends a value in PostgreSQL's start-up: what follows would be another parameter
        raise _unreadable(name)
    return value


def _port(source: Mapping[str, Any], name: str) -> int:
    value = int(_read(source, name, int))
    if value not in PORTS:
        raise _unreadable(name)
    return value


def _parameters(source: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    parameters = _read(source, "document_parameters", dict)
    for name, texts in parameters.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise _unreadable(f"document_parameters.{name}")
    return {name: tuple(texts) for name, texts in parameters.items()}


def _instant(source: Mapping[str, Any], name: str) -> datetime:
    try:
        instant = datetime.fromisoformat(_text(source, name))
    except ValueError as error:
        raise _unreadable(name) from error
    if instant.tzinfo is None:
        raise _unreadable(name)
    return instant


def _unreadable(name: str) -> UnreadableAnswerError:
    return UnreadableAnswerError(
        f"Drawbridge's answer has no {name} that this client can read. Install the version of the client that belongs to "
        "your stage, and ask again; the access itself is not touched by this."
    )
