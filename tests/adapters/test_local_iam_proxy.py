"""The stand-in's door: who RDS would let in with an IAM token gets in, everybody else is refused as RDS refuses."""

import logging
import os
import re
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import boto3
import botocore.auth
import botocore.credentials
import psycopg
import pytest
from botocore.awsrequest import AWSRequest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier

from local.iam_proxy import CertificateAuthority, Credentials, IamProxy, check_token
from local.postgres import PostgresServer, create_rds_roles, find_bin_directory
from tests.waiting import eventually

REGION = "eu-west-1"
WRITER = f"my-aurora.cluster-abc123.{REGION}.rds.amazonaws.com"
READER = f"my-aurora.cluster-ro-abc123.{REGION}.rds.amazonaws.com"
PORT = 5432
LONG_TERM, TEMPORARY = "AKIAEXAMPLE", "ASIAEXAMPLE"
SECRET, SESSION_TOKEN = "example/secret+key", "session+token/with=signs&more"
SSL_REQUEST, GSSENC_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f", b"\0\0\0\x08\x04\xd2\x16\x30"
LONG_NAME, ODD_NAME = "x" * 63, "A b&c=d%/?+é"
SECONDS_TO_WAIT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What botocore is told to sign; every field may be wrong."""

    host: str = WRITER
    port: int = PORT
    user: str = "ana"
    region: str = REGION
    service: str = "rds-db"
    action: str = "connect"
    expires: int = 900
    key: str = LONG_TERM
    secret: str = SECRET
    session_token: str | None = None
    date: str | None = None

    def sign(self) -> str:
        query = botocore.compat.urlencode({"Action": self.action, "DBUser": self.user})
        request = AWSRequest(method="GET", url=f"https://{self.host}:{self.port}/?{query}")
        keys = botocore.credentials.Credentials(self.key, self.secret, self.session_token)
        signer: Any = botocore.auth.SigV4QueryAuth(keys, self.service, self.region, self.expires)
        if self.date is None:
            signer.add_auth(request)
        else:
            request.context["timestamp"] = self.date
            signer._modify_request_before_signing(request)
            text = signer.string_to_sign(request, signer.canonical_request(request))
            signer._inject_signature_to_request(request, signer.signature(text, request))
        return str(request.url).removeprefix("https://")


GOOD = Token()


def find_credentials(access_key_id: str) -> Credentials | None:
    """Two keys of one owner, who may connect as everybody but the others' users."""
    tokens = {LONG_TERM: None, TEMPORARY: SESSION_TOKEN}
    if access_key_id not in tokens:
        return None
    return Credentials(
        secret_access_key=SECRET,
        session_token=tokens[access_key_id],
        may_connect=lambda user: not user.startswith("other"),
    )


def check(token: str, *, user: str = "ana", later: timedelta = timedelta(0)) -> str | None:
    return check_token(
        token,
        endpoints={f"{WRITER}:{PORT}", f"{READER}:{PORT}"},
        user=user,
        region=REGION,
        now=datetime.now(UTC) + later,
        find_credentials=find_credentials,
    )


