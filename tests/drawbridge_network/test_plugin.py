"""Finding AWS's plugin, and saying how to come by it."""

import os
from pathlib import Path

import pytest

from drawbridge.errors import ConfigurationError
from drawbridge.plugin import MINIMUM_PLUGIN, find_plugin, install_advice, plugin_version


def a_program(directory: Path, text: str) -> Path:
    program = directory / "session-manager-plugin"
    program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def test_the_plugin_is_found_on_path(tmp_path: Path) -> None:
    """Where the AWS CLI would find it."""
    program = a_program(tmp_path, "exit")

    assert program == find_plugin({"PATH": f"/nowhere{os.pathsep}{tmp_path}"})


@pytest.mark.parametrize("environment", [{"PATH": "/nowhere"}, {"PATH": ""}])
def test_a_missing_plugin_is_named_with_its_remedy(environment: dict[str, str]) -> None:
    """A person can go on from there."""
    with pytest.raises(ConfigurationError, match=r"which is not on your PATH\. (Install|How to)"):
        find_plugin(environment)


@pytest.mark.parametrize(
    ("system", "machine", "has_packages", "words"),
    [
        ("Darwin", "arm64", False, "brew install --cask session-manager-plugin"),
        ("Windows", "AMD64", False, "/windows/SessionManagerPluginSetup.exe"),
        (
            "Linux",
            "x86_64",
            True,
            "/ubuntu_64bit/session-manager-plugin.deb && sudo dpkg -i session-manager-plugin.deb",
        ),
        ("Linux", "aarch64", True, "/ubuntu_arm64/session-manager-plugin.deb"),
        ("Linux", "x86_64", False, "sudo dnf install -y"),
        ("Linux", "aarch64", False, "/linux_arm64/session-manager-plugin.rpm"),
        ("FreeBSD", "amd64", False, "https://docs.aws.amazon.com/"),
    ],
)
def test_each_system_has_its_own_way(system: str, machine: str, has_packages: bool, words: str) -> None:
    """The one for this machine, and no list."""
    assert words in install_advice(system, machine, has_packages=has_packages)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("1.2.764.0", (1, 2, 764, 0)),
        ("1.2.764", (1, 2, 764)),
        (" 1.10 ", (1, 10)),
        ("local-stand-in 0.1", None),
        ("1.2.3.4.5", None),
        ("", None),
    ],
)
def test_a_version_is_read_where_there_is_one(tmp_path: Path, said: str, version: tuple[int, ...] | None) -> None:
    """As the AWS CLI reads it."""
    assert version == plugin_version(a_program(tmp_path, f"echo '{said}'"))


def test_versions_are_compared_by_number() -> None:
    """A plugin that is to be replaced is known as one."""
    assert (1, 2, 99, 0) < MINIMUM_PLUGIN < (1, 2, 1000)


@pytest.mark.parametrize("text", ["exit 1", "kill -9 $$"])
def test_a_program_that_fails_is_no_plugin(tmp_path: Path, text: str) -> None:
    """It is better known before a session is started."""
    with pytest.raises(ConfigurationError, match="does not run"):
        plugin_version(a_program(tmp_path, text))
