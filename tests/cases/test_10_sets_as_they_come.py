"""Cases 10, 13, 14, 18: public layouts as they are downloaded, and odd spellings of .pts files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.data.readers import read_labels
from fpenet.params import Params

POINTS_98 = np.stack([np.arange(98.0) + 1, 2 * np.arange(98.0)], axis=1)
ROWS = "1.5 2.5\n30 40\n"


def test_wflw_subsets_repeat_no_face(tmp_path: Path, params_with: Callable[..., Params]) -> None:
    lists = tmp_path / "WFLW_annotations"
    official, subsets = lists / "list_98pt_rect_attr_train_test", lists / "list_98pt_test"
    for folder in (official, subsets):
        folder.mkdir(parents=True)

    def line(number: int, rest: str) -> str:
        return " ".join(map(str, (POINTS_98 + number).ravel())) + f" {rest}0--Parade/{number}.jpg\n"

    about = "10 20 110 220 0 0 0 0 0 0 "
    (official / "list_98pt_rect_attr_train.txt").write_text(line(0, about))
    (official / "list_98pt_rect_attr_test.txt").write_text(line(1, about) + line(2, about))
    (official / "README").write_text("x1 y1 ...\n")
    (subsets / "list_98pt_test.txt").write_text(line(1, "") + line(2, ""))
    (subsets / "list_98pt_test_largepose.txt").write_text(line(2, ""))
    for number in range(3):
        path = tmp_path / f"WFLW_images/0--Parade/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (250, 250)).save(path)
    labelled = read_labels(tmp_path, params_with().data)
    assert [(s.image[-5:], s.attributes["split"]) for s in labelled.samples] == [
        ("1.jpg", "kpi"),
        ("2.jpg", "kpi"),
        ("0.jpg", "train"),
    ]
    assert [s.face_box for s in labelled.samples] == [(10.0, 20.0, 100.0, 200.0)] * 3
    assert labelled.rejected == []
    assert labelled.origins.scheme == "wflw: WFLW"


@pytest.mark.parametrize(
    "text",
    [
        f"version: 1\nn_points: 2\n{{\n{ROWS}}}\n",
        f"version:1\nn_points:2\n{{\n{ROWS}}}",
        f"# by hand\nversion: 1.0\nn_points:  2\n{{\n{ROWS}}}\n\n",
        f"// by hand\nn_points: 2 {{\n{ROWS}}}\nend\n",
        f"n_points: 2\n{{\n{ROWS}}}\n".replace("\n", "\r"),
        f"N_Points: 2\n{{\n{ROWS}}}\n".replace(" ", "\t").replace("\n", "\r\n"),
        f"2\n{{\n{ROWS}}}\n".replace("5 2", "5, 2"),
    ],
)
@pytest.mark.parametrize("suffix", ["pts", "PTS"])
def test_pts_files_of_every_spelling_are_read(
    tmp_path: Path, params_with: Callable[..., Params], text: str, suffix: str
) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(text.encode())
    Image.new("L", (64, 48)).save(tmp_path / "a.jpg")
    (sample,) = read_labels(tmp_path, params_with().data).samples
    assert sample.points.tolist() == [[0.5, 1.5], [29.0, 39.0]]  # counted from 1


def test_yolo_has_the_parts_of_data_yaml(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    (tmp_path / "data.yaml").write_text(
        "path: .\ntrain: images/train\nval: images/val\nkpt_shape: [2, 3]\nnames: [face]\n"
    )
    for part, name in (("train", "a"), ("train", "b"), ("val", "c")):
        for kind in ("images", "labels"):
            (tmp_path / kind / part).mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 20)).save(tmp_path / f"images/{part}/{name}.jpg")
        text = "0 0.5 0.5 0.5 0.5 0.25 0.25 2 0.5 0.75 2\n"
        (tmp_path / f"labels/{part}/{name}.txt").write_text(text)
    samples = read_labels(tmp_path, params_with().data).samples
    assert [s.attributes["split"] for s in samples] == ["train", "train", "val"]
    assert samples[2].points.tolist() == [[10.0, 5.0], [20.0, 15.0]]
