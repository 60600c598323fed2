"""A damaged checkpoint is seen by its digest, reported, and the one before goes on."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpenet.model import train as train_module
from fpenet.model.train import train_net
from fpenet.params import Params, TrainParams
from tests.dots import QUICK, losses


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


@pytest.fixture
def stopped(
    dots_dir: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], tuple[TrainParams, Path]]:
    """A training of four epochs that died in its third."""
    train = params_with(QUICK).train
    real = train_module._train_epoch

    def die_in_the_third(stepper: Any, *rest: Any) -> float | None:
        if stepper.training.epoch == 2:
            raise KeyboardInterrupt
        return real(stepper, *rest)

    def make() -> tuple[TrainParams, Path]:
        folder = tmp_path / "stopped"
        folder.mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(train_module, "_train_epoch", die_in_the_third)
            with pytest.raises(KeyboardInterrupt):
                train_net(crop_dir=dots_dir, train=train, out_dir=folder)
        return train, folder

    return make


@pytest.fixture
def whole(dots_dir: Path, tmp_path: Path, params_with: Callable[..., Params]) -> list[float]:
    """The losses of the training that nothing happened to."""
    folder = tmp_path / "whole"
    folder.mkdir()
    train_net(crop_dir=dots_dir, train=params_with(QUICK).train, out_dir=folder)
    return losses(folder)


@pytest.mark.parametrize("damage", DAMAGE)
def test_f13_a_damaged_checkpoint_is_reported_and_the_one_before_goes_on(
    damage: str,
    dots_dir: Path,
    stopped: Callable[[], tuple[TrainParams, Path]],
    whole: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    train, folder = stopped()
    newest = max(folder.glob("checkpoint.0*"))
    newest.write_bytes(DAMAGE[damage](newest.read_bytes()))
    with caplog.at_level(logging.INFO):
        train_net(crop_dir=dots_dir, train=train, out_dir=folder)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1
    assert f"{newest}: damaged: its SHA-256 is " in warned[0]
    assert "resumed after epoch 1" in caplog.text
    assert losses(folder) == whole
    assert not list(folder.glob("checkpoint*"))


def test_f13_two_damaged_checkpoints_are_two_reports_and_a_new_start(
    dots_dir: Path,
    stopped: Callable[[], tuple[TrainParams, Path]],
    whole: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    train, folder = stopped()
    for path in folder.glob("checkpoint.0*"):
        path.write_bytes(flipped(path.read_bytes(), 0.7))
    train_net(crop_dir=dots_dir, train=train, out_dir=folder)
    assert [record.levelname for record in caplog.records].count("WARNING") == 2
    assert losses(folder) == whole
