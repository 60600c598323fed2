from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpenet.data.sample import FaceSample, read_table, table_of, write_table
from fpenet.data.split import PARTS, SHARED, split_subjects
from fpenet.params import Params

Row = tuple[str, str | None, dict[str, str | float]]
Split = Callable[..., tuple[Mapping[str, Any], dict[str, str], dict[str, str]]]


def validated(
    folder: Path,
    faces: list[Row],
    shared: Sequence[tuple[str, str]] = (),
    blocking: str = "",
) -> Path:
    """A validate folder with one face for each (image, subject, attributes)."""
    folder.mkdir()
    points, visible = np.array([[1.0, 2.0]]), np.array([True])
    samples = [
        FaceSample(image, (9, 9), (0.0, 0.0, 9.0, 9.0), points, visible, 0, subject, attributes)
        for image, subject, attributes in faces
    ]
    write_table(table_of(samples), folder / "samples.parquet", name="tiny", blocking=blocking)
    rows = (f"{one},{other},3,0,0\n" for one, other in shared)
    (folder / SHARED).write_text("image,other,bits,exact,mirrored\n" + "".join(rows))
    return folder


@pytest.fixture
def split(tmp_path: Path, params_with: Callable[..., Params]) -> Split:
    def run(
        faces: list[Row],
        shared: Sequence[tuple[str, str]] = (),
        blocking: str = "",
        **overrides: object,
    ) -> tuple[Mapping[str, Any], dict[str, str], dict[str, str]]:
        out_dir = tmp_path / "split"
        out_dir.mkdir()
        params = params_with({f"split.{key}": value for key, value in overrides.items()})
        summary = split_subjects(
            validate_dir=validated(tmp_path / "validate", faces, shared, blocking),
            split=params.split,
            out_dir=out_dir,
        )
        table, about = read_table(out_dir / "parts.parquet")
        return (
            summary,
            dict(zip(table["image"].to_pylist(), table["part"].to_pylist(), strict=True)),
            about,
        )

    return run


def multi_pie(subjects: Sequence[str]) -> list[Row]:
    return [(f"{s}_{k}.png", s, {"recording": "01"}) for s in subjects for k in range(2)]


def test_kpi_subjects_are_judged_and_the_others_are_hashed(split: Split) -> None:
    others = [f"{number:03d}" for number in range(1, 41)]
    summary, parts, about = split(multi_pie(["079", "342", *others]))
    assert summary["rule"] == about["rule"] == "kpi_subjects"
    assert summary["kpi"] == {"faces": 4, "subjects": 2}
    assert {parts["079_0.png"], parts["079_1.png"], parts["342_0.png"]} == {"kpi"}
    assert summary["train"]["subjects"] + summary["val"]["subjects"] == 40
    assert 1 <= summary["val"]["subjects"] <= 10  # a tenth, by chance


def test_a_person_is_in_one_part_and_stays_there_when_others_join(
    split: Split, tmp_path: Path
) -> None:
    def faces(subjects: Sequence[str]) -> list[Row]:
        return [(f"{s}_{k}.png", s, {}) for s in subjects for k in range(3)]

    few = [f"p{number}" for number in range(40)]
    summary, before, _ = split(faces(few), val_fraction=0.3)
    assert summary["rule"] == "hash"
    for subject in few:
        assert len({before[f"{subject}_{k}.png"] for k in range(3)}) == 1
    for folder in ("split", "validate"):
        (tmp_path / folder).rename(tmp_path / f"old_{folder}")
    _, after, _ = split(faces([*few, *(f"q{number}" for number in range(40))]), val_fraction=0.3)
    assert {image: after[image] for image in before} == before


def test_another_seed_gives_another_split(split: Split, tmp_path: Path) -> None:
    faces: list[Row] = [(f"{number}.png", f"p{number}", {}) for number in range(40)]
    _, first, _ = split(faces, val_fraction=0.5)
    for folder in ("split", "validate"):
        (tmp_path / folder).rename(tmp_path / f"old_{folder}")
    assert split(faces, val_fraction=0.5, seed=36)[1] != first


def test_few_people_still_give_one_to_judge(split: Split) -> None:
    summary, _, _ = split([(f"{n}.png", f"p{n}", {}) for n in range(3)], val_fraction=0.01)
    assert (summary["val"]["subjects"], summary["train"]["subjects"]) == (1, 2)


def test_a_table_beside_the_labels_decides(split: Split) -> None:
    faces = [("a.png", "a", {"split": "val"}), ("b.png", "b", {"split": "train"})]
    summary, parts, _ = split(faces)
    assert summary["rule"] == "table"
    assert parts == {"a.png": "val", "b.png": "train"}


@pytest.mark.parametrize("found", ["test", None])
def test_a_face_that_the_table_does_not_place_is_refused(split: Split, found: str | None) -> None:
    faces = [("a.png", "a", {"split": "train"}), ("b.png", "b", {"split": found} if found else {})]
    with pytest.raises(ValueError, match=rf"b\.png: .* is {found!r}; it must be one of train, val"):
        split(faces)


def test_no_face_to_train_on_or_to_judge_is_refused(split: Split, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no face to train on"):
        split([("a.png", "a", {"split": "val"})])
    for folder in ("split", "validate"):
        (tmp_path / folder).rename(tmp_path / f"old_{folder}")
    with pytest.raises(ValueError, match=r"no face to judge: 2 subjects, split\.val_fraction is 0"):
        split([("a.png", "a", {}), ("b.png", "b", {})], val_fraction=0.0)


def test_kpi_subjects_need_a_kpi_subject(split: Split) -> None:
    with pytest.raises(
        ValueError, match=r"none of split\.kpi_subjects \(342, \.\.\.\) is in the set"
    ):
        split([("a.png", "a", {}), ("b.png", "b", {})], by="kpi_subjects")


def test_a_kpi_number_outside_multi_pie_means_nothing(split: Split) -> None:
    assert split([("a.png", "079", {}), ("b.png", "342", {})])[0]["rule"] == "hash"


def test_what_validate_found_blocking_stops_here(split: Split) -> None:
    faces = [("a.png", "a", {"split": "val"}), ("b.png", "b", {"split": "train"})]
    with pytest.raises(ValueError, match="stage validate has blocking findings: 9 of 20 faces"):
        split(faces, blocking="9 of 20 faces are broken")


def test_one_picture_of_two_people_may_lie_in_one_part(split: Split) -> None:
    faces = [("a.png", "a", {"split": "train"}), ("b.png", "b", {"split": "train"})]
    faces.append(("c.png", "c", {"split": "val"}))
    shared = [("a.png", "b.png"), ("a.png", "dropped.png")]
    assert split(faces, shared)[0]["train"] == {"faces": 2, "subjects": 2}


def test_parts_are_train_val_and_kpi() -> None:
    assert PARTS == ("train", "val", "kpi")
