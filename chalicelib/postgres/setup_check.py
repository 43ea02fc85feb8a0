"""Whether a location's database is ready for Drawbridge: questions to its catalogs, and what repairs each wrong answer.

It changes nothing: every question is asked in a transaction that may only read.
"""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.sql import SQL, Composed, Identifier, Literal

from chalicelib.domain.instances import Endpoint
from chalicelib.domain.locations import Isolation, Location
from chalicelib.domain.roles import PERSON_PREFIX, PROVISIONER, group_roles
from chalicelib.postgres import statements
from chalicelib.postgres.connections import Connection, reason_of
from chalicelib.postgres.owner_setup import owner_setup
from chalicelib.postgres.statements import GRANT_OPTIONS_VERSION, IAM_GROUP, RoleFacts

_SIGNAL = "pg_signal_backend"
_HANDED_OUT = ("pg_read_all_data", "pg_write_all_data", "pg_monitor")
_LONGEST_NAME = 63
_US = Identifier(PROVISIONER)
_MANAGED = SQL(
    "starts_with(coalesce(shobj_description(r.oid, 'pg_authid'), ''), {})"
    " AND (starts_with(r.rolname, {}) OR starts_with(r.rolname, {}))"
).format(Literal(statements.MARKER), Literal(f"{PROVISIONER}_"), Literal(PERSON_PREFIX))
# As PostgreSQL looks for somebody who may grant a role: through what we inherit, and no further.
_ADMINISTERED = SQL(
    "EXISTS (SELECT FROM pg_auth_members a WHERE a.roleid = r.oid AND a.admin_option"
    " AND pg_has_role(current_user, a.member, 'USAGE'))"
)


class Mark(StrEnum):
    """What an answer means, in the word that stands before it."""

    HOLDS = "ok"
    REPAIR = "REPAIR"
    UNKNOWN = "UNKNOWN"
    CAUTION = "CAUTION"
    """Works, and yet somebody should know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One answer. ``repair`` is ready to paste: SQL, a command, or lines that begin with ``--`` and say who does what."""

    mark: Mark
    what: str
    repair: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is examined. ``resource`` is RDS's present id of the cluster or instance, such as ``cluster-ABC``.

    ``sql_command`` prints the SQL of the location; ``connect_arn`` is what IAM calls our login.
    """

    location: Location
    writer: Endpoint
    resource: str
    sql_command: str
    connect_arn: str


def examine(connection: Connection, subject: Subject) -> Iterator[Finding]:
    """Ask everything, also when one question fails; at least one finding for each. The connection is our login's own."""
    connection.read_only = True
    for holds, ask in _QUESTIONS.items():
        try:
            with connection.transaction():
                found = list(ask(connection, subject))
        except psycopg.Error as error:
            yield Finding(
                mark=Mark.UNKNOWN,
                what=f"{holds}: could not be asked ({reason_of(error)})",
                repair="-- Run the check again.",
            )
        else:
            yield from found or [Finding(mark=Mark.HOLDS, what=holds)]


def judge_refused_login(error: psycopg.Error, subject: Subject, *, major: int) -> Finding:
    """Our login was refused, or the certificate was: what to do. ``major`` is the server's version as RDS states it."""
    reason, database = reason_of(error), subject.location.database
    if "certificate" in reason or "SSL error" in reason:
        return Finding(
            mark=Mark.REPAIR,
            what=f"the server could not prove that it is {subject.writer.host} ({reason})",
            repair="-- Let --address lead to that host, and --certificates name the bundle of the RDS authorities:\n"
            "curl --output rds-global-bundle.pem https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem",
        )
    if "does not exist" in reason and f'database "{database}"' in reason:
        return Finding(
            mark=Mark.REPAIR,
            what=f"the server has no database {database}",
            repair="-- Correct the location's database in the catalogue.",
        )
    setup = owner_setup(database=database, server_version=major * 10_000)
    return Finding(
        mark=Mark.REPAIR,
        what=f"the login {PROVISIONER} is refused ({reason})",
        repair=f"-- As the master user, or whoever owns {database} and may make roles:\n{setup}"
        f"ALTER ROLE {_US.as_string()} LOGIN;\n"
        f"-- If that is done already, your own AWS identity lacks rds-db:connect on\n-- {subject.connect_arn}",
    )


