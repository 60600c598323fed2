"""Tables of faces: which columns mean what, in CSV and in Parquet, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fpenet.data.readers import find_format, read_labels
from fpenet.data.readers.general.table import read_table_set
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace
from fpenet.params import Params

HEAD = "filename,subject,occlusion_level,box_x,box_y,box_width,box_height,light,yaw,"
KEYPOINTS = "x1,y1,occluded1,x2,y2,occluded2"


def write(folder: Path, text: str, name: str = "faces.csv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    Image.new("L", (64, 48)).save(folder / "a.png")
    return folder


def test_every_column_has_its_meaning(tmp_path: Path, params_with: Callable[..., Params]) -> None:
    rows = "a.png,s1,2,1,2,30,40,05,-15,3.5,4,0,5,6,1\na.png,s2,,,,,,07,3.25,7,8,,,,\n"
    folder = write(tmp_path / "set", f"{HEAD}{KEYPOINTS}\n{rows}")
    assert find_format(LabelSource(folder)) == "table"
    labelled = read_labels(folder, params_with().data)
    first, second = labelled.samples
    assert first.points.tolist() == [[3.5, 4.0], [5.0, 6.0]]
    assert first.visible.tolist() == [True, False]
    assert (first.face_box, first.occlusion_level, first.subject) == ((1, 2, 30, 40), 2, "s1")
    assert first.attributes == {"light": "05", "yaw": -15.0}
    assert np.isnan(second.points[1]).all()
    assert (second.occlusion_level, second.subject) == (None, "s2")
    assert second.attributes == {"light": "07", "yaw": 3.25}


def test_columns_that_start_at_0_are_keypoint_1(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", "filename,x_0,y_0,x_1,y_1\na.png,1,2,3,4\n")
    (face,) = read_table_set(LabelSource(folder))
    assert isinstance(face, LabelledFace)
    assert face.points.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_parquet_keeps_its_types(tmp_path: Path) -> None:
    write(tmp_path / "set", "")
    (tmp_path / "set/faces.csv").unlink()
    columns = {
        "filename": ["a.png", "a.png"],
        "x1": [1.5, None],
        "y1": [2.5, float("nan")],
        "x2": [3.0, 4.0],
        "y2": [5.0, 6.0],
        "occluded2": [True, False],
        "camera": ["12", "13"],
        "age": [31, None],
    }
    pq.write_table(pa.table(columns), tmp_path / "set/faces.parquet")
    first, second = read_table_set(LabelSource(tmp_path / "set"))
    assert isinstance(first, LabelledFace)
    assert isinstance(second, LabelledFace)
    assert first.points.tolist() == [[1.5, 2.5], [3.0, 5.0]]
    assert first.visible.tolist() == [True, False]
    assert first.attributes == {"camera": "12", "age": 31.0}
    assert np.isnan(second.points[0]).all()
    assert second.attributes == {"camera": "13"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        pytest.param("a.png,1,,0", "one of x1 and y1 is missing", id="half"),
        pytest.param("a.png,1,nan,0", "y1 is nan; it must be finite", id="nan"),
        pytest.param("a.png,1,up,0", "y1 is 'up'; it must be a number", id="text"),
        pytest.param("a.png,1,2,maybe", "occluded1 is 'maybe'; it must be 0 or 1", id="flag"),
        pytest.param("a.png,,,", "a row without a point", id="nothing"),
        pytest.param(
            "/etc/b.png,1,2,0",
            "no such image; looked for /etc/b.png; a.png is there",
            id="absolute",
        ),
        pytest.param(",1,2,0", "must be a path", id="no name"),
    ],
)
def test_a_broken_row_is_named_and_the_others_are_read(tmp_path: Path, row: str, said: str) -> None:
    folder = write(tmp_path / "set", f"filename,x1,y1,occluded1\n{row}\na.png,1,2,True\n")
    first, second = read_table_set(LabelSource(folder))
    assert isinstance(first, UnreadFace)
    assert isinstance(second, LabelledFace)
    assert said in first.refusal.detail
    assert first.where == "faces.csv, row 1"
    assert second.visible.tolist() == [False]


@pytest.mark.parametrize(
    ("head", "said"),
    [
        pytest.param("photo,x1,y1", "has no column filename", id="no name"),
        pytest.param("filename,x1,y1,x1", "two columns are named 'x1'", id="twice"),
        pytest.param("filename,x1,y1,x2", "column x2 without x2 and y2", id="half"),
        pytest.param("filename,x1,y1,box_x", "has box_x; a box is box_x, box_y", id="box"),
        pytest.param("filename,x1,y1,a/b", "column 'a/b'; a name is letters", id="attribute"),
        pytest.param("filename,x9999,y9999", "at most 1000 of them", id="huge"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_clear_line(
    tmp_path: Path, head: str, said: str
) -> None:
    folder = write(tmp_path / "set", head + "\n")
    with pytest.raises(ValueError, match=rf"faces\.csv: .*{said}"):
        list(read_table_set(LabelSource(folder)))


def test_two_tables_in_a_folder_are_not_guessed_between(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", "filename,x1,y1\na.png,1,2\n")
    write(folder, "filename,x1,y1\na.png,1,2\n", "more.csv")
    with pytest.raises(ValueError, match=r"has several tables, faces\.csv, more\.csv; name one"):
        list(read_table_set(LabelSource(folder)))
    assert len(list(read_table_set(LabelSource(folder / "more.csv")))) == 1
    assert find_format(LabelSource(folder / "more.csv")) == "table"


def test_a_csv_about_images_is_joined_to_a_table(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    folder = write(tmp_path / "set", "filename,x1,y1\na.png,1,2\n")
    write(folder, "filename,session\na.png,04\n", "about.csv")
    (sample,) = read_labels(folder, params_with().data).samples
    assert sample.attributes == {"session": "04"}
