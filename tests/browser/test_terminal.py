"""Asked at a prompt, approved on the page: the terminal client and the page are two doors of one house."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local.workspace import Workspace

if TYPE_CHECKING:
    from tests.browser.page import Page

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 90
REASON = "INC-43 from a prompt"
QUERY = "import psycopg; print(*psycopg.connect('').execute('SELECT current_user').fetchone())"


def test_what_is_asked_at_a_prompt_is_approved_on_the_page(page: "Page", workspace: Workspace, tmp_path: Path) -> None:
    """Alice waits in her terminal, carol presses Approve Access, alice's command is connected, and she ends it there."""
    settings = {"HOME": str(tmp_path), "LANG": "C.UTF-8", **workspace.shells.settings("alice")}
    options = {"cwd": ROOT, "env": settings, "stdin": subprocess.DEVNULL, "text": True}
    client = (sys.executable, "-m", "drawbridge")
    asked = ("connect", "my-aurora-location", "-p", "w", "--reason", REASON, "--", sys.executable, "-c", QUERY)
    with subprocess.Popen([*client, *asked], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as waiting:
        page.act_as("carol").open_channel("db-approvals").see(REASON)
        page.screenshot("asked-at-a-prompt").press("Approve Access", of=REASON).confirm("Approve")
        page.see("Live until", of=REASON)
        output, errors = waiting.communicate(timeout=MOST_SECONDS)
    ended = subprocess.run(
        [*client, "end", "my-aurora-location"], capture_output=True, check=False, timeout=MOST_SECONDS, **options
    )

    assert (0, True) == (waiting.returncode, output.strip().endswith("_w_alice")), errors
    assert "carol may approve it" in errors
    assert (0, True) == (ended.returncode, "Sessions left: 0" in ended.stdout), ended.stderr
    assert [] == page.complaints()
