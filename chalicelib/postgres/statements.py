"""The SQL of provisioning and revocation, composed here and run elsewhere. What a level may do stands in this file alone.

Names and texts are quoted by psycopg or, where the server lists its own objects, by the server.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from psycopg.sql import SQL, Composed, Identifier, Literal

from chalicelib import defaults
from chalicelib.domain.grants import GrantFacts
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.roles import PROVISIONER, GroupNames
from chalicelib.postgres.connections import BARS_OUR_WAY

OLDEST_VERSION = 140000
"""The first PostgreSQL with pg_read_all_data."""
GRANT_OPTIONS_VERSION = 160000
"""The first PostgreSQL in which a membership says whether its rights are inherited and whether the role can be taken on."""
IAM_GROUP = "rds_iam"
MARKER = f"{PROVISIONER} {{"
"""How the comment of every role begins that Drawbridge made."""

_FUNCTION = SQL("{}.pg_kill_connection(integer)").format(Identifier(PROVISIONER))
_SETTINGS = {
    "idle_in_transaction_session_timeout": defaults.IDLE_IN_TRANSACTION_TIMEOUT,
    "idle_session_timeout": defaults.IDLE_SESSION_TIMEOUT,
    "lock_timeout": defaults.LOCK_TIMEOUT,
    "statement_timeout": defaults.STATEMENT_TIMEOUT,
}
_LEVEL_SETTINGS = {
    PermissionLevel.READ: {"default_transaction_read_only": "on"},
    PermissionLevel.WRITE: {},
    # The path is ours alone, so that pg_kill_connection needs no schema and nobody can put another one before it.
    PermissionLevel.OPERATE: {"default_transaction_read_only": "on", "search_path": PROVISIONER},
}
_KILL_BODY = """
DECLARE
    target record;
BEGIN
    SELECT a.usename, a.datname INTO target FROM pg_catalog.pg_stat_activity a WHERE a.pid = $1;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- The function runs as its owner. Without this rule a person could keep ending the session that ends their access.
    IF target.usename = current_user THEN
        RAISE EXCEPTION 'connection % is the one of the access control plane and stays', $1
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF target.datname IS DISTINCT FROM pg_catalog.current_database() THEN
        RAISE EXCEPTION 'connection % belongs to another database', $1 USING ERRCODE = 'insufficient_privilege';
    END IF;
    RAISE LOG 'pg_kill_connection: % ends connection % of %', session_user, $1, target.usename;
    RETURN pg_catalog.pg_terminate_backend($1);
END
"""


def find_version_objection(server_version: int) -> str | None:
    """Why Drawbridge cannot work with a server of this version, as it gives it itself (160004); None when it can."""
    if server_version >= OLDEST_VERSION:
        return None
    return (
        f"runs PostgreSQL {server_version // 10000}. Drawbridge needs 14, the first with pg_read_all_data; upgrade it."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A condition on the catalogs, and the statement that makes it true where it is not."""

    holds: Composed
    make: Composed


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleFacts:
    """What the catalogs say about a role that bears one of our names."""

    name: str
    oid: int
    can_log_in: bool
    is_powerful: bool
    comment: str | None
    memberships: list[str]
    members: list[str]
    """Who else is a member of it."""

    @property
    def owning_request(self) -> str | None:
        """The request that owns the role; None when its comment does not say."""
        return self._claims.get("request")

    @property
    def made_by(self) -> datetime | None:
        """The last moment at which that request may have made the role; in an older comment the end of its grant."""
        try:
            moment = datetime.fromisoformat(self._claims.get("not_after") or self._claims.get("ends_at", ""))
        except ValueError:
            return None
        return moment if moment.tzinfo else None

    @property
    def is_usable(self) -> bool:
        """May somebody log in as it, or act through it or by it?"""
        return self.can_log_in or bool(self.members) or bool(set(self.memberships) - {IAM_GROUP})

    @property
    def _claims(self) -> dict[str, str]:
        try:
            claims = json.loads((self.comment or "").removeprefix(PROVISIONER))
        except (ValueError, RecursionError):
            return {}
        items = claims.items() if isinstance(claims, dict) else ()
        return {key: value for key, value in items if isinstance(value, str)}

    def find_objection(self, *, allowed: Collection[str], may_log_in: bool) -> str | None:
        """Why the role is not one that Drawbridge made and may go on using; None when it is."""
        if not (self.comment or "").startswith(MARKER):
            return "lacks the comment that Drawbridge gives its roles"
        if self.is_powerful:
            return "has an attribute such as CREATEROLE or SUPERUSER"
        if self.can_log_in and not may_log_in:
            return "may log in"
        if strange := sorted(set(self.memberships) - set(allowed)):
            return f"is also a member of {', '.join(strange)}"
        return None


