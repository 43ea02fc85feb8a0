"""The folder that a deployed function finds at /var/task, made from a checkout: the same bytes wherever the checkout lies.

Neither boto3, which the runtime brings, nor anything that only builds gets in; a dependency without a wheel for arm64 stops it.
"""

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from deployment.programs import run_program

CATALOGUE, CERTIFICATES = "chalicelib/catalogue.json", "chalicelib/rds-global-bundle.pem"
CONFIGURATION = ".chalice"
"""What `chalice package` reads. It stays out of the archive."""
_PLATFORM = "aarch64-manylinux_2_34"
_AT_RUN_TIME = "/var/task"
_NOT_NEEDED = (
    "bin",
    "slack",  # the name that slack_sdk had long ago
    "aws_lambda_powertools/event_handler",  # Chalice does the routing
)
_NOTES_OF_INSTALLING = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
_OLDEST_DATE = (1980, 1, 1, 0, 0, 0)
_READABLE_FILE = 0o100644 << 16


def stage(root: Path, target: Path, *, name: str, catalogue: str, certificates: Path | None) -> None:
    """Copy our code, and what belongs to the stage of this name, into the empty folder ``target``."""
    shutil.copytree(root / "chalicelib", target / "chalicelib", ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    shutil.copy(root / "app.py", target)
    shutil.copytree(
        root / CONFIGURATION, target / CONFIGURATION, ignore=shutil.ignore_patterns("deployed", "deployments")
    )
    config_file = target / CONFIGURATION / "config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    (only,) = config["stages"].values()
    config_file.write_text(json.dumps(config | {"stages": {name: only}}, indent=2), encoding="utf-8")
    (target / CATALOGUE).write_text(catalogue, encoding="utf-8")
    (target / CERTIFICATES).unlink(missing_ok=True)
    if certificates is not None:
        shutil.copyfile(certificates, target / CERTIFICATES)


def vendor(requirements: Path, target: Path, *, uv: Path, cache: Path) -> None:
    """Install exactly what is pinned, by hash and as wheels for the function's machine. Raises PackagingError."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    run_program(
        [
            *(uv, "pip", "install", "--quiet", "--target", target, "--requirement", requirements),
            *("--require-hashes", "--only-binary", ":all:", "--link-mode", "copy", "--cache-dir", cache),
            *("--python", sys.executable, "--python-version", version, "--python-platform", _PLATFORM),
        ],
        cwd=target,
    )
    for name in _NOT_NEEDED:
        shutil.rmtree(target / name, ignore_errors=True)
    for path in [*target.rglob("*")]:
        if path.is_dir() and path.name in {"tests", "__pycache__"}:
            shutil.rmtree(path)
        elif path.suffix == ".pyi" or (path.parent.suffix == ".dist-info" and path.name in _NOTES_OF_INSTALLING):
            path.unlink(missing_ok=True)
    (target / ".lock").unlink(missing_ok=True)


def compile_modules(target: Path) -> None:
    """Compile every module, with paths as they will be, to be loaded whatever dates unpacking gives. Raises PackagingError."""
    run_program(
        [
            *(sys.executable, "-S", "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash"),
            *("-s", target, "-p", _AT_RUN_TIME, target),
        ],
        cwd=target,
        without=("PYTHON",),
        environment={"PYTHONHASHSEED": "0"},
    )


def write_archive(target: Path, archive: Path) -> None:
    """Zip the folder: the same names, dates, rights and order for the same contents."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as opened:
        for name, file in sorted(_packed(target)):
            entry = zipfile.ZipInfo(name, _OLDEST_DATE)
            entry.create_system, entry.external_attr, entry.compress_type = 3, _READABLE_FILE, zipfile.ZIP_DEFLATED
            opened.writestr(entry, file.read_bytes())


def _packed(target: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(target):
        if Path(folder) == target:
            folders.remove(CONFIGURATION)
        for name in names:
            file = Path(folder) / name
            yield file.relative_to(target).as_posix(), file
