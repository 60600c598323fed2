"""A crop store whose faces are single bright dots, which a net learns in seconds."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from fpenet.data.sample import fixed_lists, write_table
from fpenet.provenance.manifest import Manifest, seal

PARAMS = Path(__file__).parents[1] / "params.yaml"
NO_FLIPS = {
    "train.augment.flip_probability": 0.0,
    "train.batch_size": 8,
    "train.epochs": 4,
    "train.max_minutes": 1000.0,
}
QUICK = NO_FLIPS | {"train.net": "nano"}


def write_dots(folder: Path) -> Path:
    """Write 48 margin crops of 48 subjects; the only keypoint of each is one bright dot."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    points = 56 + rng.uniform(-20, 20, (48, 2))
    axis = np.arange(112)
    squared = (axis[None, None] - points[:, :1, None]) ** 2
    squared = squared + (axis[None, :, None] - points[:, 1:, None]) ** 2
    np.save(folder / "crops.npy", (20 + 220 * np.exp(-squared / 18)).astype(np.uint8))
    table = pa.table(
        {
            "image": [f"{n}.png" for n in range(48)],
            "subject": [str(n) for n in range(48)],
            "part": ["train"] * 40 + ["val"] * 8,
            "points": fixed_lists(points),
            "visible": fixed_lists(np.ones((48, 1), bool)),
            **{name: pa.array([55.5] * 48) for name in ("center_x", "center_y")},
            **{name: pa.array([80.0] * 48) for name in ("side", "box_width", "box_height")},
        }
    )
    write_table(table, folder / "faces.parquet", name="dots", box_scale="1.2")
    np.save(folder / "tight.npy", np.zeros((0, 80, 80), np.uint8))
    empty = {name: pa.array([], pa.float64()) for name in ("center_x", "center_y", "side")}
    write_table(pa.table({"row": pa.array([], pa.int64()), **empty}), folder / "tight.parquet")
    return folder


def losses(folder: Path) -> list[float]:
    """The loss of each epoch of the training in ``folder``."""
    lines = (folder / "curve.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.fixture
def dots_dir(tmp_path: Path) -> Path:
    """The crop folder of the dots."""
    return write_dots(tmp_path / "crop")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run torch with one thread, as in child processes: the sums then have the same rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def train_command() -> Callable[..., list[str]]:
    """Arguments of ``fpenet`` for a training on the dots: ``train_command(root, seed=1)``.

    A finished crop stage is written below ``root``.
    """

    def words(root: Path, **settings: object) -> list[str]:
        if not (root / "crop").exists():
            folder = write_dots(root / "crop")
            seal(folder, Manifest("crop", "key", {}, {}, "code", {}, {}, {}))
        pairs = QUICK | {f"train.{key}": value for key, value in settings.items()}
        options = [word for key, value in pairs.items() for word in ("--set", f"{key}={value}")]
        return ["train", "--params", str(PARAMS), "--root", str(root), *options]

    return words
