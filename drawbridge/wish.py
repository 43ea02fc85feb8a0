"""What somebody wants of a location, in the words of the command line."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Named as the API names it; None means as the location has it."""

    location: str
    level: str
    reason: str
    duration_seconds: int | None
    environment: str | None
    region: str | None
    port: int | None

    def body(self) -> dict[str, Any]:
        """As the API is asked."""
        return {name: value for name, value in asdict(self).items() if value is not None}
