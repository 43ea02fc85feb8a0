"""The client as a process of its own: nobody types into it, and what it writes is kept."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 40.0
CLIENT = [sys.executable, "-m", "drawbridge"]

Begin = Callable[[Sequence[str], Mapping[str, str]], "subprocess.Popen[str]"]


@contextmanager
def processes() -> Iterator[Begin]:
    """What starts ``drawbridge …`` by its arguments, with an environment and nothing else of this process; all are ended."""
    started: list[subprocess.Popen[str]] = []

    def begin(arguments: Sequence[str], environment: Mapping[str, str]) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*CLIENT, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    try:
        yield begin
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=SECONDS)