# Questions: each yields what is wrong, and nothing when all is well.


def _old_server(connection: Connection, _: Subject) -> Iterator[Finding]:
    if objection := statements.find_version_objection(connection.info.server_version):
        yield _wrong(f"the server {objection}", "-- Upgrade the cluster or instance in RDS.")


def _standby(connection: Connection, subject: Subject) -> Iterator[Finding]:
    if _value(connection, SQL("SELECT pg_is_in_recovery()")):
        yield _wrong(
            "a reader answered, where nothing can be granted",
            f"-- Let the tunnel and --address lead to the writer, {subject.writer.host}:{subject.writer.port}.",
        )


def _attributes(connection: Connection, _: Subject) -> Iterator[Finding]:
    question = SQL("SELECT rolcanlogin, rolcreaterole FROM pg_roles WHERE rolname = current_user")
    ((can_log_in, makes_roles),) = connection.execute(question)
    for attribute, is_there in {"LOGIN": can_log_in, "CREATEROLE": makes_roles}.items():
        if not is_there:
            yield _wrong(
                f"{PROVISIONER} lacks {attribute}",
                f"-- As the master user:\nALTER ROLE {_US.as_string()} {attribute};",
            )


def _memberships(connection: Connection, _: Subject) -> Iterator[Finding]:
    options = " WITH INHERIT TRUE" if connection.info.server_version >= GRANT_OPTIONS_VERSION else ""
    for group in (IAM_GROUP, _SIGNAL):
        found = connection.execute(
            SQL(
                "SELECT pg_has_role(current_user, oid, 'USAGE'), pg_has_role(current_user, oid, 'MEMBER')"
                " FROM pg_roles WHERE rolname = {}"
            ).format(Literal(group))
        ).fetchone()
        if found is None:
            yield _wrong(
                f"the server has no role {group}",
                "-- Only Amazon RDS and Aurora have it. Correct the catalogue, or --address.",
            )
            continue
        may_use, is_member = found
        if not may_use:
            inherit = f"ALTER ROLE {_US.as_string()} INHERIT;\n" if is_member and not options else ""
            yield _wrong(
                f"{PROVISIONER} cannot use {group}",
                f"-- As the master user:\n{inherit}GRANT {group} TO {_US.as_string()}{options};",
            )


def _handed_out(connection: Connection, _: Subject) -> Iterator[Finding]:
    if connection.info.server_version < GRANT_OPTIONS_VERSION:
        return
    question = SQL("SELECT r.rolname::text FROM pg_roles r WHERE r.rolname = ANY({}) AND NOT {}")
    missing = _column(connection, question.format(Literal([IAM_GROUP, *_HANDED_OUT]), _ADMINISTERED))
    for group in (IAM_GROUP, *_HANDED_OUT):
        if group in missing:
            options = "ADMIN TRUE" if group == IAM_GROUP else "ADMIN TRUE, INHERIT FALSE, SET FALSE"
            yield _wrong(
                f"{PROVISIONER} may not hand out {group}",
                f"-- As the master user:\nGRANT {group} TO {_US.as_string()} WITH {options};",
            )


