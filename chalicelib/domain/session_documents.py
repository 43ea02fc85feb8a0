"""The Session document of a location: a tunnel to its database and nowhere else, ended by SSM itself at the longest cap. Pure."""

from collections.abc import Mapping
from typing import Any

from chalicelib.domain.locations import Location, SessionDocument

AWS_DOCUMENT = "AWS-StartPortForwardingSessionToRemoteHost"
_OURS = "drawbridge-"
IDLE_MINUTES = 60
"""The most that SSM allows; the database ends idle sessions of its own sooner."""
_MAXIMUM_MINUTES = 1440
_LOCAL_PORT = (
    "102[4-9]|10[3-9][0-9]|1[1-9][0-9]{2}|[2-9][0-9]{3}|[1-5][0-9]{4}|"
    "6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
)


def document_name(*, stage: str, location: str, document: SessionDocument = SessionDocument.LOCATION) -> str:
    """The name of the Session document that opens a location's tunnel; people's IAM policies are written for it."""
    return AWS_DOCUMENT if document is SessionDocument.AWS else f"{_OURS}{stage}-{location}"


def leads_elsewhere(document: str, location: str) -> bool:
    """Is it another location's own document, for sure? Whatever the stage is, so a name that ends like this one's may be it."""
    return document.startswith(_OURS) and not document.endswith(f"-{location}")


def session_document(
    location: Location, *, host: str | Mapping[str, Any], port: str | Mapping[str, Any]
) -> dict[str, Any]:
    """The content of a location's own document. Host and port are what the database has, as texts or as a template's references.

    SSM wants every value as text. The only thing left to say is the local port, among those that need no special rights.
    """
    longest_seconds = max(rule.cap_seconds for rule in location.all_rules)
    return {
        "schemaVersion": "1.0",
        "description": f"Tunnel to {location.name} through its Drawbridge bastion.",
        "sessionType": "Port",
        "inputs": {
            "idleSessionTimeout": str(IDLE_MINUTES),
            "maxSessionDuration": str(min(max(-(-longest_seconds // 60), 1), _MAXIMUM_MINUTES)),
        },
        "parameters": {
            "localPortNumber": {
                "type": "String",
                "description": "The port on your own machine.",
                "default": str(location.port),
                "allowedPattern": f"^({_LOCAL_PORT})$",
            }
        },
        "properties": {
            "type": "LocalPortForwarding",
            "host": host,
            "portNumber": port,
            "localPortNumber": "{{ localPortNumber }}",
        },
    }
