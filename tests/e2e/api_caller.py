"""Whoever calls the API of a workspace, signed as botocore signs, with bounded waits."""

import json
from typing import Any

import boto3
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local import seed
from local.identities import assume_role
from local.workspace import Workspace
from tests.e2e.people import eventually

Answer = tuple[int, dict[str, Any]]


class ApiCaller:
    """A session of a role, in our account unless said otherwise."""

    def __init__(self, workspace: Workspace, role: str, session: str, *, account: str = seed.ACCOUNT) -> None:
        self.workspace = workspace
        self.keys = assume_role(role, session, account=account)

    @classmethod
    def person(cls, workspace: Workspace, name: str) -> "ApiCaller":
        return cls(workspace, "Developer", f"{name}@example.com")

    @classmethod
    def machine(cls, workspace: Workspace, session: str = "run-42") -> "ApiCaller":
        return cls(workspace, "ReleasePipeline", session)

    def call(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **changed: str
    ) -> Answer:
        """Sign and send. ``changed`` replaces parts of the credentials."""
        keys = self.keys | changed
        credentials = Credentials(
            keys["aws_access_key_id"], keys["aws_secret_access_key"], keys["aws_session_token"] or None
        )
        data = json.dumps(body).encode() if body is not None else b""
        url = self.workspace.aws.api_url + path
        request = AWSRequest(method=method, url=url, data=data, headers={"Content-Type": content_type})
        SigV4Auth(credentials, "execute-api", seed.REGION).add_auth(request)
        return send(method, url, data, dict(request.headers))

    def client(self, service: str) -> Any:
        """boto3's, of the local AWS, with the caller's own credentials."""
        session = boto3.session.Session(region_name=seed.REGION, **self.keys)
        make: Any = session.client
        return make(service, endpoint_url=self.workspace.aws.endpoint_url)

    def ask(self, location: str, level: str, *, origin_id: str, seconds: int = 1800, **more: Any) -> Answer:
        body = {"location": location, "level": level, "duration_seconds": seconds, "reason": "look", **more}
        return self.call("POST", "/v1/requests", body | {"origin_id": origin_id})

    def show(self, request_id: str) -> dict[str, Any]:
        status, answer = self.call("GET", f"/v1/requests/{request_id}")
        assert 200 == status, answer
        request: dict[str, Any] = answer["request"]
        return request

    def end(self, request_id: str) -> dict[str, Any]:
        """Ask for the end and wait for it."""
        status, answer = self.call("DELETE", f"/v1/requests/{request_id}")
        assert 202 == status, answer
        return self.wait_for(request_id, "ended")

    def wait_for(self, request_id: str, state: str) -> dict[str, Any]:
        """The request once it is in a state."""

        def find() -> dict[str, Any] | None:
            found = self.show(request_id)
            assert found["state"] == state or found["outcome"] is None or found["state"] == "ending", found
            return found if found["state"] == state else None

        return eventually(f"the state {state} of {request_id}", find)


def send(method: str, url: str, data: bytes, headers: dict[str, str]) -> Answer:
    """Send as it stands."""
    answer = urllib3.request(method, url, body=data, headers=headers, timeout=20, retries=False)
    return answer.status, json.loads(answer.data)