def signed_at(token: str) -> datetime:
    return datetime.strptime(dict(parse_qsl(token))["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


# Tokens


@pytest.mark.parametrize(("key", "session_token"), [(LONG_TERM, None), (TEMPORARY, SESSION_TOKEN)])
@pytest.mark.parametrize("host", [WRITER, READER])
def test_a_token_of_boto3_is_good(key: str, session_token: str | None, host: str) -> None:
    """The same call that people and functions make, with both kinds of keys and for each endpoint."""
    rds = boto3.client(
        "rds",
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=SECRET,
        aws_session_token=session_token,
    )

    assert check(rds.generate_db_auth_token(DBHostname=host, Port=PORT, DBUsername="ana")) is None


@given(user=st.text(min_size=1, max_size=80))
def test_every_name_of_a_user_can_be_signed(user: str) -> None:
    """Names with signs that mean something in an address are signed as they are."""
    assert replace(GOOD, user=f"ana{user}").sign() != GOOD.sign()
    assert check(replace(GOOD, user=f"ana{user}").sign(), user=f"ana{user}") is None


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (replace(GOOD, host="elsewhere.example.com"), "no endpoint"),
        (replace(GOOD, host="localhost"), "no endpoint"),
        (replace(GOOD, host="127.0.0.1"), "no endpoint"),
        (replace(GOOD, host=WRITER.upper()), "no endpoint"),
        (replace(GOOD, port=56789), "no endpoint"),
        (replace(GOOD, user="bob"), "another action, user"),
        (replace(GOOD, user="Ana"), "another action, user"),
        (replace(GOOD, action="describe"), "another action, user"),
        (replace(GOOD, region="eu-west-2"), "another scope"),
        (replace(GOOD, service="rds"), "another scope"),
        (replace(GOOD, expires=901), "15 minutes"),
        (replace(GOOD, expires=0), "15 minutes"),
        (replace(GOOD, expires=-1), "15 minutes"),
        (replace(GOOD, key="AKIAUNKNOWN"), "unknown access key"),
        (replace(GOOD, secret="another"), "wrong signature"),
        (replace(GOOD, session_token=SESSION_TOKEN), "another session token"),
        (replace(GOOD, key=TEMPORARY), "another session token"),
        (replace(GOOD, key=TEMPORARY, session_token="older"), "another session token"),
    ],
    ids=str,
)
def test_a_token_for_anything_else_is_refused(token: Token, reason: str) -> None:
    """Each token differs from a good one in one thing, and is refused for that."""
    assert reason in (check(token.sign()) or "accepted")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda token: f"{token}&DBUser=ana", "repeated"),
        (lambda token: f"{token}&X-Amz-Signature=0", "repeated"),
        (lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"), "wrong signature"),
        (lambda token: f"{token}é", "wrong signature"),
        (lambda token: f"{token}&Extra=1", "wrong signature"),
        (lambda token: token.replace("Expires=900", "Expires=899"), "wrong signature"),
        (lambda token: token.replace("Expires=900", "Expires=0900"), "15 minutes"),
        (lambda token: token.replace("HMAC-SHA256", "HMAC-SHA1"), "algorithm"),
        (lambda token: token.replace("SignedHeaders=host", "SignedHeaders=date"), "header"),
        (lambda token: re.sub(r"Date=(\d{8})T\d+Z", r"Date=\1T1Z", token), "not a request"),
        (lambda token: re.sub(r"Date=(\d{8})T\d+Z", r"Date=\1T010101Z", token), ""),
        (lambda token: token.replace("/?", "?"), "not a request"),
        (lambda token: f"https://{token}", "no endpoint"),
        (lambda token: token.partition("&X-Amz-Signature")[0], "not a request"),
        (lambda _: "", "not a request"),
        (lambda _: "a-password", "not a request"),
    ],
)
def test_a_token_that_was_touched_is_refused(change: Callable[[str], str], reason: str) -> None:
    """What was signed is what counts."""
    assert reason in (check(change(GOOD.sign())) or "accepted")


@pytest.mark.parametrize(("pattern", "reason"), [("%Y%m%dT%H%M%SZ", "accepted"), ("%Y%m%dT%H%MZ", "malformed date")])
def test_a_date_is_written_in_full(pattern: str, reason: str) -> None:
    """A signature over a date in another writing does not make it a date."""
    now = datetime.now(UTC).replace(minute=11, second=0)
    date = now.strftime(pattern)
    answer = check(replace(GOOD, date=date).sign(), later=now - datetime.now(UTC) + timedelta(seconds=2))

    assert reason == (answer or "accepted")


@pytest.mark.parametrize("name", sorted(dict(parse_qsl(GOOD.sign().partition("?")[2]))))
def test_no_parameter_may_be_missing(name: str) -> None:
    """A token is complete or none."""
    token = re.sub(rf"(?<=[?&]){name}=[^&]*&?", "", GOOD.sign()).rstrip("&")

    assert f"{name}=" not in token
    assert check(token) is not None


