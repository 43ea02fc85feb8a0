"""The lines that people paste: their exact text, and that nothing in them can mean anything else to a shell."""

import re
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.connections import (
    ConnectionDetails,
    choose_port,
    local_token_command,
    local_token_lines,
    password_lines,
    port_in_use_lines,
    psql_command,
    tunnel_command,
    tunnel_is_open_line,
)
from chalicelib.domain.instances import Endpoint
from chalicelib.domain.locations import SessionDocument, TokenSource
from chalicelib.domain.requests import LOCAL_PORTS, PROFILE
from tests.factories import a_connection, a_grant
from tests.strategies import RULE, connections

HOST = "orders-cluster.cluster-abc123.eu-west-1.rds.amazonaws.com"
ROLE = a_grant().facts.role
OVER_AWS = a_connection(a_grant(document=SessionDocument.AWS, port=60001))
WITH_PROFILE = a_connection(a_grant(profile="dev"))
TOKEN_LOCAL = a_connection(a_grant(token=TokenSource.LOCAL))
MAKE_TOKEN = f"aws rds generate-db-auth-token --region eu-west-1 --hostname {HOST} --port 5432 --username {ROLE}"
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
        """The document knows everything: host, port and the local port of the location."""
        assert (
            "aws ssm start-session --region eu-west-1 --target i-0123456789abcdef0 "
            "--document-name drawbridge-example-orders-prod --reason R-ABC234"
        ) == tunnel_command(a_connection())

    def test_the_tunnel_by_another_local_port_than_the_documents(self) -> None:
        """The person's own wish, or the next free one: the only thing that can be said to the document."""
        assert (
            "aws ssm start-session --region eu-west-1 --target i-0123456789abcdef0 "
            "--document-name drawbridge-example-orders-prod --parameters localPortNumber=60001 --reason R-ABC234"
        ) == tunnel_command(a_connection(a_grant(port=60001)))

    def test_where_the_documents_local_port_is_not_known_it_is_said(self) -> None:
        """A grant of an earlier release, whose facts do not hold it."""
        assert " --parameters localPortNumber=56789 " in tunnel_command(a_connection(a_grant(document_port=None)))

    def test_the_tunnel_with_the_persons_aws_profile(self) -> None:
        """For people who have several."""
        assert (
            "aws ssm start-session --profile dev --region eu-west-1 --target i-0123456789abcdef0 "
            "--document-name drawbridge-example-orders-prod --reason R-ABC234"
        ) == tunnel_command(WITH_PROFILE)

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
        assert MAKE_TOKEN == local_token_command(a_connection())

    def test_the_token_is_made_with_the_persons_aws_profile(self) -> None:
        """The same as the tunnel's."""
        assert local_token_command(WITH_PROFILE).startswith("aws rds generate-db-auth-token --profile dev --region ")

    def test_the_lines_that_make_a_token_and_connect_with_it(self) -> None:
        """For locations whose token never crosses Slack."""
        psql = psql_command(TOKEN_LOCAL)

        assert dict(local_token_lines(TOKEN_LOCAL)) == {
            "macOS, Linux": f'PGPASSWORD="$({MAKE_TOKEN})" {psql}',
            "PowerShell": f"$env:PGPASSWORD = ({MAKE_TOKEN}); {psql}",
        }

    def test_a_port_in_use_is_found_out_or_gone_round(self) -> None:
        """By the next port that is free, for the tunnel and for psql."""
        other = a_connection().on_port(56792)

        assert (
            ("macOS, Linux", "lsof -nP -iTCP:56789 -sTCP:LISTEN"),
            ("PowerShell", "Get-Process -Id (Get-NetTCPConnection -LocalPort 56789).OwningProcess"),
            ("The tunnel by port 56792", tunnel_command(other)),
            ("Then connect", psql_command(other)),
        ) == port_in_use_lines(a_connection(), taken=(56790, 56791))


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
    @pytest.mark.parametrize("place", ["instance_id", "host", "stage", "database", "region", "location", "request_id"])
    def test_a_value_that_could_mean_something_to_a_shell_is_refused(self, place: str, value: str) -> None:
        """Wherever it stands; there is no escaping that bash, zsh, PowerShell and cmd read alike."""
        details, facts = a_connection(), a_grant().facts
        changes: dict[str, Any] = {
            "instance_id": {"instance_id": value},
            "stage": {"stage": value},
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

    @pytest.mark.parametrize("value", ["-x", "@x", *(value for value in HOSTILE if value)])
    def test_so_is_a_profile_that_could(self, value: str) -> None:
        """No profile at all is none in the line."""
        with pytest.raises(ValueError, match="cannot stand in a shell command"):
            a_connection(a_grant(profile=value))

    @pytest.mark.parametrize("place", ["instance_id", "stage", "certificate_bundle"])
    @RULE
    @given(value=st.text(max_size=20))
    def test_whatever_is_accepted_survives_the_shell(self, place: str, value: str) -> None:
        """Values that were accepted come out of the splitting exactly as they went in."""
        try:
            details = replace(a_connection(), **{place: value})
        except ValueError:
            return
        assert_survives(details)

    @RULE
    @given(connections)
    def test_every_harmless_value_survives_the_shell(self, details: ConnectionDetails) -> None:
        """Words stay words, and the connection string stays one word."""
        assert_survives(details)

    @RULE
    @given(st.from_regex(PROFILE, fullmatch=True))
    def test_every_profile_that_a_command_may_name_can_stand_in_a_line(self, profile: str) -> None:
        """What is accepted early is never refused late."""
        assert f" --profile {profile} " in tunnel_command(a_connection(a_grant(profile=profile)))

    @RULE
    @given(connections)
    def test_the_lines_for_every_shell_hold_nothing_that_one_of_them_interprets(
        self, details: ConnectionDetails
    ) -> None:
        """Quotes stand outside alone, ``$`` before HOME alone; so cmd and PowerShell read the line as sh does."""
        for line in (tunnel_command(details), local_token_command(details), psql_command(details)):
            assert re.fullmatch(r'(?: ?[A-Za-z0-9._:/-][A-Za-z0-9._:/@=-]*| "[A-Za-z0-9._:/@=, $-]*")+', line)
            assert line.count("$") == line.count("sslrootcert=$HOME/")


class TestPorts:
    @pytest.mark.parametrize(
        ("wanted", "taken", "expected"),
        [
            (56789, [], 56789),
            (56789, [56790], 56789),
            (56789, [56789], 56790),
            (56789, [56789, 56790, 56792], 56791),
            (65535, [65535], 1024),
            (65534, [65534, 65535, 1024], 1025),
        ],
    )
    def test_the_next_free_port_is_chosen(self, wanted: int, taken: list[int], expected: int) -> None:
        """Upwards, and from the last on to the first that needs no special rights."""
        assert expected == choose_port(wanted, taken)

    @RULE
    @given(st.sampled_from(LOCAL_PORTS), st.frozensets(st.sampled_from(LOCAL_PORTS)))
    def test_it_is_never_one_that_is_taken(self, wanted: int, taken: frozenset[int]) -> None:
        """And always one that can be listened on."""
        port = choose_port(wanted, taken)

        assert port in LOCAL_PORTS
        assert port not in taken

    def test_no_port_at_all_is_said(self) -> None:
        """Rather than looked for without end."""
        with pytest.raises(ValueError, match="every local port is taken"):
            choose_port(56789, LOCAL_PORTS)

    def test_another_port_changes_the_local_side_alone(self) -> None:
        """The database's stays."""
        assert OVER_AWS == OVER_AWS.on_port(2000).on_port(60001)
        assert f"host={HOST},portNumber=5432,localPortNumber=2000" in tunnel_command(OVER_AWS.on_port(2000))


def assert_survives(details: ConnectionDetails) -> None:
    tunnel = shlex.split(tunnel_command(details))
    psql, connection, *more = shlex.split(psql_command(details))
    keys = dict(part.split("=", 1) for part in connection.split(" "))
    token = shlex.split(local_token_command(details))

    assert details.instance_id == tunnel[tunnel.index("--target") + 1]
    says_no_port = details.facts.document is SessionDocument.LOCATION and details.port == details.facts.document_port
    assert says_no_port == ("--parameters" not in tunnel)
    if not says_no_port:
        assert f"localPortNumber={details.port}" in tunnel[tunnel.index("--parameters") + 1].split(",")
    assert ("psql", []) == (psql, more)
    assert (details.writer.host, details.facts.database, details.certificate_bundle) == (
        keys["host"],
        keys["dbname"],
        keys["sslrootcert"],
    )
    assert details.writer.host == token[token.index("--hostname") + 1]
    for words in (tunnel, token):
        assert details.facts.profile == (words[words.index("--profile") + 1] if details.facts.profile else "")
