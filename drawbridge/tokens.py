"""Database tokens, signed on this machine with the caller's own AWS identity. They are kept in memory and never shown."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError

from drawbridge.connection import Connection
from drawbridge.errors import CredentialsError

KEPT_FOR = timedelta(minutes=10)
"""A token opens connections for 15 minutes (Aurora guide, IAM database authentication); five are left for slow logins."""


def make_token(session: boto3.Session, connection: Connection) -> str:
    """A token for exactly this endpoint and user; makes no call, unless the credentials have to be renewed first.

    Raises CredentialsError when there are none, or none that are still good.
    """
    try:
        rds: Any = session.client("rds", region_name=connection.region)
        return str(
            rds.generate_db_auth_token(
                DBHostname=connection.host, Port=connection.port, DBUsername=connection.user, Region=connection.region
            )
        )
    except BotoCoreError as error:
        raise credentials_error(session, error) from error


def credentials_error(session: boto3.Session, error: Exception) -> CredentialsError:
    """What to tell a person whose AWS credentials could not be had."""
    profile = session.profile_name
    return CredentialsError(
        f"Your AWS credentials (profile {profile}) cannot be used: {str(error).rstrip('.')}. "
        f"Sign in again, for example: aws sso login --profile {profile}"
    )


class RenewedToken:
    """Gives one token as long as it is fresh, and then the next. May be called from any thread."""

    def __init__(self, make: Callable[[], str], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        # Not the monotonic clock: on many systems it stands still while the machine sleeps, and tokens do not.
        self._make, self._now, self._lock = make, now, threading.Lock()
        self._kept: tuple[datetime, str] | None = None

    def __call__(self) -> str:
        """A token that opens connections for some minutes yet. Raises what its maker raises."""
        with self._lock:
            now = self._now()
            if self._kept is None or not timedelta(0) <= now - self._kept[0] < KEPT_FOR:
                self._kept = now, self._make()
            return self._kept[1]

    def forget(self) -> None:
        """Has the next call make a new one."""
        with self._lock:
            self._kept = None
