"""An explanation: which rule applies to a person, a location and a level, and what it comes to today."""

from dataclasses import dataclass
from datetime import datetime

from chalicelib.domain.locations import LevelRule, Location
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import PolicyOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """``outcome`` is for the default duration at this moment; ``rule`` is None when the location does not offer the level."""

    location: Location
    level: PermissionLevel
    rule: LevelRule | None
    outcome: PolicyOutcome
    at: datetime
    may_break_glass: bool = False
