"""CelebA, Helen, LaPa, JD-106, AFLW2000 and 300W-LP, 300-VW: a small copy of each."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from fpenet.data.readers import find_format, read_labels
from fpenet.data.readers.datasets.aflw2000 import is_pose_mat, read_pose_mat
from fpenet.data.readers.datasets.landmark_text import read_points
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.data.rejected import Refusal
from fpenet.params import Params

Read = Callable[[Path], LabelledSet]
POINTS = np.stack([np.arange(106.0) + 10, 2 * np.arange(106.0) + 10], axis=1)


@pytest.fixture
def read(params_with: Callable[..., Params]) -> Read:
    return lambda root: read_labels(root, params_with().data)


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (300, 300)).save(path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def lines(count: int, separator: str = " ") -> str:
    return "".join(f"{x}{separator}{y}\n" for x, y in POINTS[:count])


def test_celeba_has_split_and_people(tmp_path: Path, read: Read) -> None:
    names = ["lefteye", "righteye", "nose", "leftmouth", "rightmouth"]
    head = " ".join(f"{name}_{axis}" for name in names for axis in "xy")
    values = " ".join(map(str, range(10, 20)))
    write(
        tmp_path / "Anno/list_landmarks_align_celeba.txt",
        f"2\n{head}\n000001.jpg  {values}\n000002.jpg 1 2\n",
    )
    write(tmp_path / "Anno/identity_CelebA.txt", "000001.jpg 2880\n000002.jpg 7\n")
    write(tmp_path / "Anno/list_eval_partition.txt", "000001.jpg 2\n000002.jpg 0\n")
    image(tmp_path / "img_align_celeba/000001.jpg")
    image(tmp_path / "img_align_celeba/000002.jpg")
    assert find_format(LabelSource(tmp_path)) == "celeba"
    labelled = read(tmp_path)
    (face,) = labelled.samples
    assert face.points.tolist() == [[10, 11], [12, 13], [14, 15], [16, 17], [18, 19]]
    assert (face.subject, face.attributes) == ("2880", {"split": "kpi"})
    assert labelled.origins.keypoint_names == tuple(names)
    assert labelled.origins.scheme.startswith("celeba: CelebA")
    (refused,) = labelled.rejected
    assert refused.detail.endswith("line 4: 2 values for 10 columns")


def test_helen_names_its_image(tmp_path: Path, read: Read) -> None:
    write(tmp_path / "annotation/1.txt", "232194_1\n" + lines(5, " , "))
    image(tmp_path / "train/232194_1.jpg")
    assert find_format(LabelSource(tmp_path)) == "landmark_text"
    (face,) = read(tmp_path).samples
    assert face.image == "train/232194_1.jpg"
    np.testing.assert_array_equal(face.points, POINTS[:5])


@pytest.mark.parametrize(
    ("label", "picture"),
    [
        ("LaPa/train/landmarks/7_0.txt", "LaPa/train/images/7_0.jpg"),
        ("Train/landmark/AFW_1.jpg.txt", "Train/picture/AFW_1.jpg"),
    ],
)
def test_lapa_and_jd_have_106_points(tmp_path: Path, read: Read, label: str, picture: str) -> None:
    write(tmp_path / label, "106\n" + lines(106))
    image(tmp_path / picture)
    labelled = read(tmp_path)
    (face,) = labelled.samples
    assert face.image == picture
    np.testing.assert_array_equal(face.points, POINTS)
    assert labelled.origins.scheme == "landmark_text: JD and LaPa"


def test_a_text_with_a_line_too_few_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "106\n" + lines(105))
    with pytest.raises(Refusal, match=r"a\.txt: says 106 points, but 105 follow"):
        read_points(tmp_path / "a.txt")


def pose(path: Path, **more: object) -> Path:
    radians = [math.radians(10), math.radians(-60), 0.0, 0, 0, 0, 1]
    savemat(path, {"Pose_Para": np.array([radians]), **more})
    return path


def test_aflw2000_has_yaw_and_hidden_parts(tmp_path: Path, read: Read) -> None:
    points = np.vstack([POINTS[:68].T, np.zeros(68)])
    aflw = np.full((2, 21), 50.0)
    aflw[:, 6:9] = -1.0  # the eye on the left of the image
    aflw[:, 0] = -1.0  # one of three points of an eyebrow
    pose(tmp_path / "image00002.mat", pt3d_68=points, pt2d=aflw)
    image(tmp_path / "image00002.jpg")
    assert find_format(LabelSource(tmp_path)) == "aflw2000"
    (face,) = read(tmp_path).samples
    np.testing.assert_array_equal(face.points, POINTS[:68] - 1)
    assert np.flatnonzero(~face.visible).tolist() == [*range(8), *range(36, 42)]
    assert face.attributes == {"yaw": 60.0, "pitch": 10.0, "roll": 0.0}


def test_300w_lp_marks_a_point_that_is_minus_1(tmp_path: Path) -> None:
    points = POINTS[:68].T.copy()
    points[:, 3] = -1.0
    read_back, visible, _ = read_pose_mat(pose(tmp_path / "a.mat", pt2d=points))
    assert np.flatnonzero(np.isnan(read_back[:, 0])).tolist() == [3]
    assert np.flatnonzero(~visible).tolist() == [3]


def test_other_matlab_files_are_not_taken(tmp_path: Path) -> None:
    savemat(tmp_path / "pts.mat", {"pts": POINTS[:68]})
    (tmp_path / "hdf.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(600))
    (tmp_path / "cut.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut")
    assert not any(is_pose_mat(tmp_path / f"{name}.mat") for name in ("pts", "hdf", "cut"))
    with pytest.raises(Refusal, match=r"the points are \(2, 21\)"):
        read_pose_mat(pose(tmp_path / "a.mat", pt2d=np.zeros((2, 21))))


def test_300_vw_has_a_person_a_folder(tmp_path: Path, read: Read) -> None:
    for person in ("001", "002"):
        for frame in (1, 2):
            text = f"n_points: 5\n{{\n{lines(5)}}}\n"
            write(tmp_path / person / f"annot/{frame:06d}.pts", text)
            image(tmp_path / person / f"frames/{frame:06d}.jpg")
    samples = read(tmp_path).samples
    assert [sample.image for sample in samples] == [
        f"{person}/frames/{frame:06d}.jpg" for person in ("001", "002") for frame in (1, 2)
    ]
    assert [sample.subject for sample in samples] == ["001", "001", "002", "002"]
    assert samples[1].attributes == {"sequence": "001", "frame": 2.0}
