"""A tiny data set on disk: layout, labels, and the same bytes from any number of processes."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.data.synthetic import EXPRESSIONS, Identity, render_dataset
from components.data.synthetic.multipie import (
    CAMERAS,
    KPI_SUBJECTS,
    draw_photographs,
    draw_subjects,
)
from components.data.synthetic.population import draw_face, draw_identity

NAME = re.compile(
    r"data/session(?P<ss>0[1-4])/multiview/(?P<subj>\d{3})/(?P<rec>0[1-3])/(?P<cam>\d\d_\d)/"
    r"(?P=subj)_(?P=ss)_(?P=rec)_(?P<ccc>\d{3})_(?P<ii>[01]\d)\.png"
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    counts = render_dataset(folder, seed=3, subjects=1, faces_per_subject=1, workers=1)
    assert {**counts, "occlusion_above_5": 0} == {
        "subjects": 24,
        "kpi_subjects": 23,
        "faces": 24,
        "occlusion_above_5": 0,
    }
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_two_processes_write_the_bytes_of_one(dataset: Path, tmp_path: Path) -> None:
    render_dataset(tmp_path, seed=3, subjects=1, faces_per_subject=1, workers=2)
    assert contents(tmp_path) == contents(dataset)


def test_files_are_named_as_in_multi_pie(dataset: Path) -> None:
    images = [name for name in contents(dataset) if name.endswith(".png")]
    assert len(images) == 24
    for image in images:
        named = NAME.fullmatch(image)
        assert named is not None, image
        assert named["cam"].replace("_", "") == named["ccc"]
        assert named["cam"] in CAMERAS
    subjects = (dataset / "meta" / "subject_list.txt").read_text().split()
    assert sorted({NAME.fullmatch(image)["subj"] for image in images}) == subjects  # type: ignore[index]
    assert {f"{number:03d}" for number in KPI_SUBJECTS} < set(subjects)
    assert json.loads((dataset / "dataset.json").read_text()) == {"name": "synthetic"}


def test_labels_name_every_image_and_all_104_points(dataset: Path) -> None:
    labels = json.loads((dataset / "labels.json").read_text())
    assert {record["filename"] for record in labels} == {
        name for name in contents(dataset) if name.endswith(".png")
    }
    for record in labels:
        box, points = record["annotations"]
        assert (record["class"], box["class"], points["class"]) == (
            "image",
            "FaceBbox",
            "FiducialPoints",
        )
        x, y = (np.array([points[f"P{k}{axis}"] for k in range(1, 105)]) for axis in "xy")
        assert (x > 0).all()
        assert (x < 639).all()
        assert (y > 0).all()
        assert (y < 479).all()
        assert box["face_tight_bboxx"] == x[:68].min()
        assert box["face_tight_bboxheight"] == pytest.approx(np.ptp(y[:68]), abs=0.002)
        hidden = {key: value for key, value in points.items() if key.endswith("occluded")}
        assert set(hidden.values()) <= {True}
        assert box["Occlusion"] == sum(f"P{k}occluded" in hidden for k in range(1, 69)) * 10 // 68
        with Image.open(dataset / record["filename"]) as image:
            assert (image.size, image.mode) == ((640, 480), "L")


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        render_dataset(tmp_path, seed=0, subjects=1, faces_per_subject=1, workers=1)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"subjects": 324}, "0 to 323"),
        ({"faces_per_subject": 0}, "1 to 400"),
        ({"workers": 0}, "at least 1"),
    ],
)
def test_a_count_out_of_range_is_named(
    tmp_path: Path, counts: dict[str, int], message: str
) -> None:
    asked = {"subjects": 1, "faces_per_subject": 1, "workers": 1} | counts
    with pytest.raises(ValueError, match=message):
        render_dataset(tmp_path, seed=0, **asked)


def test_training_subjects_are_never_kpi_subjects() -> None:
    drawn = draw_subjects(seed=5, count=323)
    assert len(set(drawn)) == 323
    assert not set(drawn) & set(KPI_SUBJECTS)
    assert draw_subjects(seed=5, count=0) == []


def test_photographs_of_a_subject_differ_and_are_mostly_near_frontal() -> None:
    photographs = [p for subject in range(1, 41) for p in draw_photographs(9, subject, 50)]
    assert len(set(photographs)) == 2000
    cameras = Counter(photograph.camera for photograph in photographs)
    near_frontal = sum(cameras[name] for name in ("05_1", "05_0", "14_0", "04_1", "13_0"))
    assert 0.7 < near_frontal / 2000 < 0.85


def test_one_or_two_faces_in_a_hundred_are_heavily_covered() -> None:
    faces = [
        draw_face(Identity(), EXPRESSIONS["neutral"], (0.0, 0.0), 7, (1, number))
        for number in range(3000)
    ]
    sizes = [face.occluder.size / face.px_per_mm for face in faces if face.occluder is not None]
    assert 0.01 < sum(size > 45.0 for size in sizes) / 3000 < 0.02


def test_subjects_look_different_and_a_subject_always_the_same() -> None:
    assert draw_identity(1, 79) == draw_identity(1, 79)
    assert draw_identity(1, 79) != draw_identity(1, 80)
    assert draw_identity(1, 79) != draw_identity(2, 79)
