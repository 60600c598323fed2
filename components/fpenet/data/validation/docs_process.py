"""Evaluate the expectation suites in a separate process.

Great Expectations takes seconds to import and keeps hundreds of megabytes. The process imports it
while the images are decoded, gets the tables as Parquet and the expectations as JSON, and ends with
its result. It also ends when its standard input closes, for example if its parent is killed.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpenet.core.child_process import start_process
from fpenet.core.errors import InputError
from fpenet.data.validation.data_docs import SuiteResult, evaluate_suites
from fpenet.data.validation.expectations import Expectation

if TYPE_CHECKING:
    import pandas as pd

LONGEST_SECONDS = 3600.0
"""Time limit of the suites in seconds; far above that of a large set."""
Suites = Mapping[str, tuple["pd.DataFrame", Sequence[Expectation]]]


class SuiteProcess:
    """A process that evaluates suites once; with ``process`` None, the current process does."""

    def __init__(self, process: "subprocess.Popen[str] | None") -> None:
        self.process = process

    def evaluate(self, suites: Suites, docs_dir: Path) -> dict[str, SuiteResult]:
        """Run ``evaluate_suites`` in the process.

        Raises:
            InputError: as ``evaluate_suites``.
            RuntimeError: the process ended without a result.
            TimeoutError: it has not ended within LONGEST_SECONDS.
        """
        if self.process is None:
            return evaluate_suites(suites, docs_dir)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            expectations: dict[str, list[dict[str, Any]]] = {}
            for number, (suite, (table, expected)) in enumerate(suites.items()):
                table.to_parquet(folder / f"{number}.parquet")
                expectations[suite] = [dataclasses.asdict(item) for item in expected]
            job = {"docs_dir": str(docs_dir.resolve()), "suites": expectations}
            (folder / "job.json").write_text(json.dumps(job), "utf-8")
            try:
                self.process.communicate(name + "\n", timeout=LONGEST_SECONDS)
            except subprocess.TimeoutExpired:
                raise TimeoutError(
                    f"the expectation suites did not end within {LONGEST_SECONDS:g} s"
                ) from None
            result = folder / "result.json"
            if not result.is_file():
                raise RuntimeError(
                    f"the expectation suites ended with status {self.process.returncode} and"
                    " without a result"
                )
            results = json.loads(result.read_text("utf-8"))
        if "error" in results:
            raise InputError(results["error"])
        return {suite: SuiteResult(**values) for suite, values in results.items()}


@contextmanager
def suite_process(separate: bool | None = None) -> Iterator[SuiteProcess]:
    """Start the process, and end it with the context.

    Args:
        separate: use a separate process; None: only if Great Expectations is not imported yet.
    """
    if not ("great_expectations" not in sys.modules if separate is None else separate):
        yield SuiteProcess(None)
        return
    process = start_process("fpenet.data.validation.docs_process:serve")
    try:
        yield SuiteProcess(process)
    finally:
        process.kill()
        process.communicate()


def serve() -> None:
    """Entry point of the process: import, wait for the folder of a job, write its result."""
    import great_expectations  # noqa: F401
    import pandas as pd

    name = sys.stdin.readline().strip()
    if not name:
        return
    folder = Path(name)
    job = json.loads((folder / "job.json").read_text("utf-8"))
    suites = {
        suite: (
            pd.read_parquet(folder / f"{number}.parquet"),
            [Expectation(**values) for values in expected],
        )
        for number, (suite, expected) in enumerate(job["suites"].items())
    }
    content: dict[str, Any]
    try:
        results = evaluate_suites(suites, Path(job["docs_dir"]))
        content = {suite: dataclasses.asdict(result) for suite, result in results.items()}
    except InputError as error:
        content = {"error": str(error)}
    (folder / "result.json").write_text(json.dumps(content), "utf-8")