# Provisioning


def person_comment(facts: GrantFacts, *, ends_at: datetime, not_after: datetime) -> str:
    """The comment of a person's role: our marker, whose it is, which request owns it and made it at the latest when."""
    return _marked(
        request=facts.request_id,
        person=facts.person.person_id,
        location=facts.location,
        level=facts.level,
        ends_at=ends_at.isoformat(),
        not_after=not_after.isoformat(),
    )


def group_memberships(groups: GroupNames) -> dict[str, tuple[str, ...]]:
    """The roles that each group of a location is a member of."""
    return {
        groups.read: ("pg_read_all_data",),
        groups.write: ("pg_read_all_data", "pg_write_all_data", groups.attic),
        groups.operate: ("pg_monitor",),
        groups.attic: (),
    }


def person_memberships(facts: GrantFacts, groups: GroupNames) -> tuple[str, str]:
    """The two roles that a person's role is a member of."""
    return IAM_GROUP, groups.of_level(facts.level)


def _marked(**facts: str) -> str:
    return f"{PROVISIONER} {json.dumps(facts)}"


def evaluation(steps: Iterable[Step]) -> Composed:
    """One query for all conditions: an array of booleans, in order."""
    return SQL("SELECT ARRAY[{}]").format(SQL(", ").join(step.holds for step in steps))


def location_steps(
    *, location: str, groups: GroupNames, database: str, resource_id: str | None, version: int
) -> Iterator[Step]:
    """The four groups of a location, and the function of its operate level. ``version`` is the server's, as in 160004.

    Their comment names the cluster or instance that they were made for, so that a copy of it can be told by that. First of
    all comes the right to end sessions: whoever is let in must be put out again.
    """
    yield Step(
        holds=SQL("pg_has_role(current_user, {}, 'USAGE')").format(Literal("pg_signal_backend")),
        make=SQL("GRANT {} TO CURRENT_USER").format(Identifier("pg_signal_backend")),
    )
    for group in group_memberships(groups):
        yield _role_step(group)
    yield _comment_step(
        _marked(location=location, **({"resource": resource_id} if resource_id else {})), *group_memberships(groups)
    )
    for group, memberships in group_memberships(groups).items():
        for membership in memberships:
            yield _membership_step(member=group, group=membership, version=version)
    database_rights = (
        (groups.read, "CONNECT"),
        (groups.write, "CONNECT"),
        (groups.write, "CREATE"),
        (groups.write, "TEMPORARY"),
        (groups.operate, "CONNECT"),
    )
    for role, privilege in database_rights:
        yield _grant_step(
            privilege, SQL("DATABASE {}").format(Identifier(database)), role, acl="datacl", where=_THIS_DATABASE
        )
    yield from _function_steps()
    schema = SQL("SCHEMA {}").format(Identifier(PROVISIONER))
    yield _grant_step("USAGE", schema, groups.operate, acl="nspacl", where=_OUR_SCHEMA)
    function = SQL("FUNCTION {}").format(_FUNCTION)
    yield _grant_step("EXECUTE", function, groups.operate, acl="proacl", where=_OUR_FUNCTION)


