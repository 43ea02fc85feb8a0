"""The TLS door of RDS: checks IAM tokens as RDS does, then only moves bytes. Whose keys are good its caller says."""

import asyncio
import hmac
import logging
import ssl
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec

from local.postgres import PostgresServer
from local.signatures import ALGORITHM, sign

TLS_RECORD, CANCEL_REQUEST, SSL_REQUEST = b"\x16", b"\x04\xd2\x16\x2e", b"\0\0\0\x08\x04\xd2\x16\x2f"
ANSWERS = {SSL_REQUEST: b"S", b"\0\0\0\x08\x04\xd2\x16\x30": b"N"}  # TLS yes, GSSAPI no
ASK_PASSWORD, LONGEST_PASSWORD = b"R\0\0\0\x08\0\0\0\x03", 65_535
LIFETIMES = {str(age): timedelta(seconds=age) for age in range(1, 901)}
# Superusers are members of every role, but not for pg_hba.conf. Uncast, a long name would be cut to one that exists.
IS_MEMBER = "SELECT pg_has_role(oid, 'rds_iam', 'USAGE') AND NOT rolsuper FROM pg_roles WHERE rolname = %s::text"
LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What IAM knows of an access key; `may_connect` evaluates rds-db:connect for the name of a database user."""

    secret_access_key: str = field(repr=False)
    session_token: str | None = field(repr=False)
    may_connect: Callable[[str], bool]


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
FindCredentials = Callable[[str], Credentials | None]


class CertificateAuthority:
    """Stands in for the certificate authority of RDS: `write` makes the sslrootcert of clients. Its key stays in memory."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name.from_rfc4514_string("CN=Stand-in for the RDS root CA")
        self._certificate = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))

    def write(self, path: Path) -> None:
        path.write_bytes(self._certificate.public_bytes(pem.Encoding.PEM))

    def issue(self, host: str) -> ssl.SSLContext:
        """Returns the TLS side of a PostgreSQL server called `host`, with a fresh key."""
        name, key = x509.Name.from_rfc4514_string(f"CN={host[:64]}"), ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, key, x509.SubjectAlternativeName([x509.DNSName(host)]))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["postgresql"])
        with tempfile.NamedTemporaryFile() as file:
            secret = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
            Path(file.name).write_bytes(secret + certificate.public_bytes(pem.Encoding.PEM))
            context.load_cert_chain(file.name)
        return context

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, claim: x509.ExtensionType) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=365))
        return builder.add_extension(claim, critical=key is self._key).sign(self._key, hashes.SHA256())


