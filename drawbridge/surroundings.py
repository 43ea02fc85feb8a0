"""What a command finds around it: the API with the caller's identity, and the terminal."""

import sys
from dataclasses import dataclass

import boto3

from drawbridge.api import Api, open_session
from drawbridge.errors import ConfigurationError, RefusedError
from drawbridge.progress import Progress
from drawbridge.requests import AccessRequest, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The caller's session, and the API that it signs for."""

    session: boto3.Session
    api: Api


def enter_surroundings(api: str | None, awsprofile: str | None) -> Surroundings:
    """Raises ConfigurationError without an address, CredentialsError without credentials."""
    address = require_address(api)
    session = open_session(awsprofile)
    return Surroundings(session=session, api=Api(address, session=session))


def require_address(api: str | None) -> str:
    """Where the API is. Raises ConfigurationError when it was never said."""
    if api is None:
        raise ConfigurationError(
            "Drawbridge's API has no address yet. Ask whoever runs Drawbridge, then: drawbridge cfg set api ADDRESS"
        )
    return api


def open_progress() -> Progress:
    """On standard error, so that standard output is the command's alone."""
    return Progress(sys.stderr, is_terminal=sys.stderr.isatty())


def find_request(api: Api, wanted: str | None, *, only_ready: bool = False) -> AccessRequest:
    """The request of that id or for that location, else the only one there is. Raises RefusedError."""
    if wanted is not None and wanted.upper().startswith("R-"):
        request = api.watch(wanted.upper())
        if only_ready and request.state is not State.READY:
            raise RefusedError(f"{request.request_id} gives no access now: {request.explanation}")
        return request
    states = {State.READY} if only_ready else {State.READY, State.PREPARING, State.WAITING}
    found = [each for each in api.list_requests() if each.state in states and each.extends is None]
    if wanted is not None:
        found = [each for each in found if each.location == wanted]
    match found:
        case [request]:
            return request
        case []:
            what = "hold no access" if only_ready else "have nothing that is open"
            raise RefusedError(
                f"You {what}{f' to {wanted}' if wanted else ''}. Ask for it: drawbridge connect LOCATION"
            )
    named = ", ".join(f"{each.request_id} ({each.location} {each.level})" for each in found)
    raise RefusedError(f"There are several: {named}. Say which one, by its id.")
