"""A crowd: so many people who ask within a minute, their locations and groups of bastions, and what becomes of each of them."""

import random
from typing import Any

from local import seed
from local.slack.api import SlackUser

PER_LOCATION, PER_GROUP, SEED = 10, 50, 20261121
APPROVALS = "C0APPROVALS"


def name_of(number: int) -> str:
    return f"person{number:03}"


def slack_id(name: str) -> str:
    return f"U0{name.upper()}"


def direct_of(number: int) -> str:
    """The channel of somebody's direct messages."""
    return f"D0{name_of(number).upper()}"


def location_of(number: int) -> str:
    return f"crowded-{number // PER_LOCATION:02}"


def group_of(number: int) -> str:
    return f"crowd{number // PER_GROUP}"


def is_approved(number: int) -> bool:
    """Half of them are, the others are denied."""
    return number % 2 == 0


def ends_it(number: int) -> bool:
    """Half of those who are approved press End Now, the others let it run out."""
    return number % 4 == 2


def moments(size: int, seconds: float) -> list[float]:
    """When each of them asks: the same in every run."""
    moments = random.Random(SEED)
    return [moments.uniform(0, seconds) for _ in range(size)]


def catalogue(size: int) -> str:
    """A location for ten people each, and a group of bastions for five locations each; carol decides everything."""
    people = [f'[people.{name_of(number)}]\nslack = "{slack_id(name_of(number))}"' for number in range(size)]
    groups = [
        f'[bastions.{group_of(first)}]\nsubnets = ["subnet-a", "subnet-b"]' for first in range(0, size, PER_GROUP)
    ]
    locations = [
        f'[locations.{location_of(first)}]\ncluster = "my-aurora"\ndatabase = "depotpostgres"\nregion = "eu-west-1"\n'
        f'environment = "prod"\nbastion = "{group_of(first)}"\nport = {57000 + first}\n'
        f"[locations.{location_of(first)}.levels]\n"
        f"w = {{ who = {[name_of(each) for each in range(first, min(size, first + PER_LOCATION))]}, "
        f'approvers = ["carol"], cap = "1h" }}'.replace("'", '"')
        for first in range(0, size, PER_LOCATION)
    ]
    return "\n" + "\n".join([*people, *groups, *locations]) + "\n"


def in_slack(size: int) -> dict[str, Any]:
    """Users and channels of the local Slack: the crowd beside those who are there always, all of it in the general channel."""
    crowd = {slack_id(name_of(number)): name_of(number) for number in range(size)}
    title, members = seed.SLACK_CHANNELS["C0GENERAL"]
    return {
        "users": [*seed.SLACK_USERS, *(SlackUser(id=key, name=name, team_id=seed.TEAM) for key, name in crowd.items())],
        "channels": seed.SLACK_CHANNELS | {"C0GENERAL": (title, {*members, *crowd})},
    }
