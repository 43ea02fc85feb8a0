"""Stands between the Slack endpoint and its clients of AWS, for who counts or times its calls."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

Call = Callable[[], dict[str, Any]]


def intercept(app: Any, make: Callable[[str, Mapping[str, Any], Call], dict[str, Any]]) -> None:
    """Let ``make`` make each call of this Chalice app: it gets the operation, its arguments, and what makes it.

    The app is asked for its own clients, since each function is loaded apart from the others.
    """
    (route,) = app.routes["/slack/events"].values()
    client = route.view_function.__globals__["aws"].JsonClient
    call = client._call  # noqa: SLF001  nobody else stands there

    def made(self: Any, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return make(operation, arguments, partial(call, self, operation, arguments))

    client._call = made  # noqa: SLF001
