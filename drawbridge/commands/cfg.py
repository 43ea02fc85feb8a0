"""``drawbridge cfg``: the saved defaults."""

import click

from drawbridge.errors import InvalidInputError
from drawbridge.settings import SETTINGS, check_setting, load_settings, save_settings, settings_file

_NAMES = ", ".join(SETTINGS)


@click.group("cfg", invoke_without_command=True)
@click.pass_context
def cfg_command(context: click.Context) -> None:
    """Show, set and unset saved defaults.

    An option on the command line goes before a saved default of its name. For api, DRAWBRIDGE_API does too.
    """
    if context.invoked_subcommand is None:
        _show()


@cfg_command.command("show")
def show() -> None:
    """Print the file and what is saved in it."""
    _show()


@cfg_command.command("set", help=f"Save VALUE as the default of KEY.\n\nKEY is one of: {_NAMES}.")
@click.argument("key", metavar="KEY")
@click.argument("value", metavar="VALUE")
def set_(key: str, value: str) -> None:
    """Save a default."""
    checked = check_setting(key, value)
    save_settings(settings_file(), {**load_settings(settings_file()), key: checked})
    click.echo(f"{key} = {checked}")


@cfg_command.command("unset", help=f"Forget the default of KEY, or of all.\n\nKEY is one of: {_NAMES}, all.")
@click.argument("key", metavar="KEY")
def unset(key: str) -> None:
    """Forget a default."""
    if key == "all":  # also what cannot be read
        save_settings(settings_file(), {})
        return
    if key not in SETTINGS:
        raise InvalidInputError(f"'{key[:40]}' is no setting. There are: {_NAMES}.")
    saved = load_settings(settings_file())
    saved.pop(key, None)
    save_settings(settings_file(), saved)


def _show() -> None:
    click.echo(f"# {settings_file()}")
    saved = load_settings(settings_file())
    for key in SETTINGS:
        click.echo(f"{key} = {saved[key]}" if key in saved else f"# {key} is not set")
