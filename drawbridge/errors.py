"""What can go wrong, and the exit status of each.

    DrawbridgeError                1  what Drawbridge did not do, for a reason of its own
    ├── InvalidInputError          2  what was typed cannot be read
    ├── ConfigurationError         3  a setting is missing or cannot be used
    ├── CredentialsError           3  no AWS credentials, or expired, or of nobody whom Drawbridge knows
    ├── RefusedError               4  refused, denied, cancelled, or no such location or request
    ├── DeadlineError              5  waited as long as it may
    ├── TunnelError                6  the tunnel does not open, or does not stay
    │   └── PortInUseError         6  somebody else listens on the port
    ├── LoginError                 7  the database, its certificate or the login
    └── ServiceError               8  Drawbridge's API is not reached, or could not prepare the access
        └── UnreadableAnswerError  8  the API's answer is not what this client reads

Besides: 0 done, 2 usage, 126 and 127 as a shell for a command that cannot be run or found, 130 Ctrl-C, 128 + n ended by signal n;
a command that ran passes its own status through. ``docs/cli.md`` has the table for people, and a test compares.

``str(error)`` is for the person at the terminal: which link failed, with what, and what to do next; never a token, never a stack.
"""


class DrawbridgeError(Exception):
    """The base of every error that ends a command with a sentence instead of a stack."""

    exit_status: int = 1


class InvalidInputError(DrawbridgeError):
    """What was typed cannot be read, here or by the API."""

    exit_status = 2


class ConfigurationError(DrawbridgeError):
    """A setting is missing or cannot be used, or a program that is needed is not installed."""

    exit_status = 3


class CredentialsError(DrawbridgeError):
    """There are no AWS credentials, or they are expired, wrong, or of nobody whom the catalogue knows."""

    exit_status = 3


class RefusedError(DrawbridgeError):
    """Drawbridge or an approver said no, the request was cancelled, or there is no such location or request."""

    exit_status = 4


class DeadlineError(DrawbridgeError):
    """Nothing came within the time that was given."""

    exit_status = 5


class TunnelError(DrawbridgeError):
    """The tunnel does not open, or does not stay open."""

    exit_status = 6


class PortInUseError(TunnelError):
    """Somebody else listens on the local port."""


class LoginError(DrawbridgeError):
    """The database was not reached through the tunnel, is not the one it should be, or refused the login."""

    exit_status = 7


class ServiceError(DrawbridgeError):
    """Drawbridge's API was not reached or failed, or Drawbridge could not prepare the access."""

    exit_status = 8


class UnreadableAnswerError(ServiceError):
    """The API answered something that this version of the client does not read."""
