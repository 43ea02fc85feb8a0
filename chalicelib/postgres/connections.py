"""Connections with a signed token over verified TLS, transactions that are repeated, and PostgreSQL's errors in our own words.

It knows no statement of ours and decides nothing about roles.
"""

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import IsolationLevel, sql

from chalicelib import defaults
from chalicelib.domain.errors import AccessError, DatabaseSetupError, DatabaseUnavailableError
from chalicelib.domain.instances import Endpoint
from chalicelib.domain.roles import PERSON_PREFIX, PROVISIONER

Connection = psycopg.Connection[tuple[Any, ...]]
T = TypeVar("T")

# Many short waits and not few long ones: each try first disconnects whoever is in the way on purpose.
_TRANSACTION_TRIES = 30
_PAUSE_BETWEEN_CONNECTS = 1.0
# The control plane's own connections are short, so when it has as many as it may, one of them ends soon: a minute in all.
_TRIES_WHEN_FULL = 120
# The path is fixed so that nothing in a schema that people may write to can stand in for a catalog or a function.
_OPTIONS = "-c search_path=pg_catalog -c lock_timeout=1s -c statement_timeout=30s"

LOCK_KEY = sql.SQL("hashtextextended({}, 0)").format(sql.Literal(f"{PROVISIONER}:provision"))
"""The advisory lock of the control plane, one in each database."""

_IS_OUR_LOCK = sql.SQL(
    "l.locktype = 'advisory' AND l.objsubid = 1 AND (l.classid::int8 << 32) | l.objid::int8 = {}"
).format(LOCK_KEY)
# Whoever may write all data may lock a catalog's view as hard as they like, and with it the catalog (LOCK TABLE).
_IS_CATALOG_LOCK = sql.SQL(
    "l.locktype = 'relation' AND l.relation::int8 < 16384"
    " AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
)
BARS_OUR_WAY = sql.SQL("({} OR {})").format(_IS_OUR_LOCK, _IS_CATALOG_LOCK)
"""Is this row ``l`` of ``pg_lock_status()`` a lock with which somebody could keep access from ending?

The function and never its view, ``pg_locks``, since that can be locked too.
"""

# Everybody may take any advisory lock, so somebody could hold ours to keep their own access from ending. A catalog is locked so
# by none of our people for their work, and by others for theirs. In one message with the taking of our lock, so that nobody
# gets in between.
_LOCK = sql.SQL(
    "SELECT pg_terminate_backend(l.pid) FROM pg_lock_status() l JOIN pg_stat_activity a ON a.pid = l.pid"
    " JOIN pg_roles r ON r.oid = a.usesysid JOIN pg_database d ON l.database IN (d.oid, 0)"
    " WHERE d.datname = current_database() AND r.rolname <> current_user AND NOT r.rolsuper"
    " AND ({is_ours} OR {is_catalog} AND starts_with(r.rolname::text, {person}));"
    " SELECT pg_advisory_xact_lock({key})"
).format(is_ours=_IS_OUR_LOCK, is_catalog=_IS_CATALOG_LOCK, person=sql.Literal(PERSON_PREFIX), key=LOCK_KEY)
_CONTENTION = frozenset({"40001", "40P01", "55P03", "23505", "42710", "42704"})

