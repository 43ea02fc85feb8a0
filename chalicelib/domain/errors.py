"""The error tree. Class names are also the names that the state machine matches, bare, so renaming one is renaming both.

    AccessError
    ├── CatalogueError             the catalogue has an error: file, key, reason
    ├── SettingsError              the environment lacks or misstates a setting
    ├── InvalidCommandError        the text of a command cannot be read
    ├── UnknownLocationError       no location of that name
    ├── UnknownRequestError        the ledger holds no such request
    ├── LedgerUnavailableError     the ledger did not answer               retried
    ├── BastionNotReadyError       the bastion is not yet connected        retried
    ├── BastionCapacityError       no subnet has room for the bastion      retried
    ├── BastionsFullError          every bastion of the group holds as many leases as it may
    ├── GrantEndingError           an earlier grant is still being revoked retried
    ├── DatabaseNotFoundError      RDS knows no such cluster or instance
    ├── DatabaseUnavailableError   asleep, failing over or unreachable     retried
    ├── DatabaseSetupError         the location's database is not set up: what is missing and the repair
    ├── LoginRefusedError          the person's own login was tried and refused
    ├── OrderExpiredError          a provisioning order came too late to be carried out
    ├── RevocationIncompleteError  something of the person is still there  retried
    ├── DeliveryFailedError        a link of the connection is broken: which
    └── SlackUnavailableError      Slack did not take a message            retried

``str(error)`` is fit for the person who asked: what happened, to what, what to do next; never a token, an ARN or a stack.
A refusal by policy is a value with a reason, not an error.
"""


class AccessError(Exception):
    """The base of every error that Drawbridge raises on purpose."""


class CatalogueError(AccessError):
    """The catalogue cannot be used. Says which file, which key and why."""

    def __init__(self, *, file: str, key: str, reason: str) -> None:
        super().__init__(f"{file}: {key}: {reason}")
        self.file = file
        self.key = key
        self.reason = reason


class SettingsError(AccessError):
    """The environment lacks a setting or states one that cannot be read."""


class InvalidCommandError(AccessError):
    """The text of a command cannot be read; the message holds a corrected example."""


class UnknownLocationError(AccessError):
    """No location of that name; the message suggests the nearest one, which is ``nearest``."""

    def __init__(self, message: str, *, nearest: str | None = None) -> None:
        super().__init__(message)
        self.nearest = nearest


class UnknownRequestError(AccessError):
    """The ledger holds no request of that id."""


class LedgerUnavailableError(AccessError):
    """The ledger did not answer, or kept changing under a conditional write."""


class BastionNotReadyError(AccessError):
    """The bastion is on its way but not yet connected to Session Manager."""


class BastionCapacityError(AccessError):
    """No subnet of the bastion has room for another instance at the moment."""


class BastionsFullError(AccessError):
    """Every bastion that the group may have holds as many leases as it may."""


class GrantEndingError(AccessError):
    """An earlier grant of the same person, location and level is still being revoked."""


class DatabaseNotFoundError(AccessError):
    """RDS knows no cluster or instance of the location's name."""


class DatabaseUnavailableError(AccessError):
    """The database did not take a connection: asleep, failing over or unreachable."""


class DatabaseSetupError(AccessError):
    """The location's database is not set up for Drawbridge; the message says what is missing and the repair."""


class LoginRefusedError(AccessError):
    """The person's own login was tried after provisioning and refused."""


class OrderExpiredError(AccessError):
    """A provisioning order was carried out too late and was rolled back."""


class RevocationIncompleteError(AccessError):
    """After revocation something of the person was still there; the message says what."""


class DeliveryFailedError(AccessError):
    """A link between the person and the database is broken; the message names it."""


class SlackUnavailableError(AccessError):
    """Slack did not take a message."""
