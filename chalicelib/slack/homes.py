"""Publishes people's Home tabs."""

from slack_sdk import WebClient

from chalicelib.domain.overviews import Overview
from chalicelib.domain.people import Person
from chalicelib.slack.errors import translated
from chalicelib.slack.home import home_view


class SlackHomes:
    """Raises SlackUnavailableError."""

    def __init__(self, client: WebClient) -> None:
        self._client = client

    def publish(self, person: Person, overview: Overview) -> None:
        """Replace the person's Home."""
        with translated("a Home tab"):
            self._client.views_publish(user_id=person.slack, view=home_view(person=person, overview=overview))