# While connecting libpq passes on the words of the server and not its SQLSTATE.
_CERTIFICATE = re.compile(r"certificate|SSL error: (?!unexpected eof)")
_REFUSAL = re.compile(
    r"authentication failed|pg_hba\.conf|role .* does not exist|database .* does not exist"
    r"|not permitted to log in|permission denied for database|not currently accepting connections"
)
_FULL_ROLE = re.compile(r"too many connections for role")
_SETUP_CLASSES = frozenset({"0L", "0P", "28", "2B", "3D", "3F", "42"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """Opens connections the way RDS wants them.

    ``sign`` makes the token of an endpoint and user; ``hostaddr`` replaces the lookup of the host name and nothing else, so
    the certificate is still checked against that name.
    """

    sign: Callable[[Endpoint, str], str]
    certificate_bundle: str
    hostaddr: str | None
    connect_seconds: int
    pause: Callable[[float], object]

    def open(
        self, endpoint: Endpoint, *, database: str, user: str, request_id: str, is_writer: bool = False
    ) -> Connection:
        """A connection in autocommit mode whose transactions may write. Raises psycopg.Error.

        A database that sleeps or fails over gets another try, and so does the control plane when it has as many connections
        as it may. One that refuses the login does not.
        """
        tries_left = defaults.DATABASE_CONNECT_TRIES
        queue_tries_left = _TRIES_WHEN_FULL if user == PROVISIONER else 0
        while True:
            tries_left -= 1
            try:
                connection = psycopg.connect(
                    host=endpoint.host,
                    hostaddr=self.hostaddr,
                    port=endpoint.port,
                    dbname=database,
                    user=user,
                    password=self.sign(endpoint, user),
                    sslmode="verify-full",
                    sslrootcert=self.certificate_bundle,
                    connect_timeout=self.connect_seconds,
                    target_session_attrs="primary" if is_writer else "any",
                    application_name=f"{PROVISIONER} {request_id}",
                    client_encoding="utf8",
                    options=_OPTIONS,
                    # A server that vanished without a word is noticed within half a minute.
                    keepalives_idle=10,
                    keepalives_interval=5,
                    keepalives_count=4,
                    autocommit=True,
                    # Several statements in one string cannot be prepared, and a repeated one would be.
                    prepare_threshold=None,
                )
            except psycopg.OperationalError as error:
                if is_full(error) and queue_tries_left:
                    queue_tries_left -= 1
                    tries_left += 1
                    self.pause(random.uniform(0.2, 0.8))  # noqa: S311 - a pause is no secret
                elif tries_left == 0 or is_refusal(error) or is_full(error):
                    raise
                else:
                    self.pause(_PAUSE_BETWEEN_CONNECTS)
            else:
                # Whatever the database's own defaults are.
                connection.isolation_level = IsolationLevel.READ_COMMITTED
                connection.read_only = False
                return connection


@contextmanager
def locked_transaction(connection: Connection) -> Iterator[None]:
    """One transaction under the control plane's lock, which holds for one database of the cluster."""
    with connection.transaction():
        connection.execute(_LOCK)
        yield


def in_transaction(connection: Connection, work: Callable[[Connection], T], *, pause: Callable[[float], object]) -> T:
    """Do the work in one transaction under the control plane's lock; all of it again when it crossed another one.

    Advisory locks are per database while roles are per cluster, so two locations of one cluster can still collide: hence
    the repetition beside the lock. Raises what the work raises, after a rollback.
    """
    tries_left = _TRANSACTION_TRIES
    while True:
        tries_left -= 1
        try:
            with locked_transaction(connection):
                return work(connection)
        except psycopg.Error as error:
            if tries_left == 0 or not _is_contention(error):
                raise
        pause(random.uniform(0.01, 0.1))  # noqa: S311 - a pause is no secret


def is_refusal(error: psycopg.Error) -> bool:
    """Did the other side answer, and is it no use to try again: a login, database or certificate that does not fit?"""
    return error.sqlstate is None and bool(_REFUSAL.search(str(error)) or _CERTIFICATE.search(str(error)))


def is_full(error: psycopg.Error) -> bool:
    """Did the server accept the login, but the role has as many connections as it may?"""
    return error.sqlstate is None and bool(_FULL_ROLE.search(str(error)))


def is_passing(error: psycopg.Error) -> bool:
    """Did the server go away, or hand the writing to another one, in the middle of the work?"""
    state = error.sqlstate or ""
    return state == "25006" or state[:2] == "08" or state.startswith("57P")


@contextmanager
def translated(*, location: str, place: str) -> Iterator[None]:
    """What psycopg raises within, in our words: something to repair at the location, or something that may pass."""
    try:
        yield
    except psycopg.Error as error:
        raise _translation(error, location=location, place=place) from error


def _translation(error: psycopg.Error, *, location: str, place: str) -> AccessError:
    reason = reason_of(error)
    if error.sqlstate is None and _CERTIFICATE.search(str(error)):
        return DatabaseSetupError(
            f"{place} could not prove with its certificate that it is the right one ({reason}). "
            "Compare its certificate authority with the bundle that Drawbridge was deployed with."
        )
    if is_refusal(error):
        return DatabaseSetupError(
            f"{place} refuses the login {PROVISIONER} ({reason}). Check that it exists and has IAM authentication on. "
            f"{repair(location)}"
        )
    if error.sqlstate and error.sqlstate[:2] in _SETUP_CLASSES:
        return DatabaseSetupError(f"{place} does not let {PROVISIONER} do its work ({reason}). {repair(location)}")
    return DatabaseUnavailableError(
        f"{place} did not do its part ({reason}). Try again in a minute; if that does not help, check that it is up and lets "
        "Drawbridge's security group in."
    )


def repair(location: str) -> str:
    """What an operator does when the set-up of a location is incomplete."""
    return f"Let the owner of the database run the SQL of: python -m deployment location sql {location}"


def reason_of(error: psycopg.Error) -> str:
    """What PostgreSQL said, in one line without addresses and of at most 300 characters."""
    said = error.diag.message_primary or str(error).partition("\n")[0].rpartition("failed: ")[2].removeprefix("FATAL:")
    detail = f": {error.diag.message_detail}" if error.diag.message_detail else ""
    return " ".join(f"{said}{detail}".split())[:300]


def _is_contention(error: psycopg.Error) -> bool:
    return error.sqlstate in _CONTENTION or (error.sqlstate == "XX000" and "concurrently" in str(error))
