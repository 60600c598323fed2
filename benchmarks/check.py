"""Which figures in the result files are older than the code that they measured.

A benchmark names in ``MEASURES`` the modules that it measures; what these import, directly or not,
is measured with them. A figure is older where one of these files was committed after its commit.
The exit status is 1 where a result file has no header, or one that names no benchmark.

    python -m benchmarks.check
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.result_file import RESULTS, ROOT, Header, read_headers
from fpenet.core.python_source import source_of
from fpenet.provenance.digest import imported_files

_SHOWN = 3


def measured_modules(script: Path) -> list[str]:
    """``MEASURES`` of a benchmark, read without running it.

    Raises:
        ValueError: it has none.
    """
    for node in ast.parse(script.read_bytes()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MEASURES":
            return list(ast.literal_eval(node.value))
    raise ValueError(f"{script}: no MEASURES, a tuple of the modules that it measures")


def measured_files(script: Path) -> list[Path]:
    """The source files that a benchmark measures.

    Raises:
        ValueError: a module of ``MEASURES`` is not there.
    """
    found: set[Path] = set()
    pending = []
    for module in measured_modules(script):
        try:
            pending.append(source_of(module))
        except ModuleNotFoundError:
            raise ValueError(f"{script}: MEASURES names {module}, which is not there") from None
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending += imported_files(path)
    return sorted(found)


def script_of(path: Path, header: Header) -> Path:
    """The benchmark that a header's command runs.

    Raises:
        ValueError: it runs none of this project.
    """
    found = re.search(r"-m (benchmarks\.[\w.]+)", header.command)
    script = ROOT.joinpath(*found[1].split(".")).with_suffix(".py") if found else None
    if script is None or not script.is_file():
        raise ValueError(f"{path}: no benchmark of this project runs by `{header.command}`")
    return script


def changes_since(header: Header, files: list[Path]) -> str:
    """What changed in ``files`` after the commit of ``header``; empty where nothing did."""
    paths = [file.relative_to(ROOT).as_posix() for file in files]
    since = f"{header.commit}..HEAD"
    try:
        last = _git("log", "-1", "--format=%h of %cs", since, "--", *paths)
    except ValueError:
        return f"{header.commit} is not in this repository's history"
    if not last:
        return ""
    names = _git("log", "--format=", "--name-only", since, "--", *paths).split()
    changed = [name for name in paths if name in names]
    more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    shown = ", ".join(changed[:_SHOWN])
    return f"{len(changed)} of {len(paths)} files changed, last in {last}: {shown}{more}"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout.strip()


def main() -> int:
    """Print each older figure and each header that is missing; returns the exit status."""
    files = sorted((ROOT / RESULTS).glob("*.md"))
    count = older = 0
    broken = []
    for path in files:
        name = path.relative_to(ROOT)
        try:
            for header in read_headers(path):
                changes = changes_since(header, measured_files(script_of(name, header)))
                count += 1
                if changes:
                    older += 1
                    print(f"{name}: `{header.command}`")
                    print(f"  measured at {header.commit} of {header.date}; {changes}")
        except ValueError as error:
            broken.append(str(error).replace(f"{ROOT}/", ""))
    print(f"{count} measurements in {len(files)} files: {older} older than the code they measured")
    for reason in broken:
        print(reason, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
