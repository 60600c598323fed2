"""YOLO-pose: fractions to pixels, flags, the parts and partners of data.yaml."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.core.errors import InputError
from fpenet.data.readers import find_format, read_labels
from fpenet.data.readers.general.yolo_pose import read_config, read_yolo_pose
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace
from fpenet.params import Params

CONFIG = "path: .\ntrain: images/train\nval: images/val\nkpt_shape: [3, 3]\nnames: {0: face}\n"
LINE = "0 0.5 0.5 0.4 0.6 0.25 0.5 2 0.75 0.5 1 0 0 0\n"


def write(root: Path, config: str = CONFIG, line: str = LINE) -> Path:
    root.mkdir(exist_ok=True)
    (root / "data.yaml").write_text(config)
    for part, name in (("train", "a"), ("val", "b")):
        for folder in ("images", "labels"):
            (root / folder / part).mkdir(parents=True)
        Image.new("L", (200, 100)).save(root / f"images/{part}/{name}.png")
        (root / f"labels/{part}/{name}.txt").write_text(line)
    return root


def test_fractions_become_pixels_and_flags_visibility(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    root = write(tmp_path / "set")
    assert find_format(LabelSource(root)) == "yolo_pose"
    first, second = read_labels(root, params_with().data).samples
    assert (first.image, second.image) == ("images/train/a.png", "images/val/b.png")
    assert first.face_box == pytest.approx((60.0, 20.0, 80.0, 60.0))
    np.testing.assert_allclose(first.points, np.array([[50, 50], [150, 50], [np.nan, np.nan]]))
    assert first.visible.tolist() == [True, False, False]
    assert (first.attributes["split"], second.attributes["split"]) == ("train", "val")


def test_data_yaml_may_be_named(tmp_path: Path) -> None:
    root = write(tmp_path / "set")
    faces = list(read_yolo_pose(LabelSource(root / "data.yaml")))
    assert [face.image for face in faces] == ["images/train/a.png", "images/val/b.png"]


def test_without_flags_zero_is_unlabelled(tmp_path: Path) -> None:
    config = CONFIG.replace("[3, 3]", "[2, 2]").replace("val: images/val", "test: ../images/val")
    root = write(tmp_path / "set", config, "0 0.5 0.5 0.4 0.6 0.25 0.5 0 0\n")
    first, second = read_yolo_pose(LabelSource(root))
    assert isinstance(first, LabelledFace)
    np.testing.assert_allclose(first.points, np.array([[50, 50], [np.nan, np.nan]]))
    assert isinstance(second, LabelledFace)
    assert second.attributes == {"split": "kpi"}


def test_partners_and_names_become_a_scheme(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    config = f"{CONFIG}flip_idx: [1, 0, 2]\nkpt_names: {{0: [right_eye, left_eye, nose]}}\n"
    labelled = read_labels(write(tmp_path / "set", config), params_with().data)
    assert labelled.scheme is not None
    assert labelled.scheme.mirror == ((1, 2),)
    assert labelled.origins.keypoint_names == ("right_eye", "left_eye", "nose")
    assert not labelled.origins.scheme_guessed


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    root = write(tmp_path / "set", line=f"{LINE}0 0.5 0.5 0.4 0.6 0.25 0.5 2\n")
    bad = [face for face in read_yolo_pose(LabelSource(root)) if isinstance(face, UnreadFace)]
    assert [(face.where, face.refusal.detail) for face in bad] == [
        ("labels/train/a.txt, line 2", "8 values; kpt_shape says 14"),
        ("labels/val/b.txt, line 2", "8 values; kpt_shape says 14"),
    ]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("kpt_shape: [17, 3]\nnames: {0: person}\n", "17 keypoints of the class person"),
        ("kpt_shape: 3\n", r"kpt_shape is 3; it must be \[K, 2\] or \[K, 3\]"),
        ("kpt_shape: [2, 3]\nflip_idx: [1, 1]\n", "flip_idx is"),
        ("kpt_shape: [2, 3]\nkpt_names: [a]\n", "kpt_names has 1 names; kpt_shape says 2"),
    ],
)
def test_a_wrong_config_is_named(tmp_path: Path, config: str, said: str) -> None:
    (tmp_path / "data.yaml").write_text(config)
    with pytest.raises(InputError, match=rf"data\.yaml: {said}"):
        read_config(tmp_path / "data.yaml")
