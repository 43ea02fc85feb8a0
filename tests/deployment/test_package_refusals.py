"""What packaging refuses, before it does anything, and the way out that it names."""

import os
import shutil
import subprocess
import sys
import urllib.error
import zipfile
from pathlib import Path

import pytest

from chalicelib.domain.errors import SettingsError
from deployment.certificates import ensure_bundle, require_certificates
from deployment.package import EXAMPLE_CATALOGUE, build_package, find_catalogue_file
from deployment.programs import PackagingError, find_program, require_interpreter, run_program
from tests.deployment.conftest import CERTIFICATES, ROOT, build_example, copy_checkout

SEALED_CHALICE = """
import sys

def refuse(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}:
        raise SystemExit(f"sealed: {event}")

sys.addaudithook(refuse)
from chalice.cli import main
sys.exit(main())
"""
OLDER_PATH = "import sys; print(sys.executable if sys.version_info < (3, 12) else '')"


def find_older_python() -> str | None:
    """The first one itself: its name on the PATH may be a script that finds it by the PATH."""
    for name in filter(shutil.which, ("python3.11", "python3.10", "python3", "/usr/bin/python3")):
        said = subprocess.run([name, "-c", OLDER_PATH], capture_output=True, text=True, check=False).stdout.strip()
        if said:
            return said
    return None