def person_steps(
    *, facts: GrantFacts, groups: GroupNames, ends_at: datetime, not_after: datetime, version: int
) -> Iterator[Step]:
    """The login role of a person: two memberships, guard rails, and the comment that names the owning request.

    Settings are guard rails: the person may change them for a session or for good, so they are compared by value.
    """
    role = facts.role
    yield _role_step(role)
    yield Step(
        holds=_exists(
            "pg_roles WHERE rolname = {} AND rolcanlogin AND rolconnlimit = {}", role, defaults.CONNECTION_LIMIT
        ),
        make=SQL("ALTER ROLE {} LOGIN CONNECTION LIMIT {}").format(
            Identifier(role), Literal(defaults.CONNECTION_LIMIT)
        ),
    )
    for group in person_memberships(facts, groups):
        yield _membership_step(member=role, group=group, version=version)
    yield _settings_step(role, _SETTINGS | _LEVEL_SETTINGS[facts.level])
    yield Step(
        holds=SQL("NOT {}").format(
            _exists(
                "pg_db_role_setting s, pg_database d WHERE s.setrole = to_regrole({}) AND s.setdatabase = d.oid"
                " AND d.datname = current_database()",
                _quoted(role),
            )
        ),
        make=SQL("ALTER ROLE {} IN DATABASE {} RESET ALL").format(Identifier(role), Identifier(facts.database)),
    )
    yield _comment_step(person_comment(facts, ends_at=ends_at, not_after=not_after), role)


_THIS_DATABASE = "pg_database o WHERE o.datname = current_database()"
_OUR_SCHEMA = f"pg_namespace o WHERE o.nspname = '{PROVISIONER}'"
_OUR_FUNCTION = f"pg_proc o WHERE o.oid = to_regprocedure('{PROVISIONER}.pg_kill_connection(integer)')"


def _role_step(name: str) -> Step:
    return Step(
        holds=_exists("pg_roles WHERE rolname = {}", name),
        make=SQL("CREATE ROLE {} NOLOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS").format(
            Identifier(name)
        ),
    )


def _comment_step(comment: str, *names: str) -> Step:
    statements = [SQL("COMMENT ON ROLE {} IS {}").format(Identifier(name), Literal(comment)) for name in names]
    bears = "EXISTS (SELECT FROM pg_roles WHERE rolname = {} AND shobj_description(oid, 'pg_authid') = {})"
    return Step(
        holds=SQL(" AND ").join(SQL(bears).format(Literal(name), Literal(comment)) for name in names),
        make=SQL("; ").join(statements),
    )


def _membership_step(*, member: str, group: str, version: int) -> Step:
    """Members use the rights of their group but may not become it: what they made in its name would outlive them.

    PostgreSQL 15 and older cannot tell the two apart, which is why revocation also takes what the groups own.
    """
    holds = "pg_roles m, pg_roles g WHERE m.rolname = {} AND g.rolname = {} AND pg_has_role(m.oid, g.oid, 'USAGE')"
    options = ""
    if version >= GRANT_OPTIONS_VERSION:
        holds += " AND NOT pg_has_role(m.oid, g.oid, 'SET')"
        options = " WITH INHERIT TRUE, SET FALSE"
    return Step(
        holds=_exists(holds, member, group),
        make=SQL("GRANT {} TO {}" + options).format(Identifier(group), Identifier(member)),
    )


def _grant_step(privilege: str, target: Composed, role: str, *, acl: str, where: str) -> Step:
    """The grant must stand in the object's own list: PUBLIC may have the right today and lose it tomorrow.

    Without grant option GRANT only warns, so nothing but this condition tells whether it worked.
    """
    return Step(
        holds=SQL(
            "EXISTS (SELECT FROM {} AND EXISTS (SELECT FROM aclexplode(o.{}) a, pg_roles r"
            " WHERE r.oid = a.grantee AND r.rolname = {} AND a.privilege_type = {}))"
        ).format(SQL(where), SQL(acl), Literal(role), Literal(privilege)),
        make=SQL("GRANT {} ON {} TO {}").format(SQL(privilege), target, Identifier(role)),
    )