@given(
    offset=st.timedeltas(min_value=timedelta(minutes=-20), max_value=timedelta(minutes=40)), seconds=st.integers(1, 900)
)
def test_a_token_is_good_from_five_minutes_before_its_date_until_it_expires(offset: timedelta, seconds: int) -> None:
    """Clocks may differ by five minutes, lifetimes not at all."""
    token = replace(GOOD, expires=seconds).sign()
    now = signed_at(token) + offset
    reason = check(token, later=now - datetime.now(UTC))
    edges = (abs(offset + timedelta(minutes=5)), abs(offset - timedelta(seconds=seconds)))

    if min(edges) > timedelta(seconds=1):
        assert (timedelta(minutes=-5) <= offset < timedelta(seconds=seconds)) == (reason is None)


@pytest.mark.parametrize(
    ("offset", "is_good"),
    [(-301, False), (-300, True), (0, True), (899, True), (900, False)],
)
def test_the_edges_of_a_lifetime(offset: int, is_good: bool) -> None:
    """At the second of its expiry a token is no longer good."""
    token = GOOD.sign()
    reason = check_token(
        token,
        endpoints={f"{WRITER}:{PORT}"},
        user="ana",
        region=REGION,
        now=signed_at(token) + timedelta(seconds=offset),
        find_credentials=find_credentials,
    )

    assert is_good == (reason is None)


@given(st.text(max_size=200) | st.text(alphabet="&=%?/-+XAmzDat0Z", max_size=60).map(f"{WRITER}:{PORT}/?".__add__))
def test_any_text_is_refused_without_an_error(text: str) -> None:
    """Whatever a client sends as its password, it gets an answer."""
    assert check(text) is not None


@given(st.data())
def test_no_part_of_a_token_can_be_changed(data: st.DataObject) -> None:
    """One other letter anywhere makes another token, unless it says the same in another writing."""
    token = Token(key=TEMPORARY, session_token=SESSION_TOKEN).sign()
    index = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    changed = token[:index] + letter + token[index + 1 :]

    if meaning(changed) != meaning(token):
        assert check(changed) is not None


def meaning(token: str) -> tuple[str, list[tuple[str, str]]]:
    address, _, query = token.partition("/?")
    return address, sorted(parse_qsl(query, keep_blank_values=True))


def test_who_may_not_connect_as_that_user_is_refused() -> None:
    """A good signature proves who signs, not what they may do."""
    assert "may not connect" in (check(replace(GOOD, user="other-person").sign(), user="other-person") or "accepted")


def test_no_reason_tells_a_secret() -> None:
    """Reasons are logged."""
    token = Token(key=TEMPORARY, session_token=SESSION_TOKEN, expires=901).sign()
    secrets = [SESSION_TOKEN, SECRET, dict(parse_qsl(token))["X-Amz-Signature"]]
    reasons = [check(token), check(token.replace("901", "900")), check(f"{token}&%&=")]

    assert [] == [secret for secret in secrets if any(secret in str(reason) for reason in reasons)]
    assert [] == [secret for secret in secrets if secret in repr(find_credentials(TEMPORARY))]


# The door


