"""Lengths of time as people write, read and choose them: 30m, 2h, 1h30m, 1d."""

import re

_PATTERN = re.compile(r"(?:(?P<d>\d{1,4})d)?(?:(?P<h>\d{1,5})h)?(?:(?P<m>\d{1,6})m)?(?:(?P<s>\d{1,7})s)?")
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WORDS = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
_USUAL = tuple(60 * minutes for minutes in (15, 30)) + tuple(3600 * hours for hours in (1, 2, 4, 8, 12, 24))


def find_duration(text: str) -> int | None:
    """The seconds that ``text`` stands for; None when it is no duration, or one of nothing."""
    match = _PATTERN.fullmatch(text.lower())
    if match is None:
        return None
    return sum(int(count) * _SECONDS[unit] for unit, count in match.groupdict(default="0").items()) or None


def describe_duration(seconds: int) -> str:
    """Seconds in words, exact: ``1 hour 30 minutes``."""
    words = []
    for unit, size in _SECONDS.items():
        count, seconds = divmod(seconds, size)
        if count:
            words.append(f"{count} {_WORDS[unit]}{'' if count == 1 else 's'}")
    return " ".join(words) or "0 seconds"


def duration_choices(most: int, *, also: int | None = None) -> list[int]:
    """The usual durations up to ``most``, and one more that is wanted; never none."""
    usual = {step for step in _USUAL if step <= most} or {most}
    return sorted(usual | ({also} if also else set()))


def shorter_choices(asked: int) -> list[int]:
    """The usual durations that are less than was asked."""
    return [step for step in _USUAL if step < asked]
