"""Puts a text on the clipboard by the system's own program. The text goes through a pipe, never through an argument."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from drawbridge.errors import ConfigurationError

_SECONDS = 5


def copy(text: str) -> None:
    """Raises ConfigurationError that says what to install, or that the program failed."""
    command = find_program(sys.platform, os.environ)
    try:
        # xclip and wl-copy stay behind to serve the text: they must not hold a pipe of ours open.
        done = subprocess.run(
            command,
            input=text.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"The clipboard did not take it: {command[0]} does not answer.") from error
    if done.returncode:
        raise ConfigurationError(f"The clipboard did not take it: {command[0]} ended with status {done.returncode}.")


def find_program(platform: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The command that reads the text from its standard input."""
    if platform == "darwin":
        candidates: list[tuple[str, ...]] = [("pbcopy",)]
    elif platform == "win32":
        candidates = [("clip",)]
    else:
        wayland = [("wl-copy",)] if environment.get("WAYLAND_DISPLAY") else []
        x11 = [("xclip", "-selection", "clipboard"), ("xsel", "--clipboard", "--input")]
        candidates = [
            *wayland,
            *(x11 if environment.get("DISPLAY") else []),
            ("clip.exe",),
        ]  # the last: Windows' own, from WSL
    for command in candidates:
        if found := shutil.which(command[0], path=environment.get("PATH")):
            return (found, *command[1:])
    if platform in {"darwin", "win32"}:
        raise ConfigurationError(f"The clipboard is not reached: {candidates[0][0]} is not on the PATH.")
    if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        raise ConfigurationError("There is no clipboard here: this session has no display.")
    raise ConfigurationError("The clipboard is not reached. Install wl-clipboard (Wayland), or xclip or xsel (X11).")
