"""Who asks AWS for what: read from a signed request, in each of the protocols that we speak; and how AWS refuses."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.wrappers import Request, Response

INVOKE = re.compile("/2015-03-31/functions/(.+)/invocations")
_SCOPE = re.compile(r"Credential=([^/]+)/\d{8}/[^/]+/([^/]+)/aws4_request")
_XML = {  # code and body of the protocols that speak XML, by service
    "ec2": ("UnauthorizedOperation", "<Response><Errors>{}</Errors></Response>"),
    "rds": ("AccessDenied", "<ErrorResponse>{}</ErrorResponse>"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCall:
    """``service`` is what the call was signed for. EC2's and RDS's parameters are flat, as they send them: InstanceId.1."""

    access_key_id: str
    service: str
    operation: str
    parameters: Mapping[str, Any]


def read_call(request: Request, body: bytes) -> AwsCall | None:
    """None for what nobody signed as AWS wants it: Slack's requests are no calls."""
    scope = _SCOPE.search(request.headers.get("Authorization", ""))
    if scope is None:
        return None
    parameters: dict[str, Any]
    if target := request.headers.get("X-Amz-Target"):
        operation, parameters = target.rpartition(".")[2], json.loads(body or b"{}")
    elif invoked := INVOKE.fullmatch(request.path):
        operation, parameters = "Invoke", {"FunctionName": invoked[1]}
    else:
        is_form = request.mimetype == "application/x-www-form-urlencoded"  # S3's bodies are files
        parameters = dict(parse_qsl(body.decode() if is_form else "", keep_blank_values=True))
        operation = parameters.pop("Action", f"{request.method} {request.path}")
    return AwsCall(access_key_id=scope[1], service=scope[2], operation=operation, parameters=parameters)


def access_denied(call: AwsCall, message: str) -> Response:
    """The answer to a call that no policy allows. ``message`` says who may not do what to what."""
    if call.service in _XML:
        code, body = _XML[call.service]
        error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Response(body.format(error), 403, mimetype="text/xml")
    status, headers = (403, {"x-amzn-ErrorType": "AccessDeniedException"}) if call.service == "lambda" else (400, {})
    answer = {"__type": "AccessDeniedException", "message": message}
    return Response(json.dumps(answer), status, headers, mimetype="application/x-amz-json-1.1")
