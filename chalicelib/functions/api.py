"""The API's routes, beside the Slack endpoint and in the same function.

What answers them is loaded by the first call of one: Slack waits three seconds, and most of a cold start is imports.
"""

from chalice import Blueprint, IAMAuthorizer, Response

blueprint = Blueprint(__name__)
_SIGNED = IAMAuthorizer()


def _register(method: str, path: str, call: str) -> None:
    """A route that callers sign, answered by the function of that name."""

    def answer(**parameters: str) -> Response:
        from chalicelib.functions import api_calls  # noqa: PLC0415  see above

        answered: Response = getattr(api_calls, call)(blueprint.current_request, **parameters)
        return answered

    answer.__name__ = call
    # No content types: Chalice would refuse another one in a shape of its own.
    blueprint.route(path, methods=[method], authorizer=_SIGNED, content_types=[])(answer)


_register("GET", "/v1/locations", "list_locations")
_register("GET", "/v1/locations/{location}/explanation", "explain_location")
_register("GET", "/v1/requests", "list_requests")
_register("POST", "/v1/requests", "ask_access")
_register("GET", "/v1/requests/{request_id}", "show_request")
_register("POST", "/v1/requests/{request_id}/extensions", "ask_extension")
_register("DELETE", "/v1/requests/{request_id}", "end_request")
