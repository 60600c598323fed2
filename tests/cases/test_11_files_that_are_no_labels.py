"""Cases 11, 11b, 22, 29a, 29b: hidden and stray files, and the tables that Excel writes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fpenet.data.describe import describe_set
from fpenet.data.readers import read_labels
from fpenet.params import Params
from tests.conftest import TinyLabels

PTS = "version: 1\nn_points: 2\n{\n1 1\n9 21\n}\n"
HIDDEN = b"\x00\x05\x16\x07\x00Mac OS X"


def test_files_of_the_finder_are_ignored(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    for name in ("a.pts", "__MACOSX/a.pts"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(PTS)
    Image.new("L", (32, 32)).save(tmp_path / "a.png")
    for name in ("._a.pts", "._a.png", "._faces.json", ".DS_Store", "__MACOSX/._a.pts"):
        (tmp_path / name).write_bytes(HIDDEN)
    labelled = read_labels(tmp_path, params_with().data)
    assert [sample.image for sample in labelled.samples] == ["a.png"]
    assert labelled.rejected == []


def test_stray_files_are_named_and_do_not_stop_the_reading(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    folder = tiny_labels.write()
    (folder / "labels.json").rename(folder / "faces.json")
    (folder / "classes.json").write_text(json.dumps({"0": "face"}))
    (folder / "broken.json").write_bytes("[é".encode("latin-1"))
    (folder / "names.json").write_text('["face", "eye"]')
    (folder / "Übersicht.csv").write_bytes("Größe;Zahl\n1;2\n".encode("cp1252"))
    params = params_with()
    labelled = read_labels(folder, params.data)
    assert len(labelled.samples) == 20
    origins = describe_set(labelled, params.validate_)["origins"]
    assert origins["label_files"] == ["faces.json"]
    assert origins["not_label_files"] == {
        "Übersicht.csv": "has no column filename",
        "broken.json": "not UTF-8 at byte 1",
        "classes.json": "not a Sloth or TAO label file",
        "names.json": "not a Sloth or TAO label file",
    }


def test_a_broken_file_that_is_named_is_an_error(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    folder = tiny_labels.write()
    (folder / "broken.json").write_bytes("[é".encode("latin-1"))
    with pytest.raises(ValueError, match=r"broken\.json: not UTF-8 at byte 1"):
        read_labels(folder / "broken.json", params_with().data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_a_table_of_excel_is_read(
    tmp_path: Path, params_with: Callable[..., Params], separator: str, encoding: str
) -> None:
    mark = "." if separator == "," else ","
    head = ["filename", "x1", "y1", "x2", "y2", "weight"]
    row = ["ä.png", f"1{mark}5", "2", f"30{mark}25", "40", f"7{mark}5"]
    text = f"{separator.join(head)}\r\n{separator.join(row)}\r\n"
    (tmp_path / "faces.csv").write_bytes(text.encode(encoding))
    Image.new("L", (64, 48)).save(tmp_path / "ä.png")
    (sample,) = read_labels(tmp_path, params_with().data).samples
    assert sample.points.tolist() == [[1.5, 2.0], [30.25, 40.0]]
    assert (sample.image, sample.attributes) == ("ä.png", {"weight": 7.5})


def test_columns_of_a_table_may_have_other_names(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    (tmp_path / "faces.csv").write_text("file,lm_1_x,lm_1_y,lm_2_x,lm_2_y\na.png,1,2,3,4\n")
    Image.new("L", (64, 48)).save(tmp_path / "a.png")
    columns = {"filename": "file", "x{k}": "lm_{k}_x", "y{k}": "lm_{k}_y"}
    (sample,) = read_labels(tmp_path, params_with({"data.columns": columns}).data).samples
    assert sample.points.tolist() == [[1.0, 2.0], [3.0, 4.0]]
