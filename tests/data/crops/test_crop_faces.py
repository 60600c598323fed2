"""The crop stage: the same bytes for any number of processes, and after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pyarrow as pa
import pytest
from PIL import Image

from fpenet.core.child_process import start_process
from fpenet.data.crops import crop_faces as stage
from fpenet.data.crops import shards as crop_shards
from fpenet.data.crops.crop_faces import crop_faces
from fpenet.data.crops.geometry import CropBox, cut, face_crop_box, tight_crop_box
from fpenet.data.crops.shards import LOG, Shards, fill_store
from fpenet.data.crops.store import open_crops
from fpenet.data.images import read_grey
from fpenet.data.sample import FaceSample, points_of, table_of, write_table
from fpenet.params import CropParams
from tests.waiting import LONGEST_SECONDS

CROP = CropParams(box_scale=1.2, store_px=112)
SHARD_FACES = 60
FACES = 2 * SHARD_FACES + 30  # three shards


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "SHARD_FACES", SHARD_FACES)


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Folders of validate and split: faces at random places of six pictures, a fourth judged."""
    root = tmp_path_factory.mktemp("images")
    chance = np.random.default_rng(5)
    for number in range(6):
        levels = chance.integers(0, 256, (90, 120)).astype(np.uint8)
        Image.fromarray(levels).save(root / f"{number}.png")
    samples = []
    for number in range(FACES):
        points = chance.uniform(5, 85, (5, 2))
        box = (*points.min(axis=0).tolist(), *np.ptp(points, axis=0).tolist())
        level = None if number % 2 else 1
        image = f"{number % 6}.png"
        seen = chance.random(5) < 0.8
        samples.append(FaceSample(image, (120, 90), box, points, seen, level, f"s{number % 9}"))
    folders = tmp_path_factory.mktemp("stages")
    validate_dir, split_dir = folders / "validate", folders / "split"
    validate_dir.mkdir()
    split_dir.mkdir()
    write_table(
        table_of(samples),
        validate_dir / "samples.parquet",
        name="random",
        root=str(root),
        num_keypoints="5",
    )
    parts = ["kpi" if number % 4 == 3 else "train" for number in range(FACES)]
    images = [sample.image for sample in samples]
    write_table(pa.table({"image": images, "part": parts}), split_dir / "parts.parquet")
    return SimpleNamespace(
        validate_dir=validate_dir, split_dir=split_dir, root=root, samples=samples, parts=parts
    )


