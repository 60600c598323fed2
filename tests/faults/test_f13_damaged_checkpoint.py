"""A damaged checkpoint is seen by its digest, reported, and the one before goes on."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpenet.model import train as train_module
from fpenet.model.train import train_net
from fpenet.params import TrainParams, load_params
from tests.conftest import PARAMS
from tests.dots import QUICK, losses, write_dots


def flipped(content: bytes, at: float) -> bytes:
    where = min(int(len(content) * at), len(content) - 1)
    return content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "its length field flipped": lambda content: flipped(content, 0.0),
    "its header flipped": lambda content: flipped(content, 0.001),
    "its tensors flipped": lambda content: flipped(content, 0.5),
    "its last byte flipped": lambda content: flipped(content, 1.0),
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "another file": lambda content: b"PK\x03\x04" + content,
}


@pytest.fixture(scope="module")
def dots_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dots(tmp_path_factory.mktemp("dots") / "crop")


@pytest.fixture(scope="module")
def train() -> TrainParams:
    return load_params(PARAMS, overrides=QUICK).train


@pytest.fixture(scope="module")
def after_two_epochs(
    dots_dir: Path, train: TrainParams, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a training of four epochs that died in its third."""
    real = train_module._train_epoch

    def die_in_the_third(stepper: Any, *rest: Any) -> float | None:
        if stepper.training.epoch == 2:
            raise KeyboardInterrupt
        return real(stepper, *rest)

    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "_train_epoch", die_in_the_third)
        with pytest.raises(KeyboardInterrupt):
            train_net(crop_dir=dots_dir, train=train, out_dir=folder)
    return folder


@pytest.fixture
def stopped(after_two_epochs: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return shutil.copytree(after_two_epochs, tmp_path / "stopped")


@pytest.fixture(scope="module")
def whole(
    dots_dir: Path, train: TrainParams, tmp_path_factory: pytest.TempPathFactory
) -> list[float]:
    """The losses of the training that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    train_net(crop_dir=dots_dir, train=train, out_dir=folder)
    return losses(folder)


@pytest.mark.parametrize("damage", DAMAGE)
def test_f13_a_damaged_checkpoint_is_reported_and_the_one_before_goes_on(
    damage: str,
    dots_dir: Path,
    train: TrainParams,
    stopped: Path,
    whole: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    newest = max(stopped.glob("checkpoint.0*"))
    newest.write_bytes(DAMAGE[damage](newest.read_bytes()))
    with caplog.at_level(logging.INFO):
        train_net(crop_dir=dots_dir, train=train, out_dir=stopped)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1
    assert f"{newest}: damaged: its SHA-256 is " in warned[0]
    assert "resumed after epoch 1" in caplog.text
    assert losses(stopped) == whole
    assert not list(stopped.glob("checkpoint*"))


def test_f13_two_damaged_checkpoints_are_two_reports_and_a_new_start(
    dots_dir: Path,
    train: TrainParams,
    stopped: Path,
    whole: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for path in stopped.glob("checkpoint.0*"):
        path.write_bytes(flipped(path.read_bytes(), 0.7))
    train_net(crop_dir=dots_dir, train=train, out_dir=stopped)
    assert [record.levelname for record in caplog.records].count("WARNING") == 2
    assert losses(stopped) == whole
