"""The certificates by which a database of RDS is known, on disk. What cannot be read as certificates is not kept."""

import os
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, build_opener, url2pathname

import click

from drawbridge.errors import ConfigurationError, LoginError

_OLDEST_SECONDS = 30 * 24 * 3600
_MOST_BYTES, _SECONDS = 8 * 1024 * 1024, 30.0


class _NoRedirects(HTTPRedirectHandler):
    """Where a bundle comes from is said by Drawbridge alone."""

    def redirect_request(self, *_: Any) -> None:
        return None


def ensure_bundle(url: str, *, cache: Path) -> Path:
    """A file with the certificates that stand at an https: or file: address.

    What https: brought is kept in ``cache`` (0600 in a 0700 directory) and fetched anew after a month; if that fails, used on.
    Raises ConfigurationError for another kind of address, LoginError when there is nothing that could be used.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.hostname in {None, "localhost"}:
        path = Path(url2pathname(parts.path))
        try:
            _require_certificates(path.read_bytes(), url)
        except OSError as error:
            raise LoginError(f"The certificates of the database cannot be read: {error}.") from error
        return path
    if parts.scheme != "https":
        raise ConfigurationError(
            f"Certificates come from https: addresses, not from {url}. Tell the operator of Drawbridge."
        )
    path = cache / f"rds-{sha256(url.encode()).hexdigest()[:12]}.pem"
    is_kept = path.is_file()
    if not is_kept or time.time() - path.stat().st_mtime > _OLDEST_SECONDS:
        try:
            content = _download(url)
        except LoginError:
            if not is_kept:
                raise
        else:
            _keep(content, path)
    return path


@contextmanager
def cache_directory() -> Iterator[Path]:
    """Where downloads are kept between runs, or for this one alone: a container may have no home to keep anything in."""
    base = os.environ.get("XDG_CACHE_HOME")
    cache = Path(base) / "drawbridge" if base else Path(click.get_app_dir("drawbridge")) / "cache"
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_usable = os.access(cache, os.W_OK)
    except OSError:
        is_usable = False
    if is_usable:
        yield cache
        return
    with tempfile.TemporaryDirectory(prefix="drawbridge-") as directory:
        yield Path(directory)


def _download(url: str) -> bytes:
    try:
        with build_opener(_NoRedirects).open(url, timeout=_SECONDS) as answer:
            content = bytes(answer.read(_MOST_BYTES + 1))
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise LoginError(
            f"The certificates of the database could not be fetched from {url}: {reason}. "
            "Without them nobody can tell the database from an impostor. Open that address in a browser to see what is wrong."
        ) from error
    _require_certificates(content, url)
    return content


def _require_certificates(content: bytes, url: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content[:_MOST_BYTES].decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise LoginError(
            f"What stands at {url} is no file of certificates. Tell the operator of Drawbridge."
        ) from error


def _keep(content: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent)  # 0600, and moved whole: two runs may do this at once
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
