"""The README stays true: its table of defaults is the module's, its commands are there, and its links lead somewhere."""

import re
from pathlib import Path

from chalicelib import defaults
from chalicelib.domain.blocking import WHO_BLOCKS_WHOM
from chalicelib.domain.catalogue_text import load_catalogue
from chalicelib.domain.command_grammar import command_help
from chalicelib.domain.durations import describe_duration
from chalicelib.domain.permissions import GUARD_RAILS, Ability, PermissionLevel

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_defaults_are_the_modules() -> None:
    """Each number that the README names is the one that holds."""
    durations = defaults.DURATIONS
    expected = {
        "level": f"`{defaults.LEVEL}`",
        "access, without a duration": describe_duration(durations.access),
        "longest access, unless the catalogue says otherwise": describe_duration(durations.cap),
        "approval is waited for": f"{describe_duration(durations.approval_wait)}, with a reminder at half",
        "a holder is told of the end before it": f"{describe_duration(durations.warning)}, or a fifth of a short grant",
        "preparation may take": describe_duration(durations.preparation),
        "an idle bastion is stopped after": describe_duration(durations.idle_grace),
        "a stopped bastion is terminated after": describe_duration(durations.terminate_after_stopped),
        "a bastion is replaced after": describe_duration(durations.terminate_after_launched),
        "a token opens connections for": describe_duration(durations.token),
        "local port": str(defaults.LOCAL_PORT),
        "connections of one person": str(defaults.CONNECTION_LIMIT),
        "statement timeout": defaults.STATEMENT_TIMEOUT,
        "lock timeout": defaults.LOCK_TIMEOUT,
        "idle in transaction": defaults.IDLE_IN_TRANSACTION_TIMEOUT,
        "idle session": defaults.IDLE_SESSION_TIMEOUT,
        "people on a location": str(defaults.MAX_PEOPLE),
        "leases of one bastion": (
            f"{defaults.LEASES_PER_BASTION}; then the group gets another one, up to {defaults.BASTIONS_PER_GROUP}"
        ),
        "open requests of one person": f"{defaults.OPEN_REQUESTS_PER_PERSON}, one for each location and level",
    }
    table = README.partition("<!-- defaults -->")[2].partition("<!-- /defaults -->")[0]
    rows = dict(re.findall(r"^\| (?!what|---)(.+?) \| (.+?) \|$", table, re.MULTILINE))

    assert expected == rows


def test_the_levels_are_the_modules() -> None:
    """Every ability has a row, with a yes for each level that has it, and nobody is told that a guard rail is a wall."""
    head = ["may", *(f"`{level}` {level.word}" for level in PermissionLevel)]
    body = [
        [ability.value, *("yes" if level.has(ability) else "–" for level in PermissionLevel)] for ability in Ability
    ]
    table = README.partition("<!-- levels -->")[2].partition("<!-- /levels -->")[0]
    rows = [line.strip("| ").split(" | ") for line in table.split("\n") if line and not line.startswith("|--")]

    assert [head, *body] == rows
    assert GUARD_RAILS in " ".join(README.split())


def test_the_commands_are_the_grammars() -> None:
    """The README and the help in Slack list the same commands, in the same words."""
    table = README.partition("<!-- commands -->")[2].partition("<!-- /commands -->")[0].replace("\\|", "|")
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \|$", table, re.MULTILINE)

    assert list(command_help()) == rows


def test_the_operators_page_has_the_query_that_is_tested() -> None:
    """What people copy from it is what runs on every PostgreSQL that the tests run on."""
    page = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")

    assert [WHO_BLOCKS_WHOM] == re.findall(r"```sql\n(SELECT blocked.*?)```", page, re.DOTALL)


def test_the_commands_are_in_the_makefile() -> None:
    """A newcomer types what the README says."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))

    assert {"demo", "test"} <= commands
    assert set() == {command for command in commands if not re.search(rf"^{command}:", makefile, re.MULTILINE)}


def test_links_lead_somewhere() -> None:
    """Every link of ours is a file, and what it names within one is a heading there."""
    pages = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *(ROOT / "docs").rglob("*.md")]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8"))
    ]
    broken = [(page.name, link) for page, link in links if not _is_there(page, *link.partition("#")[::2])]

    assert any("#" in link for _, link in links)
    assert [] == broken


def _is_there(page: Path, file: str, heading: str) -> bool:
    target = page.parent / file if file else page
    return target.exists() and (not heading or heading in _anchors(target.read_text(encoding="utf-8")))


def _anchors(text: str) -> set[str]:
    """As the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_decision_is_listed() -> None:
    """The index of decisions knows all of them."""
    index = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")

    assert [] == [page.name for page in (ROOT / "docs" / "adr").glob("0*.md") if page.name not in index]


def test_the_catalogues_load() -> None:
    """The example and the local workspace's are read by the one loader."""
    for file in (ROOT / "docs" / "catalogue.toml", ROOT / "local" / "catalogue.toml"):
        assert load_catalogue(file.read_text(encoding="utf-8"), file=file.name).locations
