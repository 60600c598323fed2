"""16-bit pictures (infrared and depth cameras): the same face in images and in frames."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

import fpenet
from fpenet.deploy.runtime.infer import InferOptions, infer_files
from synthface import FaceSpec, render_face

ROOT = Path(__file__).parents[2]


def landmarker_of(stages: SimpleNamespace) -> fpenet.Landmarker:
    return fpenet.Landmarker(stages.bundle / "cpu", trusted=str(ROOT / ".keys"))


def test_frames_of_16_bits_are_read_as_images_are(stages: SimpleNamespace, tmp_path: Path) -> None:
    levels = render_face(FaceSpec(seed=5)).image
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(levels.astype(np.uint16) * 257).save(folder / f"{number:03d}.png")
    landmarker = landmarker_of(stages)
    video = InferOptions("whole", ("json",), frames_per_second=25.0, smoothing=None)
    infer_files([folder], landmarker, tmp_path / "video", video)
    infer_files([folder], landmarker, tmp_path / "images", InferOptions("whole"))
    (expected,) = landmarker.keypoints(levels, "whole")  # 65535/255 is 257: the same levels
    for line in (tmp_path / "video" / "in.keypoints.jsonl").read_text().splitlines():
        assert np.allclose(json.loads(line)["faces"][0]["keypoints"], expected.keypoints, atol=1e-3)
    (face,) = json.loads((tmp_path / "images" / "000.keypoints.json").read_text())["faces"]
    assert np.allclose(face["keypoints"], expected.keypoints, atol=1e-3)
    with Image.open(tmp_path / "images" / "000.keypoints.png") as drawn:
        assert np.median(np.asarray(drawn)) == np.median(levels)  # not all white
