"""What functions are packed with says what was written, and what is not that is refused by name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib.domain.catalogue import read_document
from chalicelib.domain.catalogue_text import load_catalogue, pack_catalogue
from chalicelib.domain.errors import CatalogueError
from chalicelib.functions.packed_catalogue import packed_catalogue
from local.functions import environment

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["docs/catalogue.toml", "local/catalogue.toml"])
def test_what_is_packed_is_what_was_written(name: str) -> None:
    """Every location, person and rule."""
    text = (ROOT / name).read_text(encoding="utf-8")

    assert load_catalogue(text, file=name) == read_document(json.loads(pack_catalogue(text, file=name)), file=name)


@pytest.mark.parametrize("text", ["budget = ", "budget = 1979-05-27", "[slack]"])
def test_what_cannot_be_loaded_is_not_packed(text: str) -> None:
    """Neither what is no TOML, nor what is no catalogue."""
    with pytest.raises(CatalogueError, match=r"mine\.toml: "):
        pack_catalogue(text, file="mine.toml")


@pytest.mark.parametrize(
    ("packed", "reason"),
    [(None, "No such file"), (b"[slack]", "not what is packed"), (b"\xff\xfe", "not what is packed"), (b"[]", "slack")],
)
def test_a_function_that_is_packed_wrongly_says_so(packed: bytes | None, reason: str, tmp_path: Path) -> None:
    """By the file's name and why."""
    file = tmp_path / "catalogue.json"
    if packed is not None:
        file.write_bytes(packed)

    with environment({"DRAWBRIDGE_CATALOGUE": str(file)}), pytest.raises(CatalogueError) as caught:
        packed_catalogue()

    assert "catalogue.json: " in str(caught.value)
    assert reason in str(caught.value)


def test_no_function_loads_what_only_people_s_text_and_mistakes_need() -> None:
    """A cold start would pay for it: a parser of TOML, and what finds similar words."""
    program = (
        "import sys, app; print(*sorted({'tomllib', 'difflib', 'chalicelib.functions.api_calls'} & set(sys.modules)))"
    )
    lambda_alone = {"AWS_LAMBDA_FUNCTION_NAME": "APIHandler", "PATH": "", "PYTHONPATH": str(ROOT)}
    loaded = subprocess.run(
        [sys.executable, "-c", program], env=lambda_alone, capture_output=True, text=True, check=True
    )

    assert "" == loaded.stdout.strip()
