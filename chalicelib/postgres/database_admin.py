"""The control plane's own login in a location's database: it makes a person's user, tries it, and takes it away again.

It decides nothing about people: who may have what comes with the order, what a level may do stands in the statements.
"""

import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from chalicelib import defaults
from chalicelib.domain.errors import DatabaseSetupError, LoginRefusedError, OrderExpiredError
from chalicelib.domain.instances import Endpoint
from chalicelib.domain.locations import Isolation
from chalicelib.domain.orders import ProvisioningOrder, RevocationOrder
from chalicelib.domain.receipts import Receipt, Strangers
from chalicelib.domain.roles import PROVISIONER
from chalicelib.postgres import statements
from chalicelib.postgres.connections import (
    Connection,
    Connector,
    in_transaction,
    is_full,
    is_refusal,
    reason_of,
    repair,
    translated,
)
from chalicelib.postgres.parking import park_strangers
from chalicelib.postgres.revocation import Revocation
from chalicelib.postgres.statements import RoleFacts

_ROUNDS = 2
"""From another database of the cluster a role can be parked past our lock, after we saw that it may log in."""


class PostgresDatabaseAdmin:
    """Makes and takes away people's users. Safe to repeat and to interrupt anywhere; no error of it holds a token.

    ``sign`` returns the IAM token of a user at an endpoint; ``hostaddr`` is where every endpoint is really reached.
    """

    def __init__(
        self,
        *,
        sign: Callable[[Endpoint, str], str],
        certificate_bundle: str,
        hostaddr: str | None,
        clock: Callable[[], datetime],
        connect_seconds: int = defaults.DURATIONS.database_connect,
        pause: Callable[[float], object] = time.sleep,  # noqa: TID251 - between bounded tries; tests pass their own
    ) -> None:
        self._connector = Connector(
            sign=sign,
            certificate_bundle=certificate_bundle,
            hostaddr=hostaddr,
            connect_seconds=connect_seconds,
            pause=pause,
        )
        self._clock = clock

    def provision(self, order: ProvisioningOrder) -> Strangers:
        """Make the person's user, or find it made. Issues only the statements that are missing, in one transaction.

        Before that, because strangers take places too, the access of users whom no grant explains is ended.
        Raises DatabaseUnavailableError, DatabaseSetupError, and OrderExpiredError when it would commit after ``not_after``.
        """
        facts = order.facts
        with translated(location=facts.location, place=_place(order)):
            connection = self._connector.open(
                order.instances.writer,
                database=order.location.database,
                user=PROVISIONER,
                request_id=facts.request_id,
                is_writer=True,
            )
            with closing(connection):
                if objection := statements.find_version_objection(connection.info.server_version):
                    raise DatabaseSetupError(f"{_place(order)} {objection}")
                strangers = park_strangers(connection, order.open_grants, besides=facts.role)
                in_transaction(connection, lambda c: self._provision(c, order), pause=self._connector.pause)
                return strangers

    def try_login(self, order: ProvisioningOrder) -> None:
        """Log in as the person once, with a token of their own. Raises LoginRefusedError and DatabaseUnavailableError."""
        facts = order.facts
        with translated(location=facts.location, place=_place(order)):
            try:
                connection = self._connector.open(
                    order.instances.writer,
                    database=order.location.database,
                    user=facts.role,
                    request_id=facts.request_id,
                )
            except psycopg.OperationalError as error:
                # Only a login that was accepted is counted: somebody who renews has their connections open.
                if is_full(error):
                    return
                if not is_refusal(error):
                    raise
                raise LoginRefusedError(
                    f"{_place(order)} refused the new user {facts.role} ({reason_of(error)}). Check that IAM authentication "
                    "is on and that Drawbridge may connect as this user, then ask again."
                ) from error
            with closing(connection):
                connection.execute("SELECT current_user")

    def revoke(self, order: RevocationOrder) -> Receipt:
        """Take the user away and read back what is left.

        Does nothing to a role that another request owns. Raises DatabaseUnavailableError, and RevocationIncompleteError
        when the role could still be used afterwards or nothing could be learned about it.
        """
        return Revocation(connector=self._connector, clock=self._clock, order=order).run()

    def _provision(self, connection: Connection, order: ProvisioningOrder) -> None:
        facts, groups, version = order.facts, order.groups, connection.info.server_version
        _require_isolated(connection, order)
        _require_ours(connection, order)
        _require_room(connection, order)
        steps = [
            *statements.location_steps(
                location=facts.location,
                groups=groups,
                database=order.location.database,
                resource_id=order.instances.resource_id,
                version=version,
            ),
            *statements.person_steps(
                facts=facts, groups=groups, ends_at=order.ends_at, not_after=order.not_after, version=version
            ),
        ]
        missing, rounds_left = _missing(connection, steps), _ROUNDS
        while missing and rounds_left:
            for step in missing:
                connection.execute(step.make)
            missing, rounds_left = _missing(connection, steps), rounds_left - 1
        for step in missing:
            raise DatabaseSetupError(
                f"{_place(order)} accepted this and yet it has no effect: {step.make.as_string()}. "
                f"{repair(facts.location)}"
            )
        if self._clock() > order.not_after:
            raise OrderExpiredError(
                f"The database user for {facts.request_id} on {facts.location} was ready too late and was not made. "
                "Ask again."
            )


def _missing(connection: Connection, steps: list[statements.Step]) -> list[statements.Step]:
    (holds,) = connection.execute(statements.evaluation(steps)).fetchone() or ([],)
    return [step for step, is_so in zip(steps, holds, strict=True) if not is_so]


def _require_isolated(connection: Connection, order: ProvisioningOrder) -> None:
    if order.location.isolation is not Isolation.STRICT:
        return
    siblings = [name for (name,) in connection.execute(statements.PUBLIC_SIBLINGS)]
    if exposed := [name for name in siblings if name not in order.location.also_readable]:
        location = order.facts.location
        raise DatabaseSetupError(
            f"Whoever has access to {location} could also read {', '.join(exposed)}: everybody may connect there. Let the "
            f"owner of each run the SQL of: python -m deployment location sql {location} --isolation DATABASE; or name them "
            "in also_readable."
        )


def _require_ours(connection: Connection, order: ProvisioningOrder) -> None:
    person, groups = order.facts.role, order.groups
    allowed = statements.group_memberships(groups)
    allowed[person] = statements.person_memberships(order.facts, groups)
    with connection.cursor(row_factory=class_row(RoleFacts)) as cursor:
        for role in cursor.execute(statements.role_facts(allowed)):
            if objection := role.find_objection(allowed=allowed[role.name], may_log_in=role.name == person):
                raise DatabaseSetupError(
                    f"{_place(order)} has a role {role.name} that {objection}, so Drawbridge does not use it. "
                    "Put that right or drop the role, then ask again."
                )


def _require_room(connection: Connection, order: ProvisioningOrder) -> None:
    most = order.location.max_people
    (others,) = connection.execute(statements.people_count(order.groups, besides=order.facts.role)).fetchone() or (0,)
    if others >= most:
        raise DatabaseSetupError(
            f"{order.facts.location} admits {most} users at a time and has {others}. Wait until one ends, or raise "
            "max_people in the catalogue."
        )


def _place(order: ProvisioningOrder) -> str:
    return f"The database {order.location.database} of {order.facts.location}"
