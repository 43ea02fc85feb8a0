"""The settings of a function: the only reader of the environment. Each is read when it is asked for, never at import."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from chalicelib.defaults import DURATION_NAMES, DURATIONS, Durations
from chalicelib.domain.errors import SettingsError

_PACKED_CATALOGUE = Path(__file__).parent / "catalogue.json"


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

    def _of_lambda(self, name: str) -> str:
        value = self._environment.get(name)
        if not value:
            raise SettingsError(f"{name} is not set. Lambda sets it for every function.")
        return value

    @property
    def stage(self) -> str:
        """Which deployment this is; a part of the names of what the stack makes."""
        return self._text("STAGE")

    @property
    def table(self) -> str:
        """The ledger's DynamoDB table."""
        return self._text("TABLE")

    @property
    def audit_log(self) -> str:
        """The log group that holds a line for each entry of the audit trail."""
        return self._text("AUDIT_LOG")

    @property
    def state_machine(self) -> str:
        """The ARN of the workflow."""
        return self._text("STATE_MACHINE")

    @property
    def launch_template(self) -> str:
        """What the names of the groups' launch templates begin with."""
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
    def certificate_bundle_url(self) -> str:
        """Where whoever has no RDS certificate bundle gets one."""
        return self._text("CERTIFICATE_BUNDLE_URL", "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem")

    @property
    def database_certificates(self) -> str:
        """Where the RDS certificate bundle lies beside the database function's code."""
        return self._text("DATABASE_CERTIFICATES", str(Path(__file__).parent / "rds-global-bundle.pem"))

    @property
    def database_address(self) -> str | None:
        """An address to connect to instead of looking the endpoint up; for a machine that has no VPC."""
        return self._environment.get("DRAWBRIDGE_DATABASE_ADDRESS") or None

    @property
    def aws_region(self) -> str:
        """The region that the function runs in, from where boto3 has it."""
        return self._of_lambda("AWS_DEFAULT_REGION")

    @property
    def aws_credentials(self) -> tuple[str, str, str | None]:
        """Access key, secret key and session token of the function's role."""
        token = self._environment.get("AWS_SESSION_TOKEN") or None
        return self._of_lambda("AWS_ACCESS_KEY_ID"), self._of_lambda("AWS_SECRET_ACCESS_KEY"), token

    @property
    def aws_endpoint(self) -> str | None:
        """Where all of AWS is, for a machine that has none."""
        return self._environment.get("AWS_ENDPOINT_URL") or None

    @property
    def aws_read_seconds(self) -> int:
        """How long the endpoint waits for an answer of AWS, where it is emulated; 0 for as long as the endpoint can afford."""
        return self._seconds("AWS_READ_SECONDS") or 0

    @property
    def trace(self) -> str | None:
        """The X-Ray header of the invocation under way; Lambda sets it anew for each."""
        return self._environment.get("_X_AMZN_TRACE_ID") or None

    def _seconds(self, variable: str) -> int | None:
        text = self._environment.get(f"DRAWBRIDGE_{variable}")
        if text is not None and not text.isdecimal():
            raise SettingsError(f"DRAWBRIDGE_{variable} must be a whole number of seconds, not '{text[:40]}'.")
        return None if text is None else int(text)

    @property
    def durations(self) -> Durations:
        """The default durations, each replaced by ``DRAWBRIDGE_<NAME>_SECONDS`` where that is set."""
        changed: dict[str, int] = {}
        for name in DURATION_NAMES:
            variable = f"{name.upper()}_SECONDS"
            if (seconds := self._seconds(variable)) is not None:
                changed[name] = seconds
        return replace(DURATIONS, **changed)


def current_settings() -> Settings:
    """The settings of this process."""
    return Settings(os.environ)  # noqa: TID251  this file is the one reader


def is_on_lambda() -> bool:
    """Does this process run as a deployed function?"""
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ  # noqa: TID251  this file is the one reader
