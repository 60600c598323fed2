"""What all commands share: their options, their output as text or JSON, and the progress bar.

A command is a plain function that returns a ``CommandResult``. ``add_command`` gives it ``--json``
and, where one of its parameters is a ``ParamsOptions``, the options that choose the params. Nothing
here imports more than Typer: ``fpenet --help`` reads no numpy and no pydantic model of ours.
"""

import inspect
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fpenet.core.errors import InputError

if TYPE_CHECKING:
    from fpenet.params import Params

_PANEL = "Params and folders"
ParamsFile = Annotated[
    Path, typer.Option("--params", metavar="FILE", help="The params file.", rich_help_panel=_PANEL)
]
Preset = Annotated[
    str | None, typer.Option(help="A file of presets/, by name.", rich_help_panel=_PANEL)
]
Root = Annotated[
    Path,
    typer.Option(metavar="FOLDER", help="The folder of all stage folders.", rich_help_panel=_PANEL),
]
Pairs = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Another value for one key, e.g. train.epochs=3. Can be repeated.",
        rich_help_panel=_PANEL,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command prints, and its exit status.

    Attributes:
        value: JSON values, for ``--json``.
        text: for people; empty prints nothing.
        status: the exit status.
        messages: printed on stderr, a line each, after ``fpenet COMMAND:``.
        json_lines: ``value`` is a list, printed one entry a line.
    """

    value: Any
    text: str
    status: int = 0
    messages: Sequence[str] = ()
    json_lines: bool = False

    def as_json(self) -> str:
        """``value`` as JSON."""
        if self.json_lines:
            return "\n".join(json.dumps(entry, allow_nan=False) for entry in self.value)
        return json.dumps(self.value, indent=1, allow_nan=False)


def json_result(value: Any) -> CommandResult:
    """The result of a command whose text is JSON too."""
    return CommandResult(value, json.dumps(value, indent=1, allow_nan=False))


@dataclass(frozen=True, slots=True)
class ParamsOptions:
    """The options that choose the params and the folder of the stages."""

    params: Path = Path("params.yaml")
    preset: str | None = None
    root: Path = Path("dvc")
    pairs: Sequence[str] = field(default=())

    def load(self, overrides: Mapping[str, Any] | None = None) -> "Params":
        """The params of the file, the preset, ``--set`` and ``overrides``, which come last.

        Raises:
            InputError: a key or a value is wrong.
        """
        from fpenet.params import SIGNING_KEY_VARIABLE, load_params

        values = parse_overrides(self.pairs) | dict(overrides or {})
        if key := os.environ.get(SIGNING_KEY_VARIABLE):
            values["trust.signing_key"] = key
        return load_params(self.params, self.preset, values)


_SHARED = {"params": ParamsFile, "preset": Preset, "root": Root, "pairs": Pairs}


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """``["train.epochs=3"]`` as ``{"train.epochs": 3}``; the value is read as YAML."""
    import yaml

    overrides: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise InputError(f"--set {pair}: must be KEY=VALUE, e.g. train.epochs=3")
        overrides[key] = yaml.safe_load(value)
    return overrides


def add_command(
    app: typer.Typer,
    chapter: str | None,
    function: Callable[..., CommandResult],
    name: str | None = None,
    makes: str | None = None,
) -> None:
    """Add ``function`` as a command of ``app``.

    Args:
        app: the command line, or a group of it.
        chapter: the panel of the help page; None in a group.
        function: its parameters are the arguments and options of the command.
        name: of the command; default: the function's.
        makes: the help text; default: the first paragraph of the function's docstring.
    """
    name = name or function.__name__
    makes = makes or inspect.cleandoc(function.__doc__ or "").split("\n\n")[0]
    app.command(name, help=makes, rich_help_panel=chapter)(_with_shared_options(function, name))


def _with_shared_options(function: Callable[..., CommandResult], name: str) -> Callable[..., int]:
    """``function`` with the shared options in its signature; it prints, and returns the status."""
    parameters: list[inspect.Parameter] = []
    takes_params = ""
    takes_json = "as_json" in inspect.signature(function).parameters
    for parameter in inspect.signature(function).parameters.values():
        if parameter.annotation is ParamsOptions:
            takes_params = parameter.name
        elif parameter.name != "as_json":
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
    shared: dict[str, Any] = _SHARED if takes_params else {}
    defaults = ParamsOptions()
    for option, annotation in shared.items():
        default = getattr(defaults, option) or None
        parameters.append(_keyword(option, annotation, default))
    parameters.append(_keyword("as_json", AsJson, False))

    def run(**values: Any) -> int:
        as_json = values["as_json"] if takes_json else values.pop("as_json")
        if takes_params:
            chosen = {option: values.pop(option) for option in shared}
            values[takes_params] = ParamsOptions(**chosen | {"pairs": chosen["pairs"] or ()})
        from fpenet.provenance.encryption import key_in, model_key_context

        with _shown_progress(name), model_key_context(key_in(os.environ)):
            result = function(**values)
        if text := result.as_json() if as_json else result.text:
            print(text)
        for message in result.messages:
            print(f"fpenet {name}: {message}", file=sys.stderr)
        return result.status

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


@contextmanager
def _shown_progress(name: str) -> Iterator[None]:
    """Show the progress records of a stage as one bar, where stderr is a terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]} {task.fields[metrics]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )

    class Bar(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            fields = vars(record)
            metrics = " ".join(f"{key} {value:.4g}" for key, value in fields["metrics"].items())
            counts = {key: fields[key] for key in ("total", "unit")}
            bar.update(task, completed=fields["done"], metrics=metrics, visible=True, **counts)

    logger = logging.getLogger("fpenet.core.progress")
    with Progress(*columns, transient=False, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=None, unit="", metrics="", visible=False)
        handler = Bar()
        logger.addHandler(handler)
        level, propagate = logger.level, logger.propagate
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
