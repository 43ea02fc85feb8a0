"""The settings of a function, from any environment that it is given."""

from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib.defaults import DURATION_NAMES, DURATIONS
from chalicelib.domain.errors import SettingsError
from chalicelib.settings import Settings

REQUIRED = ("stage", "table", "audit_log", "state_machine", "launch_template", "issue_token_function", "slack_secret")


@pytest.mark.parametrize("name", REQUIRED)
def test_a_setting_is_read_from_its_variable(name: str) -> None:
    """DRAWBRIDGE_ and the name in capitals."""
    assert "value" == getattr(Settings({f"DRAWBRIDGE_{name.upper()}": "value"}), name)


@pytest.mark.parametrize("environment", [{}, {"DRAWBRIDGE_": "x"}, "empty"])
@pytest.mark.parametrize("name", REQUIRED)
def test_a_setting_that_is_missing_is_named_when_it_is_asked_for(name: str, environment: object) -> None:
    """Not before, so that each function needs only its own; an empty one is missing too."""
    variable = f"DRAWBRIDGE_{name.upper()}"
    settings = Settings({variable: ""} if environment == "empty" else environment)  # type: ignore[arg-type]  # a table

    with pytest.raises(SettingsError, match=f"{variable} is not set"):
        getattr(settings, name)


def test_what_differs_only_in_a_workspace_has_a_default() -> None:
    """A deployment need not say where Slack is."""
    settings = Settings({})

    assert ("https://slack.com/api/", "$HOME/rds-global-bundle.pem", None, DURATIONS) == (
        settings.slack_api,
        settings.certificate_bundle,
        settings.database_address,
        settings.durations,
    )
    assert ("catalogue.json", "rds-global-bundle.pem") == (
        settings.catalogue_file.name,
        Path(settings.database_certificates).name,
    )


def test_every_default_can_be_replaced() -> None:
    """By the same kind of variable."""
    settings = Settings(
        {
            "DRAWBRIDGE_SLACK_API": "http://127.0.0.1:1/api/",
            "DRAWBRIDGE_CATALOGUE": "/srv/catalogue.json",
            "DRAWBRIDGE_CERTIFICATE_BUNDLE": "/srv/bundle.pem",
            "DRAWBRIDGE_DATABASE_CERTIFICATES": "/srv/rds.pem",
            "DRAWBRIDGE_DATABASE_ADDRESS": "127.0.0.1",
        }
    )

    assert (
        "http://127.0.0.1:1/api/",
        Path("/srv/catalogue.json"),
        "/srv/bundle.pem",
        "/srv/rds.pem",
        "127.0.0.1",
    ) == (
        settings.slack_api,
        settings.catalogue_file,
        settings.certificate_bundle,
        settings.database_certificates,
        settings.database_address,
    )


@pytest.mark.parametrize("name", DURATION_NAMES)
def test_each_duration_has_a_variable_of_its_own(name: str) -> None:
    """And replaces no other."""
    settings = Settings({f"DRAWBRIDGE_{name.upper()}_SECONDS": "7"})

    assert replace(DURATIONS, **{name: 7}) == settings.durations


@pytest.mark.parametrize("text", ["", "soon", "1h", "-5", "1.5", " 7", "7 ", "0x10", "1_000"])
def test_a_duration_that_is_no_whole_number_is_named(text: str) -> None:
    """An end that nobody meant is worse than no start."""
    with pytest.raises(SettingsError, match="DRAWBRIDGE_ACCESS_SECONDS must be a whole number of seconds"):
        _ = Settings({"DRAWBRIDGE_ACCESS_SECONDS": text}).durations


def test_a_setting_that_cannot_be_read_is_not_quoted_at_length() -> None:
    """What was put there by mistake may be a secret."""
    with pytest.raises(SettingsError) as caught:
        _ = Settings({"DRAWBRIDGE_ACCESS_SECONDS": "x" * 4000}).durations

    assert len(str(caught.value)) < 200


OF_LAMBDA = {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


def test_what_lambda_says_is_read_where_boto3_reads_it() -> None:
    """So that all functions speak to AWS as the same one."""
    session = {"AWS_SESSION_TOKEN": "session", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "_X_AMZN_TRACE_ID": "Root=1"}
    settings = Settings(OF_LAMBDA | session)

    assert "eu-west-1" == settings.aws_region
    assert ("AKIAEXAMPLE", "secret", "session") == settings.aws_credentials
    assert ("http://127.0.0.1:1", "Root=1") == (settings.aws_endpoint, settings.trace)


def test_what_lambda_need_not_say_is_none() -> None:
    """Neither an address nor a trace; and credentials that last have no session token."""
    settings = Settings(OF_LAMBDA | {"AWS_ENDPOINT_URL": "", "AWS_SESSION_TOKEN": ""})

    assert ("AKIAEXAMPLE", "secret", None) == settings.aws_credentials
    assert (None, None) == (settings.aws_endpoint, settings.trace)


@pytest.mark.parametrize("variable", OF_LAMBDA)
def test_what_lambda_must_say_is_named_when_it_is_missing(variable: str) -> None:
    """Outside Lambda somebody forgot it."""
    settings = Settings({name: value for name, value in OF_LAMBDA.items() if name != variable})

    with pytest.raises(SettingsError, match=f"{variable} is not set"):
        _ = settings.aws_region, settings.aws_credentials
