"""The modal in which a person sees their token: the only place in Slack that a token ever reaches."""

from datetime import datetime

from slack_sdk import WebClient

from chalicelib.domain.connections import ConnectionDetails
from chalicelib.slack.blocks import View
from chalicelib.slack.errors import translated
from chalicelib.slack.modals.token import local_token_modal, token_modal, token_refused_modal


class SlackTokenView:
    """Fills a view that is open already. Raises SlackUnavailableError, which never quotes the view."""

    def __init__(self, client: WebClient) -> None:
        self._client = client

    def show_token(self, view_id: str, token: str, connection: ConnectionDetails, *, expires_at: datetime) -> None:
        """Show a fresh token and how to use it."""
        self._update(view_id, token_modal(token=token, connection=connection, expires_at=expires_at))

    def show_local_token(self, view_id: str, connection: ConnectionDetails) -> None:
        """Show how the person makes the token on their own machine, where the location's never crosses Slack."""
        self._update(view_id, local_token_modal(connection=connection))

    def show_refusal(self, view_id: str, request_id: str, reason: str) -> None:
        """Say why there is no token."""
        self._update(view_id, token_refused_modal(request_id=request_id, reason=reason))

    def _update(self, view_id: str, view: View) -> None:
        with translated("the window of your token"):
            self._client.views_update(view_id=view_id, view=view)
