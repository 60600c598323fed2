"""Formats that are known but not read are named; folders of images may say the split."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fpenet.data.readers import find_format, read_labels
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.split_folders import part_of, part_of_file
from fpenet.params import Params

PTS = "version: 1\nn_points: 2\n{\n1 1\n9 21\n}\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"project": {}, "attribute": {}, "file": {}, "metadata": {}}', "VIA 3"),
        ("a.json", '{"description": "", "tags": [], "size": {}, "objects": []}', "Supervisely"),
        ("a.ndjson", '{"data_row": {}, "projects": {}}\n{}', "Labelbox"),
        ("a.json", '{"version": "2.0", "item": {}, "annotations": []}', "V7 Darwin"),
        ("a.json", '{"images": [], "annotations": [{"segments_info": []}]}', "COCO panoptic"),
        ("a.xml", "<annotation><object/></annotation>", "Pascal VOC"),
        ("a.txt", "0 0.5 0.5 0.2 0.3\n0 0.1 0.5 0.2 0.3\n", "YOLO detection"),
        ("a.tfrecord", "x", "a TFRecord"),
    ],
)
def test_a_known_format_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(
        ValueError, match=rf"; {name} is {message}.* not read: write a table: a CSV"
    ):
        find_format(LabelSource(tmp_path))


def test_an_unknown_file_is_not_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("to do: label the faces\n")
    with pytest.raises(ValueError, match=r"no labels of a known format \([^;]*;(?!.*notes\.txt)"):
        find_format(LabelSource(tmp_path))


def test_names_of_parts() -> None:
    names = ("train", "Training", "val", "valid", "validation", "dev", "test", "testset", "val2017")
    parts = ("train", "train", "val", "val", "val", "val", "kpi", "kpi", "val")
    assert tuple(part_of(name) for name in names) == parts
    assert [part_of(name) for name in ("trained", "faces", "testimony", "")] == [None] * 4
    assert part_of("images_train") == "train"
    assert part_of_file("person_keypoints_val2017") == "val"
    assert part_of_file("faces") is None


def pts(root: Path, *images: str) -> Path:
    for number, name in enumerate(images):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (32, 32), number).save(file)
        file.with_suffix(".pts").write_text(PTS)
    return root


@pytest.mark.parametrize(
    ("images", "parts", "origin"),
    [
        (
            ("train/a.png", "train/b.png", "val/c.png", "test/d.png"),
            ["kpi", "train", "train", "val"],
            "folders of the images: kpi (1), train (2), val (1)",
        ),
        (("train/a.png", "train/b.png"), [None, None], "none"),
        (("train/a.png", "val/b.png", "ibug/c.png"), [None, None, None], "none"),
    ],
)
def test_folders_say_the_split_if_all_images_are_in_them(
    tmp_path: Path,
    params_with: Callable[..., Params],
    images: tuple[str, ...],
    parts: list[str | None],
    origin: str,
) -> None:
    labelled = read_labels(pts(tmp_path / "set", *images), params_with().data)
    assert [sample.attributes.get("split") for sample in labelled.samples] == parts
    assert labelled.origins.split == origin


def test_a_column_split_is_stronger_than_folders(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    folder = pts(tmp_path / "set", "train/a.png", "val/b.png")
    (folder / "parts.csv").write_text("filename,split\ntrain/a.png,val\nval/b.png,train\n")
    labelled = read_labels(folder, params_with().data)
    assert [sample.attributes["split"] for sample in labelled.samples] == ["val", "train"]
    assert labelled.origins.split == "labels or a column split"
