"""Turns an HTTP request into the event of an API Gateway REST proxy integration and its result back; knows no routes."""

import base64
from typing import Any

from werkzeug.wrappers import Request, Response


def proxy_event(request: Request, stage: str) -> dict[str, Any]:
    """The event of a request below `/stage`. A body that is no UTF-8 travels as base64, as binary media types do."""
    path, method = request.path.removeprefix(f"/{stage}"), request.method
    headers = {name: request.headers.getlist(name) for name, _ in request.headers}
    query = request.args.to_dict(flat=False)
    context: dict[str, Any] = {"resourcePath": path, "httpMethod": method, "stage": stage}
    context["identity"] = {"sourceIp": request.remote_addr}
    event: dict[str, Any] = {"path": path, "httpMethod": method, "requestContext": context}
    event |= {"headers": {name: values[-1] for name, values in headers.items()}, "multiValueHeaders": headers}
    event |= {"queryStringParameters": request.args.to_dict() or None, "multiValueQueryStringParameters": query or None}
    event |= {"pathParameters": None, "stageVariables": None}
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
