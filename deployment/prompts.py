"""The operator's terminal: what is said, asked and interrupted. Where there is none, nobody is asked and nothing is assumed."""

import sys
from collections.abc import Callable
from getpass import getpass
from typing import TextIO

from deployment.account import DeploymentError


class Terminal:
    """What is said goes out at once; what is asked secretly is neither echoed nor kept here."""

    def __init__(
        self,
        *,
        given: TextIO | None = None,
        shown: TextIO | None = None,
        ask_secretly: Callable[[str], str] = getpass,
    ) -> None:
        self._given, self._shown, self._ask_secretly = given or sys.stdin, shown or sys.stdout, ask_secretly

    @property
    def is_there(self) -> bool:
        """Does somebody sit before it?"""
        return self._given.isatty() and self._shown.isatty()

    def say(self, text: str = "") -> None:
        """Show whole lines. Names come from elsewhere and must not steer the terminal."""
        lines = ("".join(sign if sign.isprintable() else "?" for sign in line) for line in text.split("\n"))
        print(*lines, sep="\n", file=self._shown, flush=True)

    def ask(self, question: str) -> str:
        """One line, without the space around it. Raises DeploymentError at the end of the input."""
        print(f"{question} ", end="", file=self._shown, flush=True)
        line = self._given.readline()
        if not line:
            raise DeploymentError("\nThe input ended before the answer; nothing more was done.")
        return line.strip()

    def ask_secret(self, question: str, *, is_one: Callable[[str], bool], looks_like: str) -> str:
        """Something that nobody may read along. Asked again until it has the right shape."""
        while not is_one(answer := self._ask_secretly(f"{question} (not shown): ").strip()):
            self.say(f"That is not one. It looks like {looks_like}.")
        return answer

    def until_interrupted(self, run: Callable[[], int], *, state: Callable[[], str]) -> int:
        """The exit status of ``run``. Ctrl-C ends it with 130 and a sentence: the ``state`` that everything is in by then."""
        try:
            return run()
        except KeyboardInterrupt:
            self.say(f"\nEnded by you. {state()}")
            return 130

    def agrees(self, question: str) -> bool:
        """Yes or no; anything but yes is no."""
        return self.ask(f"{question} [y/N]").lower() in {"y", "yes"}
