"""Exceptions that end a command or a stage.

``InputError`` is a mistake of the user: a wrong file, key or value. Its message names it and says
what is allowed. The command ends with exit status 2, the flow run in the state ``BadInput``,
without a retry. Any other exception is a bug or a fault of the machine or the network: exit status
1, a traceback in a log, retried by Prefect.
"""


class InputError(ValueError):
    """Bad input; the message names the file, row or key, its value, and what is allowed."""


class TooFewFaces(InputError):
    """A data set has fewer training faces than one batch."""


class Resumable(RuntimeError):
    """SIGTERM ended a stage after it had saved its state: the same command continues it."""


class Diverged(RuntimeError):
    """The training loss was not finite too often; the last good checkpoint is kept."""


class Pruned(RuntimeError):
    """A trial of a sweep was stopped: at this epoch it is worse than earlier trials were."""


BAD_INPUT = (
    InputError,
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
"""Errors that the user can correct: bad input, or a path that is missing, exists already, is of the
wrong kind or may not be accessed."""
