"""Watches a request until it is ready or over, and tells meanwhile what is being waited for."""

import threading
import time
from collections.abc import Callable

from drawbridge.durations import describe_duration
from drawbridge.errors import DeadlineError, DrawbridgeError, RefusedError, ServiceError, UnreadableAnswerError
from drawbridge.progress import Progress
from drawbridge.requests import AccessRequest, Outcome, State

_FIRST_PAUSE, _GROWTH = 0.25, 1.3
_LONGEST_PAUSE = {State.WAITING: 5.0, State.PREPARING: 1.0, State.ENDING: 2.0}
"""Seconds. People take minutes; what machines do is over sooner."""
_TICK = 0.5
_PATIENCE = 300.0
"""Seconds without an answer: a laptop that changes its network must not lose what colleagues are looking at."""
_NEVER = threading.Event()


def wait_until_ready(
    request: AccessRequest,
    *,
    watch: Callable[[], AccessRequest],
    progress: Progress,
    deadline: float | None,
    on_waiting: Callable[[AccessRequest], object],
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], object] = _NEVER.wait,
) -> AccessRequest:
    """The request once it is ready; ``watch`` says how it stands, ``on_waiting`` is called once, when people have to decide.

    Raises RefusedError, DeadlineError or ServiceError if that will never be, and DeadlineError at ``deadline`` of ``clock``.
    """
    began = clock()
    seconds, state = _FIRST_PAUSE, request.state
    was_waiting, lost_at = False, None
    while request.state is not State.READY:
        if request.state is State.ENDED:
            raise end_of(request)
        if request.state is State.WAITING and not was_waiting:
            was_waiting = True
            on_waiting(request)
        if lost_at is None:
            progress.wait_for(f"{request.request_id}: {request.explanation}")
        now = clock()
        if deadline is not None and now >= deadline:
            raise DeadlineError(
                f"{request.request_id} was not ready within {describe_duration(now - began)}: {request.explanation}"
            )
        seconds = min(seconds * _GROWTH, _LONGEST_PAUSE[state]) if request.state is state else _FIRST_PAUSE
        state = request.state
        _pause(now + seconds if deadline is None else min(now + seconds, deadline), progress, clock, pause)
        try:
            request, lost_at = watch(), None
        except ServiceError as error:
            lost_at = now if lost_at is None else lost_at
            if isinstance(error, UnreadableAnswerError) or clock() - lost_at > _PATIENCE:
                raise
            progress.wait_for(f"{request.request_id}: {error}")
    progress.done()
    return request


def wait_until_over(
    request: AccessRequest,
    *,
    watch: Callable[[], AccessRequest],
    progress: Progress,
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], object] = _NEVER.wait,
) -> AccessRequest:
    """The request once it has ended, or as it stands at ``deadline``."""
    while request.state is not State.ENDED and (now := clock()) < deadline:
        progress.wait_for(f"{request.request_id}: {request.explanation}")
        _pause(min(now + 1.0, deadline), progress, clock, pause)
        request = watch()
    progress.done()
    return request


def end_of(request: AccessRequest) -> DrawbridgeError:
    """What to say of a request that is over before it could be used."""
    said = f"{request.request_id}: {request.explanation}"
    match request.outcome:
        case Outcome.TIMED_OUT:
            return DeadlineError(f"{said} Ask again when somebody who may approve it is there.")
        case Outcome.FAILED:
            return ServiceError(f"{said} Ask again; if it stays so, tell whoever runs Drawbridge.")
    return RefusedError(said)


def _pause(until: float, progress: Progress, clock: Callable[[], float], pause: Callable[[float], object]) -> None:
    while (left := until - clock()) > 0:
        pause(min(left, _TICK))
        progress.tick()
