from pathlib import Path

import pytest

from fpenet.data.readers.json_records import read_label_json, read_records


def test_records_come_one_at_a_time_with_their_row(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(' [ {"a": 1} ,\n {"a": 2}]')
    assert [(r.row, r.value, r.problem) for r in read_records(path)] == [
        (1, {"a": 1}, None),
        (2, {"a": 2}, None),
    ]


def test_an_empty_list_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text("[]")
    assert list(read_records(path)) == []


def test_a_label_file_that_is_not_a_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"filename": "a.png"}')
    with pytest.raises(ValueError, match=r"labels\.json: starts with .* a label file is a JSON li"):
        list(read_records(path))


def test_a_file_that_ends_in_a_record_names_the_record(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('[{"a": 1}, {"a": ')
    with pytest.raises(ValueError, match=r"record 2, line 1 column 18: Expecting value"):
        list(read_records(path))


def test_a_file_that_ends_between_records_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('[{"a": 1}')
    with pytest.raises(ValueError, match="ends within the list, after record 1"):
        list(read_records(path))


def test_text_after_a_single_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_text('{"name": "a"} {')
    with pytest.raises(ValueError, match="text after the end of the JSON value, at character 13"):
        read_label_json(path)
