"""What a cold start of the Slack endpoint costs: a fresh process that imports, serves one signed act and ends.

``python -m benchmarks.cold_start [DIRECTORY] [--rounds N] [--write]`` measures a packaged zip's content, or else this checkout,
staged and compiled as a package is, beside making one boto3 client. The processes run this interpreter, one of each kind in a
round, so that what else the machine does meets all of them.
"""

import argparse
import compileall
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

from benchmarks.slack_acks import Act, Stage, a_command, a_decision, a_token
from chalicelib.domain.executions import TaskToken
from chalicelib.slack.blocks import actions, button
from chalicelib.slack.cards.buttons import Press
from local.aws import API_FUNCTION

ROOT = Path(__file__).parents[1]
NUMBERS = Path(__file__).with_suffix(".json")
ROUNDS = 9
MOST_SECONDS = 60
BASELINE = "boto3.client('stepfunctions')"
OTHERS = {
    "workflow": "the rest outside the VPC",
    "conversation": "those that write to Slack",
    "database": "those that reach the databases",
}

PROGRAM = """
import importlib, json, resource, sys, time

def most_memory():
    try:
        with open("/proc/self/status") as status:  # what getrusage says would be the parent's, after a fork
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

class Context:
    function_name, memory_limit_in_mb, aws_request_id = "APIHandler", "1769", "6f1c2d9a-0000-4000-8000-000000000000"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:APIHandler"
    def get_remaining_time_in_millis(self):
        return 10000

sys.path.insert(0, sys.argv[1])
answers, sys.stdout = sys.stdout, sys.stderr
given = json.load(sys.stdin)
answer = None
before = time.process_time()
if given["do"] == "baseline":
    import boto3
    boto3.client("stepfunctions")
elif given["do"] == "import":
    importlib.import_module(given["module"])
    imported = time.process_time()
else:
    handler = importlib.import_module("app").app
    imported = time.process_time()
    answer = handler(given["event"], Context())
after = time.process_time()
json.dump(
    {
        "answer": answer,
        "processor": after - before,
        "imports": (imported if given["do"] != "baseline" else after) - before,
        "memory": most_memory() / 1024,
    },
    answers,
)
"""


@dataclass
class Measured:
    """What fresh processes of one kind used, a round each: ms of the processor, MiB at most."""

    processor: list[float] = field(default_factory=list)
    imports: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    """Of the last one, in order."""


class ColdProcesses:
    """Runs each piece of work in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.measured: defaultdict[str, Measured] = defaultdict(Measured)

    def run(self, name: str, work: Mapping[str, Any]) -> Any:
        """The handler's answer, if the work has one. RuntimeError with what the process said if it failed."""
        ours = ("AWS_", "DRAWBRIDGE_", "no_proxy")
        kept = {key: value for key, value in os.environ.items() if key.startswith(ours)}  # noqa: TID251  handed on
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(self._directory)],
            input=json.dumps(work),
            env=kept | {"AWS_LAMBDA_FUNCTION_NAME": API_FUNCTION, "_HANDLER": "app.app", "TZ": "UTC"},
            cwd=self._directory,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
        seen, measured = json.loads(done.stdout), self.measured[name]
        measured.processor.append(seen["processor"] * 1000)
        measured.imports.append(seen["imports"] * 1000)
        measured.memory.append(seen["memory"])
        return seen["answer"]


def an_end(stage: Stage, number: int) -> Act:
    """End Now pressed by who holds approved access; the tokens that the ledger holds wake nobody."""
    request_id, user = stage.a_request_that_waits(number).request_id, stage.person(number).slack
    nobody = TaskToken(text=f"nobody waits {request_id} either", entered_at=datetime.now(UTC), retries=0)
    stage.requests.keep_hold_token(request_id, nobody)
    end = button("End Now", action_id=Press.END, value=request_id)
    posted = stage.client.chat_postMessage(channel=user, text="ready", blocks=[actions(end, block_id="ready")])
    press = partial(stage.slack.press, user, posted["channel"], posted["ts"], Press.END)
    return Act(do=press, is_done=lambda _: stage.requests.require_request(request_id).end_asked_at is not None)