def _function_steps() -> Iterator[Step]:
    yield Step(
        holds=SQL("EXISTS (SELECT FROM {} AND pg_get_userbyid(o.nspowner) = current_user)").format(SQL(_OUR_SCHEMA)),
        make=SQL("CREATE SCHEMA {}").format(Identifier(PROVISIONER)),
    )
    yield Step(
        holds=SQL(
            "EXISTS (SELECT FROM {} AND pg_get_userbyid(o.proowner) = current_user AND o.prosecdef"
            " AND o.proconfig = ARRAY['search_path=pg_catalog, pg_temp'] AND o.prosrc = {})"
        ).format(SQL(_OUR_FUNCTION), Literal(_KILL_BODY)),
        make=SQL(
            "CREATE OR REPLACE FUNCTION {} RETURNS boolean LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER"
            " SET search_path = pg_catalog, pg_temp AS {}"
        ).format(_FUNCTION, Literal(_KILL_BODY)),
    )
    yield Step(
        holds=SQL(
            "EXISTS (SELECT FROM {} AND NOT EXISTS (SELECT FROM"
            " aclexplode(coalesce(o.proacl, acldefault('f', o.proowner))) a WHERE a.grantee = 0))"
        ).format(SQL(_OUR_FUNCTION)),
        make=SQL("REVOKE ALL ON FUNCTION {} FROM PUBLIC").format(_FUNCTION),
    )


def _settings_step(role: str, settings: dict[str, str]) -> Step:
    wanted = sorted(f"{name}={value}" for name, value in settings.items())
    statements = [SQL("ALTER ROLE {} RESET ALL").format(Identifier(role))]
    statements += [
        SQL("ALTER ROLE {} SET {} = {}").format(Identifier(role), Identifier(name), Literal(value))
        for name, value in settings.items()
    ]
    return Step(
        holds=SQL(
            "EXISTS (SELECT FROM pg_db_role_setting s WHERE s.setrole = to_regrole({}) AND s.setdatabase = 0"
            ' AND ARRAY(SELECT c FROM unnest(s.setconfig) c ORDER BY c COLLATE "C") = {}::text[])'
        ).format(Literal(_quoted(role)), Literal(wanted)),
        make=SQL("; ").join(statements),
    )


def _exists(condition: str, *values: str | int) -> Composed:
    return SQL("EXISTS (SELECT FROM " + condition + ")").format(*map(Literal, values))


def _quoted(name: str) -> str:
    return Identifier(name).as_string()


# Questions


_ROLE_FACTS = SQL(
    "SELECT r.rolname AS name, r.oid::int8 AS oid, r.rolcanlogin AS can_log_in,"
    " r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls AS is_powerful,"
    " shobj_description(r.oid, 'pg_authid') AS comment,"
    " ARRAY(SELECT DISTINCT pg_get_userbyid(m.roleid)::text FROM pg_auth_members m WHERE m.member = r.oid ORDER BY 1)"
    " AS memberships,"
    " ARRAY(SELECT DISTINCT pg_get_userbyid(m.member)::text FROM pg_auth_members m WHERE m.roleid = r.oid"
    " AND pg_get_userbyid(m.member) <> current_user ORDER BY 1) AS members"
    " FROM pg_roles r WHERE"
)


def role_facts(names: Iterable[str]) -> Composed:
    """A row of RoleFacts for each of these roles that exists."""
    return SQL("{} r.rolname = ANY({})").format(_ROLE_FACTS, Literal(list(names)))


def usable_people(*, besides: str) -> Composed:
    """A row of RoleFacts for each role with our marker, but one, that may log in or is a member of anything but rds_iam.

    In any order, so that those who cannot be parked do not keep the others from their turn.
    """
    return SQL(
        "SELECT * FROM ({} starts_with(shobj_description(r.oid, 'pg_authid'), {}) AND r.rolname <> {}) f"
        " WHERE can_log_in OR members <> '{{}}' OR NOT memberships <@ ARRAY[{}] ORDER BY random()"
    ).format(_ROLE_FACTS, Literal(MARKER), Literal(besides), Literal(IAM_GROUP))


def people_count(groups: GroupNames, *, besides: str) -> Composed:
    """How many people's roles of the location may log in, not counting one."""
    return SQL(
        "SELECT count(DISTINCT p.oid) FROM pg_roles p, pg_auth_members m, pg_roles g"
        " WHERE m.member = p.oid AND m.roleid = g.oid AND g.rolname = ANY({}) AND p.rolcanlogin AND p.rolname <> {}"
        " AND starts_with(shobj_description(p.oid, 'pg_authid'), {})"
    ).format(Literal([groups.read, groups.write, groups.operate]), Literal(besides), Literal(MARKER))


