"""``fpenet``: the command line, its errors and its exit statuses.

Stages read and write folders below ``--root`` (default: ``dvc/``, which dvc.yaml uses too); labels
on S3 are downloaded into its folder ``labels``.
Exit status: 0 done; 1 a bug, a fault of the machine or the network, or a training that diverged;
2 bad input; 3 refused; 75 stopped by SIGTERM, the same command continues; 130 interrupted. Every
error is one line.

Typer adds 0.6 MB to the 348 MB of the light install, and 0.1 s to the start of a command. It
provides help in panels, typed options, and usage errors of one line.
"""

import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence

import typer

from fpenet.cli import data, deploy, judge, release, train
from fpenet.cli.environment import thread_settings
from fpenet.cli.services import use_services
from fpenet.core.errors import BAD_INPUT, Diverged, Resumable

DONE, FAILED, BAD_INPUT_STATUS, RESUMABLE, INTERRUPTED = 0, 1, 2, 75, 130
CLOSED_OUTPUT = "the program that read the output has ended"
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Typer's error for a wrong option or argument; Typer does not export its name."""
_TAKES_SEVERAL: Mapping[str, Sequence[str]] = {
    "synth": ("--views",),
    "infer": ("--write",),
    "get": ("--trusted",),
    "release": ("--targets", "--set"),
}
"""Command -> its options that take several values."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = words[0] if words and not words[0].startswith("-") else ""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # we show our bar
    for name, value in thread_settings(os.environ).items():
        os.environ.setdefault(name, value)
    status, line = _run_or_explain(words, command)
    if not _flush_output():
        status, line = FAILED, CLOSED_OUTPUT
    if line:
        print(f"fpenet {command}".rstrip() + f": {line}", file=sys.stderr)
    return status


def _run_or_explain(words: list[str], command: str) -> tuple[int, str]:
    """Run one command: the exit status, and the line of its error, empty without one."""
    try:
        if command:
            use_services(os.environ)
        return _run(words), ""
    except UsageError as error:
        return BAD_INPUT_STATUS, _line_of(error)
    except BrokenPipeError:
        return FAILED, CLOSED_OUTPUT
    except Exception as error:
        return _status_of(error, command)
    except KeyboardInterrupt:
        return INTERRUPTED, "interrupted"


def _flush_output() -> bool:
    """Write what is buffered for stdout; false if its reader, e.g. ``head -1``, has ended."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes again when it ends, where nothing catches the error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _run(words: list[str]) -> int:
    """Parse and run a command. Typer's ``main`` would treat an EOFError as an interrupt."""
    group = typer.main.get_command(command_line())
    try:
        with group.make_context("fpenet", one_value_each(words) or ["--help"]) as context:
            status: int = group.invoke(context)
    except typer.Exit as exit_request:  # after --help
        return exit_request.exit_code if words else BAD_INPUT_STATUS
    return status


def command_line() -> typer.Typer:
    """All commands, in the order of a release."""
    app = typer.Typer(
        add_completion=False,
        help="Release facial-landmark models: labelled faces in, judged and signed engines out.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(lambda: None)
    for chapter in (data, train, judge, deploy, release):
        chapter.add_commands(app)
    return app


def one_value_each(words: Sequence[str]) -> list[str]:
    """Repeat an option before each of its values, because Typer takes one value per option.

    >>> one_value_each(["synth", "--views", "05_1", "profile", "--seed", "3"])
    ['synth', '--views', '05_1', '--views', 'profile', '--seed', '3']
    """
    several = _TAKES_SEVERAL.get(words[0], ()) if words else ()
    repeated: list[str] = []
    option, values = "", 0
    for word in words:
        if word.startswith("-"):
            option, values = (word, 0) if word in several else ("", 0)
        elif option:
            values += 1
            if values > 1:
                repeated.append(option)
        repeated.append(word)
    return repeated


def _line_of(error: Exception) -> str:
    """The message of a usage error as one line."""
    message: str = error.format_message()  # type: ignore[attr-defined]
    return " ".join(message.split())


def _status_of(error: Exception, command: str) -> tuple[int, str]:
    """Exit status and line of an error; for a bug or a machine fault the line names a log file."""
    if isinstance(error, BAD_INPUT):
        return BAD_INPUT_STATUS, str(error)
    if isinstance(error, Resumable):
        return RESUMABLE, str(error)
    if isinstance(error, (Diverged, ConnectionError)):
        return FAILED, str(error)
    kind = "" if isinstance(error, OSError) else f"{type(error).__name__}: "
    line = kind + " ".join(str(error).split())
    name = f"fpenet-{command}-"
    try:
        with tempfile.NamedTemporaryFile("w", prefix=name, suffix=".log", delete=False) as log:
            traceback.print_exception(error, file=log)
    except OSError as log_error:
        return FAILED, f"{line}; the traceback could not be written: {log_error.strerror}"
    return FAILED, f"{line}; the traceback is in {log.name}"
