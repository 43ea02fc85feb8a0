"""Tunnels as SSM sessions: which are open on an instance, and ending one."""

from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.errors import error_code, translated
from chalicelib.domain.errors import BastionNotReadyError
from chalicelib.domain.tunnels import Tunnel

_PAGE = 200
_ENDED = {"Terminated", "Terminating", "Failed"}
# What SSM answers for a session that is over: both have been seen, the latter for one "not in a valid state".
_ENDED_BEFORE = {"DoesNotExistException", "ValidationException"}


class SsmTunnels:
    """Raises BastionNotReadyError when SSM does not answer."""

    def __init__(self, ssm: Any) -> None:
        self._ssm = ssm

    def open_tunnels(self, instance_id: str) -> Sequence[Tunnel]:
        """Every session on the instance that could still carry bytes; a disconnected one can come back."""
        return self._open_tunnels(Filters=[{"key": "Target", "value": instance_id}])

    def all_open_tunnels(self) -> Sequence[Tunnel]:
        """The same on every instance of the account and region."""
        return self._open_tunnels()

    def _open_tunnels(self, **which: Any) -> Sequence[Tunnel]:
        tunnels = []
        with _answering("list the tunnels"):
            pages = self._ssm.get_paginator("describe_sessions").paginate(
                State="Active", PaginationConfig={"PageSize": _PAGE}, **which
            )
            for page in pages:
                tunnels += [
                    Tunnel(
                        session_id=session["SessionId"],
                        instance_id=session.get("Target", ""),
                        owner=session.get("Owner", ""),
                        reason=session.get("Reason", ""),
                        started_at=session["StartDate"],
                        document=session.get("DocumentName", ""),
                    )
                    for session in page["Sessions"]
                    if session["Status"] not in _ENDED
                ]
        return tunnels

    def end_tunnel(self, session_id: str) -> None:
        """End a session; one that has ended already is success."""
        with _answering("end a tunnel"):
            try:
                self._ssm.terminate_session(SessionId=session_id)
            except ClientError as error:
                if error_code(error) not in _ENDED_BEFORE:
                    raise


def _answering(what: str) -> Any:
    return translated(BastionNotReadyError, f"AWS did not answer when asked to {what}; it is asked again")
