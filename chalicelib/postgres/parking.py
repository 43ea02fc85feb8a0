"""Parking: a person's user loses login, memberships and sessions, and nothing is dropped. At their own end, and where no grant
explains them, as a copy of a database brings them along; those are never waited for.
"""

import time

import psycopg
from psycopg.rows import class_row

from chalicelib.domain.orders import OpenGrants
from chalicelib.domain.receipts import Strangers
from chalicelib.postgres import statements
from chalicelib.postgres.connections import Connection, locked_transaction, reason_of
from chalicelib.postgres.statements import RoleFacts

_SECONDS = 5
"""For all strangers together. The next connection goes on where this one stopped."""
_NAMES = 50
"""Names of strangers, and of failures, in a receipt or a log line."""


def find_role(connection: Connection, name: str) -> RoleFacts | None:
    """The role as it stands."""
    with connection.cursor(row_factory=class_row(RoleFacts)) as cursor:
        role: RoleFacts | None = cursor.execute(statements.role_facts([name])).fetchone()
    return role


def park(connection: Connection, role: RoleFacts) -> list[str]:
    """Take what makes the role usable, in the transaction under way. Returns what PostgreSQL said where it refused.

    Each for itself: what cannot be had, or not yet, must not keep the rest alive.
    """
    refusals = []
    for statement in statements.parking(role):
        try:
            with connection.transaction():
                connection.execute(statement)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable) as error:
            refusals.append(reason_of(error))
    return refusals


def is_stranger(role: RoleFacts, open_grants: OpenGrants | None) -> bool:
    """Does the role's comment name a request that surely has no grant any more?"""
    request_id, not_after = role.owning_request, role.made_by
    if open_grants is None or request_id is None or not_after is None:
        return False
    return open_grants.disown(request_id=request_id, not_after=not_after)


def park_strangers(
    connection: Connection, open_grants: OpenGrants | None, *, besides: str, seconds: float = _SECONDS
) -> Strangers:
    """Park every stranger but one role, each in a transaction of its own. Raises no psycopg.Error.

    Nothing of it may stand in the way of the person on whose account we are connected, so what cannot be done, or not within
    these seconds, is named.
    """
    parked, failures = list[str](), list[str]()
    deadline = time.monotonic() + seconds
    try:
        for role in _find_strangers(connection, open_grants, besides):
            if time.monotonic() > deadline:
                failures.append(f"There was no time to park {role.name}.")
            elif obstacles := _park_alone(connection, role.name, open_grants):
                failures.append(f"{role.name} was not parked ({' '.join(obstacles)}).")
            else:
                parked.append(role.name)
        # A login that was under way while its role was parked is in by now.
        end_parked_sessions(connection)
    except psycopg.Error as error:
        failures.append(f"Users without a grant could not be looked for ({reason_of(error)}).")
    return Strangers(parked=_bounded(parked), failures=_bounded(failures))


def end_parked_sessions(connection: Connection) -> None:
    """End what sessions parked roles still have on this instance."""
    connection.execute(statements.PARKED_TERMINATION)


def _find_strangers(connection: Connection, open_grants: OpenGrants | None, besides: str) -> list[RoleFacts]:
    with connection.cursor(row_factory=class_row(RoleFacts)) as cursor:
        roles = cursor.execute(statements.usable_people(besides=besides)).fetchall()
    return [role for role in roles if is_stranger(role, open_grants)]


def _park_alone(connection: Connection, name: str, open_grants: OpenGrants | None) -> list[str]:
    """What came in between, or keeps the role usable."""
    obstacles = ["It has a grant by now."]
    try:
        with locked_transaction(connection):
            role = find_role(connection, name)
            refusals = park(connection, role) if role and is_stranger(role, open_grants) else []
            # Looked at again, because from another database of the cluster it can be renewed past our lock.
            left = find_role(connection, name)
            if left is None or not is_stranger(left, open_grants):
                raise psycopg.Rollback
            obstacles = refusals or (["It keeps a membership that somebody else gave."] if left.is_usable else [])
    except psycopg.Error as error:
        return [reason_of(error)]
    return obstacles


def _bounded(sentences: list[str]) -> tuple[str, ...]:
    rest = len(sentences) - _NAMES
    return tuple(sentences) if rest <= 0 else (*sentences[:_NAMES], f"and {rest} more")