def _database_rights(connection: Connection, subject: Subject) -> Iterator[Finding]:
    missing = _column(
        connection,
        SQL(
            "SELECT p FROM unnest(ARRAY['CREATE', 'CONNECT', 'TEMPORARY']) p"
            " WHERE NOT has_database_privilege(current_user, current_database(), p || ' WITH GRANT OPTION')"
        ),
    )
    if missing:
        owner = _value(
            connection, SQL("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
        )
        rights, database = ", ".join(missing), Identifier(subject.location.database).as_string()
        yield _wrong(
            f"{PROVISIONER} may not grant {rights} on {subject.location.database}",
            f"-- As {_shown(owner)}, the owner of the database (for others it has no effect):\n"
            f"GRANT {rights} ON DATABASE {database} TO {_US.as_string()} WITH GRANT OPTION;",
        )


def _orphans(connection: Connection, _: Subject) -> Iterator[Finding]:
    if connection.info.server_version < GRANT_OPTIONS_VERSION:
        return
    question = SQL("SELECT r.rolname::text FROM pg_roles r WHERE {} AND NOT {} ORDER BY 1")
    if names := _column(connection, question.format(_MANAGED, _ADMINISTERED)):
        grants = [
            f"GRANT {Identifier(name).as_string()} TO {_US.as_string()} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;"
            for name in names
        ]
        yield _wrong(
            f"{PROVISIONER} made these roles before an upgrade to PostgreSQL 16 or later and cannot change or end them: "
            + ", ".join(map(_shown, names)),
            "\n".join(["-- As a member of rds_superuser, such as the master user:", *grants]),
        )


def _open_siblings(connection: Connection, subject: Subject) -> Iterator[Finding]:
    location = subject.location
    found = _column(connection, statements.PUBLIC_SIBLINGS)
    if exposed := [_shown(name) for name in found if name not in location.also_readable]:
        lines = [
            line
            for name in exposed
            for line in (
                f"-- For the owner of {name}, print what lets in all who use it now, and nobody else:",
                f"{subject.sql_command} --isolation {shlex.quote(name)}",
            )
        ]
        yield Finding(
            mark=Mark.REPAIR if location.isolation is Isolation.STRICT else Mark.CAUTION,
            what=f"whoever reads or writes {location.name} can do so in {', '.join(exposed)}: everybody may connect there",
            repair="\n".join([*lines, "-- Or name them in the location's also_readable, if that is meant."]),
        )


def _other_resource(connection: Connection, subject: Subject) -> Iterator[Finding]:
    names = group_roles(subject.location.name)
    groups = (names.read, names.write, names.operate, names.attic)
    with connection.cursor(row_factory=class_row(RoleFacts)) as cursor:
        noted = {_noted_resource(role.comment) for role in cursor.execute(statements.role_facts(groups))}
    for former in sorted(noted - {None, subject.resource}, key=str):
        yield _wrong(
            f"access to {subject.location.name} was set up when RDS called this {former}, and it is {subject.resource} now: "
            "a restored copy, or a replacement. Policies that name the old id let nobody in",
            f"-- Deploy again, so that Drawbridge's own policies name {subject.resource}.\n"
            f"-- In people's policies for rds-db:connect, put dbuser:{subject.resource}/ for dbuser:{former}/.\n"
            "-- The next access puts out users who came along without a grant, and notes the new id.",
        )


def _endangered_logins(connection: Connection, subject: Subject) -> Iterator[Finding]:
    """Who became a member of rds_iam by way of a role of ours: RDS then wants an IAM token and no password of them."""
    is_new = connection.info.server_version >= GRANT_OPTIONS_VERSION
    # What CREATE ROLE gives to whoever makes a role, in the name of the first superuser.
    is_creator = "e.grantor = 10 AND e.admin_option AND NOT e.inherit_option AND NOT e.set_option"
    edges = SQL(
        "WITH ours AS (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user OR {managed}),"
        " iam AS (SELECT oid FROM pg_roles WHERE rolname = {iam})"
        " SELECT pg_get_userbyid(e.roleid)::text, pg_get_userbyid(e.member)::text, pg_get_userbyid(e.grantor)::text,"
        " {is_creator}, array_agg(l.rolname::text ORDER BY l.rolname)"
        " FROM pg_auth_members e JOIN iam ON pg_has_role(e.roleid, iam.oid, 'MEMBER')"
        " JOIN pg_roles l ON l.rolcanlogin AND NOT l.rolsuper AND pg_has_role(l.oid, e.member, 'MEMBER')"
        " WHERE e.roleid IN (SELECT oid FROM ours) AND e.member NOT IN (SELECT oid FROM ours)"
        " AND l.oid NOT IN (SELECT oid FROM ours)"
        " AND NOT EXISTS (SELECT FROM pg_auth_members d WHERE d.member = l.oid AND d.roleid = iam.oid)"
        " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3"
    ).format(managed=_MANAGED, iam=Literal(IAM_GROUP), is_creator=SQL(is_creator if is_new else "false"))
    for role, member, grantor, is_implied, logins in connection.execute(edges).fetchall():
        names, by_way_of = ", ".join(map(_shown, logins)), _shown(role)
        what = f"the password of {names} may be refused: by way of {by_way_of} it is a member of {IAM_GROUP}"
        if is_implied:
            yield Finding(
                mark=Mark.CAUTION,
                what=f"{what}, since {_shown(member)} made that role",
                repair=f"-- Before you close the last session of {names}, try a second login with the password.\n"
                "-- If RDS refuses it, log in with an IAM token instead; only a superuser could undo the membership:\n"
                f"-- allow rds-db:connect on {subject.connect_arn.rpartition('/')[0]}/{_shown(member)}",
            )
        else:
            granted_by = f" GRANTED BY {Identifier(grantor).as_string()}" if is_new else ""
            yield _wrong(
                what,
                f"-- As {_shown(grantor)}, who granted it:\n"
                f"REVOKE {Identifier(role).as_string()} FROM {Identifier(member).as_string()}{granted_by};",
            )


def _foreign_schema(connection: Connection, subject: Subject) -> Iterator[Finding]:
    owner = _value(
        connection,
        SQL(
            "SELECT pg_get_userbyid(nspowner) FROM pg_namespace"
            " WHERE nspname = {} AND pg_get_userbyid(nspowner) <> current_user"
        ).format(Literal(PROVISIONER)),
    )
    if owner is not None:
        aside = Identifier(f"{PROVISIONER}_of_{owner}"[:_LONGEST_NAME]).as_string()
        yield _wrong(
            f"the schema {PROVISIONER} belongs to {_shown(owner)}, so Drawbridge's own functions cannot stand there",
            f"-- As {_shown(owner)} or the master user, either with CREATE on it, in the database {subject.location.database}:\n"
            f"ALTER SCHEMA {_US.as_string()} RENAME TO {aside};",
        )


_QUESTIONS: dict[str, Callable[[Connection, Subject], Iterable[Finding]]] = {
    "the server runs PostgreSQL 14 or later": _old_server,
    "the writer answers": _standby,
    f"{PROVISIONER} may log in and make roles": _attributes,
    f"{PROVISIONER} logs in by IAM and may end sessions": _memberships,
    f"{PROVISIONER} may hand out the roles that levels are made of": _handed_out,
    f"{PROVISIONER} may grant CREATE, CONNECT and TEMPORARY on the database": _database_rights,
    f"{PROVISIONER} can change and end every role it made": _orphans,
    "no other database of the server is open to whoever gets in": _open_siblings,
    "the server is the one that access was set up for": _other_resource,
    "no password login has become an IAM login by way of ours": _endangered_logins,
    f"the schema {PROVISIONER} is ours, or is not there yet": _foreign_schema,
}


def _wrong(what: str, repair: str) -> Finding:
    return Finding(mark=Mark.REPAIR, what=what, repair=repair)


def _column(connection: Connection, question: SQL | Composed) -> list[str]:
    return [value for (value,) in connection.execute(question)]


def _value(connection: Connection, question: SQL | Composed) -> Any:
    row = connection.execute(question).fetchone()
    return row[0] if row else None


def _shown(name: str) -> str:
    """A name of somebody else's choice on one line, so that it cannot leave a comment and become a statement."""
    return "".join(sign if sign.isprintable() else "?" for sign in name)


def _noted_resource(comment: str | None) -> str | None:
    try:
        noted = json.loads((comment or "").removeprefix(PROVISIONER))["resource"]
    except (ValueError, TypeError, KeyError):
        return None
    return noted if isinstance(noted, str) else None
