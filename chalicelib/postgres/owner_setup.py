"""What the owner of a database runs once, as SQL text. Drawbridge itself never runs it and never holds that login."""

from psycopg.sql import SQL, Identifier, Literal

from chalicelib.domain.roles import PROVISIONER, group_roles
from chalicelib.postgres.statements import GRANT_OPTIONS_VERSION, MARKER

_CONNECTION_LIMIT = 20
_HANDED_OUT = "pg_read_all_data, pg_write_all_data, pg_monitor"
_CAUTION = """\
-- From PostgreSQL 16 on whoever creates a role is a member of it, and a member of rds_iam signs in by IAM alone. If you use a
-- password here, keep this session open until another one with that password has worked.
"""
_OPTION = """\
-- Write access changes rows. It cannot ALTER or TRUNCATE what others own, nor CREATE in the schemas that are there.
-- Optional, once these two groups exist, which the first access to the location makes: let the first create in public, and
-- the second keep what was created there.
-- {};
"""
_ISOLATION = """\
-- Closes a database to PUBLIC; for its owner, and safe to run again. Every login that may connect now still may afterwards,
-- but for the people's own users that Drawbridge makes: they keep what their location gives them.
-- A login that is made later needs a GRANT CONNECT, and a database that is made later needs this.
BEGIN;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL search_path = pg_catalog;
SELECT set_config('drawbridge.database', {database}, true);
DO $isolation$
DECLARE
    target CONSTANT text := current_setting('drawbridge.database');
    logins CONSTANT text := format(
        'SELECT coalesce(array_agg(rolname::text ORDER BY rolname), %L) FROM pg_roles r'
        ' WHERE rolcanlogin AND NOT rolsuper AND has_database_privilege(r.oid, %L, %L)'
        ' AND starts_with(shobj_description(r.oid, %L), %L) IS NOT TRUE',
        '{{}}', target, 'CONNECT', 'pg_authid', {marker});
    admitted text[];
    admitted_now text[];
    locked_out text;
BEGIN
    EXECUTE logins INTO admitted;
    EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', target);
    SELECT string_agg(quote_ident(login), ', ') INTO locked_out
      FROM unnest(admitted) login WHERE NOT has_database_privilege(login, target, 'CONNECT');
    IF locked_out IS NOT NULL THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %s', target, locked_out);
    END IF;
    -- REVOKE and GRANT without the right to do so only warn, so nothing is believed that was not looked at.
    IF has_database_privilege('public', target, 'CONNECT') THEN
        RAISE EXCEPTION 'everybody could still connect to %; nothing was changed', target
            USING HINT = 'Run this as the owner, once whoever else granted CONNECT to PUBLIC has taken it back.';
    END IF;
    EXECUTE logins INTO admitted_now;
    IF admitted_now <> admitted THEN
        RAISE EXCEPTION 'other logins than before could connect to %; nothing was changed', target
            USING HINT = 'Run this again.';
    END IF;
END
$isolation$;
COMMIT;
"""


def owner_setup(*, database: str, server_version: int, location: str | None = None) -> str:
    """The statements that make Drawbridge's login in a cluster and let it work in one database; safe to run again.

    For the master user, or whoever may create roles and grant on the database. ``server_version`` is the number that
    PostgreSQL gives itself, such as 160004. From 16 on the login may hand out the predefined roles and cannot use them;
    before that, CREATEROLE alone may grant any role that is no superuser's. With the name of a ``location`` a comment adds
    what its owner may want to allow besides.
    """
    provisioner = Identifier(PROVISIONER)
    hands_out = server_version >= GRANT_OPTIONS_VERSION
    statements = [
        SQL(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {name}) THEN"
            " CREATE ROLE {role} LOGIN CREATEROLE CONNECTION LIMIT {limit};"
            " ELSIF NOT (SELECT rolcanlogin AND rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = {name}) THEN"
            " ALTER ROLE {role} LOGIN CREATEROLE; END IF; END $$"
        ).format(name=Literal(PROVISIONER), role=provisioner, limit=Literal(_CONNECTION_LIMIT)),
        SQL("GRANT rds_iam TO {}" + (" WITH ADMIN TRUE" if hands_out else "")).format(provisioner),
        SQL("GRANT pg_signal_backend TO {}").format(provisioner),
    ]
    if hands_out:
        statements.append(
            SQL("GRANT " + _HANDED_OUT + " TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE").format(provisioner)
        )
    statements.append(
        SQL("GRANT CREATE, CONNECT, TEMPORARY ON DATABASE {} TO {} WITH GRANT OPTION").format(
            Identifier(database), provisioner
        )
    )
    text = "".join(f"{statement.as_string()};\n" for statement in statements)
    text = (_CAUTION if hands_out else "") + text
    if location is None:
        return text
    groups = group_roles(location)
    grant = SQL("GRANT ALL ON SCHEMA public TO {}, {}").format(Identifier(groups.write), Identifier(groups.attic))
    return text + _OPTION.format(grant.as_string())


def isolation_setup(*, database: str) -> str:
    """One transaction that closes a database to PUBLIC and opens it to each login that would be locked out by that.

    It fails and changes nothing when PUBLIC kept the right or another set of logins than before could connect.
    """
    return SQL(_ISOLATION).format(database=Literal(database), marker=Literal(MARKER)).as_string()
