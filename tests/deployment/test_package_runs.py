"""The package as the runtime runs it: unpacked, in a fresh process, with what the runtime brings and nothing else."""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import app

RUNTIME_BRINGS = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3")
LOAD = """
import importlib, json, sys

sys.path[:0] = json.loads(sys.argv[1])
name, *handlers = sys.argv[2:]
module = importlib.import_module(name)
ours = {name: each.__file__ for name, each in sys.modules.items() if name.startswith(("app", "chalicelib", "psycopg"))}
unsigned = {"resource": "/slack/events", "path": "/slack/events", "httpMethod": "POST", "headers": {}, "multiValueHeaders": {},
    "queryStringParameters": None, "multiValueQueryStringParameters": None, "pathParameters": None, "stageVariables": None,
    "requestContext": {"httpMethod": "POST", "resourcePath": "/slack/events"}, "body": "command=x", "isBase64Encoded": False}
answer = module.app(unsigned, None) if name == "app" else None
callables = [callable(getattr(module, handler)) for handler in handlers]
json.dump({"callables": callables, "ours": ours, "answer": answer}, sys.stdout)
"""
HANDLERS = ["app.app", *(each.handler_string for each in (*app.app.pure_lambda_functions, *app.app.event_sources))]
MODULES = sorted({handler.rpartition(".")[0] for handler in HANDLERS})


@pytest.fixture(scope="module")
def paths(task: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Where the process looks for modules.

    The libraries of psycopg are packed for the function's machine. Where this one is another, those of the same version that
    were installed for it take their place; everything else is as packed.
    """
    folder, installed = tmp_path_factory.mktemp("runtime"), Path(sysconfig.get_path("purelib"))
    for name in RUNTIME_BRINGS:
        (folder / name).symlink_to(installed / name)
    mine = shutil.copytree(task, folder / "task")
    for name in ("psycopg_binary", "psycopg_binary.libs"):
        shutil.rmtree(mine / name)
        shutil.copytree(installed / name, mine / name)
    return [str(mine), str(folder)]


def load(module: str, paths: list[str]) -> dict:
    """Load a module as the runtime does; the call of the Slack function's is one that anybody could make."""
    environment = {"AWS_LAMBDA_FUNCTION_NAME": "any", "AWS_REGION": "eu-west-1"}
    handlers = [handler.removeprefix(f"{module}.") for handler in HANDLERS if handler.rpartition(".")[0] == module]
    command = [sys.executable, "-I", "-S", "-B", "-c", LOAD, json.dumps(paths), module, *handlers]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("module", MODULES)
def test_handlers_are_loaded_from_the_package_alone(module: str, paths: list[str]) -> None:
    """With boto3 from the runtime, and nothing from the environment that packed."""
    loaded = load(module, paths)

    assert {True} == set(loaded["callables"])
    assert {True} == {file.startswith(paths[0]) for file in loaded["ours"].values()}


def test_the_packed_endpoint_turns_a_stranger_away(paths: list[str]) -> None:
    """Chalice, the route and our code work together in it."""
    assert 401 == load("app", paths)["answer"]["statusCode"]
