"""The operator's program: what it prints, and what it says instead."""

import subprocess
import sys
from pathlib import Path

import pytest

from deployment.__main__ import main

ROOT = Path(__file__).parents[2]
EXAMPLE = str(ROOT / "docs" / "catalogue.toml")


def test_the_sql_of_a_location_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the location's database and Drawbridge's login, and nothing is run."""
    status = main(["location", "sql", "my-aurora-location", "--locations", EXAMPLE])

    printed = capsys.readouterr().out
    assert 0 == status
    assert 'ON DATABASE "depotpostgres" TO "drawbridge" WITH GRANT OPTION;' in printed
    assert "WITH ADMIN TRUE" in printed


def test_what_is_printed_names_the_write_group(capsys: pytest.CaptureFixture[str]) -> None:
    """The owner may want to let it create in public; until then that is a comment."""
    main(["location", "sql", "my-aurora-location", "--locations", EXAMPLE])

    assert "-- GRANT ALL ON SCHEMA public TO" in capsys.readouterr().out


def test_another_database_is_isolated_by_its_own_owner(capsys: pytest.CaptureFixture[str]) -> None:
    """The statements for it are printed, and none for Drawbridge's login."""
    status = main(["location", "sql", "my-aurora-location", "--locations", EXAMPLE, "--isolation", "stock"])

    printed = capsys.readouterr().out
    assert 0 == status
    assert "'stock'" in printed
    assert "rds_iam" not in printed


def test_older_servers_get_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Grant options on roles came with 16."""
    main(["location", "sql", "my-aurora-location", "--locations", EXAMPLE, "--postgresql", "15"])

    assert "WITH ADMIN TRUE" not in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["sql", "check"])
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["my-auora-location", "--locations", EXAMPLE], "Did you mean 'my-aurora-location'?"),
        (["any", "--locations", "/nowhere.toml"], "/nowhere.toml: (the file): cannot be read"),
        (["any", "--locations", ""], "Set LOCATIONS, or give --locations."),
        (["any", "--locations", __file__], "is not TOML"),
    ],
)
def test_a_mistake_is_one_sentence(
    verb: str, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, with status 1."""
    status = main(["location", verb, *arguments])

    assert 1 == status
    assert sentence in capsys.readouterr().err


def test_the_verbs_can_be_listed_before_anything_is_installed() -> None:
    """Each loads what it needs when it is asked for."""
    done = run_bare("--help")

    assert (0, "") == (done.returncode, done.stderr)
    assert {"package", "deploy", "destroy", "doctor", "location", "manifest", "audit"} <= set(done.stdout.split())


@pytest.mark.parametrize(
    "verb",
    [
        *("package", "deploy", "destroy", "doctor", "manifest", "openapi"),
        *("audit", "audit verify", "audit export", "location", "location sql", "location check", "location policy"),
    ],
)
def test_help_is_given_by_any_python(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reads what a verb takes builds nothing yet, so the interpreter need not be one that packages."""
    with pytest.raises(SystemExit) as ended:
        main([*verb.split(), "--help"])

    assert 0 == ended.value.code
    assert capsys.readouterr().out.startswith(f"usage: python -m deployment {verb} [-h]")


def test_a_python_without_the_dependencies_is_told_which_one_has_them() -> None:
    """Whoever types what the documents say on a bare machine reads one sentence, and no traceback."""
    done = run_bare("location", "sql", "my-aurora-location")

    assert (1, "") == (done.returncode, done.stdout)
    assert "psycopg is not installed for this Python" in done.stderr
    assert done.stderr.endswith("Then: .venv-deploy/bin/python -m deployment location sql my-aurora-location\n")


def run_bare(*arguments: str) -> subprocess.CompletedProcess[str]:
    """By a Python that finds nothing but what came with it."""
    command = [sys.executable, "-S", "-B", "-m", "deployment", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
