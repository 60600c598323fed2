from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fpenet.data.readers import read_labels
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.params import Params
from tests.conftest import TinyLabels


def read(labels: Path, params_with: Callable[..., Params], **overrides: object) -> LabelledSet:
    return read_labels(labels, params_with({f"data.{k}": v for k, v in overrides.items()}).data)


def test_a_sloth_folder_becomes_samples_with_subject_size_and_name(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    labelled = read(tiny_labels.write(), params_with)
    first = labelled.samples[0]
    assert (labelled.name, labelled.num_keypoints, len(labelled.samples)) == ("faces", 5, 20)
    assert (first.image, first.image_size, first.subject) == ("images/s000_0.png", (64, 64), "s000")
    assert first.face_box == (16.0, 20.0, 32.0, 28.0)
    assert first.points[4].tolist() == [40.0, 44.5]


def test_the_label_file_itself_may_be_named(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    labelled = read(tiny_labels.write() / "labels.json", params_with)
    assert (len(labelled.samples), labelled.root) == (20, tiny_labels.folder.resolve())


def test_the_number_of_keypoints_is_the_largest_labelled_or_the_one_wanted(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    tiny_labels.add("images/s020_0.png", points=[(20, 24), (43, 24), (32, 34)])
    folder = tiny_labels.write()
    short = read(folder, params_with).samples[-1]
    assert np.isnan(short.points[3:]).all()
    assert not short.visible[3:].any()
    assert read(folder, params_with, keypoints=2).samples[0].points.shape == (2, 2)
    with pytest.raises(ValueError, match=r"data\.keypoints is 6, but no face of .* more than 5"):
        read(folder, params_with, keypoints=6)


def test_a_face_without_a_box_gets_the_box_around_its_points(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    tiny_labels.add("images/s020_0.png", points=[(20, 24), (43, 30)], face_box={"Occlusion": 2})
    last = read(tiny_labels.write(), params_with).samples[-1]
    assert (last.face_box, last.occlusion_level) == ((20.0, 24.0, 23.0, 6.0), 2)


def test_columns_of_a_csv_become_attributes_and_the_subject(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    folder = tiny_labels.write()
    (folder / "frames.csv").write_text(
        "filename,subject,yaw,camera\nimages/s000_0.png,Ann,-12.5,051\n./images/s000_1.png,Ann,3,\n"
    )
    (folder / "other.csv").write_text("a,b\n1,2,3\n")
    first, second, third = read(folder, params_with).samples[:3]
    assert (first.subject, dict(first.attributes)) == ("Ann", {"yaw": -12.5, "camera": "051"})
    assert (second.subject, dict(second.attributes)) == ("Ann", {"yaw": 3.0})
    assert (third.subject, dict(third.attributes)) == ("s001", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("filename,yaw\na.png,1\na.png,2\n", "line 3: a.png is repeated", id="twice"),
        pytest.param("filename,yaw\na.png\n", "line 2: 1 values for 2 columns", id="ragged"),
        pytest.param("filename,y/w\na.png,1\n", "column 'y/w'; a name is letters", id="column"),
    ],
)
def test_a_broken_csv_is_named_with_its_line(
    tiny_labels: TinyLabels, params_with: Callable[..., Params], text: str, said: str
) -> None:
    folder = tiny_labels.write()
    (folder / "frames.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"frames\.csv.*{said}"):
        read(folder, params_with)


def test_the_name_of_the_set_comes_from_dataset_json(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    folder = tiny_labels.write()
    (folder / "dataset.json").write_text('{"name": "wild"}')
    assert read(folder, params_with).name == "wild"
    assert read(folder, params_with, name="mine").name == "mine"
    (folder / "dataset.json").write_text('{"name": "../up"}')
    with pytest.raises(ValueError, match=r"dataset\.json: name is '\.\./up'"):
        read(folder, params_with)


def test_a_missing_picture_rejects_its_face_with_file_and_row(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    tiny_labels.add("images/s020_0.png", picture=False)
    labelled = read(tiny_labels.write(), params_with)
    (rejected,) = labelled.rejected
    assert (len(labelled.samples), rejected.face, rejected.reason) == (20, 20, "image missing")
    assert rejected.detail == (
        "labels.json, record 21: images/s020_0.png: no such image; looked for"
        f" {tiny_labels.folder}/images/s020_0.png,"
        f" {tiny_labels.folder}/images/images/s020_0.png; images/s009_0.png is there"
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(lambda f: f.rmdir(), "data.labels: .*faces does not exist", id="no folder"),
        pytest.param(lambda f: None, "has no labels of a known format", id="nothing"),
        pytest.param(
            lambda f: (f / "labels.json").write_text("[]"), "no usable face in it", id="empty"
        ),
        pytest.param(
            lambda f: (f / "labels.json").write_text('[{"filename": "a.png", "annotations": 7}]'),
            "no usable face in it; the first face: labels.json, record 1: annotations is 7",
            id="all broken",
        ),
    ],
)
def test_a_set_without_faces_is_one_clear_line(
    tmp_path: Path, params_with: Callable[..., Params], make: Callable[[Path], object], said: str
) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    make(folder)
    with pytest.raises(ValueError, match=said):
        read(folder, params_with)


@pytest.mark.parametrize("pattern", ["(", r"^(\d+)_"])
def test_a_subject_pattern_must_compile_and_name_the_subject(
    tiny_labels: TinyLabels, params_with: Callable[..., Params], pattern: str
) -> None:
    with pytest.raises(ValueError, match=r"data\.subject_pattern is"):
        read(tiny_labels.write(), params_with, subject_pattern=pattern)


def test_each_image_is_its_own_subject_only_when_that_is_said(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    tiny_labels.records.clear()
    tiny_labels.add("images/party.png")
    tiny_labels.add("images/s001_0.png")
    tiny_labels.add("images/known.png")
    folder = tiny_labels.write()
    (folder / "who.csv").write_text("filename,subject\nimages/known.png,Ann\n")
    silent = [sample.subject for sample in read(folder, params_with).samples]
    assert silent == [None, "s001", "Ann"]
    said = read(folder, params_with, subject_per_image=True).samples
    assert [s.subject for s in said] == ["images/party.png", "images/s001_0.png", "Ann"]


def test_a_folder_of_nothing_known_lists_the_formats(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"no labels of a known format .*coco: .*wflw: "):
        read(tmp_path, params_with)
