"""Cases 01, 01b, 05, 23, 24: images that labels name from another place."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fpenet.data.readers import read_labels
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.data.rejected import Refusal
from fpenet.params import Params
from fpenet.provenance.digest import digest_dataset

Read = Callable[..., LabelledSet]


@pytest.fixture
def read(params_with: Callable[..., Params]) -> Read:
    return lambda labels, **data: read_labels(
        labels, params_with({f"data.{key}": value for key, value in data.items()}).data
    )


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (64, 48), 90).save(path)
    return path


def sloth(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    points = {"class": "FiducialPoints", "P1x": 3, "P1y": 4, "P2x": 30, "P2y": 40}
    path.write_text(json.dumps([{"filename": n, "annotations": [points]} for n in names]))
    return path.parent


@pytest.mark.parametrize(
    "name",
    [
        "/workspace/tao-experiments/fpenet/afw/1_1.png",
        "fpenet/afw/1_1.png",
        "D:\\sets\\afw\\1_1.PNG",
        "/data/upload/3/8f2a1b3c-1_1.png",
        "/data/local-files/?d=afw/1_1.png",
        "s3://bucket/afw/1_1.png",
        "https://host.example/afw/1_1.png?token=a",
        "file:///home/ann/afw/1_1.png",
    ],
)
def test_a_path_of_another_machine_is_found_by_its_end(
    tmp_path: Path, read: Read, name: str
) -> None:
    picture(tmp_path / "set/1_1.png")
    labelled = read(sloth(tmp_path / "set/afw.json", name))
    assert [sample.image for sample in labelled.samples] == ["1_1.png"]
    assert labelled.origins.images == "end of the path"


def test_two_images_that_fit_are_both_named(tmp_path: Path, read: Read) -> None:
    for folder in ("a", "b"):
        picture(tmp_path / f"set/{folder}/1.png")
    labelled = read(sloth(tmp_path / "set/afw.json", "/far/1.png", "/far/b/1.png"))
    assert [sample.image for sample in labelled.samples] == ["b/1.png"]
    assert "/far/1.png: fits both a/1.png and b/1.png" in labelled.rejected[0].detail


def test_one_image_under_two_names_is_neither(tmp_path: Path, read: Read) -> None:
    picture(tmp_path / "set/ann/1.png")
    picture(tmp_path / "set/2.png")
    names = ("bob/1.png", "ann/1.png", "2.png")
    labelled = read(sloth(tmp_path / "set/labels.json", *names))
    assert [sample.image for sample in labelled.samples] == ["2.png"]
    assert "ann/1.png fits both ann/1.png and bob/1.png" in labelled.rejected[0].detail


@pytest.mark.parametrize("labels", ["in/annotations", "in/annotations/faces.json", "in"])
def test_annotations_beside_images(tmp_path: Path, read: Read, labels: str) -> None:
    picture(tmp_path / "in/images/default/1.png")
    content = {
        "images": [{"id": 1, "file_name": "1.png"}],
        "annotations": [{"image_id": 1, "keypoints": [3, 4, 2, 30, 40, 1]}],
    }
    (tmp_path / "in/annotations").mkdir()
    (tmp_path / "in/annotations/faces.json").write_text(json.dumps(content))
    labelled = read(tmp_path / labels)
    assert labelled.root == tmp_path / "in"
    assert [sample.image for sample in labelled.samples] == ["images/default/1.png"]
    assert labelled.name == "in"


def test_a_name_may_lead_into_the_images_beside_the_labels(tmp_path: Path, read: Read) -> None:
    picture(tmp_path / "in/images/1.png")
    labelled = read(sloth(tmp_path / "in/labels/labels.json", "../images/1.png"))
    assert [sample.image for sample in labelled.samples] == ["images/1.png"]


def test_a_link_to_another_disk_needs_a_key(tmp_path: Path, read: Read) -> None:
    store = picture(tmp_path / "store/1.png").parent
    folder = sloth(tmp_path / "in/labels.json", "images/1.png")
    (folder / "images").symlink_to(store)
    with pytest.raises(Refusal, match=r"data\.images names .*data\.follow_links: true allows"):
        LabelSource(folder).image("images/1.png", folder / "labels.json")
    linked = read(folder, follow_links=True)
    assert [sample.image for sample in linked.samples] == ["images/1.png"]
    rooted = read(folder, images=str(store))
    assert (rooted.root, rooted.samples[0].image) == (store, "1.png")
    below = read(folder, images=str(folder / "images"))
    assert (below.root, below.samples[0].image) == (store, "1.png")


def test_a_link_into_the_cache_of_dvc_is_allowed(tmp_path: Path, read: Read) -> None:
    cached = tmp_path / ".dvc/cache/files/md5/ab" / ("1" * 30)
    cached.parent.mkdir(parents=True)
    picture(tmp_path / "1.png").rename(cached)
    (tmp_path / ".dvc/config").write_text("")
    folder = sloth(tmp_path / "in/labels.json", "1.png")
    (folder / "1.png").symlink_to(cached)
    assert [sample.image for sample in read(folder).samples] == ["1.png"]


def test_a_missing_image_names_the_nearest(tmp_path: Path) -> None:
    picture(tmp_path / "face1.png")
    file = sloth(tmp_path / "labels.json", "face1.jpg") / "labels.json"
    with pytest.raises(Refusal) as raised:
        LabelSource(tmp_path).image("face1.jpg", file)
    looked = f"{tmp_path}/face1.jpg, {tmp_path}/images/face1.jpg"
    assert raised.value.detail == (
        f"face1.jpg: no such image; looked for {looked}; face1.png is there"
    )


def test_images_outside_of_the_labels_change_the_digest(tmp_path: Path) -> None:
    image = picture(tmp_path / "store/1.png")
    folder = sloth(tmp_path / "in/labels.json", "1.png")
    (folder / "linked").symlink_to(image.parent)
    before = digest_dataset(folder, image.parent), digest_dataset(folder, None, True)
    Image.new("L", (64, 48), 91).save(image)
    after = digest_dataset(folder, image.parent), digest_dataset(folder, None, True)
    assert before[0] != after[0]
    assert before[1] != after[1]
