from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from fpenet.data.checks.faces import labelled_faces
from fpenet.data.readers import read_labels
from fpenet.data.validation.data_docs import evaluate_suites
from fpenet.data.validation.expectations import Expectation, keypoint_table
from fpenet.params import Params
from tests.conftest import TinyLabels

ROWS = Expectation("ExpectTableRowCountToBeBetween", {"min_value": 0}, "any number of rows")


@pytest.fixture
def table(tiny_labels: TinyLabels, params_with: Callable[..., Params]) -> pd.DataFrame:
    return keypoint_table(
        labelled_faces(read_labels(tiny_labels.write(), params_with().data).samples)
    )


def test_f07_a_suite_without_expectations_is_a_failure(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="suite faces: 5 rows and 0 expectations; nothing would be"
    ):
        evaluate_suites({"faces": (table, [])}, tmp_path)


def test_f07_a_table_without_rows_is_a_failure(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="suite faces: 0 rows and 1 expectations; nothing would be"
    ):
        evaluate_suites({"faces": (table.iloc[:0], [ROWS])}, tmp_path)


def test_f07_an_unknown_expectation_is_a_failure(table: pd.DataFrame, tmp_path: Path) -> None:
    unknown = Expectation("ExpectFacesToSmile", {}, "no such thing")
    with pytest.raises(ValueError, match="suite faces: unknown expectation 'ExpectFacesToSmile'"):
        evaluate_suites({"faces": (table, [ROWS, unknown])}, tmp_path)


def test_f07_an_expectation_that_could_not_be_evaluated_is_a_failure(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    no_column = Expectation("ExpectColumnValuesToBeUnique", {"column": "nowhere"}, "no column")
    found = evaluate_suites({"faces": (table, [ROWS, no_column])}, tmp_path)["faces"]
    assert found.evaluated == 2
    assert found.failed == ["no column (column nowhere): it could not be evaluated"]
