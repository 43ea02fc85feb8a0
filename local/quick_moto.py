"""Spares moto, cut for 5.2.5, what it reckons anew at each call; it answers as before."""

from collections.abc import Callable
from functools import cache, lru_cache, partialmethod
from typing import Any

from moto.core import responses
from moto.core.serialize import ResponseSerializer
from moto.settings import moto_server_port
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor
from moto.stepfunctions.parser.asl.utils import json_path

_AS_KEPT = {"S", "N", "SS", "NS", "BOOL", "NULL"}
_parse = AmazonStateLanguageParser.parse
_connect = lambda_eval_utils.boto_client_for
_serialize = ResponseSerializer._serialize_type_structure  # noqa: SLF001 - mending moto means reaching into it


@lru_cache(maxsize=16)
def _tree(definition: str) -> Any:
    return _parse(definition)[1]


def _program(definition: str) -> tuple[Any, Any]:
    """A program of its own for each execution, since it runs; from one syntax tree, which is only read."""
    tree = _tree(definition)
    return Preprocessor().visit(tree), tree


@lru_cache(maxsize=4)
def _client_at(_port: str, region: str, service: str) -> Any:
    return _connect(region=region, service=service)


def _client(region: str, service: str, state_credentials: Any = None) -> Any:  # noqa: ARG001 - moto's own ignores them too
    """One client for all Tasks of a workspace: making it takes longer than what it is made for."""
    return _client_at(moto_server_port(), region, service)


def _attribute(
    serializer: Any, original: Callable[..., None], serialized: Any, value: Any, shape: Any, key: str
) -> None:
    """A value in DynamoDB has one member, and most go out as they are kept; moto looks for ten, under many names each."""
    if not (shape.name == "AttributeValue" and key and type(value) is dict and value.keys() <= shape.members.keys()):
        original(serializer, serialized, value, shape, key)
        return
    serialized[key] = {}
    for name, member in value.items():
        if name in _AS_KEPT:
            serialized[key][name] = member
        else:
            serializer._serialize(serialized[key], member, shape.members[name], name)  # noqa: SLF001 - as above


MENDS: list[tuple[Any, str, Any]] = [
    (AmazonStateLanguageParser, "parse", staticmethod(_program)),
    (ResponseSerializer, "_serialize_type_structure", partialmethod(_attribute, _serialize)),
    (lambda_eval_utils, "boto_client_for", _client),
    (responses, "method_names_from_class", cache(responses.method_names_from_class)),
    (json_path, "parse", lru_cache(maxsize=512)(json_path.parse)),
]
"""As in `strict_asl`: an owner, the name of something it has, what is to stand there instead."""
