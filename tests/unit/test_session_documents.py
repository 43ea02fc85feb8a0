"""The Session document of a location: leads to one database, ends by itself, and leaves one thing to be said."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.locations import SessionDocument
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import LOCAL_PORTS
from chalicelib.domain.session_documents import document_name, session_document
from local.ssm.documents import own_document
from tests.factories import OPERATE, READ, WRITE, a_location, a_rule
from tests.strategies import RULE

HOST = "orders-cluster.cluster-abc123.eu-west-1.rds.amazonaws.com"
PATTERN = session_document(a_location(), host=HOST, port="5432")["parameters"]["localPortNumber"]["allowedPattern"]


def minutes_of(**caps: int) -> dict[str, str]:
    """The limits of a location whose levels have these caps, in seconds."""
    levels = {PermissionLevel(level): a_rule(cap_seconds=cap) for level, cap in caps.items()}
    inputs: dict[str, str] = session_document(a_location(levels=levels), host=HOST, port="5432")["inputs"]
    return inputs


def test_it_leads_to_one_database() -> None:
    """The whole content, as it stands in the stack."""
    levels = {
        READ: a_rule(cap_seconds=8 * 3600),
        OPERATE: a_rule(cap_seconds=4 * 3600),
        WRITE: a_rule(cap_seconds=3600),
    }

    assert {
        "schemaVersion": "1.0",
        "description": "Tunnel to orders-prod through its Drawbridge bastion.",
        "sessionType": "Port",
        "inputs": {"idleSessionTimeout": "60", "maxSessionDuration": "480"},
        "parameters": {
            "localPortNumber": {
                "type": "String",
                "description": "The port on your own machine.",
                "default": "56789",
                "allowedPattern": PATTERN,
            }
        },
        "properties": {
            "type": "LocalPortForwarding",
            "host": HOST,
            "portNumber": "5432",
            "localPortNumber": "{{ localPortNumber }}",
        },
    } == session_document(a_location(levels=levels), host=HOST, port="5432")


def test_what_only_the_stack_will_know_passes_through() -> None:
    """Host and port as a template's references."""
    host, port = {"Ref": "DatabaseOrdersClusterHost"}, {"Ref": "DatabaseOrdersClusterPort"}
    properties = session_document(a_location(), host=host, port=port)["properties"]

    assert (host, port) == (properties["host"], properties["portNumber"])


def test_it_is_named_after_stage_and_location() -> None:
    """People's policies are written for the name; AWS's own document has its own."""
    assert ("drawbridge-prod-orders-prod", "AWS-StartPortForwardingSessionToRemoteHost") == tuple(
        document_name(stage="prod", location="orders-prod", document=document)
        for document in (SessionDocument.LOCATION, SessionDocument.AWS)
    )


@pytest.mark.parametrize(
    ("caps", "minutes"),
    [
        ({"r": 8 * 3600, "w": 3600}, "480"),
        ({"r": 3600, "w": 2 * 3600}, "120"),
        ({"o": 90}, "2"),
        ({"o": 20}, "1"),
        ({"o": 24 * 3600}, "1440"),
    ],
    ids=str,
)
def test_a_tunnel_lasts_as_long_as_the_longest_access(caps: dict[str, int], minutes: str) -> None:
    """In whole minutes, never less than anybody may have."""
    assert {"idleSessionTimeout": "60", "maxSessionDuration": minutes} == minutes_of(**caps)


@RULE
@given(
    caps=st.dictionaries(st.sampled_from([*PermissionLevel]), st.integers(1, 24 * 3600), min_size=1),
    port=st.sampled_from(LOCAL_PORTS),
)
def test_session_manager_takes_the_document_of_every_location(caps: dict[PermissionLevel, int], port: int) -> None:
    """Whatever the catalogue lets into it; and no access is longer than its tunnel."""
    location = a_location(port=port, levels={level: a_rule(cap_seconds=cap) for level, cap in caps.items()})
    content = session_document(location, host=HOST, port="5432")
    document = own_document("drawbridge-prod-orders-prod", json.loads(json.dumps(content)))
    longest = int(document.minutes("maxSessionDuration") or 0) * 60

    assert str(port) == document.fill({})["localPortNumber"]
    assert max(caps.values()) <= longest < max(caps.values()) + 60


def test_the_local_ports_that_it_takes_are_those_that_people_may_ask_for() -> None:
    """Every one of them, and no other number."""
    assert set(LOCAL_PORTS) == {port for port in range(100_000) if re.fullmatch(PATTERN, str(port))}


@pytest.mark.parametrize(
    "text", ["", "01024", "+56789", "56789 ", "56789\n", "five", "{{ host }}", "1e4", "５６７８９"]
)
def test_the_local_port_is_nothing_but_a_number(text: Any) -> None:
    """AWS puts it into the session as it was given."""
    assert re.fullmatch(PATTERN, text) is None
