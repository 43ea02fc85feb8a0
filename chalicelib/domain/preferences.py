"""What a person gave last, offered again so that they need not type it twice."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """The local port and the named AWS profile of their last request; None and empty for the usual ones."""

    port: int | None = None
    profile: str = ""
