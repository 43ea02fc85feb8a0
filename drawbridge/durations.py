"""How long something takes, as people write and read it. Pure."""

import re

from drawbridge.errors import InvalidInputError

_WRITTEN = re.compile(r"(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,6})s)?")

_SHORT = 90
"""Seconds that are said as such."""


def parse_duration(text: str) -> int:
    """Seconds of "90s", "30m", "2h" or "1h30m". Raises InvalidInputError."""
    match = _WRITTEN.fullmatch(text.strip().lower())
    hours, minutes, seconds = (int(each or 0) for each in match.groups()) if match else (0, 0, 0)
    if not (total := hours * 3600 + minutes * 60 + seconds):
        raise InvalidInputError(f"'{text[:20]}' is no duration. Write it like 30m, 2h or 1h30m.")
    return total


def describe_duration(seconds: float) -> str:
    """As people say it, rounded to what matters: "1 h 30 min", "5 min", "40 s"."""
    whole = max(round(seconds), 0)
    if whole < _SHORT:
        return f"{whole} s"
    minutes = round(whole / 60)
    hours, minutes = divmod(minutes, 60)
    return " ".join([*([f"{hours} h"] if hours else []), *([f"{minutes} min"] if minutes or not hours else [])])