class Door:
    """A database with people in it, its proxy, and ways to knock."""

    def __init__(self, server: PostgresServer, directory: Path) -> None:
        self.server = server
        self.certificates = directory / "ca.pem"
        self.authority = CertificateAuthority()
        self.authority.write(self.certificates)
        self.proxy = self.make_proxy()

    def make_proxy(self, **changes: Any) -> IamProxy:
        settings: dict[str, Any] = {
            "server": self.server,
            "region": REGION,
            "authority": self.authority,
            "find_credentials": find_credentials,
            "clock": lambda: datetime.now(UTC),
        }
        return IamProxy(**settings | changes)

    def token(self, **changes: Any) -> str:
        return Token(**{"port": self.proxy.port, **changes}).sign()

    def log_in(self, user: str = "ana", **changes: Any) -> psycopg.Connection:
        options: dict[str, Any] = {
            "host": WRITER,
            "hostaddr": "127.0.0.1",
            "port": self.proxy.port,
            "user": user,
            "dbname": "postgres",
            "sslmode": "verify-full",
            "sslrootcert": str(self.certificates),
            "password": self.token(user=user),
            "autocommit": True,
        }
        return psycopg.connect(**options | changes)

    def find_refusal(self, user: str = "ana", **changes: Any) -> str:
        with pytest.raises(psycopg.OperationalError) as caught:
            self.log_in(user, **changes).close()
        return str(caught.value)

    def knock(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.proxy.port), timeout=SECONDS_TO_WAIT)

    def begin_tls(self) -> ssl.SSLSocket:
        connection = self.knock()
        connection.sendall(SSL_REQUEST)
        assert connection.recv(1) == b"S"
        return self.wrap(connection)

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.certificates)
        return context.wrap_socket(connection, server_hostname=WRITER)

    def is_serving(self) -> bool:
        with self.log_in() as connection:
            return connection.execute("SELECT 42").fetchone() == (42,)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer(find_bin_directory(os.environ)) as server:
        with server.connect(autocommit=True) as rdsadmin:
            create_rds_roles(rdsadmin)
            rdsadmin.execute("CREATE ROLE bob LOGIN; CREATE ROLE parked NOLOGIN IN ROLE rds_iam")
            rdsadmin.execute("CREATE ROLE team IN ROLE rds_iam; CREATE ROLE carol LOGIN IN ROLE team")
            for member in ("ana", "other", LONG_NAME, ODD_NAME):
                rdsadmin.execute(SQL("CREATE ROLE {} LOGIN IN ROLE rds_iam").format(Identifier(member)))
        yield server


@pytest.fixture(scope="module")
def door(server: PostgresServer) -> Iterator[Door]:
    directory = Path(tempfile.mkdtemp(prefix="db-", dir="/tmp"))
    door = Door(server, directory)
    door.proxy.start()
    for host in (WRITER, READER):
        door.proxy.add_host(host)
    yield door
    door.proxy.stop()
    shutil.rmtree(directory)


def startup_packet(code: bytes = b"\0\x03\0\0", **parameters: str) -> bytes:
    words = b"".join(word.encode() + b"\0" for pair in parameters.items() for word in pair)
    return (len(words) + 9).to_bytes(4) + code + words + b"\0"


def password_packet(password: str) -> bytes:
    return b"p" + (len(password.encode()) + 5).to_bytes(4) + password.encode() + b"\0"


def read_messages(connection: socket.socket, until: bytes) -> dict[bytes, bytes]:
    """Reads the server's messages up to one kind; returns the last of each kind."""
    messages: dict[bytes, bytes] = {}
    with connection.makefile("rb") as stream:
        while until not in messages and (kind := stream.read(1)):
            messages[kind] = stream.read(int.from_bytes(stream.read(4)) - 4)
    return messages


@pytest.mark.parametrize("host", [WRITER, READER])
def test_each_endpoint_lets_its_tokens_in_and_shows_its_name(door: Door, host: str) -> None:
    """verify-full against the endpoint works through a local address, as through a tunnel."""
    with door.log_in(host=host, password=door.token(host=host)) as connection:
        row = connection.execute("SELECT current_user::text, session_user::text").fetchone()

        assert connection.pgconn.ssl_in_use
        assert ("ana", "ana") == row


def test_a_session_token_lets_in(door: Door) -> None:
    """Functions and people have temporary keys; their tokens are longer than a kilobyte."""
    token = door.token(key=TEMPORARY, session_token=SESSION_TOKEN)

    with door.log_in(password=token) as connection:
        assert ("ana",) == connection.execute("SELECT current_user::text").fetchone()


@pytest.mark.parametrize("user", ["carol", LONG_NAME, ODD_NAME])
def test_every_member_of_rds_iam_gets_in(door: Door, user: str) -> None:
    """Membership through another role counts; odd names are names."""
    with door.log_in(user) as connection:
        assert (user,) == connection.execute("SELECT current_user::text").fetchone()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"gssencmode": "prefer"}, id="asks for GSSAPI first"),
        pytest.param({"require_auth": "password"}, id="insists on a password"),
        pytest.param({"sslmode": "verify-ca", "host": "localhost"}, id="has another name for it"),
        pytest.param({"options": "-c statement_timeout=5s"}, id="brings settings"),
        pytest.param({"options": ""}, id="brings an empty setting"),
    ],
)
def test_clients_differ_in_their_ways(door: Door, options: dict[str, str]) -> None:
    """What libpq may ask of a real server works here."""
    with door.log_in(**options) as connection:
        assert connection.execute("SELECT 42").fetchone() == (42,)


