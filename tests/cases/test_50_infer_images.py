"""``fpenet infer`` on the images that people have: answered, or refused by what they are."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import fpenet
from fpenet.deploy.runtime.infer import InferOptions, infer_files
from synthface import FaceSpec, render_face

ROOT = Path(__file__).parents[2]


def landmarker_of(stages: SimpleNamespace) -> fpenet.Landmarker:
    return fpenet.Landmarker(stages.bundle / "cpu", trusted=str(ROOT / ".keys"))


BOX = (230.0, 186.0, 180.0, 178.0)


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".tif", ".pgm", ".jpg"])
def test_every_format_gives_the_points_of_the_same_pixels(
    stages: SimpleNamespace, tmp_path: Path, suffix: str
) -> None:
    levels = render_face(FaceSpec(seed=3)).image
    path = tmp_path / f"a{suffix}"
    content = {".jpg": "WEBP"}.get(suffix)  # a name that says another format
    Image.fromarray(levels).save(path, format=content, lossless=True)
    landmarker = landmarker_of(stages)
    infer_files([path], landmarker, tmp_path / "out", InferOptions(BOX))
    found = json.loads((tmp_path / "out" / "a.keypoints.json").read_text())["faces"][0]
    if suffix in (".webp", ".jpg"):  # stored as colours
        levels = np.asarray(Image.fromarray(levels).convert("RGB").convert("L"))
    (face,) = landmarker.keypoints(levels, BOX)
    assert np.allclose(found["keypoints"], face.keypoints, atol=1e-3)
    with Image.open(tmp_path / "out" / "a.keypoints.png") as drawn:
        assert drawn.size == (640, 480)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"GIF89a" + bytes(20), "a GIF image; images are PNG, JPEG, WebP"),
        (b"<html>not found</html>", "an HTML page; images are"),
        (b"", "an empty file; images are"),
        (b"\0\0\0\x18ftypavif" + bytes(20), "an AVIF image; images are"),
    ],
)
def test_what_is_no_image_is_refused_by_its_name(
    stages: SimpleNamespace, tmp_path: Path, content: bytes, name: str
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path}: {name}"):
        infer_files([path], landmarker_of(stages), tmp_path / "out", InferOptions("whole"))
    assert not (tmp_path / "out").exists()
