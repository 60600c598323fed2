from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fpenet.data.sample import FaceSample, table_of, write_table
from fpenet.data.split import SHARED, split_subjects
from fpenet.data.validation.validate import validate_labels
from fpenet.params import Params
from tests.conftest import TinyLabels

Row = tuple[str, str | None, dict[str, str | float]]
Split = Callable[..., dict[str, Any]]


@pytest.fixture
def split(tmp_path: Path, params_with: Callable[..., Params]) -> Split:
    def run(faces: list[Row], by: str = "auto", shared: str = "") -> dict[str, Any]:
        points, visible = np.array([[1.0, 2.0]]), np.array([True])
        samples = [
            FaceSample(name, (9, 9), (0.0, 0.0, 9.0, 9.0), points, visible, 0, subject, about)
            for name, subject, about in faces
        ]
        write_table(table_of(samples), tmp_path / "samples.parquet", name="tiny")
        (tmp_path / SHARED).write_text("image,other,bits,exact,mirrored\n" + shared)
        params = params_with({"split.by": by})
        return split_subjects(validate_dir=tmp_path, split=params.split, out_dir=tmp_path)

    return run


def test_f06_a_subject_in_two_parts_is_a_hard_stop_that_names_it(
    split: Split, tmp_path: Path
) -> None:
    faces = [
        ("a.png", "ann", {"split": "train"}),
        ("b.png", "ann", {"split": "val"}),
        ("c.png", "bob", {"split": "train"}),
    ]
    with pytest.raises(
        ValueError, match=r"1 subjects are in more than one part: ann \(train and val"
    ):
        split(faces)
    assert not (tmp_path / "parts.parquet").exists()


@pytest.mark.parametrize("by", ["table", "hash"])
def test_f06_a_kpi_subject_in_training_is_a_hard_stop_that_names_it(split: Split, by: str) -> None:
    tree = {"recording": "01", "split": "train"}
    faces = [("a.png", "079", tree), ("b.png", "342", tree)]
    faces += [(f"{n}.png", f"{n:03d}", {**tree, "split": "val"}) for n in range(1, 9)]
    with pytest.raises(ValueError, match="KPI subjects must be judged only, but are not: 079, 342"):
        split(faces, by)


def test_f06_a_face_of_nobody_is_refused(split: Split) -> None:
    faces: list[Row] = [("a.png", "ann", {}), ("b.png", None, {})]
    with pytest.raises(
        ValueError, match=r"1 faces have no subject, the first is b\.png; add a CSV"
    ):
        split(faces)


@pytest.mark.parametrize(
    ("row", "part"), [("a.png,b.png,0,1,0\n", "val"), ("a.png,b.png,7,0,1\n", "kpi")]
)
def test_f06_one_picture_in_two_parts_is_a_hard_stop_that_names_both(
    split: Split, tmp_path: Path, row: str, part: str
) -> None:
    faces = [("a.png", "ann", {"split": "train"}), ("b.png", "bob", {"split": part})]
    with pytest.raises(
        ValueError,
        match=rf"1 images .*: a\.png \(train\) and b\.png \({part}\) differ in [07] of",
    ):
        split(faces, "table", row)
    assert not (tmp_path / "parts.parquet").exists()


def test_f06_a_copy_of_a_picture_under_another_name_is_found_and_stops_the_split(
    tiny_labels: TinyLabels, params_with: Callable[..., Params], tmp_path: Path
) -> None:
    levels = np.random.default_rng(1).integers(0, 256, (8, 8)).astype(np.uint8)
    smooth = Image.fromarray(levels).resize((64, 64), Image.Resampling.BICUBIC)
    for name, quality in (("images/s020_0.jpg", 95), ("images/s021_0.jpg", 50)):
        tiny_labels.add(name, picture=False)
        smooth.save(tiny_labels.folder / name, quality=quality)
    judged = ("images/s000_0.png", "images/s000_1.png", "images/s020_0.jpg")
    names = [record["filename"] for record in tiny_labels.records]
    rows = [f"{name},{'val' if name in judged else 'train'}\n" for name in names]
    (tiny_labels.folder / "split.csv").write_text("filename,split\n" + "".join(rows))
    params = params_with({"data.labels": str(tiny_labels.write())})
    validate_labels(data=params.data, validate=params.validate_, out_dir=tmp_path)
    with pytest.raises(
        ValueError, match=r"s020_0\.jpg \(val\) and images/s021_0\.jpg \(train\) dif"
    ):
        split_subjects(validate_dir=tmp_path, split=params.split, out_dir=tmp_path)
