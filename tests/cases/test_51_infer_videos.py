"""``fpenet infer`` on videos: what FFmpeg reads is followed, whatever the name of the file."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fpenet
from fpenet.deploy.runtime.infer import InferOptions, infer_files
from fpenet.deploy.runtime.video import read_frames
from synthface import FaceSpec, render_face

ROOT = Path(__file__).parents[2]


def landmarker_of(stages: SimpleNamespace) -> fpenet.Landmarker:
    return fpenet.Landmarker(stages.bundle / "cpu", trusted=str(ROOT / ".keys"))


def write_video(path: Path, muxer: str, codec: str, frames: int = 5) -> Path:
    av: Any = pytest.importorskip("av", reason="needs the video extra")
    levels = render_face(FaceSpec(seed=5)).image
    with av.open(str(path), "w", format=muxer) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for number in range(frames):
            image = np.roll(levels, 3 * number, axis=1)[..., None].repeat(3, axis=2)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "muxer", "codec"),
    [
        ("transport.ts", "mpegts", "libx264"),
        ("cam.mpg", "mpeg", "mpeg2video"),
        ("old.wmv", "asf", "wmv2"),
        ("phone.3gp", "3gp", "mpeg4"),
        ("stream.h264", "h264", "libx264"),
        ("no_suffix", "matroska", "libx264"),
        ("named.jpg", "avi", "mpeg4"),
    ],
)
def test_the_faces_of_every_frame_are_followed(
    stages: SimpleNamespace, tmp_path: Path, name: str, muxer: str, codec: str
) -> None:
    path = write_video(tmp_path / name, muxer, codec)
    infer_files([path], landmarker_of(stages), tmp_path / "out", InferOptions("whole", ("json",)))
    text = (tmp_path / "out" / f"{path.stem}.keypoints.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["seconds"] for line in lines] == pytest.approx([n / 25 for n in range(5)])
    assert all(len(line["faces"][0]["keypoints"]) == 68 for line in lines)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", "a playlist"),
        (b"ffconcat version 1.0\nfile a.mp4\n", "a text file"),
        (b"", "an empty file"),
        (b"\0\0\0\x18ftypisom" + bytes(99), "not a video that FFmpeg reads|moov|Invalid"),
    ],
)
def test_what_is_no_video_is_named_and_no_other_file_is_opened_for_it(
    tmp_path: Path, content: bytes, name: str
) -> None:
    pytest.importorskip("av", reason="needs the video extra")
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.mp4: ({name})"):
        list(read_frames(path))
