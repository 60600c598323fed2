"""The Great Expectations suites that the kept faces must meet, and their Data Docs.

Input: the faces that passed the checks. Does: evaluates a few blocking expectations on two tidy
tables, one row a face and one row a keypoint, which stay small in columns whatever K is. Output:
Data Docs (HTML), the same bytes for the same faces. "Nothing evaluated" is a failure here, though
not to Great Expectations, which calls an empty suite a success and drops an expectation that it
does not know.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.data.rules import outside_fraction, visible_fraction
from components.data.sample import FaceSample
from components.keypoints import scheme_for
from components.params import ValidateParams

if TYPE_CHECKING:
    import pandas as pd

_RUN_TIME = datetime(2000, 1, 1, tzinfo=timezone.utc)  # the same bytes whenever it runs
_STAMP = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Expectation:
    """One blocking expectation.

    Attributes:
        kind: name of the Great Expectations class.
        settings: its arguments.
        why: what it means for faces; shown in the Data Docs.
    """

    kind: str
    settings: Mapping[str, Any]
    why: str


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What came of one suite: how many expectations were evaluated, and those that failed."""

    evaluated: int
    failed: list[str]


def face_table(samples: Sequence[FaceSample]) -> "pd.DataFrame":
    """One row a face: sizes in image pixels, shares of 1, spans as shares of the face box."""
    import pandas as pd

    points = np.stack([sample.points for sample in samples])
    labelled = ~np.isnan(points[..., 0])
    boxes = np.array([sample.face_box for sample in samples])
    columns: dict[str, Any] = {
        "image": [sample.image for sample in samples],
        "subject": [sample.subject for sample in samples],
        "box_x": boxes[:, 0],
        "box_y": boxes[:, 1],
        "box_side_px": boxes[:, 2:].max(axis=1),
        "visible_fraction": [visible_fraction(sample) for sample in samples],
        "outside_fraction": [outside_fraction(sample) for sample in samples],
        "occlusion_level": pd.array([s.occlusion_level for s in samples], dtype="Float64"),
        "labelled_points": labelled.sum(axis=1),
        "visible_points": [int(sample.visible.sum()) for sample in samples],
    }
    scheme = scheme_for(points.shape[1])
    if scheme.eye_corners is not None:
        left, right = scheme.eye_corners
        columns["eye_span"] = (points[:, right, 0] - points[:, left, 0]) / boxes[:, 2]
        eyes = _mean_labelled(points[:, list(scheme.regions["eyes"]), 1])
        mouth = _mean_labelled(points[:, list(scheme.regions["mouth"]), 1])
        columns["eyes_to_mouth"] = (mouth - eyes) / boxes[:, 3]
    return pd.DataFrame(columns)


def keypoint_table(samples: Sequence[FaceSample]) -> "pd.DataFrame":
    """One row a keypoint: how often it is labelled and where in the face box it lies (0 to 1)."""
    import pandas as pd

    points = np.stack([sample.points for sample in samples])  # (N, K, 2)
    boxes = np.array([sample.face_box for sample in samples])
    placed = (points - boxes[:, None, :2]) / np.maximum(boxes[:, None, 2:], 1.0)
    labelled = ~np.isnan(points[..., 0])
    mean = np.stack([_mean_labelled(placed[..., axis].T) for axis in (0, 1)], axis=1)
    spread = _mean_labelled(np.linalg.norm(placed - mean, axis=2).T)
    return pd.DataFrame(
        {
            "keypoint": np.arange(1, points.shape[1] + 1),
            "labelled_faces": labelled.sum(axis=0),
            "mean_x": mean[:, 0],
            "mean_y": mean[:, 1],
            "spread": spread,
        }
    )


