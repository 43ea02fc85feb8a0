"""The login at the far end, against databases that do what they should, and others."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from drawbridge.errors import LoginError
from drawbridge.login import LoginRefusedError, UnansweredError, check_login
from drawbridge.postgres_wire import error_response, message
from drawbridge.tokens import make_token
from local.iam_proxy import CertificateAuthority
from tests.drawbridge_network.world import HOST, World, a_connection
from tests.waiting import WAITING_SECONDS

ASK_TOKEN = b"R\0\0\0\x08\0\0\0\x03"
LET_IN = b"R\0\0\0\x08\0\0\0\0"
TOKEN = "the token"


class Impostor:
    """Answers each thing that it is told with the next of its answers, in TLS after the first; keeps what it was told."""

    def __init__(self, directory: Path, answers: list[bytes], *, host: str = HOST) -> None:
        authority = CertificateAuthority()
        self.bundle = directory / "impostor.pem"
        authority.write(self.bundle)
        self.heard: list[bytes] = []
        self._context, self._answers = authority.issue(host), answers
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._server.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection, suppress(OSError):
            connection.settimeout(WAITING_SECONDS)
            self.heard.append(connection.recv(8))
            connection.sendall(self._answers[0])
            if self._answers[0] != b"S":
                return
            with self._context.wrap_socket(connection, server_side=True) as secure:
                for answer in self._answers[1:]:
                    self.heard.append(secure.recv(65536))
                    secure.sendall(answer)
                while secure.recv(65536):
                    pass


def refusal(impostor: Impostor, kind: type[LoginError], *, timeout: float = WAITING_SECONDS) -> str:
    with pytest.raises(LoginError) as caught:
        check_login(a_connection(), address=impostor.address, token=TOKEN, bundle=impostor.bundle, timeout=timeout)

    assert kind is type(caught.value)
    return str(caught.value)


def test_a_login_answers_the_servers_version(world: World) -> None:
    """Through the tunnel, to the real thing."""
    token = make_token(world.session, world.connection)
    with world.tunnel() as tunnel:
        version = check_login(world.connection, address=("127.0.0.1", tunnel.port), token=token, bundle=world.bundle)

    assert str(world.server.version) == version.split(".")[0]
    assert 0 == world.backends()


def test_a_refused_login_names_what_must_be_allowed(world: World) -> None:
    """With the database's own words."""
    with world.tunnel() as tunnel, pytest.raises(LoginRefusedError) as caught:
        check_login(world.connection, address=("127.0.0.1", tunnel.port), token="bad", bundle=world.bundle)

    assert caught.value.is_about_the_login()
    assert "refused the login of jit_0123abcd_r_alice: PAM authentication failed" in str(caught.value)
    assert f"rds-db:connect to {world.connection.database_user_arn}" in str(caught.value)


def test_no_token_without_tls(tmp_path: Path) -> None:
    """A server that says no to TLS is told nothing more."""
    with Impostor(tmp_path, [b"N"]) as impostor:
        assert "does not speak TLS, so no token was sent" in refusal(impostor, LoginError)


@pytest.mark.parametrize("answer", [b"E", b"X", b"\0"])
def test_no_token_to_something_else(tmp_path: Path, answer: bytes) -> None:
    """Whatever it is that answers."""
    with Impostor(tmp_path, [answer]) as impostor:
        assert "so no token was sent" in refusal(impostor, LoginError)


def test_nothing_that_was_said_before_tls_counts(tmp_path: Path) -> None:
    """Somebody on the way could add an answer of their own, unencrypted."""
    with Impostor(tmp_path, [b"S" + LET_IN + b"Z\0\0\0\x05I"]) as impostor:
        refusal(impostor, UnansweredError)


def test_no_token_for_another_name(tmp_path: Path) -> None:
    """A certificate of the right authority, for somebody else."""
    with Impostor(tmp_path, [b"S"], host="elsewhere.example.com") as impostor:
        told = refusal(impostor, LoginError)

    assert f"What answers as {HOST} has no certificate of Amazon's for that name" in told
    assert "Hostname mismatch" in told


@pytest.mark.parametrize(
    "asked",
    [
        message(b"R", b"\0\0\0\x05salt"),
        message(b"R", b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
        message(b"R", b"\0\0\0\x07"),
        message(b"Z", b"I"),
    ],
)
def test_another_proof_than_a_token_is_not_given(tmp_path: Path, asked: bytes) -> None:
    """Nothing can be derived from a token that was never sent."""
    with Impostor(tmp_path, [b"S", asked]) as impostor:
        assert "asks jit_0123abcd_r_alice for another proof than a token" in refusal(impostor, LoginError)
    assert not any(TOKEN.encode() in heard for heard in impostor.heard)


def test_only_the_grants_user_and_database_are_asked_for(tmp_path: Path) -> None:
    """In protocol 3.0, and then the token."""
    refused = error_response({"C": "53300", "M": "sorry, too many clients already"})
    with Impostor(tmp_path, [b"S", ASK_TOKEN, refused]) as impostor:
        told = refusal(impostor, LoginRefusedError)

    assert b"user\0jit_0123abcd_r_alice\0database\0depotpostgres\0" in impostor.heard[1]
    assert impostor.heard[1][4:8] == b"\0\x03\0\0"
    assert b"p\0\0\0\x0e" + TOKEN.encode() + b"\0" == impostor.heard[2]
    assert "sorry, too many clients already" in told
    assert "rds-db:connect" not in told


def test_an_error_after_the_login_is_one(tmp_path: Path) -> None:
    """Who was let in may still not use that database."""
    refused = error_response({"C": "42501", "M": "permission denied for database"})
    with Impostor(tmp_path, [b"S", ASK_TOKEN, LET_IN + refused]) as impostor:
        assert "permission denied for database" in refusal(impostor, LoginRefusedError)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"R\xff\xff\xff\xff"])
def test_who_does_not_speak_postgresql_is_named(tmp_path: Path, answer: bytes) -> None:
    """Or says nothing more."""
    with Impostor(tmp_path, [b"S", answer]) as impostor:
        told = refusal(impostor, LoginError if answer else UnansweredError, timeout=WAITING_SECONDS if answer else 0.5)

    assert "does not speak PostgreSQL" in told or "did not complete the login within" in told


def test_nobody_behind_the_port(tmp_path: Path) -> None:
    """The tunnel has gone."""
    CertificateAuthority().write(tmp_path / "ca.pem")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    with pytest.raises(UnansweredError, match="no database answered at its other end"):
        check_login(a_connection(), address=address, token=TOKEN, bundle=tmp_path / "ca.pem")


def test_a_bundle_that_is_none_is_named(tmp_path: Path) -> None:
    """Before anything is asked."""
    with pytest.raises(LoginError, match="cannot be read"):
        check_login(a_connection(), address=("127.0.0.1", 1), token=TOKEN, bundle=tmp_path / "none.pem")
