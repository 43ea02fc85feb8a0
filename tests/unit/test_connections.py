"""The lines that people paste: their exact text, and that nothing in them can mean anything else to a shell."""

import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.connections import (
    ConnectionDetails,
    document_name,
    local_token_command,
    password_lines,
    psql_command,
    tunnel_command,
    tunnel_is_open_line,
)
from chalicelib.domain.instances import Endpoint
from chalicelib.domain.locations import SessionDocument
from tests.factories import a_connection, a_grant
from tests.strategies import RULE

HOST = "orders-cluster.cluster-abc123.eu-west-1.rds.amazonaws.com"
ROLE = a_grant().facts.role
OVER_AWS = a_connection(a_grant(document=SessionDocument.AWS, port=60001))
HOSTILE = [
    "",
    "a b",
    "a;b",
    "a|b",
    "a&b",
    "$(id)",
    "`id`",
    "$HOME",
    "a'b",
    'a"b',
    "a\\b",
    "a\nb",
    "a>b",
    "a*b",
    "a,b",
    "a%b",
    "a!b",
    "ä",
    "a\u202eb",
]


class TestTheLines:
    def test_the_tunnel_of_the_locations_own_document(self) -> None:
        """Host and port are fixed in the document; nothing but the target is the person's to choose."""
        assert (
            "aws ssm start-session --region eu-west-1 --target i-0123456789abcdef0 "
            "--document-name drawbridge-orders-prod --reason R-ABC234"
        ) == tunnel_command(a_connection())

    def test_the_tunnel_of_the_document_that_aws_owns(self) -> None:
        """Host and ports in one pair of outer quotes, which every shell reads alike."""
        assert (
            "aws ssm start-session --region eu-west-1 --target i-0123456789abcdef0 "
            "--document-name AWS-StartPortForwardingSessionToRemoteHost "
            f'--parameters "host={HOST},portNumber=5432,localPortNumber=60001" --reason R-ABC234'
        ) == tunnel_command(OVER_AWS)

    def test_what_the_person_sees_when_the_tunnel_is_open(self) -> None:
        """The plugin's own words, with the location's port."""
        assert "Port 60001 opened for sessionId …" == tunnel_is_open_line(OVER_AWS)

    def test_the_line_that_connects(self) -> None:
        """The certificate is checked for the real name though the way leads through 127.0.0.1."""
        assert (
            f'psql "host={HOST} hostaddr=127.0.0.1 port=56789 dbname=orders user={ROLE} '
            'sslmode=verify-full sslrootcert=$HOME/rds-global-bundle.pem"'
        ) == psql_command(a_connection())

    def test_the_lines_that_take_the_token_from_the_clipboard(self) -> None:
        """One for each system; the token stands in no line and so in no history."""
        psql = psql_command(a_connection())

        assert dict(password_lines(a_connection())) == {
            "macOS": f'PGPASSWORD="$(pbpaste)" {psql}',
            "Linux, Wayland": f'PGPASSWORD="$(wl-paste)" {psql}',
            "Linux, X11": f'PGPASSWORD="$(xclip -o -selection clipboard)" {psql}',
            "PowerShell": f"$env:PGPASSWORD = Get-Clipboard -Raw; {psql}",
        }

    def test_the_line_that_makes_a_token_oneself(self) -> None:
        """Signed for the real endpoint and its port, not for the tunnel's."""
        assert (
            f"aws rds generate-db-auth-token --hostname {HOST} --port 5432 --region eu-west-1 --username {ROLE}"
        ) == local_token_command(a_connection())

    def test_each_location_has_a_document_of_its_own_unless_it_uses_awss(self) -> None:
        """The name is what IAM policies of people are written for."""
        assert ("drawbridge-orders-prod", "AWS-StartPortForwardingSessionToRemoteHost") == tuple(
            document_name("orders-prod", document) for document in (SessionDocument.LOCATION, SessionDocument.AWS)
        )


class TestTheShell:
    def test_a_shell_splits_the_tunnel_command_into_its_words(self) -> None:
        """The outer quotes disappear and the commas stay."""
        assert [
            "--parameters",
            f"host={HOST},portNumber=5432,localPortNumber=60001",
            "--reason",
            "R-ABC234",
        ] == shlex.split(tunnel_command(OVER_AWS))[-4:]

    @pytest.mark.parametrize("value", HOSTILE)
    @pytest.mark.parametrize("place", ["instance_id", "host", "database", "region", "location", "request_id"])
    def test_a_value_that_could_mean_something_to_a_shell_is_refused(self, place: str, value: str) -> None:
        """Wherever it stands; there is no escaping that bash, zsh, PowerShell and cmd read alike."""
        details, facts = a_connection(), a_grant().facts
        changes: dict[str, Any] = {
            "instance_id": {"instance_id": value},
            "host": {"writer": Endpoint(host=value, port=5432)},
        }.get(place, {})
        if not changes:
            changes = {"facts": replace(facts, **{place: value})}

        with pytest.raises(ValueError, match="cannot stand in a shell command"):
            replace(details, **changes)

    @pytest.mark.parametrize(
        "path", [*[value for value in HOSTILE if value != "$HOME"], "$HOME", "$PATH/x", "x/$HOME/y"]
    )
    def test_a_certificate_path_that_could_mean_more_is_refused(self, path: str) -> None:
        """``$HOME/`` at its beginning is the one expansion that is wanted; libpq itself reads backslashes as escapes."""
        with pytest.raises(ValueError, match="cannot stand in a shell command"):
            a_connection(certificate_bundle=path)

    @RULE
    @given(
        instance_id=st.text(max_size=20),
        host=st.text(max_size=20),
        path=st.text(max_size=20),
        database=st.text(max_size=20),
    )
    def test_whatever_is_accepted_survives_the_shell(
        self, instance_id: str, host: str, path: str, database: str
    ) -> None:
        """Values that were accepted come out of the splitting exactly as they went in."""
        safe = {"instance_id": "i-1", "host": HOST, "path": "x.pem", "database": "orders"}
        given_values = {"instance_id": instance_id, "host": host, "path": path, "database": database}
        for name, value in given_values.items():
            try:
                details = build(**{**safe, name: value})
            except ValueError:
                continue
            assert_survives(details)

    @RULE
    @given(*[st.from_regex(r"[A-Za-z0-9._:/@-]{1,30}", fullmatch=True)] * 4)
    def test_every_harmless_value_survives_the_shell(
        self, instance_id: str, host: str, path: str, database: str
    ) -> None:
        """Words stay words, and the connection string stays one word."""
        assert_survives(build(instance_id, host, path, database))


def build(instance_id: str, host: str, path: str, database: str) -> ConnectionDetails:
    """Details over AWS's document, which has the most to quote."""
    return replace(
        a_connection(a_grant(document=SessionDocument.AWS, database=database)),
        instance_id=instance_id,
        writer=Endpoint(host=host, port=5432),
        certificate_bundle=path,
    )


def assert_survives(details: ConnectionDetails) -> None:
    tunnel = shlex.split(tunnel_command(details))
    psql, connection, *more = shlex.split(psql_command(details))
    keys = dict(part.split("=", 1) for part in connection.split(" "))

    assert details.instance_id == tunnel[tunnel.index("--target") + 1]
    assert f"host={details.writer.host},portNumber=5432,localPortNumber=56789" in tunnel
    assert ("psql", []) == (psql, more)
    assert (details.writer.host, details.facts.database, details.certificate_bundle) == (
        keys["host"],
        keys["dbname"],
        keys["sslrootcert"],
    )
    assert shlex.split(local_token_command(details))[4] == details.writer.host
