"""A Slack workspace in which the app is installed, for the operator's program to look at."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.slack.api import BOT, SlackStandIn, SlackUser
from tests.deployment.cloud import BOT_TOKEN, SIGNING_SECRET

MANIFEST = Path(__file__).parents[2] / "chalicelib" / "slack" / "manifest.json"


@contextmanager
def a_workspace(team: str = "T0EXAMPLE", **changes: Any) -> Iterator[SlackStandIn]:
    """Alice, Bob, and the app in the approvals channel."""
    users = [SlackUser(id=f"U0{name.upper()}", name=name, team_id=team) for name in ("alice", "bob")]
    settings: dict[str, Any] = {
        "manifest": json.loads(MANIFEST.read_text()),
        "team": team,
        "users": users,
        "channels": {"C0APPROVALS": ("approvals", {"U0BOB", BOT["user"]})},
        "signing_secret": SIGNING_SECRET,
        "bot_token": BOT_TOKEN,
        "clock": time.time,
    }
    with SlackStandIn(**settings | changes) as slack:
        yield slack
