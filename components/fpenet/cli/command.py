"""The shared parts of all commands: options, output as text or JSON, and the progress bar.

A command is a plain function that returns a ``CommandResult``. ``add_command`` adds the option
``--json`` and, for a parameter of type ``ParamsOptions``, the options for the params. This module
imports Typer only, so that ``fpenet --help`` loads neither numpy nor pydantic.
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
    typer.Option(
        metavar="FOLDER", help="The parent folder of the stage folders.", rich_help_panel=_PANEL
    ),
]
Pairs = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A new value for one key, e.g. train.epochs=3. Can be repeated.",
        rich_help_panel=_PANEL,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The output of a command, and its exit status.

    Attributes:
        value: JSON values, printed with ``--json``.
        text: printed without ``--json``, if not empty.
        status: the exit status.
        messages: printed on stderr, one per line, after ``fpenet COMMAND:``.
        json_lines: ``value`` is a list, printed with one entry per line.
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
    """The options for the params and for the parent folder of the stage folders."""

    params: Path = Path("params.yaml")
    preset: str | None = None
    root: Path = Path("dvc")
    pairs: Sequence[str] = field(default=())

    def load(self, overrides: Mapping[str, Any] | None = None) -> "Params":
        """The params of the file, then of the preset, ``--set`` and ``overrides``.

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
    """``["train.epochs=3"]`` as ``{"train.epochs": 3}``; a value is parsed as YAML.

    Raises:
        InputError: a pair is not ``KEY=VALUE``.
    """
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
        app: the command line, or a group of commands.
        chapter: the panel of the help page; None in a group.
        function: its parameters are the arguments and options of the command.
        name: name of the command; default: the name of the function.
        makes: the help text; default: the first paragraph of the function's docstring.
    """
    name = name or function.__name__
    makes = makes or inspect.cleandoc(function.__doc__ or "").split("\n\n")[0]
    app.command(name, help=makes, rich_help_panel=chapter)(_with_shared_options(function, name))


def _with_shared_options(function: Callable[..., CommandResult], name: str) -> Callable[..., int]:
    """Wrap ``function``: add the shared options, print the result, and return the exit status."""
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
        from fpenet.core.yaml_tree import with_home

        values = with_home(values)  # the shell does not expand --out=~/faces
        as_json = values["as_json"] if takes_json else values.pop("as_json")
        if takes_params:
            options = {option: values.pop(option) for option in shared}
            values[takes_params] = ParamsOptions(**options | {"pairs": options["pairs"] or ()})
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
    """Show the progress records of a stage as one bar if stderr is a terminal."""
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