PUBLIC_SIBLINGS = SQL(
    "SELECT datname::text FROM pg_database WHERE datallowconn AND datname <> current_database()"
    " AND has_database_privilege('public', oid, 'CONNECT') ORDER BY 1"
)
"""The other databases of the cluster that everybody may connect to."""


# Revocation


def parking(role: RoleFacts) -> Iterator[Composed]:
    """No login, and no membership but rds_iam, in either direction.

    rds_iam stays: without it a password that the person set would work if the login ever came back. An open transaction in
    which they set one bars the way to their role, so their sessions end in the very message that parks it.
    """
    name = Identifier(role.name)
    yield SQL("{}; ALTER ROLE {} NOLOGIN CONNECTION LIMIT 0").format(termination(role.name, role.oid), name)
    for group in role.memberships:
        if group != IAM_GROUP:
            yield SQL("REVOKE {} FROM {}").format(Identifier(group), name)
    for member in role.members:
        yield SQL("REVOKE {} FROM {}").format(name, Identifier(member))


def termination(role: str, oid: int | None) -> Composed:
    """End the role's sessions on this instance. One row: may the role still log in here, and how many were told to end.

    A session that did SET ROLE still bears the name it logged in with. The oid finds sessions of a role that is dropped.
    """
    return SQL(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = {role} AND rolcanlogin), count(pg_terminate_backend(pid))"
        " FROM pg_stat_activity WHERE {sessions}"
    ).format(role=Literal(role), sessions=_sessions(role, oid))


PARKED_TERMINATION = SQL(
    "SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid"
    " WHERE NOT r.rolcanlogin AND starts_with(shobj_description(r.oid, 'pg_authid'), {})"
).format(Literal(MARKER))
"""End the sessions on this instance of every role with our marker that may not log in any more."""


def session_count(role: str, oid: int | None) -> Composed:
    """How many sessions the role has on this instance."""
    return SQL("SELECT count(*) FROM pg_stat_activity WHERE {}").format(_sessions(role, oid))


def _sessions(role: str, oid: int | None) -> Composed:
    return SQL("(usename = {} OR usesysid = {}::int8::oid)").format(Literal(role), Literal(oid))


def prepared(role: str, groups: GroupNames) -> Composed:
    """Identifier, database and owner of each prepared transaction of the role or, as its guise, of a group of its location.

    And of each whose locks bar our way, when its owner is one of ours: it would stand in everybody's way.
    """
    return SQL(
        "SELECT p.gid, p.database::text, p.owner::text FROM pg_prepared_xacts p JOIN pg_roles r ON r.rolname = p.owner"
        " WHERE p.owner = ANY({}) OR starts_with(shobj_description(r.oid, 'pg_authid'), {}) AND EXISTS (SELECT"
        " FROM pg_lock_status() l JOIN pg_lock_status() x USING (virtualtransaction) WHERE l.pid IS NULL AND x.pid IS NULL"
        " AND x.transactionid = p.transaction AND {})"
    ).format(Literal([role, *_level_groups(groups), groups.attic]), Literal(MARKER), BARS_OUR_WAY)


def impersonation(owner: str, *, version: int) -> Composed:
    """Let the control plane become a role for a moment, without its rights before it does."""
    options = " WITH INHERIT FALSE, SET TRUE" if version >= GRANT_OPTIONS_VERSION else ""
    return SQL("GRANT {} TO CURRENT_USER" + options).format(Identifier(owner))


def becoming(owner: str) -> Composed:
    """Act as the role."""
    return SQL("SET ROLE {}").format(Identifier(owner))


def rollback(gid: str) -> Composed:
    """Undo a prepared transaction; not within another one, in its own database and as its owner."""
    return SQL("ROLLBACK PREPARED {}").format(Literal(gid))


def end_of_impersonation(owner: str) -> Composed:
    """The undoing of the impersonation."""
    return SQL("REVOKE {} FROM CURRENT_USER").format(Identifier(owner))


IS_AURORA = SQL("SELECT to_regproc('aurora_replica_status') IS NOT NULL")
"""Does the writer know the other instances of its cluster by name?"""