ACTS: Mapping[str, Callable[[Stage, int], Act]] = {
    "ask": a_command,
    "Approve": a_decision,
    "End Now": an_end,
    "Show Token": a_token,
}


def main() -> None:
    """Measure, print the tables for benchmarks/README.md, and write the numbers down if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start")
    parser.add_argument("directory", nargs="?", type=Path, help="a packaged zip's content; this checkout if left out")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="fresh processes of each kind")
    parser.add_argument("--write", action="store_true", help=f"write the numbers to {NUMBERS.name}")
    given = parser.parse_args()
    with Stage() as stage, as_packaged(given.directory) as directory:
        cold = ColdProcesses(directory)
        for number in range(given.rounds + 1):
            play(stage, cold, number)
            if number == 0:  # read no file yet, and compiled what was not
                cold.measured.clear()
    print_tables(cold)
    if given.write:
        of_this = {"measured_on": f"{datetime.now(UTC):%Y-%m-%d}", "python": platform.python_version()}
        of_this |= {"rounds": given.rounds, "package": given.directory is not None}
        rows = {name: row(cold, name) for name in (BASELINE, *ACTS, *OTHERS)}
        NUMBERS.write_text(json.dumps(of_this | {"processes": rows}, indent=1) + "\n", encoding="utf-8")


@contextmanager
def as_packaged(directory: Path | None) -> Iterator[Path]:
    """The directory, or this checkout's functions as the package holds them: compiled, and never looked at again."""
    if directory is not None:
        yield directory.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="drawbridge-") as staged:
        target = Path(staged)
        shutil.copy(ROOT / "app.py", target)
        shutil.copytree(ROOT / "chalicelib", target / "chalicelib", ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(target, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
        yield target


def play(stage: Stage, cold: ColdProcesses, number: int) -> None:
    """One process of each kind."""
    cold.run(BASELINE, {"do": "baseline"})
    for name, kind in ACTS.items():
        stage.clear()
        act = kind(stage, number)
        of_aws, of_slack = len(stage.asked), len(stage.slack.calls)
        stage.serve(lambda event, _, name=name: cold.run(name, {"do": "act", "event": event}))
        answer = act.do()
        cold.measured[name].calls = [call.operation for call in stage.asked[of_aws:]]
        cold.measured[name].calls += [call.name for call in stage.slack.calls[of_slack:]]
        if answer.status != HTTPStatus.OK or answer.errors or not act.is_done(answer):
            raise RuntimeError(f"{name} was answered with {answer}.")
    for module in OTHERS:
        cold.run(module, {"do": "import", "module": f"chalicelib.functions.{module}"})


def row(cold: ColdProcesses, name: str) -> dict[str, Any]:
    """Medians of a kind of process, and its multiple of the baseline's processor time."""
    seen, baseline = cold.measured[name], statistics.median(cold.measured[BASELINE].processor)
    return {
        "ratio": round(statistics.median(seen.processor) / baseline, 2),
        "processor_ms": round(statistics.median(seen.processor)),
        "import_ms": round(statistics.median(seen.imports)),
        "memory_mib": round(max(seen.memory)),
        "calls": seen.calls,
    }


def print_tables(cold: ColdProcesses) -> None:
    """The acts beside the baseline, then the other functions' imports."""
    print("| fresh process | multiple | processor, ms | of it imports | most memory, MiB | outbound calls |")
    print("|---|--:|--:|--:|--:|---|")
    for name in (BASELINE, *ACTS):
        seen = row(cold, name)
        columns = (f"{seen['ratio']:.2f}", seen["processor_ms"], seen["import_ms"], seen["memory_mib"])
        calls = f"{len(seen['calls'])}: {', '.join(seen['calls'])}" if seen["calls"] else ""
        print(f"| {name} | {' | '.join(map(str, columns))} | {calls} |")
    print("\n| import alone | multiple | processor, ms | most memory, MiB |\n|---|--:|--:|--:|")
    for name, functions in OTHERS.items():
        seen = row(cold, name)
        print(f"| {name}: {functions} | {seen['ratio']:.2f} | {seen['processor_ms']} | {seen['memory_mib']} |")


if __name__ == "__main__":
    main()
