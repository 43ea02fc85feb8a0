"""What the API says is read once, and whatever is wrong with it is named then."""

from datetime import UTC, datetime
from typing import Any

import pytest

from drawbridge.connection import Connection
from drawbridge.errors import UnreadableAnswerError

REQUEST: dict[str, Any] = {
    "request_id": "R-ABC234",
    "location": "my-aurora-location",
    "level": "w",
    "state": "ready",
    "ends_at": "2026-03-02T13:00:00Z",
    "something_new": 1,
    "connection": {
        "instance_id": "i-0123456789abcdef0",
        "document_name": "drawbridge-example-my-aurora-location",
        "document_parameters": {"localPortNumber": ["56789"]},
        "host": "my-aurora.cluster-abc.eu-west-1.rds.amazonaws.com",
        "port": 5432,
        "database": "depotpostgres",
        "user": "jit_0123abcd_w_alice",
        "region": "eu-west-1",
        "local_port": 56789,
        "stage": "example",
        "certificate_bundle_url": "https://example.com/bundle.pem",
        "database_user_arn": "arn:aws:rds-db:eu-west-1:123456789012:dbuser:cluster-ABC/jit_0123abcd_w_alice",
    },
}


def changed(name: str, value: Any) -> dict[str, Any]:
    """With another value, or without one."""
    details = dict(REQUEST["connection"])
    request = {**REQUEST, "connection": details}
    target = details if name in details else request
    target.pop(name) if value is KeyError else target.update({name: value})
    return request


def test_a_ready_request_is_read() -> None:
    """What else a newer stage says is not in the way."""
    connection = Connection.from_request(REQUEST)

    assert ("R-ABC234", "my-aurora-location", "w") == (connection.request_id, connection.location, connection.level)
    assert {"localPortNumber": ("56789",)} == connection.document_parameters
    assert datetime(2026, 3, 2, 13, 0, tzinfo=UTC) == connection.ends_at
    assert REQUEST["connection"]["host"] == connection.host
    assert (5432, 56789) == (connection.port, connection.local_port)


@pytest.mark.parametrize("value", [None, KeyError])
def test_access_of_an_older_release_names_no_arn(value: Any) -> None:
    """It works all the same."""
    assert None is Connection.from_request(changed("database_user_arn", value)).database_user_arn


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, KeyError) for name in ("request_id", "location", "level", "ends_at", "connection")),
        *((name, KeyError) for name in REQUEST["connection"] if name not in {"stage", "database_user_arn"}),
        ("connection", None),
        ("ends_at", "soon"),
        ("ends_at", "2026-03-02T13:00:00"),
        ("ends_at", 1772456400),
        ("user", "jit\0database\0postgres"),
        ("database", ""),
        ("port", "5432"),
        ("port", 0),
        ("port", 65536),
        ("port", True),
        ("document_parameters", {"host": "x"}),
        ("document_parameters", {"host": [1]}),
    ],
)
def test_a_field_that_cannot_be_used_is_named(name: str, value: Any) -> None:
    """Before anything is started by it."""
    with pytest.raises(UnreadableAnswerError, match=f"Drawbridge's answer has no {name}"):
        Connection.from_request(changed(name, value))
