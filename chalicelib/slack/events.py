"""Events: somebody opened their Home."""

from typing import Any

from slack_bolt import App

from chalicelib.domain.errors import SlackUnavailableError
from chalicelib.slack.acts import Acts


def register_events(app: App, acts: Acts) -> None:
    """Listen to ``app_home_opened``. A Home that Slack does not take is published at the next opening."""

    @app.event("app_home_opened")
    def open_home(event: dict[str, Any]) -> None:
        person = acts.find_person(event["user"])
        if event.get("tab") != "home" or person is None:
            return
        try:
            acts.refresh_home(person)
        except SlackUnavailableError:
            return