AURORA_READERS = SQL(
    "SELECT server_id::text FROM aurora_replica_status() WHERE session_id <> 'MASTER_SESSION_ID'"
    " AND coalesce(last_update_timestamp > now() - interval '5 minutes', true) AND server_id ~ '^[a-z0-9-]+$' ORDER BY 1"
)
"""The readers that live; Aurora remembers those that are deleted for a while. A name is one label of a host name."""

FOLLOWERS = SQL(
    "SELECT count(*) FROM pg_stat_replication WHERE pid NOT IN"
    " (SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND active)"
)
"""How many copies stream from this instance. Those of Aurora share its storage and do not."""


def littered_databases(role: str, groups: GroupNames, level: PermissionLevel) -> Composed:
    """The databases in which the role owns something or was granted something, or a group owns something.

    A writer may also have changed what the attic owns there, and opened it to others, without owning anything.
    """
    owners = [*_level_groups(groups), *([groups.attic] if level is PermissionLevel.WRITE else [])]
    return SQL(
        "SELECT DISTINCT coalesce(d.datname, current_database())::text FROM pg_shdepend s"
        " JOIN pg_roles r ON r.oid = s.refobjid LEFT JOIN pg_database d ON d.oid = s.dbid"
        " WHERE s.refclassid = 'pg_authid'::regclass AND s.classid <> 'pg_auth_members'::regclass"
        " AND (r.rolname = {} OR r.rolname = ANY({}) AND s.deptype = 'o') ORDER BY 1"
    ).format(Literal(role), Literal(owners))


def adoption(role: str, groups: GroupNames, *, database: str, version: int) -> Composed:
    """Become a member of the role, the groups and the attic, as REASSIGN OWNED asks; undone in the same transaction.

    A publication is only taken over by somebody who may create in its database, so the attic may do that for a moment.
    """
    options = " WITH INHERIT TRUE, SET TRUE" if version >= GRANT_OPTIONS_VERSION else ""
    return SQL("GRANT {} TO CURRENT_USER" + options + "; GRANT CREATE ON DATABASE {} TO {}").format(
        _names(role, *_level_groups(groups), groups.attic), Identifier(database), Identifier(groups.attic)
    )


def abandonment(role: str, groups: GroupNames, *, database: str) -> Composed:
    """The undoing of the adoption."""
    return SQL("REVOKE {} FROM CURRENT_USER; REVOKE CREATE ON DATABASE {} FROM {}").format(
        _names(role, *_level_groups(groups), groups.attic), Identifier(database), Identifier(groups.attic)
    )


def owned_objects(role: str, groups: GroupNames) -> Composed:
    """Kind and name of what the role and the groups own in this database; what could be a trap comes first.

    A login finds its own name's schema before any other, so such a schema is told apart. What only DROP OWNED can take,
    default privileges and user mappings, is nobody's loss and not listed.
    """
    return SQL(
        "SELECT CASE WHEN like_login THEN 'schema named like a login' ELSE o.type END, o.identity"
        " FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid"
        " JOIN pg_database d ON d.oid = s.dbid, pg_identify_object(s.classid, s.objid, s.objsubid) o,"
        " LATERAL (SELECT o.type = 'schema' AND EXISTS (SELECT FROM pg_roles l WHERE l.rolcanlogin"
        " AND quote_ident(l.rolname) = o.identity)) named (like_login)"
        " WHERE d.datname = current_database() AND s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o'"
        " AND s.classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass) AND r.rolname = ANY({})"
        " ORDER BY NOT like_login, o.type <> 'schema', o.type NOT IN ('function', 'procedure'), o.type, o.identity"
    ).format(Literal([role, *_level_groups(groups)]))


def owned_schemas(role: str, groups: GroupNames) -> Composed:
    """The names of the schemas that the role and the groups own in this database."""
    return SQL("SELECT nspname::text FROM pg_namespace WHERE pg_get_userbyid(nspowner) = ANY({})").format(
        Literal([role, *_level_groups(groups)])
    )


