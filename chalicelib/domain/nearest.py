"""What somebody may have meant who wrote what is not known."""

from collections.abc import Iterable


def find_nearest(written: str, known: Iterable[str], *, cutoff: float) -> str | None:
    """The known word most like what was written, if one is at least so like it: 1.0 is the same, 0.0 has nothing in common."""
    from difflib import get_close_matches  # noqa: PLC0415  a cold start would pay for what only a mistake needs

    return next(iter(get_close_matches(written, list(known), n=1, cutoff=cutoff)), None)