def test_newer_protocols_pass(door: Door) -> None:
    """Version 3.2 has longer keys for cancelling; the server says what it knows."""
    with door.log_in(max_protocol_version="latest") as connection:
        assert connection.execute("SELECT 42").fetchone() == (42,)


def test_tls_from_the_first_byte_is_as_old_as_postgresql_17(door: Door) -> None:
    """Before 17 a server takes that for junk."""
    if door.server.version < 17:
        assert "unexpected eof" in door.find_refusal(sslnegotiation="direct")
    else:
        with door.log_in(sslnegotiation="direct") as connection:
            assert connection.execute("SELECT 42").fetchone() == (42,)


@pytest.mark.parametrize(
    ("changes", "user"),
    [
        pytest.param({"host": "localhost"}, "ana", id="signed for localhost"),
        pytest.param({"port": 5432}, "ana", id="signed for another port"),
        pytest.param({"secret": "wrong"}, "ana", id="signed with another key"),
        pytest.param({"user": "carol"}, "ana", id="signed for another user"),
        pytest.param({"user": "bob"}, "bob", id="no member of rds_iam"),
        pytest.param({"user": "nobody-here"}, "nobody-here", id="no such role"),
        pytest.param({"user": "other"}, "other", id="not allowed by IAM"),
        pytest.param({"user": "rdsadmin"}, "rdsadmin", id="superuser"),
        pytest.param({"user": "master"}, "master", id="may hand out rds_iam only"),
        pytest.param({"user": f"{LONG_NAME}y"}, f"{LONG_NAME}y", id="PostgreSQL would cut the name to one that exists"),
    ],
)
def test_all_refusals_look_the_same(door: Door, changes: dict[str, Any], user: str) -> None:
    """The client learns no reason, and no token comes back."""
    token = door.token(**changes)
    refusal = door.find_refusal(user, password=token)

    assert refusal.endswith(f'FATAL:  PAM authentication failed for user "{user}"')
    assert "Amz" not in refusal


def test_a_refusal_has_the_code_of_rds(door: Door) -> None:
    """Programs look at the code."""
    with door.begin_tls() as connection:
        connection.sendall(startup_packet(user="ana") + password_packet("wrong"))
        fields = read_messages(connection, until=b"E")[b"E"]

    assert b'SFATAL\0VFATAL\0C28000\0MPAM authentication failed for user "ana"\0\0' == fields


