"""A REST API of API Gateway with a Lambda proxy integration: finds the route, checks signatures where it asks for them.

Then it turns the request into an event, and the function's result into an answer.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

from local import seed
from local.aws_calls import AwsCall
from local.identities import Identity, find_identity
from local.signatures import SignatureError, check_signature

API_ID = "local"
Authorize = Callable[[AwsCall], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A method of a resource: what its path reads in the API, and what this request's says in the places in braces."""

    template: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    is_signed: bool = False


class GatewayError(Exception):
    """The gateway itself answers, before any function runs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def response(self) -> Response:
        """As AWS spells it: where IAM itself refuses, with a capital letter."""
        name = "Message" if self.code == "AccessDeniedException" else "message"
        body, headers = json.dumps({name: str(self)}), {"x-amzn-ErrorType": self.code}
        return Response(body, 403, headers, mimetype="application/json")


def admit(
    request: Request, body: bytes, *, stage: str, routes: Mapping[str, Any] | None, authorize: Authorize | None
) -> dict[str, Any]:
    """The event of a request that may reach the function. Raises GatewayError. Without ``routes`` every path is one."""
    path = str(request.environ["RAW_URI"]).partition("?")[0].removeprefix(f"/{stage}")
    route = find_route(routes, request.method, path) if routes is not None else Route(template=unquote(path))
    if route is None:
        raise GatewayError("MissingAuthenticationTokenException", "Missing Authentication Token")
    identity = None
    if route.is_signed:
        identity = _require_identity(request, body)
        _require_right(identity, f"{API_ID}/{stage}/{request.method}{path}", authorize)
    return proxy_event(request, stage, route, identity)


def find_route(routes: Mapping[str, Any], method: str, path: str) -> Route | None:
    """The route of an encoded path, from what Chalice deploys: methods by path, each with an authorizer or none."""
    for template, methods in sorted(routes.items(), key=lambda each: "{" in each[0]):
        wanted, found = template.split("/"), path.split("/")
        is_same = len(wanted) == len(found) and all(w[:1] == "{" or w == f for w, f in zip(wanted, found, strict=True))
        if is_same and method in methods:
            pairs = zip(wanted, found, strict=True)
            parameters = {name[1:-1]: unquote(value) for name, value in pairs if name[:1] == "{" and value}
            if len(parameters) == template.count("{"):
                is_signed = methods[method].authorizer is not None
                return Route(template=template, parameters=parameters, is_signed=is_signed)
    return None


def proxy_event(
    request: Request, stage: str, route: Route | None = None, identity: Identity | None = None
) -> dict[str, Any]:
    """The event of a request below `/stage`. A body that is no UTF-8 travels as base64, as binary media types do."""
    path, method = request.path.removeprefix(f"/{stage}"), request.method
    route = route or Route(template=path)
    headers = {name: request.headers.getlist(name) for name, _ in request.headers}
    query = request.args.to_dict(flat=False)
    context: dict[str, Any] = {"resourcePath": route.template, "httpMethod": method, "stage": stage}
    context["identity"] = {"sourceIp": request.remote_addr} | (_caller(identity) if identity else {})
    event: dict[str, Any] = {"path": path, "httpMethod": method, "requestContext": context}
    event |= {"headers": {name: values[-1] for name, values in headers.items()}, "multiValueHeaders": headers}
    event |= {"queryStringParameters": request.args.to_dict() or None, "multiValueQueryStringParameters": query or None}
    event |= {"pathParameters": dict(route.parameters) or None, "stageVariables": None}
    try:
        return event | {"body": request.get_data().decode() or None, "isBase64Encoded": False}
    except UnicodeDecodeError:
        return event | {"body": base64.b64encode(request.get_data()).decode(), "isBase64Encoded": True}


def http_response(answer: Response) -> Response:
    """What the caller sees of a function's answer: 502 unless it succeeded with a status and a text for a body."""
    result = answer.json
    is_whole = isinstance(result, dict) and "statusCode" in result and isinstance(result.get("body", ""), str)
    if "X-Amz-Function-Error" in answer.headers or not is_whole:
        return Response('{"message": "Internal server error"}', 502, mimetype="application/json")
    body = result.get("body", "").encode()
    headers = list((result.get("headers") or {}).items())
    headers += [(name, value) for name, values in (result.get("multiValueHeaders") or {}).items() for value in values]
    return Response(base64.b64decode(body) if result.get("isBase64Encoded") else body, result["statusCode"], headers)


def _require_identity(request: Request, body: bytes) -> Identity:
    def find_key(access_key_id: str) -> Any:
        return found.key if (found := find_identity(access_key_id)) else None

    try:
        signer = check_signature(
            request, body, service="execute-api", region=seed.REGION, now=datetime.now(UTC), find_key=find_key
        )
    except SignatureError as error:
        raise GatewayError(error.code, str(error)) from error
    return next(filter(None, [find_identity(signer)]))


def _require_right(identity: Identity, resource: str, authorize: Authorize | None) -> None:
    """An API without a resource policy is its own account's alone, and there for whom a policy of their own allows it."""
    call = AwsCall(
        access_key_id=identity.access_key_id,
        service="execute-api",
        operation="Invoke",
        parameters={"Resource": resource},
    )
    if identity.account != seed.ACCOUNT or (authorize is not None and authorize(call) is not None):
        arn = f"arn:aws:execute-api:{seed.REGION}:********{seed.ACCOUNT[-4:]}:{resource}"
        message = f"User: {identity.arn} is not authorized to perform: execute-api:Invoke on resource: {arn}"
        raise GatewayError("AccessDeniedException", message)


def _caller(identity: Identity) -> dict[str, str]:
    names = {"accountId": identity.account, "userArn": identity.arn, "accessKey": identity.access_key_id}
    return names | {"caller": identity.user_id, "user": identity.user_id}
