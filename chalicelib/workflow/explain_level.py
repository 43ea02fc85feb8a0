"""Which rule applies to a person, a location and a level, and what it comes to now: read from the catalogue alone."""

from datetime import datetime

from chalicelib.defaults import Durations
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.explanations import Explanation
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import decide_policy


def explain_level(
    *,
    person: Person,
    location: str,
    level: PermissionLevel,
    catalogue: Catalogue,
    durations: Durations,
    now: datetime,
) -> Explanation:
    """The rule and its outcome for the default duration. Raises UnknownLocationError."""
    place = catalogue.require_location(location)
    rule = place.find_rule(level, person)
    return Explanation(
        location=place,
        level=level,
        rule=rule,
        outcome=decide_policy(
            person=person,
            location=place,
            level=level,
            duration_seconds=min(durations.access, rule.cap_seconds) if rule else durations.access,
            catalogue=catalogue,
            now=now,
        ),
        at=now,
        may_break_glass=bool(rule and rule.break_glass and person.name in rule.break_glass.who),
    )
