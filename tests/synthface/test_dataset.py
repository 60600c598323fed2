"""A tiny data set on disk: layout, labels, and the same bytes from any number of processes."""

import dataclasses
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from fpenet.data.readers import read_labels
from fpenet.data.readers.datasets.multi_pie import YAW_DEG
from fpenet.keypoints import scheme_for
from fpenet.params import Params
from synthface import (
    EXPRESSIONS,
    FaceSpec,
    Identity,
    render_dataset,
    render_face,
)
from synthface.multipie import (
    CAMERAS,
    KPI_SUBJECTS,
    labelled_keypoints,
    sample_photographs,
    sample_subjects,
)
from synthface.records import mat_label
from synthface.sampling import sample_face, sample_identity

NAME = re.compile(
    r"data/session(?P<ss>0[1-4])/multiview/(?P<subj>\d{3})/(?P<rec>0[1-3])/(?P<cam>\d\d_\d)/"
    r"(?P=subj)_(?P=ss)_(?P=rec)_(?P<ccc>\d{3})_(?P<ii>[01]\d)\.png"
)
TINY: dict[str, Any] = {
    "seed": 3,
    "subjects": 1,
    "faces_per_subject": 1,
    "views": ("05_1", "profile"),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    counts = render_dataset(folder, **TINY, workers=1)
    assert {**counts, "occlusion_above_5": 0} == {
        "subjects": 24,
        "kpi_subjects": 23,
        "cameras": 7,
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
    render_dataset(tmp_path, **TINY, workers=2)
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
    assert json.loads((dataset / "dataset.json").read_text()) == {
        "name": "synthetic",
        "scheme": "104",
    }


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
        ({"faces_per_subject": 0}, r"1 to 3300 \(15 of 15 cameras\)"),
        ({"faces_per_subject": 221, "views": ("05_1",)}, r"1 to 220 \(1 of 15 cameras\)"),
        (
            {"views": ("05_1", "front")},
            "views is front; it must be one or more of all, near-frontal, profile, 05",
        ),
        ({"workers": 0}, "at least 1"),
    ],
)
def test_a_count_out_of_range_is_named(
    tmp_path: Path, counts: dict[str, Any], message: str
) -> None:
    asked = {"subjects": 1, "faces_per_subject": 1, "workers": 1} | counts
    with pytest.raises(ValueError, match=message):
        render_dataset(tmp_path, seed=0, **asked)


def test_training_subjects_are_never_kpi_subjects() -> None:
    drawn = sample_subjects(seed=5, count=323)
    assert len(set(drawn)) == 323
    assert not set(drawn) & set(KPI_SUBJECTS)
    assert sample_subjects(seed=5, count=0) == []


def test_photographs_of_a_subject_differ_and_are_mostly_near_frontal() -> None:
    photographs = [p for subject in range(1, 41) for p in sample_photographs(9, subject, 50)]
    assert len(set(photographs)) == 2000
    cameras = Counter(photograph.camera for photograph in photographs)
    near_frontal = sum(cameras[name] for name in ("05_1", "05_0", "14_0", "04_1", "13_0"))
    assert 0.7 < near_frontal / 2000 < 0.85
    assert set(cameras) == set(CAMERAS) == set(YAW_DEG)


def test_all_photographs_of_a_few_views_can_be_asked_for() -> None:
    photographs = sample_photographs(9, 1, 440, ("24_0", "11_0"))
    assert len(set(photographs)) == 440
    assert Counter(photograph.camera for photograph in photographs) == {"24_0": 220, "11_0": 220}


def test_a_profile_is_labelled_on_the_half_that_it_shows() -> None:
    right, left = labelled_keypoints("24_0"), labelled_keypoints("11_0")
    assert (len(labelled_keypoints("19_1")), len(right), len(left)) == (68, 39, 39)
    midline = {8, 27, 28, 29, 30, 33, 51, 57, 62, 66}
    assert set(right) & set(left) == midline
    assert set(right) | set(left) == set(range(68))
    mirror = scheme_for(68).flip_map
    assert mirror is not None
    assert [mirror[k] for k in right] == list(left)
    seen = render_face(FaceSpec(yaw_deg=90.0)).visible
    assert seen[list(right)].mean() > seen[list(left)].mean()


def test_the_lights_of_one_capture_show_the_same_moment(dataset: Path) -> None:
    who = sample_identity(3, 79)
    dark, bright = (
        sample_face(who, EXPRESSIONS["smile"], (0.0, 0.0), light, (3, 23, 79, 1, 2, 51))
        for light in (0, 7)
    )
    assert dataclasses.replace(dark, illumination=7) == bright
    again = dataclasses.replace(dark, illumination=19)  # no flash, as 0 is: another picture of it
    first, second = (render_face(face).image.astype(int) for face in (dark, again))
    assert 0 < np.abs(first - second).mean() < 3  # grey levels of noise, no more


def test_the_reader_of_multi_pie_finds_the_same_points_in_both_labels(
    dataset: Path, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    mat = tmp_path / "mat"
    shutil.copytree(dataset, mat, ignore=shutil.ignore_patterns("labels.json"))
    sloth = read_labels(dataset, params_with().data)
    assert (sloth.name, sloth.num_keypoints, sloth.rejected) == ("synthetic", 104, [])
    by_image = {sample.image: sample for sample in sloth.samples}
    frontal = read_labels(mat, params_with().data)
    profiles = read_labels(mat, params_with({"data.keypoints": 39}).data)
    turned = {float(sample.attributes["yaw"]) > 0 for sample in profiles.samples}
    assert turned == {True, False}  # both halves of the face
    assert len(frontal.samples) + len(profiles.samples) == 24
    for found in (frontal, profiles):
        assert {one.reason for one in found.rejected} <= {"profile layout", "frontal layout"}
        for sample in found.samples:
            same = by_image[sample.image]
            kept = list(labelled_keypoints(str(same.attributes["camera"])))
            np.testing.assert_allclose(sample.points, same.points[kept], atol=1e-9)
            assert sample.subject == same.subject
            about = {k: v for k, v in sample.attributes.items() if k != "labelled_illumination"}
            assert about == same.attributes
    told = sloth.samples[0].attributes
    assert {"expression", "illumination", "session", "yaw", "head_yaw", "skin", "glasses"} <= set(
        told
    )
    assert abs(float(told["head_yaw"]) - float(told["yaw"])) < 10


def test_a_mat_label_has_no_time_in_it() -> None:
    label = mat_label(np.array([[0.0, 1.5]]))
    assert label.startswith(b"MATLAB 5.0 MAT-file, fpenet ")
    assert loadmat(io.BytesIO(label))["pts"].tolist() == [[1.0, 2.5]]


def test_one_or_two_faces_in_a_hundred_are_heavily_covered() -> None:
    faces = [
        sample_face(Identity(), EXPRESSIONS["neutral"], (0.0, 0.0), 7, (1, number))
        for number in range(3000)
    ]
    sizes = [face.occluder.size / face.px_per_mm for face in faces if face.occluder is not None]
    assert 0.01 < sum(size > 45.0 for size in sizes) / 3000 < 0.02


def test_subjects_look_different_and_a_subject_always_the_same() -> None:
    assert sample_identity(1, 79) == sample_identity(1, 79)
    assert sample_identity(1, 79) != sample_identity(1, 80)
    assert sample_identity(1, 79) != sample_identity(2, 79)
