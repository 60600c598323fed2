from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from fpenet.data.readers import read_labels
from fpenet.data.readers.datasets.multi_pie import YAW_DEG, describe_name, read_subjects
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Floats
from fpenet.params import Params
from tests.conftest import TinyLabels

POINTS = np.stack([200 + 2.0 * np.arange(68), 150 + 3.0 * (np.arange(68) % 17)], axis=1)


def picture(root: Path, name: str, folder: str = "05_1") -> None:
    subject, session, recording = name.split("_")[:3]
    path = root / f"data/session{session}/multiview/{subject}/{recording}/{folder}/{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (640, 480)).save(path)


def mat(root: Path, name: str, points: Floats) -> None:
    path = root / f"MPie_Labels/labels/{name.split('_')[3]}/{name}_lm.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"pts": points})


def test_the_name_tells_who_how_and_from_where() -> None:
    subject, about = describe_name("data/session02/multiview/079/03/20_0/079_02_03_200_06.png")
    assert subject == "079"
    assert about == {
        "session": "02",
        "recording": "03",
        "expression": "squint",
        "camera": "20_0",
        "yaw": 60.0,
        "illumination": "06",
    }


def test_all_fifteen_cameras_have_a_yaw() -> None:
    assert len(YAW_DEG) == 15
    assert describe_name("001_01_01_110_00.png")[1]["yaw"] == -90.0


def test_another_name_is_refused() -> None:
    with pytest.raises(Refusal, match=r"face\.png: must be <SUBJ>_<SS>_<REC>_<CCC>_<II>"):
        describe_name("face.png")


def test_a_mat_label_holds_for_every_light_of_its_capture(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    for light in ("05", "07"):
        picture(tmp_path, f"001_01_01_051_{light}")
    picture(tmp_path, "001_01_02_051_07")
    mat(tmp_path, "001_01_01_051_07", POINTS)
    labelled = read_labels(tmp_path, params_with().data)
    assert (labelled.name, labelled.num_keypoints) == ("multi_pie", 68)
    assert [sample.attributes["illumination"] for sample in labelled.samples] == ["05", "07"]
    assert labelled.samples[0].subject == "001"
    np.testing.assert_allclose(labelled.samples[0].points, POINTS - 1)  # MATLAB counts from 1


def test_a_66_point_label_has_no_inner_mouth_corners(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    picture(tmp_path, "001_01_01_051_07")
    kept = [k for k in range(68) if k not in (60, 64)]
    mat(tmp_path, "001_01_01_051_07", POINTS[kept])
    (sample,) = read_labels(tmp_path, params_with().data).samples
    assert np.flatnonzero(np.isnan(sample.points[:, 0])).tolist() == [60, 64]
    np.testing.assert_allclose(sample.points[65], POINTS[65] - 1)


def frontal_and_profile(root: Path) -> None:
    for name, count in (("001_01_01_051_07", 68), ("001_01_01_240_07", 39)):
        picture(root, name, "05_1" if count == 68 else "24_0")
        mat(root, name, POINTS[:count])


def test_a_profile_label_is_set_aside_and_another_count_is_broken(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    frontal_and_profile(tmp_path)
    picture(tmp_path, "001_01_01_050_07", "05_0")
    mat(tmp_path, "001_01_01_050_07", POINTS[:50])
    labelled = read_labels(tmp_path, params_with().data)
    assert len(labelled.samples) == 1
    assert {one.reason: one.broken for one in labelled.rejected} == {
        "point layout": True,
        "profile layout": False,
    }


def test_the_profiles_alone_are_a_set_of_39_points(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    frontal_and_profile(tmp_path)
    labelled = read_labels(tmp_path, params_with({"data.keypoints": 39}).data)
    (sample,) = labelled.samples
    assert (sample.attributes["camera"], sample.attributes["yaw"]) == ("24_0", 90.0)
    np.testing.assert_allclose(sample.points, POINTS[:39] - 1)
    assert [(one.reason, one.broken) for one in labelled.rejected] == [("frontal layout", False)]


def test_a_copied_label_says_which_light_it_was_made_on(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    for light in ("05", "07", "09"):
        picture(tmp_path, f"001_01_01_051_{light}")
    mat(tmp_path, "001_01_01_051_07", POINTS)
    mat(tmp_path, "001_01_01_051_09", POINTS + 2)
    found = [s.attributes for s in read_labels(tmp_path, params_with().data).samples]
    assert [(each["illumination"], each["labelled_illumination"]) for each in found] == [
        ("05", "07"),
        ("07", "07"),
        ("09", "09"),
    ]


def test_the_subject_list_tells_birth_year_and_sex(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    picture(tmp_path, "001_01_01_051_07")
    mat(tmp_path, "001_01_01_051_07", POINTS)
    (tmp_path / "meta").mkdir()
    text = "Id Year Gender\n1 57 Female x\n002\t1981\tMale\n003 unknown\n"
    (tmp_path / "meta/subject_list.txt").write_text(text)
    assert read_subjects(tmp_path) == {
        "001": {"birth_year": 1957.0, "sex": "female"},
        "002": {"birth_year": 1981.0, "sex": "male"},
    }
    (sample,) = read_labels(tmp_path, params_with().data).samples
    assert (sample.attributes["birth_year"], sample.attributes["sex"]) == (1957.0, "female")


def test_a_file_that_is_no_mat_is_rejected(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    picture(tmp_path, "001_01_01_051_07")
    mat(tmp_path, "001_01_01_051_07", POINTS)
    picture(tmp_path, "002_01_01_051_07")
    (tmp_path / "MPie_Labels/labels/051/002_01_01_051_07_lm.mat").write_bytes(b"MATLAB 5.0 x" * 20)
    labelled = read_labels(tmp_path, params_with().data)
    assert [one.reason for one in labelled.rejected] == ["label"]
    assert len(labelled.samples) == 1


def test_a_tree_with_sloth_labels_takes_who_and_where_from_the_names(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    tiny_labels.records.clear()
    tiny_labels.add("data/session01/multiview/342/01/14_0/342_01_01_140_07.png")
    tiny_labels.add("data/session01/multiview/x/odd.png")
    folder = tiny_labels.write()
    (folder / "dataset.json").write_text('{"name": "synthetic"}')
    labelled = read_labels(folder, params_with().data)
    (sample,) = labelled.samples
    assert (labelled.name, sample.subject, sample.attributes["yaw"]) == ("synthetic", "342", -15.0)
    assert labelled.rejected[0].reason == "image name"


def test_a_tree_without_labels_is_one_clear_line(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    picture(tmp_path, "001_01_01_051_07")
    with pytest.raises(ValueError, match="a Multi-PIE tree without labels"):
        read_labels(tmp_path, params_with().data)
