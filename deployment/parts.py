"""What templates are put together with."""

from typing import Any

from chalicelib.domain.errors import CatalogueError

Template = dict[str, Any]


def add(those: Template, more: Template) -> None:
    """Put more under their names. Raises CatalogueError where something else has the name."""
    for name, value in more.items():
        if those.setdefault(name, value) != value:
            raise CatalogueError(
                file="the catalogue", key="(names)", reason=f"has names so alike that two things would be called {name}"
            )


def skipped(**reasons: str) -> Template:
    """Metadata by which checkov passes over checks, each with our reason."""
    return {"checkov": {"skip": [{"id": check, "comment": reason} for check, reason in reasons.items()]}}
