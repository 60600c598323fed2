"""Cases 20, 21: tables with other columns, with none, and of OpenFace."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fpenet.core.errors import InputError
from fpenet.data.readers import read_labels
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.params import Params

Read = Callable[..., LabelledSet]


@pytest.fixture
def read(tmp_path: Path, params_with: Callable[..., Params]) -> Read:
    def run(text: str, columns: dict[str, str] | None = None, named: bool = True) -> LabelledSet:
        Image.new("L", (64, 48)).save(tmp_path / "a.png")
        (tmp_path / "faces.csv").write_text(text)
        params = params_with({"data.columns": columns or {}})
        return read_labels(tmp_path / "faces.csv" if named else tmp_path, params.data)

    return run


@pytest.mark.parametrize("named", [True, False])
def test_unknown_columns_are_named_with_what_they_must_be(read: Read, named: bool) -> None:
    with pytest.raises(InputError) as refused:
        read(",0,1,2,3,4,5,6\na.png,1,2,3,4,5,6,7\n", named=named)
    assert "faces.csv: its columns are '', '0', '1', '2', '3', '4', ... (8)" in str(refused.value)
    assert "they must be filename, x1, y1, x2, y2, ..." in str(refused.value)
    assert "points: '#2-#137'" in str(refused.value)


@pytest.mark.parametrize("head", [",0,1,2,3\n", ""])
def test_columns_by_number_need_no_names(read: Read, head: str) -> None:
    columns = {"filename": "#1", "points": "#2-#5"}
    (sample,) = read(f"{head}a.png,1,2,3,4\n", columns).samples
    assert sample.points.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_named_pairs_are_in_the_order_of_the_columns(read: Read) -> None:
    text = "image_id,lefteye_x,lefteye_y,righteye_x,righteye_y,nose_x,nose_y\na.png,1,2,3,4,5,6\n"
    labelled = read(text)
    (sample,) = labelled.samples
    assert sample.points.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert labelled.origins.keypoint_names == ("lefteye", "righteye", "nose")
    assert labelled.origins.scheme.endswith("order of the names: the table's columns")


def test_named_pairs_are_in_the_order_of_the_scheme_file(tmp_path: Path, read: Read) -> None:
    names = "".join(f"  - {{name: {name}}}\n" for name in ("nose", "righteye", "lefteye"))
    (tmp_path / "scheme.yaml").write_text(f"name: three\nkeypoints:\n{names}")
    text = "filename,lefteye_x,lefteye_y,righteye_x,righteye_y,nose_x,nose_y\na.png,1,2,3,4,5,6\n"
    (sample,) = read(text).samples
    assert sample.points.tolist() == [[5.0, 6.0], [3.0, 4.0], [1.0, 2.0]]


OPENFACE = "frame, face_id, timestamp, confidence, success, x_0, x_1, y_0, y_1, X_0, X_1, pose_Tx\n"


def test_openface_has_no_image_names(read: Read) -> None:
    with pytest.raises(InputError, match=r"no column filename; frame is a number, no image; its"):
        read(f"{OPENFACE}1, 0, 0.04, 0.98, 1, 10, 20, 30, 40, -31.5, -30, 5\n")


def test_openface_millimetres_are_no_keypoints(read: Read) -> None:
    head = OPENFACE.replace("frame", "filename")
    (sample,) = read(f"{head}a.png, 0, 0.04, 0.98, 1, 10, 20, 30, 40, -31.5, -30, 5\n").samples
    assert sample.points.tolist() == [[10.0, 30.0], [20.0, 40.0]]
    assert sample.attributes == {"confidence": 0.98, "success": 1.0}


def test_what_cannot_be_read_is_named_by_what_it_is(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    (tmp_path / "faces.xlsx").write_bytes(b"PK\x03\x04")
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(
        InputError,
        match=r"faces\.xlsx is an Excel workbook \(save the sheet as CSV\), which is not",
    ):
        read_labels(tmp_path, params_with().data)