def test_the_reason_of_a_refusal_is_logged_without_the_token(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever runs the workspace sees why."""
    with caplog.at_level(logging.DEBUG, logger="local.iam_proxy"):
        door.find_refusal(password=door.token(secret="wrong"))
    logged = [record.getMessage() for record in caplog.records if record.name == "local.iam_proxy"]

    assert "Login of 'ana': wrong signature" in logged
    assert [] == [line for line in logged if "Amz" in line]


def test_a_parked_role_is_refused_by_the_server_itself(door: Door) -> None:
    """NOLOGIN is PostgreSQL's own rule, in its own words."""
    assert 'FATAL:  role "parked" is not permitted to log in' in door.find_refusal("parked")


def test_another_database_is_the_servers_affair(door: Door) -> None:
    """Behind the door PostgreSQL answers."""
    assert 'FATAL:  database "nowhere" does not exist' in door.find_refusal(dbname="nowhere")


def test_nothing_is_served_in_the_clear(door: Door) -> None:
    """IAM users need TLS, and are told as on RDS."""
    expected = (
        'FATAL:  pg_hba.conf rejects connection for host "127.0.0.1", user "ana", database "postgres", no encryption'
    )

    assert door.find_refusal(sslmode="disable").endswith(expected)


def test_replication_is_refused(door: Door) -> None:
    """IAM users cannot copy the cluster."""
    expected = 'pg_hba.conf rejects connection for host "127.0.0.1", user "ana", database "postgres", SSL encryption'

    assert door.find_refusal(replication="true").endswith(expected)


def test_a_certificate_of_somebody_else_is_refused_by_the_client(door: Door, tmp_path: Path) -> None:
    """The client trusts this authority's certificates only."""
    CertificateAuthority().write(tmp_path / "other.pem")
    refusal = door.find_refusal(sslrootcert=str(tmp_path / "other.pem"))

    assert re.search(r"certificate verify failed|signature failure", refusal)


def test_another_name_is_refused_by_the_client(door: Door) -> None:
    """Without the endpoint's name verify-full cannot succeed."""
    assert 'does not match host name "localhost"' in door.find_refusal(host="localhost")


def test_the_door_has_no_other_way_to_log_in(door: Door) -> None:
    """No hash of the token, no channel binding."""
    assert "scram" in door.find_refusal(require_auth="scram-sha-256").lower()
    assert "channel binding" in door.find_refusal(channel_binding="require")


def test_a_certificate_carries_the_endpoint_as_its_name(door: Door) -> None:
    """Some clients still look at the common name."""
    with door.begin_tls() as connection:
        certificate = connection.getpeercert()

    assert certificate is not None
    assert ((("commonName", WRITER),),) == certificate["subject"]
    assert (("DNS", WRITER),) == certificate["subjectAltName"]


def test_cancelling_over_tls_works(door: Door) -> None:
    """The request comes on a connection of its own, encrypted like the session."""
    with door.log_in() as connection, ThreadPoolExecutor(1) as background:
        waiting = background.submit(connection.execute, "SELECT pg_sleep(20)")
        question = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(20)' AND state = 'active'"
        with door.server.connect(autocommit=True) as rdsadmin:
            assert eventually(lambda: rdsadmin.execute(question).fetchone())
        connection.cancel_safe(timeout=SECONDS_TO_WAIT)

        with pytest.raises(psycopg.errors.QueryCanceled):
            waiting.result(timeout=SECONDS_TO_WAIT)


def test_cancelling_in_the_clear_works(door: Door) -> None:
    """Older clients send the request without TLS; it carries a secret of its own."""
    with door.begin_tls() as session:
        session.sendall(startup_packet(user="ana", database="postgres") + password_packet(door.token()))
        key = read_messages(session, until=b"Z")[b"K"]
        query = b"SELECT pg_sleep(20)\0"
        session.sendall(b"Q" + (len(query) + 4).to_bytes(4) + query)
        with door.server.connect(autocommit=True) as rdsadmin:
            question = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
            assert eventually(lambda: rdsadmin.execute(question, [int.from_bytes(key[:4])]).fetchone())
        with door.knock() as canceller:
            canceller.sendall((len(key) + 8).to_bytes(4) + b"\x04\xd2\x16\x2e" + key)
            answer = canceller.recv(1)

        assert answer == b""
        assert b"C57014" in read_messages(session, until=b"E")[b"E"]


def test_a_terminated_session_hears_why(door: Door) -> None:
    """The server's last words reach the client before the connection closes."""
    with closing(door.log_in()) as connection:
        with door.server.connect(autocommit=True) as rdsadmin:
            rdsadmin.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])

        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("SELECT 1")


def test_a_session_ends_with_its_client(door: Door) -> None:
    """No session stays behind that nobody can see."""
    connection = door.log_in()
    process = connection.info.backend_pid
    connection.close()
    with door.server.connect(autocommit=True) as rdsadmin:
        question = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"

        assert eventually(lambda: rdsadmin.execute(question, [process]).fetchone() is None)


def test_much_data_passes_both_ways(door: Door) -> None:
    """More than all buffers together hold."""
    with door.log_in() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE lines (line text)")
        with cursor.copy("COPY lines FROM STDIN") as copy:
            for _ in range(100):
                copy.write(b"x" * 99_999 + b"\n")
        cursor.execute("SELECT string_agg(line, '') FROM lines")
        row = cursor.fetchone()

    assert row is not None
    assert 9_999_900 == len(row[0])