OLDER = find_older_python()


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """In an environment that names nothing but what is given."""
    settings = {"PATH": "/nonexistent", "HOME": "/nonexistent"} | environment
    return subprocess.run(command, cwd=cwd, env=settings, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("version", [(3, 9), (3, 11), (3, 15)])
def test_a_python_that_is_not_deployed_is_refused(version: tuple[int, int]) -> None:
    """With the ones that are, and how to get one."""
    with pytest.raises(PackagingError, match=r"needs a Python of 3\.12 to 3\.14.*pyenv install 3\.13"):
        require_interpreter(version)


@pytest.mark.parametrize("version", [(3, 12), (3, 13), (3, 14)])
def test_a_python_that_is_deployed_is_taken(version: tuple[int, int]) -> None:
    """All of these are run by AWS for years to come."""
    require_interpreter(version)


@pytest.mark.skipif(OLDER is None, reason="no Python before 3.12 is on this machine")
@pytest.mark.parametrize("verb", ["package", "deploy"])
def test_an_older_python_is_told_so_before_it_misses_a_dependency(verb: str) -> None:
    """It has none of what packaging needs, and a traceback would say only that."""
    done = run(str(OLDER), "-S", "-B", "-m", "deployment", verb, "--stage", "example")

    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("Packaging needs a Python of 3.12 to 3.14")
    assert 1 == len(done.stderr.splitlines())


def test_a_missing_uv_is_named_with_what_brings_it(tmp_path: Path) -> None:
    """This interpreter has everything else."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    done = run(
        bare / "bin" / "python",
        *("-B", "-m", "deployment", "package", "--stage", "example"),
        PYTHONPATH=os.pathsep.join(path for path in sys.path if path),
    )

    assert (1, "") == (done.returncode, done.stdout)
    assert "The program uv is neither beside" in done.stderr
    assert "make package" in done.stderr


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    """With its own last words: the operator has to know what it was about."""
    with pytest.raises(PackagingError, match=r"(?s)ended with status 3:\n.*no such wheel"):
        run_program(
            [sys.executable, "-c", "import sys; print('no such wheel', file=sys.stderr); sys.exit(3)"], cwd=tmp_path
        )


def test_programs_beside_the_interpreter_go_before_others() -> None:
    """They are the pinned ones."""
    assert Path(sys.executable).parent == find_program("chalice").parent


def test_only_the_example_has_a_catalogue_of_its_own() -> None:
    """Any other stage has people and databases, which no clone contains."""
    assert EXAMPLE_CATALOGUE == find_catalogue_file("example", "")
    assert Path("mine.toml") == find_catalogue_file("example", "mine.toml")
    with pytest.raises(SettingsError, match=r"docs/catalogue\.toml.*LOCATIONS"):
        find_catalogue_file("prod", "")


@pytest.mark.parametrize("name", ["", "Prod", "1st", "a b", "../x", "x" * 17, "pröd"])
def test_a_name_that_aws_would_not_take_is_no_stage(name: str, tmp_path: Path) -> None:
    """It becomes a part of names that are shorter than most, and of a path."""
    with pytest.raises(SettingsError, match=r"stage"):
        build_package(root=tmp_path, stage=name, catalogue_file=EXAMPLE_CATALOGUE, certificates=None, say=print)

    assert [] == [*tmp_path.iterdir()]


def test_certificates_are_fetched_once_and_kept(tmp_path: Path) -> None:
    """Packaging again needs no network for them."""
    file, text = tmp_path / "build" / "bundle.pem", CERTIFICATES.read_text()
    fetched: list[str] = []

    def fetch() -> str:
        fetched.append(text)
        return text

    assert ("", "") == (ensure_bundle(file, fetch), ensure_bundle(file, fetch))
    assert (text, 1) == (file.read_text(), len(fetched))


def test_certificates_that_cannot_be_fetched_are_missed_in_words(tmp_path: Path) -> None:
    """The package is still made, and says so: it can be looked at, but not deployed."""

    def fetch() -> str:
        raise urllib.error.URLError("Name or service not known")

    missing = ensure_bundle(tmp_path / "bundle.pem", fetch)

    assert missing.startswith(
        "The certificates of RDS could not be fetched from https://truststore.pki.rds.amazonaws.com/"
    )
    assert "Name or service not known" in missing


def test_a_package_without_certificates_is_made_and_says_that_it_cannot_be_deployed(tmp_path: Path) -> None:
    """It can be looked at and checked where there is no network but a package registry."""

    def fetch() -> str:
        raise TimeoutError("timed out")

    root = copy_checkout(tmp_path / "checkout")
    built = build_example(root, certificates=None, fetch=fetch)

    assert "(timed out). Download it by other means" in built.missing_certificates
    assert "CERTIFICATES=FILE" in built.missing_certificates
    with zipfile.ZipFile(built.archive) as archive:
        assert [] == [name for name in archive.namelist() if name.startswith("chalicelib/") and name.endswith(".pem")]


@pytest.mark.parametrize("text", ["", "<html>Sign in to this network</html>", "-----BEGIN CERTIFICATE-----\nAA=="])
def test_what_is_not_certificates_is_neither_kept_nor_taken(text: str, tmp_path: Path) -> None:
    """A database function that trusts nobody would reach no database."""
    kept, given = tmp_path / "kept.pem", tmp_path / "given.pem"
    given.write_text(text)

    assert "does not hold certificates" in ensure_bundle(kept, lambda: text)
    assert not kept.exists()
    with pytest.raises(SettingsError, match=r"given\.pem does not hold certificates"):
        require_certificates(given)


@pytest.mark.parametrize("stage", [(), ("--stage", "prod")])
@pytest.mark.parametrize("region", [{}, {"AWS_DEFAULT_REGION": "eu-west-1"}])
def test_chalice_deploy_stops_before_its_first_call_and_names_make_deploy(
    stage: tuple[str, ...], region: dict[str, str], tmp_path: Path
) -> None:
    """Somebody runs it in the checkout out of habit. It would deploy functions that nothing calls."""
    root = copy_checkout(tmp_path / "checkout")
    for policy in (root / ".chalice").glob("policy-*.json"):
        policy.unlink()  # its deployer would get to them only after this

    done = run(sys.executable, "-B", "-c", SEALED_CHALICE, "deploy", *stage, cwd=root, **region)

    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("Error: `chalice deploy` would")
    assert "make deploy STAGE=" in done.stderr
    assert not (root / ".chalice" / "deployed").exists()
