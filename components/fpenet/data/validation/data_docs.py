"""Great Expectations: evaluate suites on tables, and write self-contained Data Docs.

Input: tables and their expectations. Does: evaluates each suite once; removes times, random ids,
scripts and links to other hosts from the pages. Output: HTML that needs no network and is equal for
equal faces. A suite without an evaluated expectation is an error here. In Great Expectations an
empty suite is a success, and an unknown expectation is ignored.
"""

import html
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpenet.core.errors import InputError
from fpenet.data.validation.expectations import Expectation

if TYPE_CHECKING:
    import pandas as pd

_RUN_TIME = datetime(2000, 1, 1, tzinfo=timezone.utc)  # a constant, for reproducible bytes
_STAMP = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Content from other hosts, the scripts that need it, and links to the vendor.
_OUTSIDE = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<footer\b.*?</footer>|<nav class=\"navbar\b.*?</nav>\s*"
    r"</div>\s*</nav>|<img\b[^>]*>|url\([^)]*\)",
    re.DOTALL,
)
_STYLE = """<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem } th, td { border: 1px solid #bbb;
padding: .25rem .6rem; text-align: left; vertical-align: top } .collapse { display: block }
.btn-group, .popover, .ge-navigation-sidebar-container { display: none }
.badge { background: #eee; border-radius: 4px; padding: 0 .3em } .alert { margin: .5rem 0 }
.failed { color: #b00020; font-weight: 600 }
</style>
</head>"""


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """Result of one suite.

    Attributes:
        evaluated: number of evaluated expectations.
        failed, warned: blocking and non-blocking expectations that were not met, one line each.
    """

    evaluated: int
    failed: list[str]
    warned: list[str]


def evaluate_suites(
    suites: Mapping[str, tuple["pd.DataFrame", Sequence[Expectation]]], docs_dir: Path
) -> dict[str, SuiteResult]:
    """Evaluate every suite and write the Data Docs of all into ``docs_dir``.

    Args:
        suites: name -> its table and the expectations on the table.

    Raises:
        InputError: a table without rows, a suite without expectations, an expectation of an unknown
            kind, or one that was not evaluated.
    """
    import great_expectations as gx
    import great_expectations.expectations as kinds
    from great_expectations.core.run_identifier import RunIdentifier

    context = _context(docs_dir)
    source = context.data_sources.add_pandas("labels")
    results: dict[str, SuiteResult] = {}
    for name, (table, expected) in suites.items():
        if not (len(table) and len(expected)):
            raise InputError(
                f"suite {name}: {len(table)} rows and {len(expected)} expectations; nothing would"
                " be validated, which is a failure"
            )
        for expectation in expected:
            if not hasattr(kinds, expectation.kind):
                raise InputError(f"suite {name}: unknown expectation {expectation.kind!r}")
        objects = [
            getattr(kinds, e.kind)(
                **e.settings,
                severity="critical" if e.blocking else "warning",
                notes=e.why,
                meta={"number": number},
            )
            for number, e in enumerate(expected)
        ]
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=objects))
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        validation = context.validation_definitions.add(
            gx.ValidationDefinition(name=name, data=batch, suite=suite)
        )
        run = validation.run(
            batch_parameters={"dataframe": table},
            run_id=RunIdentifier(run_name="validate", run_time=_RUN_TIME),
        )
        if run.statistics["evaluated_expectations"] != len(expected):
            raise InputError(
                f"suite {name}: {run.statistics['evaluated_expectations']} of {len(expected)}"
                " expectations were evaluated"
            )
        failed: list[str] = []
        warned: list[str] = []
        for result in run.results:  # not in the order of the suite
            if not result.success:
                assert result.expectation_config is not None
                unmet = expected[result.expectation_config.meta["number"]]
                (failed if unmet.blocking else warned).append(_described(unmet, result))
        results[name] = SuiteResult(len(expected), sorted(failed), sorted(warned))
    context.build_data_docs()
    make_self_contained(docs_dir, results)
    return results


def _context(docs_dir: Path) -> Any:
    """An in-memory context with one site, below ``docs_dir``."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )
    store = {
        "class_name": "TupleFilesystemStoreBackend",
        "base_directory": str(docs_dir.resolve()),
    }
    index = {"class_name": "DefaultSiteIndexBuilder"}
    context.add_data_docs_site(
        "labels",
        {"class_name": "SiteBuilder", "store_backend": store, "site_index_builder": index},
    )
    return context


def _described(expectation: Expectation, result: Any) -> str:
    """One line of text for an expectation that was not met."""
    settings = ", ".join(f"{key} {value}" for key, value in expectation.settings.items())
    details = result.result
    if "unexpected_count" in details:
        observed = f"{details['unexpected_count']} of {details['element_count']} rows differ"
        examples = details.get("partial_unexpected_list") or []
        observed += f", e.g. {examples[0]}" if examples else ""
    elif "observed_value" in details:
        observed = f"the value is {details['observed_value']}"
    else:
        observed = "it could not be evaluated"
    return f"{expectation.why} ({settings}): {observed}"


def make_self_contained(docs_dir: Path, results: Mapping[str, SuiteResult]) -> None:
    """Remove times, ids and external links from the pages, and write an index page."""
    shutil.rmtree(docs_dir / "static", ignore_errors=True)
    pages = sorted(page for page in docs_dir.rglob("*.html") if page.name != "index.html")
    for page in pages:
        text = _STAMP.sub(_RUN_TIME.strftime("%Y%m%dT%H%M%S.%fZ"), page.read_text("utf-8"))
        numbers: dict[str, str] = {}
        text = _UUID.sub(lambda m: numbers.setdefault(m[0], f"id-{len(numbers)}"), text)  # noqa: B023
        page.write_text(_OUTSIDE.sub("", text).replace("</head>", _STYLE, 1), "utf-8")
    rows = []
    for name, result in results.items():
        links = " ".join(
            f'<a href="{page.relative_to(docs_dir).as_posix()}">{kind}</a>'
            for page in pages
            for kind in ("validations", "expectations")
            if page.relative_to(docs_dir).parts[0] == kind
            and name in (page.stem, *page.relative_to(docs_dir).parts)
        )
        unmet = "".join(
            f'<br><span class="failed">{html.escape(line)}</span>' for line in result.failed
        ) + "".join(f"<br>warning: {html.escape(line)}" for line in result.warned)
        rows.append(
            f"<tr><td>{html.escape(name)}</td><td>{result.evaluated} evaluated{unmet}</td>"
            f"<td>{links}</td></tr>"
        )
    title = "<title>Data Docs</title>"
    (docs_dir / "index.html").write_text(
        f'<!DOCTYPE html>\n<html><head><meta charset="utf-8">{title}\n{_STYLE}\n<body>'
        f"<h1>Data Docs</h1><table>{''.join(rows)}</table></body></html>\n",
        "utf-8",
    )
