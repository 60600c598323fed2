"""A loss or gradient that is not finite: the step is skipped, up to n; then nothing is released."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from fpenet.cli.main import main
from fpenet.core.errors import Diverged
from fpenet.model import step
from fpenet.model.checkpoint import load_checkpoint
from fpenet.model.step import sample_batch
from fpenet.model.train import train_net
from fpenet.params import Params
from tests.dots import QUICK


def spoil(monkeypatch: pytest.MonkeyPatch, bad: set[int], pixel: float) -> None:
    """Put ``pixel`` into one image of the batches whose numbers are ``bad``."""
    real = sample_batch
    drawn = 0

    def draw(*arguments: Any) -> Any:
        nonlocal drawn
        batch = real(*arguments)
        if drawn in bad:
            batch.images[0, 0, 40, 40] = pixel
        drawn += 1
        return batch

    monkeypatch.setattr(step, "sample_batch", draw)


@pytest.mark.parametrize("pixel", [float("nan"), float("inf"), 3e38])
def test_f15_a_step_that_is_not_finite_is_skipped_and_poisons_nothing(
    pixel: float,
    dots_dir: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, {3, 4, 11}, pixel)
    out_dir = tmp_path / "train"
    out_dir.mkdir()
    summary = train_net(crop_dir=dots_dir, train=params_with(QUICK).train, out_dir=out_dir)
    assert summary["skipped_steps"] == 3
    weights = load_file(out_dir / "model.safetensors")
    assert all(np.isfinite(weight).all() for weight in weights.values())
    curve = [json.loads(line) for line in (out_dir / "curve.jsonl").read_text().splitlines()]
    assert all(np.isfinite(line["loss"]) for line in curve)
    assert all(np.isfinite(line["val_crop_px"]) for line in curve)


def test_f15_one_step_too_many_stops_with_the_last_good_state(
    dots_dir: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, {11, 12, 13}, float("nan"))  # five steps an epoch: all in the third
    train = params_with(QUICK | {"train.max_skipped_steps": 2}).train
    with pytest.raises(Diverged, match="not finite in 3 steps, the last in epoch 3"):
        train_net(crop_dir=dots_dir, train=train, out_dir=tmp_path)
    found = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert found is not None
    tensors, state = found
    assert (state["epoch"], state["skipped"]) == (2, 0)
    assert all(torch.isfinite(value).all() for value in tensors.values())


def test_f15_an_epoch_without_a_finite_step_stops_though_the_limit_is_far(
    dots_dir: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, set(range(5, 10)), float("nan"))
    train = params_with(QUICK | {"train.max_skipped_steps": 1000}).train
    with pytest.raises(Diverged, match="no step of epoch 2 had a finite loss"):
        train_net(crop_dir=dots_dir, train=train, out_dir=tmp_path)


def test_f15_an_exploded_training_is_never_registered(
    tmp_path: Path,
    train_command: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    mlflow_store: Path,
) -> None:
    words = train_command(tmp_path / "root", learning_rate=1e30, max_skipped_steps=3)
    capsys.readouterr()
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith("fpenet train: loss or gradient was not finite in 4 steps")
    assert said.count("\n") == 1
    assert not (tmp_path / "root/train").exists()
    for stage in ("evaluate", "register"):
        assert main([stage, *words[1:]]) == 2
        assert "no such file; the folder is not a finished stage" in capsys.readouterr().err
