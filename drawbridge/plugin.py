"""AWS's session-manager-plugin as a child process: found, started as the AWS CLI starts it, and never left behind."""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from drawbridge.errors import ConfigurationError, TunnelError

PROGRAM = "session-manager-plugin"
MINIMUM_PLUGIN = (1, 2, 764, 0)
"""The first that signs the data channel; older ones are about to be refused (AWS: Install the Session Manager plugin)."""

# From the version after this one on the session is handed over in an environment variable, whose name is the argument.
_LAST_WITHOUT_VARIABLE = (1, 2, 497, 0)
_VARIABLE = "AWS_SSM_START_SESSION_RESPONSE"
_DOWNLOADS = "https://s3.amazonaws.com/session-manager-downloads/plugin/latest"
_GUIDE = "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html"
_LISTENS = "Waiting for connections"
_MOST_SAID, _MOST_LINES = 64 * 1024, 5
_VERSION_SECONDS, _ENDING_SECONDS, _LOOK_SECONDS = 10.0, 3.0, 0.01
# The shell becomes the plugin. The watcher that it leaves reads a pipe which we alone hold open: once we close it, or die by
# any signal, the watcher interrupts the plugin, which then ends its session, and kills it if it does not listen. It keeps the
# process group alive meanwhile, so that nobody else gets $$. Being an own session, the plugin sees no Ctrl-C of the terminal:
# in psql that key cancels a query and must not end the tunnel.
_RUN_WHILE_PIPE_IS_OPEN = (
    "exec 3<&0; { read -r line <&3; kill -s INT $$; "
    "for wait in 1 2 3 4 5 6 7 8 9 10; do kill -0 $$ || exit; sleep 0.2; done; kill -s KILL -- -$$; } >/dev/null 2>&1 & "
    'exec "$0" "$@" 3<&- </dev/null'
)


def find_plugin(environment: Mapping[str, str] | None = None) -> Path:
    """Where the installed plugin is. Raises ConfigurationError, which says how to install it on this system."""
    found = shutil.which(PROGRAM, path=(os.environ if environment is None else environment).get("PATH", os.defpath))
    if found is None:
        advice = install_advice(platform.system(), platform.machine(), has_packages=shutil.which("dpkg") is not None)
        raise ConfigurationError(f"No tunnel without AWS's {PROGRAM}, which is not on your PATH. {advice}")
    return Path(found)


def install_advice(system: str, machine: str, *, has_packages: bool) -> str:
    """How to install the plugin: ``system`` and ``machine`` as Python's platform says them, ``has_packages`` of Debian."""
    chip = "arm64" if machine.lower() in {"arm64", "aarch64"} else "64bit"
    match system:
        case "Darwin":
            return "Install it: brew install --cask session-manager-plugin"
        case "Windows":
            return f"Install it: {_DOWNLOADS}/windows/SessionManagerPluginSetup.exe"
        case "Linux" if has_packages:
            file = f"{PROGRAM}.deb"
            return f"Install it: curl -fsSO {_DOWNLOADS}/ubuntu_{chip}/{file} && sudo dpkg -i {file}"
        case "Linux":
            return f"Install it: sudo dnf install -y {_DOWNLOADS}/linux_{chip}/{PROGRAM}.rpm"
    return f"How to install it: {_GUIDE}"


def plugin_version(path: Path) -> tuple[int, ...] | None:
    """The plugin's version, or None if it says none. Raises ConfigurationError for a program that does not run."""
    try:
        done = subprocess.run([path, "--version"], check=True, capture_output=True, text=True, timeout=_VERSION_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"{path} does not run ({error}). Install it anew: {_GUIDE}") from error
    version = done.stdout.strip()
    return tuple(map(int, version.split("."))) if re.fullmatch(r"\d+(\.\d+){0,3}", version) else None


class Plugin:
    """One run of the plugin, for one session. ``on_end`` is called from another thread when it ends by itself."""

    def __init__(
        self,
        path: Path,
        version: tuple[int, ...] | None,
        *,
        session: Mapping[str, str],
        region: str,
        profile: str,
        request: Mapping[str, Any],
        endpoint_url: str,
        environment: Mapping[str, str] | None = None,
        on_end: Callable[[], object],
    ) -> None:
        """Starts it. Raises ConfigurationError if that cannot be."""
        self._ended_by_us, self._on_end = False, on_end
        self._settled, self._ended, self._is_listening = threading.Event(), threading.Event(), False
        variables, response = dict(os.environ if environment is None else environment), json.dumps(dict(session))
        if not profile:
            variables.pop("AWS_PROFILE", None)  # our own identity was found without it
        if version is not None and version > _LAST_WITHOUT_VARIABLE:
            variables[_VARIABLE], response = response, _VARIABLE
        command = [str(path), response, region, "StartSession", profile, json.dumps(dict(request)), endpoint_url]
        if os.name == "posix":
            command = ["/bin/sh", "-c", _RUN_WHILE_PIPE_IS_OPEN, *command]
        # A file and no pipe: should we be killed, its last words must not be what stops it from ending its session.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the plugin lives
        try:
            self._process = subprocess.Popen(
                command,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self._output.close()
            raise ConfigurationError(f"{path} does not run ({error}). Install it anew: {_GUIDE}") from error
        self._last_lines: list[str] | None = None
        self._reading = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="session-manager-plugin", daemon=True)
        self._thread.start()

    def wait_until_listening(self, seconds: float) -> None:
        """Returns when its port accepts connections. Raises TunnelError with its own words if that does not come."""
        self._settled.wait(max(seconds, 0))
        if self._is_listening and self.is_running():
            return
        said = self._lines()[-_MOST_LINES:]
        words = f"said: {' / '.join(said)}" if said else "said nothing"
        happened = "did not open its port in time" if self.is_running() else "ended"
        raise TunnelError(f"{PROGRAM} {happened} and {words}.")

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._ended.is_set()

    def wait(self, seconds: float) -> bool:
        """Whether it ends within this time."""
        return self._ended.wait(seconds)

    def end(self) -> None:
        """Ends it and whatever it started; may be called again, and from any thread."""
        self._ended_by_us = True
        self._close_pipe()
        if os.name != "posix":
            self._process.kill()
        if not self._ended.wait(_ENDING_SECONDS):
            self._kill()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _close_pipe(self) -> None:
        """Lets the watcher go to work."""
        with suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()

    def _kill(self) -> None:
        if sys.platform == "win32":
            self._process.kill()
        else:  # not ended, so the group is still its own
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _watch(self) -> None:
        """Looks whether it listens until it does, and then waits for its end."""
        while self._process.poll() is None and not self._settled.wait(_LOOK_SECONDS):
            if any(line.startswith(_LISTENS) for line in self._lines()):
                self._is_listening = True
                self._settled.set()
        self._process.wait()
        self._close_pipe()
        self._last_lines = self._lines()
        with self._reading:
            self._output.close()
        self._ended.set()
        self._settled.set()
        if not self._ended_by_us:
            self._on_end()

    def _lines(self) -> list[str]:
        """What it has said so far, but for empty lines."""
        with self._reading:
            if self._last_lines is not None:
                return self._last_lines
            if sys.platform == "win32":
                self._output.seek(0)
                said = self._output.read(_MOST_SAID)
            else:  # the position in the file is the plugin's as well
                said = os.pread(self._output.fileno(), _MOST_SAID, 0)
        return [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
