"""The saved defaults of a person, one small file in their configuration directory. Holds no credential and no token."""

import json
import os
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import click

from drawbridge.durations import parse_duration
from drawbridge.errors import ConfigurationError, InvalidInputError

LEVELS = {"r": "read", "w": "write", "o": "operate"}
LOCAL_PORTS = range(1024, 65536)
_LONGEST = 500

Value = str | int


def settings_file() -> Path:
    """Where the defaults are kept: what DRAWBRIDGE_CONFIG names, else the usual place of this system."""
    named = os.environ.get("DRAWBRIDGE_CONFIG")
    return Path(named) if named else Path(click.get_app_dir("drawbridge")) / "config.toml"


def load_settings(file: Path) -> dict[str, Value]:
    """What was saved, checked; nothing when there is no file. Raises ConfigurationError."""
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}. Correct or remove it.") from error
    try:
        return {key: check_setting(key, str(value)) for key, value in found.items()}
    except InvalidInputError as error:
        raise ConfigurationError(f"{file}: {error}") from error


def save_settings(file: Path, settings: Mapping[str, Value]) -> None:
    """Replace what was saved, in one step, readable for its owner alone. Raises ConfigurationError."""
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in sorted(settings.items())]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, written = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write("".join(lines))
        Path(written).replace(file)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}.") from error


def check_setting(key: str, text: str) -> Value:
    """The value that a text means for a setting. Raises InvalidInputError, which names the settings or the mistake."""
    check = _CHECKS.get(key)
    if check is None:
        raise InvalidInputError(f"'{key[:40]}' is no setting. There are: {', '.join(_CHECKS)}.")
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise InvalidInputError(f"{key} must be one line of text.")
    return check(text)


def check_api(text: str) -> str:
    """An address that may be given credentials' signatures: https, or this machine itself. Raises InvalidInputError."""
    parts = urlsplit(text)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"}):
        raise InvalidInputError(f"api must be an address that begins with https://, not '{text[:60]}'.")
    if not parts.hostname or parts.username or parts.query or parts.fragment:
        raise InvalidInputError(
            f"api must be an address like https://ID.execute-api.REGION.amazonaws.com/api, not '{text[:60]}'."
        )
    return text.rstrip("/")


def check_level(text: str) -> str:
    """r, w or o, also in full. Raises InvalidInputError."""
    wanted = text.lower()
    for letter, name in LEVELS.items():
        if wanted in {letter, name}:
            return letter
    raise InvalidInputError(f"permission is r (read), w (write) or o (operate), not '{text[:20]}'.")


def check_port(text: str) -> int:
    """A port that needs no special rights. Raises InvalidInputError."""
    if not (text.isascii() and text.isdecimal() and int(text) in LOCAL_PORTS):
        raise InvalidInputError(f"localport is a number from 1024 to 65535, not '{text[:20]}'.")
    return int(text)


def _check_duration(text: str) -> str:
    parse_duration(text)
    return text


_CHECKS: Mapping[str, Callable[[str], Value]] = {
    "api": check_api,
    "awsprofile": str,
    "duration": _check_duration,
    "env": str,
    "localport": check_port,
    "permission": check_level,
    "region": str,
}
SETTINGS = tuple(_CHECKS)
PARAMETERS = {"env": "environment"}
"""Settings that the commands' code calls otherwise."""
