"""One revocation, from the first look at the role to what is read back. It ends access before it tidies up.

Roll back what is prepared, park, end the sessions on every instance, hand over, drop, read back; then park strangers.
Interrupted anywhere, the next one completes it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeVar

import psycopg

from chalicelib.domain.errors import (
    DatabaseSetupError,
    DatabaseUnavailableError,
    RevocationIncompleteError,
)
from chalicelib.domain.instances import Endpoint
from chalicelib.domain.orders import RevocationOrder
from chalicelib.domain.receipts import KeptObject, Receipt
from chalicelib.domain.roles import PROVISIONER
from chalicelib.postgres import statements
from chalicelib.postgres.connections import Connection, Connector, in_transaction, is_passing, reason_of, translated
from chalicelib.postgres.parking import end_parked_sessions, find_role, is_stranger, park, park_strangers
from chalicelib.postgres.statements import RoleFacts

_PARKINGS = 3
_TIDYING_TRIES = 2
_QUIET_PASSES = 3
_PASSES = 200
_PAUSE_BETWEEN_PASSES = 0.05
_KEPT_NAMES = 200
"""Names of kept objects in a receipt, which has to fit into a document of the workflow."""

T = TypeVar("T")


class _Superseded(Exception):  # noqa: N818 - no error: another request owns the role, and this revocation stops
    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self.request_id = request_id


class Revocation:
    """Takes one person's user away. Made for one run."""

    def __init__(self, *, connector: Connector, clock: Callable[[], datetime], order: RevocationOrder) -> None:
        self._connector = connector
        self._clock = clock
        self._order = order
        self._role = order.facts.role
        self._groups = order.groups
        self._unchecked: list[str] = []
        self._kept: list[KeptObject] = []
        self._refusals: list[str] = []

    def run(self) -> Receipt:
        """Revoke. Raises DatabaseUnavailableError and RevocationIncompleteError."""
        try:
            with ExitStack() as stack, self._translated(self._order.instances.writer):
                return self._revoke(stack)
        except _Superseded as newer:
            return Receipt(role=self._role, read_at=self._clock(), superseded_by=newer.request_id)
        except DatabaseSetupError as error:
            raise RevocationIncompleteError(f"Access of {self._role} could not be taken away. {error}") from error

    def _revoke(self, stack: ExitStack) -> Receipt:
        writer = stack.enter_context(self._open(self._order.instances.writer, is_writer=True))
        for _ in range(_PARKINGS):
            self._roll_back_prepared(writer)
            role = self._in_transaction(writer, self._park)
            if not self._refusals:
                break
        oid = role.oid if role else None
        instances = self._end_sessions(stack, writer, oid)
        self._unchecked += self._roll_back_prepared(writer)
        if role:
            self._clean(writer)
        if role and not self._unchecked:
            self._drop(writer)
        return self._with_strangers(self._read_back(writer, instances, oid), writer, instances)

    # Access ends here.

    def _roll_back_prepared(self, writer: Connection) -> list[str]:
        """A prepared transaction has no session to end, and keeps its locks: on the role, or the one that we take.

        Only who prepared it may roll it back, so that is whom we become, in a session of our own. Returns what could not be
        done, in sentences.
        """
        if self._require_ours(writer) is None:
            return []
        failures, version = [], writer.info.server_version
        for gid, database, owner in writer.execute(statements.prepared(self._role, self._groups)).fetchall():
            try:
                with self._open(self._order.instances.writer, database=database, is_writer=True) as session:
                    writer.execute(statements.impersonation(owner, version=version))
                    try:
                        session.execute(statements.becoming(owner))
                        session.execute(statements.rollback(gid))
                    finally:
                        writer.execute(statements.end_of_impersonation(owner))
            except psycopg.errors.UndefinedObject:
                continue  # somebody else was quicker
            except psycopg.Error as error:
                failures.append(f"The prepared transaction '{gid}' in {database} is left ({reason_of(error)}).")
        return failures

    def _park(self, writer: Connection) -> RoleFacts | None:
        role = self._require_ours(writer)
        self._refusals = park(writer, role) if role else []
        return role

    def _end_sessions(self, stack: ExitStack, writer: Connection, oid: int | None) -> list[Connection]:
        """End the sessions on every instance that can be reached, before complaining about one that cannot.

        A reader can appear after it was asked for, with somebody connected to it: again, until there is no other.
        """
        connections, failures = dict[Endpoint, Connection](), []
        while others := [endpoint for endpoint in self._find_instances(writer) if endpoint not in connections]:
            for endpoint in others:
                try:
                    with self._translated(endpoint):
                        is_writer = endpoint == self._order.instances.writer
                        connection = writer if is_writer else stack.enter_context(self._open(endpoint))
                        self._end_sessions_of(connection, endpoint, writer, oid)
                        connections[endpoint] = connection
                except (DatabaseUnavailableError, DatabaseSetupError, RevocationIncompleteError) as error:
                    failures.append(error)
            if failures:
                raise failures[0]
        return list(connections.values())

    def _find_instances(self, writer: Connection) -> list[Endpoint]:
        """What RDS listed, and what Aurora itself knows by now: every reader bears the hash of its cluster in its name."""
        listed, (_, is_cluster, rest) = self._order.instances, self._order.instances.writer.host.partition(".cluster-")
        (is_aurora,) = writer.execute(statements.IS_AURORA).fetchone() or (False,)
        names = writer.execute(statements.AURORA_READERS).fetchall() if is_aurora and is_cluster else []
        known = [Endpoint(host=f"{name}.{rest}", port=listed.writer.port) for (name,) in names]
        return list(dict.fromkeys((*listed.all(), *known)))

    def _end_sessions_of(self, instance: Connection, endpoint: Endpoint, writer: Connection, oid: int | None) -> None:
        """Pass by pass until the instance stays quiet: a login may be under way, and a reader learns of the parking late."""
        quiet = 0
        for _ in range(_PASSES):
            self._require_ours(writer)
            can_log_in, ended = instance.execute(statements.termination(self._role, oid)).fetchone() or (True, 0)
            quiet = 0 if can_log_in or ended else quiet + 1
            if quiet == _QUIET_PASSES:
                return
            self._connector.pause(_PAUSE_BETWEEN_PASSES)
        what = "may still log in" if can_log_in else f"still has {ended} sessions"
        raise RevocationIncompleteError(f"{_place(self._order, endpoint)}: {self._role} {what}. {self._advice()}")

    # The rest is tidying up.

    def _clean(self, writer: Connection) -> None:
        littered = statements.littered_databases(self._role, self._groups, self._order.facts.level)
        found = writer.execute(littered).fetchall()
        for (database,) in found:
            if reason := self._find_obstacle(writer, partial(self._clean_in, writer, database)):
                self._unchecked.append(
                    f"What {self._role} owns or was granted in the database {database} could not be taken from it "
                    f"({reason}); the role stays, without login."
                )

    def _clean_in(self, writer: Connection, database: str) -> None:
        if database == self._order.facts.database:
            self._kept += self._in_transaction(writer, self._hand_over)
            return
        with self._open(self._order.instances.writer, database=database, is_writer=True) as sibling:
            self._kept += self._in_transaction(sibling, self._hand_over)

    def _hand_over(self, connection: Connection) -> list[KeptObject]:
        """Everything in this database goes to the attic, where nobody but the write group can use it."""
        if self._require_ours(connection) is None:
            return []
        role, groups, database = self._role, self._groups, connection.info.dbname
        version = connection.info.server_version
        connection.execute(statements.adoption(role, groups, database=database, version=version))
        owned = connection.execute(statements.owned_objects(role, groups)).fetchall()
        for (schema,) in connection.execute(statements.owned_schemas(role, groups)).fetchall():
            connection.execute(statements.schema_handover(schema, groups))
        connection.execute(statements.reassignment(role, groups))
        for (take_back,) in connection.execute(statements.attic_grants(groups.attic)).fetchall():
            connection.execute(take_back)
        for (switch_off,) in connection.execute(statements.attic_triggers(groups.attic)).fetchall():
            connection.execute(switch_off)
        connection.execute(statements.drop_owned(role))
        connection.execute(statements.abandonment(role, groups, database=database))
        return [KeptObject(database=database, kind=kind, name=name) for kind, name in owned]

    def _drop(self, writer: Connection) -> None:
        if reason := self._find_obstacle(writer, lambda: self._in_transaction(writer, self._drop_if_ours)):
            self._unchecked.append(f"{self._role} stays, without login: it could not be dropped ({reason}).")

    def _drop_if_ours(self, writer: Connection) -> None:
        if self._require_ours(writer):
            writer.execute(statements.drop_role(self._role))

    def _read_back(self, writer: Connection, instances: list[Connection], oid: int | None) -> Receipt:
        role = self._require_ours(writer)
        sessions = 0
        for instance in instances:
            (count,) = instance.execute(statements.session_count(self._role, oid)).fetchone() or (0,)
            sessions += count
        receipt = Receipt(
            role=self._role,
            read_at=self._clock(),
            sessions=sessions,
            can_log_in=role is not None and role.can_log_in,
            is_dropped=role is None,
            memberships=tuple(name for name in role.memberships if name != statements.IAM_GROUP) if role else (),
            kept=_bounded(self._kept),
            unchecked=(*self._unchecked, *_find_unseen(writer, len(instances))),
        )
        if not receipt.proves_end:
            raise RevocationIncompleteError(
                f"{self._role} still has {sessions} sessions, {'a' if receipt.can_log_in else 'no'} login and these "
                f"memberships: {', '.join(receipt.memberships) or 'none'}. {self._advice()}"
            )
        return receipt

    def _with_strangers(self, receipt: Receipt, writer: Connection, instances: list[Connection]) -> Receipt:
        """The end is proved by now; nothing that happens here changes that."""
        strangers = park_strangers(writer, self._order.open_grants, besides=self._role)
        failures = list(strangers.failures)
        for instance in instances:
            try:
                end_parked_sessions(instance)
            except psycopg.Error as error:
                failures.append(f"Sessions of users without a grant may go on at an instance ({reason_of(error)}).")
        return replace(receipt, parked_strangers=strangers.parked, unchecked=(*receipt.unchecked, *failures))

    # What every step needs.

    def _require_ours(self, connection: Connection) -> RoleFacts | None:
        """The role as it stands, None when there is none. Raises _Superseded when another request owns it.

        A role whose comment names no request is taken for this one's: nobody else makes a name of this shape. So is one
        whose request has no grant any more: after a switch to a copy of the database it bears an older comment.
        """
        role = find_role(connection, self._role)
        owner = role.owning_request if role else None
        if role is None or owner is None or owner == self._order.facts.request_id:
            return role
        if is_stranger(role, self._order.open_grants):
            return role
        raise _Superseded(owner)

    @staticmethod
    def _find_obstacle(writer: Connection, work: Callable[[], object]) -> str:
        """What PostgreSQL says when the work fails twice: a lack of memory or time may have passed by the second try.

        What passes by itself but not at once is raised, so that all of it is tried again.
        """
        reason = ""
        for _ in range(_TIDYING_TRIES):
            try:
                work()
            except psycopg.Error as error:
                if is_passing(error) or writer.broken:
                    raise
                reason = reason_of(error)
            else:
                return ""
        return reason

    def _advice(self) -> str:
        if not self._refusals:
            return "Nothing to do: it is tried again."
        return (
            f"PostgreSQL refused {PROVISIONER} this: {' '.join(self._refusals)} Let a role that may, do it by hand, or grant "
            f"{self._role} to {PROVISIONER} with ADMIN OPTION; it is tried again."
        )

    def _in_transaction(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        return in_transaction(connection, work, pause=self._connector.pause)

    @contextmanager
    def _open(
        self, endpoint: Endpoint, *, database: str | None = None, is_writer: bool = False
    ) -> Iterator[Connection]:
        with closing(
            self._connector.open(
                endpoint,
                database=database or self._order.facts.database,
                user=PROVISIONER,
                request_id=self._order.facts.request_id,
                is_writer=is_writer,
            )
        ) as connection:
            yield connection

    def _translated(self, endpoint: Endpoint) -> AbstractContextManager[None]:
        return translated(location=self._order.facts.location, place=_place(self._order, endpoint))


def _place(order: RevocationOrder, endpoint: Endpoint) -> str:
    return f"The database {order.facts.database} of {order.facts.location} on {endpoint.host.partition('.')[0]}"


def _find_unseen(writer: Connection, visited: int) -> Iterator[str]:
    (followers,) = writer.execute(statements.FOLLOWERS).fetchone() or (0,)
    if unseen := max(0, 1 + followers - visited):
        yield (
            f"Copies that follow this database and that RDS does not list with it: {unseen}. Sessions there could not be "
            "looked at; they lose their login and their rights as the copy follows."
        )


def _bounded(kept: list[KeptObject]) -> tuple[KeptObject, ...]:
    if len(kept) <= _KEPT_NAMES:
        return tuple(kept)
    rest = len(kept) - _KEPT_NAMES
    return (
        *kept[:_KEPT_NAMES],
        KeptObject(database=kept[_KEPT_NAMES].database, kind="object", name=f"and {rest} more"),
    )