def _mean_labelled(values: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
    """(N,) mean of each row of (N, M) over its labelled values; NaN where there is none."""
    count = (~np.isnan(values)).sum(axis=1)
    return np.where(count > 0, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)


def face_expectations(columns: Sequence[str], params: ValidateParams) -> list[Expectation]:
    """What the table of faces must meet."""
    between = "ExpectColumnValuesToBeBetween"
    expected = [
        Expectation(
            "ExpectTableRowCountToBeBetween", {"min_value": params.min_faces}, "enough usable faces"
        ),
        Expectation("ExpectColumnValuesToNotBeNull", {"column": "image"}, "it has an image"),
        Expectation(
            "ExpectColumnValuesToNotMatchRegex",
            {"column": "image", "regex": r"^/|(?:^|/)\.\.(?:/|$)"},
            "no image lies outside the set",
        ),
        Expectation(between, {"column": "box_side_px", "min_value": 1.0}, "the face has a size"),
        Expectation(
            between,
            {"column": "visible_fraction", "min_value": params.min_visible_fraction},
            "card: a face cut off by the frame is not used",
        ),
        Expectation(
            between,
            {"column": "outside_fraction", "max_value": params.max_points_outside_fraction},
            "most points lie in the image",
        ),
        Expectation(
            between,
            {"column": "occlusion_level", "min_value": 0, "max_value": params.max_occlusion_level},
            "card: only faces with a low occlusion level are trained on",
        ),
        Expectation(between, {"column": "labelled_points", "min_value": 1}, "it has keypoints"),
    ]
    if "eye_span" in columns:
        most = 1.0 - params.max_rejected_fraction
        expected += [
            Expectation(
                between,
                {"column": "eye_span", "min_value": -0.25, "mostly": most},
                "order of the points: 37 lies to the image's left of 46",
            ),
            Expectation(
                between,
                {"column": "eyes_to_mouth", "min_value": 0.0, "mostly": most},
                "order of the points: the eyes lie above the mouth",
            ),
        ]
    return expected


def keypoint_expectations(num_keypoints: int) -> list[Expectation]:
    """What the table of keypoints must meet."""
    between = "ExpectColumnValuesToBeBetween"
    return [
        Expectation("ExpectTableRowCountToEqual", {"value": num_keypoints}, "one row a keypoint"),
        Expectation("ExpectColumnValuesToBeUnique", {"column": "keypoint"}, "no keypoint twice"),
        Expectation(between, {"column": "labelled_faces", "min_value": 1}, "it is labelled at all"),
        Expectation(
            between,
            {"column": "mean_x", "min_value": -0.5, "max_value": 1.5},
            "on average it lies on the face, not at a fixed place of the image",
        ),
        Expectation(
            between,
            {"column": "mean_y", "min_value": -0.5, "max_value": 1.5},
            "on average it lies on the face, not at a fixed place of the image",
        ),
    ]


def evaluate_suites(
    suites: Mapping[str, tuple["pd.DataFrame", Sequence[Expectation]]], docs_dir: Path
) -> dict[str, SuiteResult]:
    """Evaluate every suite and write the Data Docs of all into ``docs_dir``.

    Args:
        suites: name -> its table and what the table must meet.

    Raises:
        ValueError: a table without rows, a suite without expectations, an expectation of an unknown
            kind, or one that was not evaluated.
    """
    import great_expectations as gx
    import great_expectations.expectations as kinds
    from great_expectations.core.run_identifier import RunIdentifier
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
    source = context.data_sources.add_pandas("labels")
    results: dict[str, SuiteResult] = {}
    for name, (table, expected) in suites.items():
        if not (len(table) and len(expected)):
            raise ValueError(
                f"suite {name}: {len(table)} rows and {len(expected)} expectations; nothing would"
                " be validated, which is a failure"
            )
        for expectation in expected:
            if not hasattr(kinds, expectation.kind):
                raise ValueError(f"suite {name}: unknown expectation {expectation.kind!r}")
        made = [
            getattr(kinds, e.kind)(
                **e.settings, severity="critical", notes=e.why, meta={"number": number}
            )
            for number, e in enumerate(expected)
        ]
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=made))
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        validation = context.validation_definitions.add(
            gx.ValidationDefinition(name=name, data=batch, suite=suite)
        )
        run = validation.run(
            batch_parameters={"dataframe": table},
            run_id=RunIdentifier(run_name="validate", run_time=_RUN_TIME),
        )
        if run.statistics["evaluated_expectations"] != len(expected):
            raise ValueError(
                f"suite {name}: {run.statistics['evaluated_expectations']} of {len(expected)}"
                " expectations were evaluated"
            )
        failed = []
        for result in run.results:  # not in the order of the suite
            if not result.success:
                assert result.expectation_config is not None
                failed.append(_say(expected[result.expectation_config.meta["number"]], result))
        results[name] = SuiteResult(len(expected), failed)
    context.build_data_docs()
    _make_repeatable(docs_dir)
    return results


def _say(expectation: Expectation, result: Any) -> str:
    """A failed expectation in one line."""
    settings = ", ".join(f"{key} {value}" for key, value in expectation.settings.items())
    found = result.result
    if "unexpected_count" in found:
        seen = f"{found['unexpected_count']} of {found['element_count']} rows differ"
        examples = found.get("partial_unexpected_list") or []
        seen += f", e.g. {examples[0]}" if examples else ""
    elif "observed_value" in found:
        seen = f"found {found['observed_value']}"
    else:
        seen = "it could not be evaluated"
    return f"{expectation.why} ({settings}): {seen}"


def _make_repeatable(docs_dir: Path) -> None:
    """Take times and random ids out of the pages, so that they depend on the faces only."""
    for page in docs_dir.rglob("*.html"):
        text = _STAMP.sub(_RUN_TIME.strftime("%Y%m%dT%H%M%S.%fZ"), page.read_text("utf-8"))
        numbers: dict[str, str] = {}
        text = _UUID.sub(lambda m: numbers.setdefault(m[0], f"id-{len(numbers)}"), text)  # noqa: B023
        page.write_text(text, "utf-8")
