"""What the owner of a location's database runs once, as SQL text. Drawbridge itself never runs it and never holds that login."""

from psycopg.sql import SQL, Identifier, Literal

from chalicelib.domain.roles import PROVISIONER
from chalicelib.postgres.statements import GRANT_OPTIONS_VERSION

_CONNECTION_LIMIT = 20
_HANDED_OUT = "pg_read_all_data, pg_write_all_data, pg_monitor"


def owner_setup(*, database: str, server_version: int) -> str:
    """The statements that make Drawbridge's login in a cluster and let it work in one database; safe to run again.

    For the master user, or whoever may create roles and grant on the database. ``server_version`` is the number that
    PostgreSQL gives itself, such as 160004. From 16 on the login may hand out the predefined roles and cannot use them;
    before that, CREATEROLE alone may grant any role that is no superuser's.
    """
    provisioner = Identifier(PROVISIONER)
    hands_out = server_version >= GRANT_OPTIONS_VERSION
    statements = [
        SQL(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {}) THEN"
            " CREATE ROLE {} LOGIN CREATEROLE CONNECTION LIMIT {}; END IF; END $$"
        ).format(Literal(PROVISIONER), provisioner, Literal(_CONNECTION_LIMIT)),
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
    return "".join(f"{statement.as_string()};\n" for statement in statements)