# Those who do not keep to the protocol


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="HTTP"),
        pytest.param(b"\0" * 64, id="zeros"),
        pytest.param(b"\x7f\xff\xff\xff\0\x03\0\0", id="a huge packet"),
        pytest.param(b"\0\0\0\x09\0\x03\0\0\0", id="no user"),
        pytest.param(b"\0\0\0\x0e\0\x03\0\0user\0\0", id="a name without a value"),
        pytest.param(b"\0\0\0\x0f\0\x03\0\0\xff\xff\0\xfe\0\0\0", id="not UTF-8"),
        pytest.param(b"\x16\x03\x01\0\xff", id="half of TLS, unasked"),
        pytest.param(SSL_REQUEST + b"\x16\x03\x01\0\xff", id="half of TLS"),
        pytest.param(SSL_REQUEST + startup_packet(user="ana"), id="not TLS after asking for it"),
        pytest.param(GSSENC_REQUEST + b"\x16\x03\x01\0\xff", id="TLS after asking for GSSAPI"),
    ],
)
def test_junk_ends_its_own_connection_only(door: Door, junk: bytes) -> None:
    """The door closes on it, lets nothing in and goes on serving others."""
    with door.knock() as connection, connection.makefile("rb") as answer:
        connection.sendall(junk)
        connection.shutdown(socket.SHUT_WR)
        told = answer.read()

    assert re.fullmatch(rb"[SN]?(E.*|\x15.*)?", told, re.DOTALL)
    assert b"R" != told[:1]
    assert door.is_serving()


def test_what_is_sent_before_tls_does_not_count(door: Door) -> None:
    """Somebody between client and server cannot slip their own words in front of the client's."""
    with door.knock() as connection:
        connection.sendall(SSL_REQUEST + startup_packet(user="ana"))
        assert connection.recv(1) == b"S"

        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            door.wrap(connection)


def test_asking_for_gssapi_is_not_asking_for_tls(door: Door) -> None:
    """The answer was no: what follows is another request."""
    with door.knock() as connection:
        connection.sendall(GSSENC_REQUEST)
        assert connection.recv(1) == b"N"

        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            door.wrap(connection)


@pytest.mark.parametrize("code", [b"\x04\xd2\x16\x2f", b"\x04\xd2\x16\x30", b"\0\x02\0\0"])
def test_a_login_cannot_bring_a_second_startup_packet(door: Door, code: bytes) -> None:
    """A request for encryption dressed as a login would let the server read who logs in once more, unchecked."""
    with door.begin_tls() as connection:
        connection.sendall(startup_packet(code, user="ana") + password_packet(door.token()))
        messages = read_messages(connection, until=b"E")

    assert b'PAM authentication failed for user ""' in messages[b"E"]


def test_a_password_must_be_a_password(door: Door) -> None:
    """Another message instead is no login."""
    with door.begin_tls() as connection:
        connection.sendall(startup_packet(user="ana") + b"Q" + password_packet(door.token())[1:])

        assert b"PAM authentication failed" in read_messages(connection, until=b"E")[b"E"]


@pytest.mark.parametrize(
    "stage", ["at once", "after asking for TLS", "while TLS begins", "within TLS", "before the password"]
)
def test_silence_ends_a_connection(door: Door, stage: str) -> None:
    """Whoever begins to log in has so many seconds."""
    proxy, patient = door.make_proxy(startup_seconds=0.2), door.proxy
    proxy.start()
    proxy.add_host(WRITER)
    door.proxy = proxy
    try:
        if stage in {"within TLS", "before the password"}:
            connection: socket.socket = door.begin_tls()
        else:
            connection = door.knock()
        with connection:
            if stage in {"after asking for TLS", "while TLS begins"}:
                connection.sendall(SSL_REQUEST)
            if stage == "while TLS begins":
                connection.sendall(b"\x16\x03\x01\x02\0")
            if stage == "before the password":
                connection.sendall(startup_packet(user="ana"))
            received = connection.makefile("rb").read()
    finally:
        door.proxy = patient
        proxy.stop()

    assert received in {b"", b"S", b"R\0\0\0\x08\0\0\0\x03"}


