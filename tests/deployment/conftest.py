"""The example's package, built once for the session in a copy of the checkout: the checkout itself is never written to."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import botocore
import pytest

from deployment.package import Package, build_package

ROOT = Path(__file__).parents[2]
BUILT_FROM = (".chalice", "app.py", "chalicelib", "docs/catalogue.toml", "requirements.txt", "statemachines")
CERTIFICATES = Path(botocore.__file__).parent / "cacert.pem"
"""Certificates of authorities, in the form of AWS's bundle for RDS."""


def copy_checkout(target: Path, *, source: Path = ROOT) -> Path:
    """Everything that a build reads, in a folder of its own."""
    for name in BUILT_FROM:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (source / name).is_dir() else shutil.copyfile
        copy(source / name, target / name)
    return target


def refuse_to_fetch() -> str:
    """Tests give certificates, or say what fetching them comes to."""
    raise AssertionError("certificates were fetched")


def build_example(
    root: Path, *, certificates: Path | None = CERTIFICATES, fetch: Callable[[], str] = refuse_to_fetch
) -> Package:
    """The package of the stage ``example``, whose catalogue is the documented one."""
    catalogue = root / "docs" / "catalogue.toml"
    return build_package(
        root=root, stage="example", catalogue_file=catalogue, certificates=certificates, say=print, fetch=fetch
    )


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return build_example(copy_checkout(tmp_path_factory.mktemp("checkout")))


@pytest.fixture(scope="session")
def task(example: Package, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the runtime unpacks: ``/var/task``."""
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(example.archive) as archive:
        archive.extractall(folder)
    return folder
