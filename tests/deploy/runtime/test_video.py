"""Videos: frames go in and come out with their times; what is no video is named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.deploy.runtime import video
from fpenet.deploy.runtime.video import VideoFile, count_frames, read_frames

pytest.importorskip("av", reason="needs the video extra")


def written(path: Path, size: tuple[int, int] = (64, 48), frames: int = 6) -> Path:
    with VideoFile(path) as file:
        for number in range(frames):
            file.add(Image.new("RGB", size, (40 * number, 20, 200)), number / 25)
    return path


def test_frames_come_back_in_their_order_and_at_their_times(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4")
    frames = list(read_frames(path))
    assert [frame.seconds for frame in frames] == pytest.approx([n / 25 for n in range(6)])
    for number, frame in enumerate(frames):
        assert frame.image.shape == (48, 64, 3)
        assert np.abs(frame.image.mean(axis=(0, 1)) - [40 * number, 20, 200]).max() < 8
    assert count_frames(path) == 6


def test_a_video_that_was_filmed_upright_is_turned(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoFile(path) as file:
        picture = Image.new("RGB", (64, 48))
        picture.paste((255, 255, 255), (0, 0, 16, 16))
        file.add(picture, 0.0)
    # The matrix of the track's header (ISO 14496-12, 8.3.2), by which what is shown is made of
    # what is stored: x' = width - y, y' = x, as a telephone says it.
    as_stored, a_quarter = (
        b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
        for matrix in (
            (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30),
            (0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30),
        )
    )
    before, track = path.read_bytes().split(b"tkhd")
    path.write_bytes(before + b"tkhd" + track.replace(as_stored, a_quarter, 1))
    (frame,) = read_frames(path)
    assert frame.image.shape == (64, 48, 3)
    assert frame.image[:12, -12:].min() > 200
    assert frame.image[:, :28].max() < 50


def test_an_odd_row_and_column_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", size=(65, 49))
    assert next(read_frames(path)).image.shape == (48, 64, 3)


@pytest.mark.parametrize("data", [b"", b"no video at all" * 100])
def test_what_is_no_video_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.mp4: "):
        list(read_frames(path))
    with pytest.raises(ValueError, match=r"b\.mp4: No such file"):
        list(read_frames(tmp_path / "b.mp4"))


def test_without_pyav_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(video, "import_module", absent)
    with pytest.raises(ValueError, match=r"pip install 'fpenet\[video\]'.*--fps"):
        list(read_frames(tmp_path / "a.mp4"))