def schema_handover(schema: str, groups: GroupNames) -> Composed:
    """Hand a schema to the attic.

    Schemas go first: a function is only taken over by somebody who may create in its schema, and REASSIGN OWNED follows
    no order. An owner may have lost that right too, since everybody can revoke it from themselves.
    """
    return SQL("ALTER SCHEMA {schema} OWNER TO {attic}; GRANT ALL ON SCHEMA {schema} TO {attic}").format(
        schema=Identifier(schema), attic=Identifier(groups.attic)
    )


def reassignment(role: str, groups: GroupNames) -> Composed:
    """Hand everything that the role and the groups own in this database to the attic."""
    return SQL("REASSIGN OWNED BY {} TO {}").format(_names(role, *_level_groups(groups)), Identifier(groups.attic))


def attic_grants(attic: str) -> Composed:
    """One statement of text for each thing in the attic that somebody else was granted: the one that takes it back.

    Members of the write group own what the attic owns and need no grant. CASCADE reaches what a grantee passed on. Rows of
    tables, arrays and multiranges have types that take no grants of their own.
    """
    return SQL("""
        WITH attic AS (SELECT oid FROM pg_roles WHERE rolname = {}),
        listed (kind, identity, acl) AS (
            SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text, relacl
              FROM pg_class c JOIN attic ON relowner = attic.oid
            UNION ALL SELECT 'TABLE', c.oid::regclass::text, attacl
              FROM pg_class c JOIN attic ON relowner = attic.oid JOIN pg_attribute ON attrelid = c.oid
            UNION ALL SELECT 'ROUTINE', p.oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner))
              FROM pg_proc p JOIN attic ON proowner = attic.oid
            UNION ALL SELECT 'SCHEMA', quote_ident(nspname), nspacl
              FROM pg_namespace JOIN attic ON nspowner = attic.oid
            UNION ALL SELECT 'TYPE', t.oid::regtype::text, coalesce(typacl, acldefault('T', typowner))
              FROM pg_type t JOIN attic ON typowner = attic.oid LEFT JOIN pg_class c ON c.oid = typrelid
             WHERE coalesce(relkind, 'c') = 'c' AND typcategory <> 'A' AND typtype <> 'm'
            UNION ALL SELECT 'LARGE OBJECT', l.oid::text, lomacl
              FROM pg_largeobject_metadata l JOIN attic ON lomowner = attic.oid
            UNION ALL SELECT 'FOREIGN SERVER', quote_ident(srvname), srvacl
              FROM pg_foreign_server JOIN attic ON srvowner = attic.oid
            UNION ALL SELECT 'LANGUAGE', quote_ident(lanname), coalesce(lanacl, acldefault('l', lanowner))
              FROM pg_language JOIN attic ON lanowner = attic.oid
        )
        SELECT format('REVOKE ALL ON %s %s FROM %s CASCADE', kind, identity, string_agg(DISTINCT
                   CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, ', '))
          FROM listed, aclexplode(acl) a WHERE a.grantee NOT IN (SELECT oid FROM attic) GROUP BY kind, identity
    """).format(Literal(attic))


def attic_triggers(attic: str) -> Composed:
    """One statement of text for each table in the attic with triggers: the one that switches them off.

    PostgreSQL asks nobody's right to execute when a trigger fires, so one would run as whoever writes to the table.
    """
    return SQL(
        "SELECT DISTINCT format('ALTER TABLE %s DISABLE TRIGGER USER', c.oid::regclass)"
        " FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid"
        " WHERE pg_get_userbyid(c.relowner) = {} AND c.relkind IN ('r', 'p', 'f') AND NOT t.tgisinternal AND t.tgenabled <> 'D'"
    ).format(Literal(attic))


def drop_owned(role: str) -> Composed:
    """Take away what was granted to the role in this database, and its default privileges."""
    return SQL("DROP OWNED BY {}").format(Identifier(role))


def drop_role(role: str) -> Composed:
    """The end of the role, its memberships and its settings."""
    return SQL("DROP ROLE {}").format(Identifier(role))


def _level_groups(groups: GroupNames) -> list[str]:
    return [groups.read, groups.write, groups.operate]


def _names(*names: str) -> Composed:
    return SQL(", ").join(map(Identifier, names))
