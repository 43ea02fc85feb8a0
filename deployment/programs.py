"""The interpreter and the programs that packaging needs. What is missing is named with what brings it; nothing is installed."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from chalicelib.domain.errors import AccessError

OLDEST, NEWEST = (3, 12), (3, 14)
"""Versions that Lambda runs and that the pinned dependencies have arm64 wheels for."""
_SAID_LINES = 40
_NOTHING_ELSE: Mapping[str, str] = MappingProxyType({})


class PackagingError(AccessError):
    """A step of packaging cannot be taken: which, why, and what to do."""


def require_interpreter(version: tuple[int, int] = sys.version_info[:2]) -> None:
    """What is packaged is compiled for the interpreter that packages it. Raises PackagingError."""
    if not OLDEST <= version <= NEWEST:
        raise PackagingError(
            f"Packaging needs a Python of {_dotted(OLDEST)} to {_dotted(NEWEST)}, since Lambda runs what this interpreter "
            f"compiles; this is {_dotted(version)}. `make package` and `make deploy` look for one on your PATH and among pyenv's "
            "versions. If they find none, install one: pyenv install 3.13, or sudo apt-get install python3.13 python3.13-venv."
        )


def find_program(name: str) -> Path:
    """The program of that name beside this interpreter, else on the PATH. Raises PackagingError."""
    scripts = sysconfig.get_path("scripts")
    found = shutil.which(name, path=os.pathsep.join([scripts, os.environ.get("PATH", "")]))
    if found is None:
        raise PackagingError(
            f"The program {name} is neither beside {sys.executable} nor on the PATH. `make package` and `make deploy` install it "
            "into .venv-deploy; by hand: pip install --require-hashes --requirement deployment/requirements.txt"
        )
    return Path(found)


def run_program(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    without: tuple[str, ...] = (),
    environment: Mapping[str, str] = _NOTHING_ELSE,
    statuses: Collection[int] = (0,),
) -> str:
    """What the program printed, if it ended with one of these statuses. Raises PackagingError with the end of its complaint.

    It runs in our environment without the variables that begin so, and with these.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    done = subprocess.run(command, cwd=cwd, env={**ours, **environment}, capture_output=True, text=True, check=False)  # noqa: S603  ours alone
    if done.returncode not in statuses:
        said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-_SAID_LINES:])
        raise PackagingError(f"{Path(command[0]).name} ended with status {done.returncode}:\n{said}")
    return done.stdout


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