@pytest.fixture
def crop(validated: SimpleNamespace, tmp_path: Path) -> Callable[[str], Path]:
    def run(name: str) -> Path:
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        crop_faces(
            validate_dir=validated.validate_dir,
            split_dir=validated.split_dir,
            crop=CROP,
            out_dir=out,
        )
        return out

    return run


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_crop_is_cut_from_its_own_face(
    validated: SimpleNamespace, crop: Callable[[str], Path]
) -> None:
    out = crop("out")
    names = ["crops.npy", "faces.parquet", LOG, "tight.npy", "tight.parquet"]
    assert sorted(content(out)) == names
    store = open_crops(out)
    tight_rows = store.tight_table["row"].to_pylist()
    for row, sample in enumerate(validated.samples):
        image = read_grey(validated.root / sample.image)
        box = face_crop_box(sample.face_box, 1.2)
        margin = CropBox(box.center_x, box.center_y, box.side * 112 / 80)
        assert np.array_equal(store.crops[row], cut(image, margin, 112)), row
        if row in tight_rows:
            tight = cut(image, tight_crop_box(sample.points), 80)
            assert np.array_equal(store.tight_crops[tight_rows.index(row)], tight), row
    np.testing.assert_array_equal(points_of(store.table), [s.points for s in validated.samples])
    assert store.table["part"].to_pylist() == validated.parts
    inside = [
        row
        for row, sample in enumerate(validated.samples)
        if validated.parts[row] == "kpi" and tight_crop_box(sample.points).outside(120, 90) <= 1e-9
    ]
    assert tight_rows == inside


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_the_bytes_are_the_same_for_any_number_of_processes(
    crop: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    wanted = content(crop("wanted"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(workers))
    assert content(crop("out")) == wanted


def test_a_finished_shard_is_not_made_again(
    validated: SimpleNamespace, crop: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = content(crop("out"))
    out = crop_with_log(crop, "out", [0, 2])
    made: list[int] = []
    make = Shards.make
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(1))

    def noted(self: Shards, shard: int) -> str:
        made.append(shard)
        return make(self, shard)

    monkeypatch.setattr(Shards, "make", noted)
    assert content(crop(out.name)) == wanted
    assert made == [1]


def crop_with_log(crop: Callable[[str], Path], name: str, done: list[int]) -> Path:
    """A finished crop folder made to look as if it had been killed after the shards ``done``."""
    out = crop(name)
    shards = Shards(out, Path("unused"))
    lines = [json.dumps([shard, shards.written(shard)]) + "\n" for shard in done]
    (out / LOG).write_text("".join(lines) + '[1, "cut sho')
    return out


def test_a_shard_whose_bytes_changed_is_made_again(crop: Callable[[str], Path]) -> None:
    wanted = content(crop("out"))
    out = crop_with_log(crop, "out", [0, 1, 2])
    for name in ("crops.npy", "tight.npy"):
        with (out / name).open("r+b") as file:
            file.seek(-7, os.SEEK_END)  # of the last shard
            file.write(b"\x00\xff\x00")
    assert content(crop("out")) == wanted


def test_a_shard_logged_after_a_line_cut_short_is_not_made_again(
    crop: Callable[[str], Path], validated: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = content(crop("out"))
    out = crop_with_log(crop, "out", [0])
    made: list[int] = []
    make = Shards.make

    def stopped_at_the_third(self: Shards, shard: int) -> str:
        made.append(shard)
        if made == [1, 2]:
            raise KeyboardInterrupt
        return make(self, shard)

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(1))
    monkeypatch.setattr(Shards, "make", stopped_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        fill_store(out, validated.root)
    fill_store(out, validated.root)
    assert made == [1, 2, 2]
    assert content(out) == wanted


def test_a_run_killed_while_it_made_room_goes_on(
    crop: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = content(crop("wanted"))
    make_room = np.lib.format.open_memmap

    def killed_after_the_header(path: Path, **how: object) -> None:
        path.write_bytes(wanted["crops.npy"][:128])
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "open_memmap", killed_after_the_header)
    with pytest.raises(KeyboardInterrupt):
        crop("out")
    monkeypatch.setattr(np.lib.format, "open_memmap", make_room)
    assert content(crop("out")) == wanted


RUN = """
import sys, time
from pathlib import Path
from fpenet.data.crops import crop_faces as stage
from fpenet.params import CropParams
stage.SHARD_FACES = int(sys.argv.pop())
validate_dir, split_dir, out_dir = map(Path, sys.argv[1:])
stage.crop_faces(validate_dir=validate_dir, split_dir=split_dir, out_dir=out_dir,
                 crop=CropParams(box_scale=1.2, store_px=112))
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    validated: SimpleNamespace, crop: Callable[[str], Path], tmp_path: Path
) -> None:
    wanted = content(crop("wanted"))
    out = tmp_path / "killed"
    out.mkdir()
    command = [
        sys.executable,
        "-c",
        RUN,
        validated.validate_dir,
        validated.split_dir,
        out,
        SHARD_FACES,
    ]
    run = subprocess.Popen([str(word) for word in command])
    end = time.monotonic() + LONGEST_SECONDS
    try:
        while not (out / LOG).exists() or not (out / LOG).read_text().count("\n"):
            assert run.poll() is None
            assert time.monotonic() < end, "no shard came"
            time.sleep(0.001)
        workers = psutil.Process(run.pid).children()
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait(60)
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []
    done = [shard for shard, _ in crop_shards._logged(out / LOG)]
    assert 1 <= len(done) <= 3
    assert content(crop("killed")) == wanted


def test_a_broken_image_stops_the_stage_with_its_name_and_no_process_is_left(
    validated: SimpleNamespace, crop: Callable[[str], Path], tmp_path: Path
) -> None:
    out = crop("out")
    root = tmp_path / "images"
    root.mkdir()
    for number in range(5):
        (root / f"{number}.png").write_bytes((validated.root / f"{number}.png").read_bytes())
    before = set(psutil.Process().children())
    for workers in (1, 2):
        (out / LOG).unlink(missing_ok=True)
        with pytest.raises(ValueError, match=r"images/5\.png: 5\.png: no such file"):
            fill_store(out, root, workers)
    assert set(psutil.Process().children()) == before


def test_processes_that_stand_still_are_given_up_and_what_is_finished_stays(
    validated: SimpleNamespace,
    crop: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = crop("out")
    first = (out / LOG).read_text().splitlines()[0]
    (out / LOG).write_text(first + "\n")
    started: list[subprocess.Popen[str]] = []

    def stopped(*words: str) -> "subprocess.Popen[str]":
        started.append(start_process(*words))
        started[-1].send_signal(signal.SIGSTOP)
        return started[-1]

    monkeypatch.setattr(crop_shards, "start_process", stopped)
    monkeypatch.setattr(crop_shards, "LONGEST_SHARD_SECONDS", 0.5)
    with pytest.raises(TimeoutError, match=r"out: no shard was finished in 0\.5 s"):
        fill_store(out, validated.root, 2)
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2
    assert (out / LOG).read_text().splitlines() == [first]
