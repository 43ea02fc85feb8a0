"""Takes the pictures of docs/pictures from the local Slack's page: `python -m tests.browser.pictures`, never by hand."""

from pathlib import Path

from local.workspace import SHORT, Workspace
from tests.browser.page import Page, start_browser

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
UNHURRIED = {"ACCESS": 3600, "APPROVAL_WAIT": 3600, "IDLE_GRACE": 60}
WIDTH, PHONE, TALL = 1220, 360, 1500
"""A window in which no message, form or dialog scrolls; each picture shows one of them and nothing else."""
REASON = "INC-42: three orders are stuck, put them back in the queue"


def main() -> None:
    """Play one request, one broken glass and one look at Home."""
    PICTURES.mkdir(exist_ok=True)
    with Workspace(seconds=SHORT | UNHURRIED) as workspace, start_browser() as browser:
        page = Page(browser, workspace.slack.page_url, screenshots=PICTURES).resize(WIDTH, TALL).load()
        _ask_and_approve(page)
        _connect(page)
        _break_the_glass(page)
    for picture in sorted(PICTURES.glob("*.png")):
        print(f"{picture.name}: {picture.stat().st_size / 1000:.0f} kB")


def _ask_and_approve(page: Page) -> None:
    page.act_as("alice").open_channel("general").type_command("/db-access")
    page.see("Ask for access")
    page.fill("Location", "my-aurora-location").fill("Level", "Write").fill("For how long?", "30 minutes")
    page.fill("Reason", REASON).picture("form").submit().see("Asked: write")
    page.press("Done").act_as("carol").home().see("Waiting for your decision")
    page.picture("home").open_channel("db-approvals").see(REASON)
    page.picture("approval-card", of=REASON).press("Approve Access").confirm("Approve").see("Live until", of=REASON)


def _connect(page: Page) -> None:
    ready = "Your database access is ready"
    page.act_as("alice").open_app().see(ready)
    page.picture("ready-message", of=ready)
    page.resize(PHONE, TALL).picture("ready-message-phone", of=ready).resize(WIDTH, TALL)
    page.press("End Now").confirm("End Now").see("Login: off")
    page.picture("receipt", of="Login: off")


def _break_the_glass(page: Page) -> None:
    page.open_channel("general").type_command("/db-access my-aurora-location w 15m --break-glass the shop is down")
    page.act_as("carol").open_channel("db-approvals").see("Was it justified?")
    page.picture("review-card", of="Was it justified?")


if __name__ == "__main__":
    main()
