import numpy as np
import pytest

from components.data.sample import FaceSample, table_of, write_table
from components.data.split import split_subjects


@pytest.fixture
def split(tmp_path, params_with):
    def run(faces, by="auto"):
        points, visible = np.array([[1.0, 2.0]]), np.array([True])
        samples = [
            FaceSample(name, (9, 9), (0.0, 0.0, 9.0, 9.0), points, visible, 0, subject, about)
            for name, subject, about in faces
        ]
        write_table(table_of(samples), tmp_path / "samples.parquet", name="tiny")
        params = params_with({"split.by": by})
        return split_subjects(validate_dir=tmp_path, split=params.split, out_dir=tmp_path)

    return run


def test_f06_a_subject_in_two_parts_is_a_hard_stop_that_names_it(split, tmp_path):
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
def test_f06_a_kpi_subject_in_training_is_a_hard_stop_that_names_it(split, by):
    tree = {"recording": "01", "split": "train"}
    faces = [("a.png", "079", tree), ("b.png", "342", tree)]
    faces += [(f"{n}.png", f"{n:03d}", {**tree, "split": "val"}) for n in range(1, 9)]
    with pytest.raises(ValueError, match="KPI subjects must be judged only, but are not: 079, 342"):
        split(faces, by)


def test_f06_a_face_of_nobody_is_refused(split):
    faces = [("a.png", "ann", {}), ("b.png", None, {})]
    with pytest.raises(
        ValueError, match=r"1 faces have no subject, the first is b\.png; give them"
    ):
        split(faces)
