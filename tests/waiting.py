"""How a test waits for what comes to pass in another thread or process: by looking again, for a bounded time."""

import threading
import time
from collections.abc import Callable

WAITING_SECONDS = 20.0


def eventually(condition: Callable[[], object], seconds: float = WAITING_SECONDS) -> bool:
    """Whether it comes to hold within that time."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.02)
    return True
