"""What can end a command or a stage, and whose fault it is.

``InputError`` is a mistake of the person: a wrong file, key or value; its message names it, and
what is allowed. A command ends with status 2, a flow run in the state ``BadInput``, and nothing is
tried again. Any other exception is a bug, or a fault of the machine or the network: status 1, a
traceback in a log, tried again by Prefect.
"""


class InputError(ValueError):
    """Bad input; the message names the file, row or key, its value, and what is allowed."""


class Resumable(RuntimeError):
    """SIGTERM ended a stage after it had saved its state: the same command continues it."""


class Diverged(RuntimeError):
    """A training whose loss was not finite too often; the last good checkpoint stays."""


class Pruned(RuntimeError):
    """A trial of a sweep that is worse than others were at its epoch: it need not go on."""


BAD_INPUT = (
    InputError,
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
"""What a person can mend: bad input, and a path that is absent, in the way or not permitted."""