def test_a_session_may_be_silent(door: Door) -> None:
    """The limit is for logging in only."""
    proxy = door.make_proxy(startup_seconds=0.5)
    proxy.start()
    proxy.add_host(WRITER)
    try:
        with door.log_in(port=proxy.port, password=door.token(port=proxy.port)) as connection:
            assert (42,) == connection.execute("SELECT 42 FROM pg_sleep(0.7)").fetchone()
    finally:
        proxy.stop()


def test_an_error_of_the_caller_ends_one_connection(door: Door) -> None:
    """A defect in the evaluation of permissions neither lets in nor takes the door away."""
    proxy = door.make_proxy(find_credentials={}.__getitem__)
    proxy.start()
    proxy.add_host(WRITER)
    try:
        refusals = [door.find_refusal(port=proxy.port, password=door.token(port=proxy.port)) for _ in range(2)]
    finally:
        proxy.stop()

    assert [] == [refusal for refusal in refusals if "FATAL" in refusal or "refused" in refusal]


# Starting, sleeping, ending


def test_a_sleeping_database_answers_when_it_wakes(door: Door) -> None:
    """Connections are taken and held, as by a cluster that was paused; open ones go on."""
    with door.log_in() as open_session:
        door.proxy.pause()
        try:
            with door.knock() as connection:
                connection.settimeout(0.2)
                connection.sendall(SSL_REQUEST)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
                answer = open_session.execute("SELECT 42").fetchone()
                door.proxy.resume()
                connection.settimeout(SECONDS_TO_WAIT)
                woken = connection.recv(1)
        finally:
            door.proxy.resume()

    assert (42,) == answer
    assert woken == b"S"


def test_without_hosts_nobody_gets_in(door: Door) -> None:
    """The port is known before the endpoints are; until then there is no certificate to show."""
    proxy = door.make_proxy()
    proxy.start()
    before = door.find_refusal(port=proxy.port, password=door.token(port=proxy.port))
    proxy.add_host(WRITER)
    try:
        with door.log_in(port=proxy.port, password=door.token(port=proxy.port)) as connection:
            answer = connection.execute("SELECT 42").fetchone()
    finally:
        proxy.stop()

    assert "SSL error" in before
    assert (42,) == answer


def test_a_port_can_be_chosen(door: Door) -> None:
    """It stays the same over a restart; two doors cannot have the same."""
    proxy = door.make_proxy()
    proxy.start()
    chosen = proxy.port
    proxy.stop()
    proxy.start()
    rival = door.make_proxy(port=chosen)
    try:
        with pytest.raises(OSError, match="address already in use"):
            rival.start()
    finally:
        rival.stop()
        proxy.stop()

    assert chosen == proxy.port


def test_it_listens_on_this_machine_only(door: Door) -> None:
    """Nobody else on the network can knock."""
    proxy = door.make_proxy()
    proxy.start()
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", proxy.port), timeout=SECONDS_TO_WAIT).close()
    finally:
        proxy.stop()


def test_stopping_leaves_nothing(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """No thread, port or session outlives stop(), whatever clients are doing; stopping again is fine and quiet."""
    threads = set(threading.enumerate())
    proxy = door.make_proxy()
    proxy.start()
    proxy.add_host(WRITER)
    session = door.log_in(port=proxy.port, password=door.token(port=proxy.port))
    process = session.info.backend_pid
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=SECONDS_TO_WAIT) as silent:
        silent.sendall(SSL_REQUEST)
        silent.recv(1)
        proxy.stop()
        proxy.stop()
    with closing(session), pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=SECONDS_TO_WAIT)

    assert [] == [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert threads == set(threading.enumerate())
    with door.server.connect(autocommit=True) as rdsadmin:
        question = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
        assert eventually(lambda: rdsadmin.execute(question, [process]).fetchone() is None)


def test_a_proxy_that_was_never_started_can_be_stopped(door: Door) -> None:
    """Cleaning up needs no memory of how far the beginning went."""
    door.make_proxy().stop()
