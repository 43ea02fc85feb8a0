"""The certificates that RDS servers are checked against: AWS's bundle, fetched once and kept. Never a deployment without them."""

import ssl
import urllib.request
from collections.abc import Callable
from pathlib import Path

from chalicelib.domain.errors import SettingsError

BUNDLE_URL = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
_FETCH_SECONDS = 15


def fetch_bundle() -> str:
    """AWS's bundle for all regions. Raises OSError."""
    with urllib.request.urlopen(BUNDLE_URL, timeout=_FETCH_SECONDS) as answer:
        return str(answer.read().decode("ascii", errors="replace"))


def require_certificates(file: Path) -> None:
    """Raises SettingsError for a file that cannot be read or holds no certificates."""
    try:
        text = file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise SettingsError(
            f"The certificates {file} cannot be read: {error.strerror}. Give another --certificates."
        ) from error
    if not holds_certificates(text):
        raise SettingsError(
            f"{file} does not hold certificates of authorities in PEM form. The right file is the one of {BUNDLE_URL}"
        )


def ensure_bundle(file: Path, fetch: Callable[[], str]) -> str:
    """Fetch the bundle unless the file holds it already. Returns a sentence that says why there is none, or an empty text."""
    if file.is_file() and holds_certificates(file.read_text(encoding="ascii", errors="replace")):
        return ""
    try:
        text = fetch()
    except OSError as error:
        return f"The certificates of RDS could not be fetched from {BUNDLE_URL} ({getattr(error, 'reason', error)})."
    if not holds_certificates(text):
        return f"What {BUNDLE_URL} answered does not hold certificates."
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(text, encoding="ascii")
    part.replace(file)
    return ""


def holds_certificates(text: str) -> bool:
    """Can TLS trust somebody by this text, and read all of it?"""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=text)
    except (ValueError, ssl.SSLError):
        return False
    return context.cert_store_stats()["x509_ca"] > 0