def check_token(
    token: str, *, endpoints: Collection[str], user: str, region: str, now: datetime, find_credentials: FindCredentials
) -> str | None:
    """Returns None if the token lets `user` in by one of `endpoints` ("host:port"), else a reason without secrets."""
    address, _, query = token.partition("/?")
    try:
        given = dict(pairs := parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict"))
        signature, key_id = given.pop("X-Amz-Signature"), given["X-Amz-Credential"].partition("/")[0]
        signed_at = datetime.strptime(given["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        expires_at = signed_at + LIFETIMES[given["X-Amz-Expires"]]
    except (ValueError, KeyError, OverflowError) as error:
        return f"not a request presigned for at most 15 minutes ({type(error).__name__})"
    credentials = find_credentials(key_id)
    if credentials is None:
        return f"unknown access key {key_id!r}"
    expected = {"Action": "connect", "DBUser": user, "X-Amz-Algorithm": ALGORITHM, "X-Amz-SignedHeaders": "host"}
    rules = {
        f"signed for {address!r}, which is no endpoint here": address in endpoints,
        "a parameter is repeated": len(pairs) == len(given) + 1,
        "another action, user, algorithm or header": expected.items() <= given.items(),
        "another scope": given["X-Amz-Credential"] == f"{key_id}/{signed_at:%Y%m%d}/{region}/rds-db/aws4_request",
        "malformed date": given["X-Amz-Date"] == f"{signed_at:%Y%m%dT%H%M%SZ}",
        "expired, or signed in the future": signed_at <= now + timedelta(minutes=5) and now < expires_at,
        "another session token": given.get("X-Amz-Security-Token") == credentials.session_token,
        "wrong signature": hmac.compare_digest(_sign(credentials, address, given).encode(), signature.encode()),
    }
    broken = next((rule for rule, holds in rules.items() if not holds), None)
    return broken or (None if credentials.may_connect(user) else f"{key_id} may not connect as this user")


def _sign(credentials: Credentials, address: str, given: Mapping[str, str]) -> str:
    query = urlencode(sorted(given.items()), quote_via=quote, safe="-_.~")
    request = f"GET\n/\n{query}\nhost:{address}\n\nhost\n{sha256().hexdigest()}"
    scope = given["X-Amz-Credential"].split("/")[1:]
    return sign(credentials.secret_access_key, given["X-Amz-Date"], scope, request)


@dataclass(eq=False)
class IamProxy:
    """One database on 127.0.0.1 under the names of its endpoints. What a client does ends its own connection only."""

    server: PostgresServer
    region: str
    authority: CertificateAuthority
    find_credentials: FindCredentials
    clock: Callable[[], datetime]
    port: int = 0
    startup_seconds: float = 30
    _hosts: dict[str, ssl.SSLContext] = field(default_factory=dict, init=False)
    _undo: ExitStack = field(default_factory=ExitStack, init=False)

    def add_host(self, host: str) -> None:
        """Serves one more endpoint, also while running: with its certificate, and tokens made for it and `port`."""
        self._hosts[host] = self.authority.issue(host)

    def start(self) -> None:
        """Listens on `port`, 0 becoming a free one, and serves in a thread of its own."""
        runner = self._undo.enter_context(asyncio.Runner(loop_factory=asyncio.new_event_loop))
        self._loop = runner.get_loop()
        runner.run(self._listen())
        thread = threading.Thread(target=self._loop.run_forever, name="iam-proxy", daemon=True)
        thread.start()
        self._undo.callback(thread.join)
        self._undo.callback(self._loop.call_soon_threadsafe, self._loop.stop)

    def stop(self) -> None:
        """Ends every connection and the thread; may be called again."""
        self._undo.close()

    def pause(self) -> None:
        """Takes new connections and answers none before `resume`, as a cluster that sleeps."""
        self._loop.call_soon_threadsafe(self._awake.clear)

    def resume(self) -> None:
        self._loop.call_soon_threadsafe(self._awake.set)

    async def _listen(self) -> None:
        self._awake, tls, seconds = asyncio.Event(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.startup_seconds
        self._awake.set()
        outer = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port, tls.sni_callback = outer.sockets[0].getsockname()[1], self._choose_certificate
        self._inner = self.server.socket_directory / f"tls-{self.port}"
        self._database = self.server.socket_directory / ".s.PGSQL.5432"
        inner = await asyncio.start_unix_server(self._serve, self._inner, ssl=tls, ssl_handshake_timeout=seconds)
        self._undo.callback(outer.close)
        self._undo.callback(inner.close)

    def _choose_certificate(self, tls: ssl.SSLObject, host: str | None, context: ssl.SSLContext) -> None:
        tls.context = self._hosts.get(host or "", next(iter(self._hosts.values()), context))

    async def _serve(self, *client: *Stream) -> None:
        """Serves both doors: TLS that begins at the outer one goes on to the inner one; nothing sent before it does."""
        try:
            await self._awake.wait()
            async with asyncio.timeout(self.startup_seconds):
                packet = await self._negotiate_encryption(client)
                refusal = None if packet[4:8] in {CANCEL_REQUEST, b""} else await self._find_refusal(client, packet)
            if refusal:
                fields = "\0".join(("SFATAL", "VFATAL", "C28000", f"M{refusal}", "", "")).encode()
                client[1].write(b"E" + (len(fields) + 4).to_bytes(4) + fields)
            else:
                server = await asyncio.open_unix_connection(self._inner if packet == TLS_RECORD else self._database)
                server[1].write(packet)
                await asyncio.gather(_move(client[0], server[1]), _move(server[0], client[1]))
        except (OSError, EOFError, ValueError, psycopg.Error, asyncio.CancelledError) as error:
            LOG.debug("A connection ended: %r", error)
        finally:
            client[1].close()
            with suppress(OSError, asyncio.CancelledError):
                await client[1].wait_closed()

    async def _negotiate_encryption(self, client: Stream) -> bytes:
        asked, is_encrypted = b"", client[1].get_extra_info("ssl_object") is not None
        while (first := await client[0].readexactly(1)) != TLS_RECORD:
            packet = await _read_packet(client, first)
            if is_encrypted or packet not in ANSWERS:
                return packet
            client[1].write(ANSWERS[asked := packet])
        if is_encrypted or (asked != SSL_REQUEST and (asked or self.server.version < 17)):
            raise ValueError("TLS that was not asked for")
        return first

    async def _find_refusal(self, client: Stream, packet: bytes) -> str | None:
        words = packet[8:].decode().split("\0")
        startup = dict(zip(words[:-2:2], words[1:-2:2], strict=True)) if packet[4:6] == b"\0\x03" else {}
        user, is_encrypted = startup.get("user", ""), client[1].get_extra_info("ssl_object") is not None
        if not is_encrypted or "replication" in startup:
            connection = f'host "127.0.0.1", user "{user}", database "{startup.get("database", user)}"'
            return f"pg_hba.conf rejects connection for {connection}, {'SSL' if is_encrypted else 'no'} encryption"
        client[1].write(ASK_PASSWORD)
        kind, first = await client[0].readexactly(1), await client[0].readexactly(1)
        token = (await _read_packet(client, first))[4:-1].decode(errors="replace")
        reason = await asyncio.to_thread(self._check_login, user, token) if kind == b"p" else "no password"
        LOG.info("Login of %r: %s", user, reason or "allowed")
        return reason and f'PAM authentication failed for user "{user}"'

    def _check_login(self, user: str, token: str) -> str | None:
        endpoints = {f"{host}:{self.port}" for host in list(self._hosts)}
        find, now = self.find_credentials, self.clock()
        reason = check_token(token, endpoints=endpoints, user=user, region=self.region, now=now, find_credentials=find)
        with self.server.connect() as connection:
            is_member = connection.execute(IS_MEMBER, [user]).fetchone() == (True,)
        return reason or (None if is_member else "not a member of rds_iam")


async def _read_packet(client: Stream, first: bytes) -> bytes:
    length = first + await client[0].readexactly(3)
    if not 5 <= int.from_bytes(length) <= LONGEST_PASSWORD:
        raise ValueError("a packet of impossible length")
    return length + await client[0].readexactly(int.from_bytes(length) - 4)


async def _move(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with closing(writer):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
