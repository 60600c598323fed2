"""Result files: the figures that a benchmark printed, and what they were measured with.

``benchmarks/results/NAME.md`` holds what the script ``NAME.py`` of this folder or of ``studies/``
measured. Each measurement lies between two HTML comments and begins with a table of its command,
commit, date, machine and versions. The text around the measurements is written by hand and kept.
``--save`` replaces the measurement of the same command, or adds one behind the last.
"""

import argparse
import contextlib
import inspect
import io
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("benchmarks/results")
SOURCES = ("components", "benchmarks/*.py", "benchmarks/studies", "params.yaml", "presets")
"""What can change a figure, as git pathspecs."""
_BEGIN, _END = "<!-- measurement -->", "<!-- end of measurement -->"
_BLOCK = re.compile(f"{_BEGIN}\n(.*?)\n{_END}", re.DOTALL)
_FIELDS = ("command", "commit", "date", "machine", "versions")
_CHANGED = " with local changes"
_VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS")
"""Environment variables that are part of a command where they are set."""
_TOOLS = {
    "numpy": "numpy",
    "torch": "torch",
    "onnxruntime": "onnxruntime",
    "pyarrow": "pyarrow",
    "PIL": "pillow",
    "scipy": "scipy",
    "matplotlib": "matplotlib",
    "boto3": "boto3",
    "dlib": "dlib-bin",
}
"""Module -> distribution, whose version is recorded where the benchmark imported the module."""


class NothingToMeasure(Exception):
    """This machine or this call has nothing that the benchmark could measure."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a measurement was made with.

    Attributes:
        command: as typed in the project's folder.
        commit: of the code that ran, abbreviated; ``changed``: with changes not in that commit.
        date: year-month-day.
        machine: processor, cores, load before the run, GPU.
        versions: of Python and of what the benchmark imported.
    """

    command: str
    commit: str
    date: str
    machine: str
    versions: str
    changed: bool = False


def read_headers(path: Path) -> list[Header]:
    """The header of each measurement in a result file.

    Raises:
        ValueError: there is no measurement, or a header lacks a field.
    """
    headers = [_parse(path, block) for block in _BLOCK.findall(path.read_text(encoding="utf-8"))]
    if not headers:
        raise ValueError(
            f"{path}: no measurement; run its benchmark with --save, or put {_BEGIN}, a table of"
            f" {', '.join(_FIELDS)}, the figures and {_END} there"
        )
    return headers


def _parse(path: Path, block: str) -> Header:
    rows = re.findall(r"^\| (\w+) \| (.+) \|$", block.partition("\n\n")[0], re.MULTILINE)
    cells = {name: value.strip("`") for name, value in rows}
    missing = [name for name in _FIELDS if name not in cells]
    if missing:
        raise ValueError(f"{path}: a measurement without {', '.join(missing)} in its header")
    commit = cells["commit"].removesuffix(_CHANGED)
    fields = {name: cells[name] for name in _FIELDS} | {"commit": commit}
    return Header(**fields, changed=commit != cells["commit"])


def render(header: Header, figures: str) -> str:
    """A measurement as Markdown; figures without a Markdown table are shown as they are."""
    cells = {name: str(getattr(header, name)) for name in _FIELDS}
    cells["command"] = f"`{header.command}`"
    cells["commit"] += _CHANGED if header.changed else ""
    rows = [f"| {name} | {value} |" for name, value in cells.items()]
    body = figures.strip("\n")
    if not re.search(r"^\|", body, re.MULTILINE):
        body = f"```\n{body}\n```"
    return "\n".join([_BEGIN, rows[0], "|---|---|", *rows[1:], "", body, "", _END])


def save(path: Path, title: str, header: Header, figures: str) -> None:
    """Put a measurement into the result file ``path``, which is made where it is not there."""
    text = path.read_text(encoding="utf-8") if path.exists() else f"# {title}\n"
    blocks = list(_BLOCK.finditer(text))
    same = [one for one in blocks if _parse(path, one[1]).command == header.command]
    new = render(header, figures)
    if same:
        text = text[: same[0].start()] + new + text[same[0].end() :]
    elif blocks:
        end = blocks[-1].end()
        text = f"{text[:end]}\n\n{new}{text[end:]}"
    else:
        text = f"{text.rstrip()}\n\n{new}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def run_benchmark(
    parser: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], None],
    arguments: Sequence[str] | None = None,
) -> None:
    """Parse the options, with ``--save`` added, and run ``measure``, which prints its figures.

    ``--save`` also writes what it printed. Nothing is written where it raises.
    """
    source = Path(inspect.getfile(measure)).resolve()
    path = RESULTS / f"{source.stem}.md"
    parser.add_argument("--save", action="store_true", help=f"write the figures to {path} as well")
    options = parser.parse_args(arguments)
    try:
        if not options.save:
            measure(options)
            return
        (commit, changed), machine = _commit(), _machine()
        with contextlib.redirect_stdout(_Copy(sys.stdout)) as printed:
            measure(options)
    except NothingToMeasure as reason:
        print(f"nothing to measure: {reason}")
        return
    words = [w for w in (sys.argv[1:] if arguments is None else arguments) if w != "--save"]
    module = ".".join(source.relative_to(ROOT).with_suffix("").parts)
    variables = [f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ]
    command = shlex.join([*variables, "python", "-m", module, *words])
    header = Header(command, commit, date.today().isoformat(), machine, _versions(), changed)
    title = (sys.modules[measure.__module__].__doc__ or source.stem).partition("\n")[0]
    save(ROOT / path, title.rstrip("."), header, printed.getvalue())
    print(f"written to {path}")


class _Copy(io.StringIO):
    """Keeps what is written, and writes it to ``out`` at once."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self.out = out

    def write(self, text: str) -> int:
        self.out.write(text)
        self.out.flush()
        return super().write(text)


def _commit() -> tuple[str, bool]:
    """The commit that is checked out, and whether a source differs from it.

    Raises:
        ValueError: the project is not in a git repository.
    """
    said = []
    for words in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--", *SOURCES]):
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"{ROOT}: --save needs the commit: {done.stderr.strip()}")
        said.append(done.stdout.strip())
    return said[0], bool(said[1])


def _machine() -> str:
    """Processor, cores that this process may use, the load before the run, and the GPU."""
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    name = found[1] if found else platform.machine()
    words = f"{name}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        words += f"; {torch.cuda.get_device_name()}"
    return words


def _versions() -> str:
    """Of Python and of the libraries that are imported."""
    tools = [f"{tool} {version(tool)}" for name, tool in _TOOLS.items() if name in sys.modules]
    return ", ".join([f"Python {platform.python_version()}", *tools])
