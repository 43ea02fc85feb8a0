"""What the common tools are told: their exact fields, and that nothing has to be expanded or guessed."""

import re
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given

from chalicelib.domain.connections import ConnectionDetails, local_token_command
from chalicelib.domain.gui_settings import WHY_SSL, GuiSetting, gui_settings, password_file_lines, service_name
from chalicelib.domain.locations import TokenSource
from tests.factories import a_connection, a_grant
from tests.strategies import RULE, connections

HOST = "orders-cluster.cluster-abc123.eu-west-1.rds.amazonaws.com"
ROLE = a_grant().facts.role
TOKEN_LOCAL = a_connection(a_grant(token=TokenSource.LOCAL))
MAKE_TOKEN = local_token_command(TOKEN_LOCAL)


def setting(name: str, details: ConnectionDetails | None = None) -> GuiSetting:
    """The one setting whose name begins so."""
    (found,) = [setting for setting in gui_settings(details or a_connection()) if setting.name.startswith(name)]
    return found


def fields_of(setting: GuiSetting) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in setting.lines)


class TestTools:
    def test_dbeaver(self) -> None:
        """The certificate is checked, its name cannot be: JDBC sees 127.0.0.1."""
        assert fields_of(setting("DBeaver")) == {
            "Main, Host": "127.0.0.1",
            "Main, Port": "56789",
            "Main, Database": "orders",
            "Main, Username": ROLE,
            "Main, Password": "the token",
            "SSL, Use SSL": "on",
            "SSL, Root certificate": "YOUR-HOME/rds-global-bundle.pem",
            "SSL, SSL mode": "verify-ca",
        }

    def test_jdbc(self) -> None:
        """One address that holds everything but user and password."""
        assert fields_of(setting("DataGrip")) == {
            "URL": "jdbc:postgresql://127.0.0.1:56789/orders?sslmode=verify-ca&sslrootcert=YOUR-HOME/rds-global-bundle.pem",
            "User": ROLE,
            "Password": "the token",
        }

    def test_pgadmin(self) -> None:
        """It goes by libpq, so the server's real name is checked as well."""
        assert fields_of(setting("pgAdmin")) == {
            "Connection, Host name/address": HOST,
            "Connection, Port": "56789",
            "Connection, Maintenance database": "orders",
            "Connection, Username": ROLE,
            "Connection, Password": "the token",
            "Parameters, Host address": "127.0.0.1",
            "Parameters, SSL mode": "verify-full",
            "Parameters, Root certificate": "YOUR-HOME/rds-global-bundle.pem",
        }

    def test_the_service_file(self) -> None:
        """A block for psql and everything else that goes by libpq, with the password file of the lines."""
        assert (
            "[orders-prod-o]",
            f"host={HOST}",
            "hostaddr=127.0.0.1",
            "port=56789",
            "dbname=orders",
            f"user={ROLE}",
            "sslmode=verify-full",
            "sslrootcert=YOUR-HOME/rds-global-bundle.pem",
            "passfile=YOUR-HOME/.drawbridge.pgpass",
        ) == setting("pg_service").lines
        assert "psql service=orders-prod-o" in setting("pg_service").note

    def test_where_tokens_stay_local_each_tool_is_told_how_one_is_made(self) -> None:
        """pgAdmin makes them by itself, each in good time."""
        pgadmin = fields_of(setting("pgAdmin", TOKEN_LOCAL))

        assert f"what this prints: {MAKE_TOKEN}" == fields_of(setting("DBeaver", TOKEN_LOCAL))["Main, Password"]
        assert f"what this prints: {MAKE_TOKEN}" == fields_of(setting("DataGrip", TOKEN_LOCAL))["Password"]
        assert (MAKE_TOKEN, "840") == (
            pgadmin["Advanced, Password exec command"],
            pgadmin["Advanced, Password exec expiration (seconds)"],
        )
        assert "Connection, Password" not in pgadmin

    @pytest.mark.parametrize("tool", ["DBeaver", "DataGrip", "pgAdmin"])
    def test_a_home_folder_is_written_in_full(self, tool: str) -> None:
        """None of them expands it; a path that is full already needs no word."""
        full = a_connection(certificate_bundle="/etc/ssl/rds.pem")

        assert "in place of YOUR-HOME" in setting(tool).note
        assert "YOUR-HOME" not in str(setting(tool, full))
        assert "/etc/ssl/rds.pem" in str(setting(tool, full))

    def test_no_tool_is_told_anything_that_it_would_have_to_expand(self) -> None:
        """Java and libpq know neither."""
        assert not re.search(r"\$HOME|~/", str(gui_settings(a_connection())))

    @RULE
    @given(connections)
    def test_the_jdbc_address_is_read_as_it_was_meant(self, details: ConnectionDetails) -> None:
        """pgJDBC decodes the database and the parameters."""
        url = urlsplit(fields_of(setting("DataGrip", details))["URL"].removeprefix("jdbc:"))

        assert ("127.0.0.1", details.port, details.facts.database) == (url.hostname, url.port, unquote(url.path[1:]))
        assert parse_qs(url.query) == {
            "sslmode": ["verify-ca"],
            "sslrootcert": [details.certificate_bundle.replace("$HOME", "YOUR-HOME")],
        }

    def test_ssl_off_is_argued_against(self) -> None:
        """It cannot even work."""
        assert "the database takes a token over SSL alone" in WHY_SSL

    def test_a_service_is_named_after_location_and_level(self) -> None:
        """So that the block stays valid for later access of the same kind."""
        assert "orders-prod-o" == service_name(a_connection())


class TestThePasswordFile:
    def test_the_lines_that_fill_the_password_file_from_the_clipboard(self) -> None:
        """By the host's name, readable by its owner alone, and with the token's own colon escaped."""
        entry = f"{HOST}:56789:orders:{ROLE}:"
        lines = dict(password_file_lines(a_connection()))

        assert ["macOS", "Linux, Wayland", "Linux, X11", "PowerShell"] == list(lines)
        assert (
            f"""(umask 077; printf "%s\\n" "{entry}$(pbpaste | sed 's/:/\\\\:/g')" > "$HOME/.drawbridge.pgpass")"""
        ) == lines["macOS"]
        assert (
            f"""Set-Content "$HOME/.drawbridge.pgpass" ("{entry}" + ((Get-Clipboard -Raw).Trim() -replace ":", "\\:"))"""
        ) == lines["PowerShell"]

    def test_where_tokens_stay_local_the_password_file_is_filled_by_making_one(self) -> None:
        """There is none to copy."""
        lines = dict(password_file_lines(TOKEN_LOCAL))

        assert ["macOS, Linux", "PowerShell"] == list(lines)
        assert all(MAKE_TOKEN in line for line in lines.values())
