"""The certificates of the database: fetched once, from where Drawbridge says, and nothing else is taken for them."""

import os
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec

from drawbridge.certificates import ensure_bundle
from drawbridge.errors import ConfigurationError, LoginError
from local.iam_proxy import CertificateAuthority
from tests.serving import HttpServer, Silent

MONTH = 30 * 24 * 3600


class Store(HttpServer):
    """The trust store as AWS serves it, over https."""

    def __init__(self, certificate: Path, content: bytes) -> None:
        store = self
        self.content, self.status, self.asked = content, 200, 0

        class Handler(Silent, BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                store.asked += 1
                self.send_response(store.status)
                self.send_header("Location", f"{store.url}/elsewhere")
                self.send_header("Content-Length", str(len(store.content)))
                self.end_headers()
                self.wfile.write(store.content)

        super().__init__(Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/bundle.pem"


def write_web_certificate(path: Path) -> None:
    """A certificate for localhost and its key, with all that Python 3.13 asks of public ones; it vouches for itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name.from_rfc4514_string("CN=localhost")
    usage = dict.fromkeys(("key_encipherment", "content_commitment", "data_encipherment", "key_agreement"), False)
    usage |= dict.fromkeys(("crl_sign", "encipher_only", "decipher_only"), False)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(pem.Encoding.PEM))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    CertificateAuthority().write(tmp_path / "bundle.pem")
    return tmp_path / "bundle.pem"


@pytest.fixture
def store(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    write_web_certificate(tmp_path / "web.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "web.pem"))  # OpenSSL's own way to be told whom to trust
    with Store(tmp_path / "web.pem", bundle.read_bytes()) as store:
        yield store


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "of" / "alice"


def make_old(path: Path) -> None:
    os.utime(path, (time.time() - MONTH - 60,) * 2)


def test_what_was_fetched_once_is_kept(store: Store, cache: Path) -> None:
    """For its user alone."""
    paths = {ensure_bundle(store.url, cache=cache) for _ in range(3)}

    [path] = paths
    assert (store.content, 1) == (path.read_bytes(), store.asked)
    assert (0o100600, 0o40700) == (path.stat().st_mode, cache.stat().st_mode)
    assert [path] == list(cache.iterdir())


def test_after_a_month_it_is_fetched_anew(store: Store, cache: Path) -> None:
    """Amazon adds authorities years before it uses them."""
    path = ensure_bundle(store.url, cache=cache)
    make_old(path)
    store.content += store.content

    assert store.content == ensure_bundle(store.url, cache=cache).read_bytes()
    assert 2 == store.asked


def test_an_old_one_is_better_than_none(store: Store, cache: Path) -> None:
    """Without a network to the outside, or with a broken store."""
    path = ensure_bundle(store.url, cache=cache)
    make_old(path)
    content, store.status = path.read_bytes(), 503

    assert content == ensure_bundle(store.url, cache=cache).read_bytes()


def test_two_addresses_are_kept_apart(store: Store, cache: Path) -> None:
    """Regions have their own."""
    assert ensure_bundle(store.url, cache=cache) != ensure_bundle(f"{store.url}?other", cache=cache)


@pytest.mark.parametrize("status", [404, 500, 302, 301, 307])
def test_only_an_answer_from_there_counts(store: Store, cache: Path, status: int) -> None:
    """A redirection could lead anywhere."""
    store.status = status
    with pytest.raises(LoginError, match=f"could not be fetched from {store.url}"):
        ensure_bundle(store.url, cache=cache)

    assert 1 == store.asked


@pytest.mark.parametrize(
    "content", [b"", b"<html>Sign in to the hotel's network</html>", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----"]
)
def test_what_are_no_certificates_is_not_kept(store: Store, cache: Path, content: bytes) -> None:
    """A hotel's page must not make every login fail for a month."""
    store.content = content
    with pytest.raises(LoginError, match="is no file of certificates"):
        ensure_bundle(store.url, cache=cache)

    assert not cache.exists()


def test_an_impostors_store_is_not_believed(
    store: Store, cache: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own certificate is checked, too."""
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with pytest.raises(LoginError, match="CERTIFICATE_VERIFY_FAILED"):
        ensure_bundle(store.url, cache=cache)


def test_a_file_is_used_where_it_is(bundle: Path, cache: Path) -> None:
    """In the local workspace; it may be another one tomorrow."""
    assert bundle == ensure_bundle(bundle.as_uri(), cache=cache)
    assert not cache.exists()


@pytest.mark.parametrize("content", [None, b"no certificates"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, cache: Path, content: bytes | None) -> None:
    """By its name."""
    path = tmp_path / "other.pem"
    if content:
        path.write_bytes(content)
    with pytest.raises(LoginError, match=r"other\.pem"):
        ensure_bundle(path.as_uri(), cache=cache)


@pytest.mark.parametrize(
    "url", ["http://example.com/a.pem", "ftp://example.com/a", "file://server/share", "/a.pem", ""]
)
def test_no_other_way_is_taken(cache: Path, url: str) -> None:
    """Nothing that somebody on the way could change."""
    with pytest.raises(ConfigurationError, match="Certificates come from https: addresses"):
        ensure_bundle(url, cache=cache)
