"""The tree of errors."""

from chalicelib.domain import errors


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    """The state machine matches these names bare; the drawing is where a reader looks them up."""
    drawn = {line.split("── ")[1].split()[0] for line in (errors.__doc__ or "").splitlines() if "── " in line}
    built = {name for name, value in vars(errors).items() if isinstance(value, type)} - {"AccessError"}

    assert built == drawn


def test_every_error_is_one_of_ours() -> None:
    """Entry points log and let through what derives from the one base, and nothing else."""
    built = [value for value in vars(errors).values() if isinstance(value, type)]

    assert all(issubclass(kind, errors.AccessError) for kind in built)


def test_a_catalogue_error_carries_file_key_and_reason() -> None:
    """In its text for people, and apart for programs."""
    error = errors.CatalogueError(file="catalogue.toml", key="people.bob", reason="is missing")

    assert "catalogue.toml: people.bob: is missing" == str(error)
    assert ("catalogue.toml", "people.bob", "is missing") == (error.file, error.key, error.reason)
