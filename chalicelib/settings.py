"""The settings of a function: the only reader of the environment. Each is read when it is asked for, never at import."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from chalicelib.defaults import DURATION_NAMES, DURATIONS, Durations
from chalicelib.domain.errors import SettingsError

_PACKED_CATALOGUE = Path(__file__).parent / "catalogue.toml"


class Settings:
    """Everything that differs between stages. Raises SettingsError, with the variable's name, for what is missing."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def _text(self, name: str, default: str | None = None) -> str:
        value = self._environment.get(f"DRAWBRIDGE_{name}") or default
        if value is None:
            raise SettingsError(
                f"DRAWBRIDGE_{name} is not set. The deployment sets it for each function that needs it."
            )
        return value

    @property
    def table(self) -> str:
        """The ledger's DynamoDB table."""
        return self._text("TABLE")

    @property
    def state_machine(self) -> str:
        """The ARN of the workflow."""
        return self._text("STATE_MACHINE")

    @property
    def launch_template(self) -> str:
        """The name of the bastions' launch template."""
        return self._text("LAUNCH_TEMPLATE")

    @property
    def issue_token_function(self) -> str:
        """The name of the function that makes tokens."""
        return self._text("ISSUE_TOKEN_FUNCTION")

    @property
    def slack_secret(self) -> str:
        """The id of Slack's secret in Secrets Manager."""
        return self._text("SLACK_SECRET")

    @property
    def slack_app(self) -> str:
        """The id of our Slack app; requests meant for another app are refused."""
        return self._text("SLACK_APP")

    @property
    def slack_api(self) -> str:
        """Where Slack's Web API is."""
        return self._text("SLACK_API", "https://slack.com/api/")

    @property
    def catalogue_file(self) -> Path:
        """The catalogue, packed beside the code unless said otherwise."""
        return Path(self._text("CATALOGUE", str(_PACKED_CATALOGUE)))

    @property
    def certificate_bundle(self) -> str:
        """Where the RDS certificate bundle lies on people's machines."""
        return self._text("CERTIFICATE_BUNDLE", "$HOME/rds-global-bundle.pem")

    @property
    def database_certificates(self) -> str:
        """Where the RDS certificate bundle lies beside the database function's code."""
        return self._text("DATABASE_CERTIFICATES", str(Path(__file__).parent / "rds-global-bundle.pem"))

    @property
    def database_address(self) -> str | None:
        """An address to connect to instead of looking the endpoint up; for a machine that has no VPC."""
        return self._environment.get("DRAWBRIDGE_DATABASE_ADDRESS") or None

    @property
    def durations(self) -> Durations:
        """The default durations, each replaced by ``DRAWBRIDGE_<NAME>_SECONDS`` where that is set."""
        changed: dict[str, int] = {}
        for name in DURATION_NAMES:
            variable = f"{name.upper()}_SECONDS"
            text = self._environment.get(f"DRAWBRIDGE_{variable}")
            if text is None:
                continue
            if not text.isdecimal():
                raise SettingsError(f"DRAWBRIDGE_{variable} must be a whole number of seconds, not '{text[:40]}'.")
            changed[name] = int(text)
        return replace(DURATIONS, **changed)


def current_settings() -> Settings:
    """The settings of this process."""
    return Settings(os.environ)  # noqa: TID251  this file is the one reader


def is_on_lambda() -> bool:
    """Does this process run as a deployed function?"""
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ  # noqa: TID251  this file is the one reader
