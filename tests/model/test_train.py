"""Training on a crop store made here: it learns, and a killed run goes on unchanged."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fpenet.data.crops.store import open_crops
from fpenet.keypoints import scheme_for
from fpenet.model import train as train_module
from fpenet.model.checkpoint import load_checkpoint, load_net, save_run
from fpenet.model.distributed import BatchRng
from fpenet.model.faces import check_visible_points, open_faces
from fpenet.model.losses import coordinate_loss
from fpenet.model.step import learning_rate, sample_batch, start, take_step
from fpenet.model.targets import targets_of
from fpenet.model.train import train_net
from fpenet.params import Params, TrainParams
from tests.dots import NO_FLIPS, losses


def test_a_killed_run_goes_on_with_the_same_losses_and_weights(
    dots_dir: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = params_with(NO_FLIPS).train
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    train_net(crop_dir=dots_dir, train=params, out_dir=whole)

    real = train_module._train_epoch

    def die_in_the_third(stepper: Any, *rest: Any) -> float | None:
        if stepper.training.epoch == 2:
            raise KeyboardInterrupt
        return real(stepper, *rest)

    monkeypatch.setattr(train_module, "_train_epoch", die_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        train_net(crop_dir=dots_dir, train=params, out_dir=killed)
    monkeypatch.undo()
    train_net(crop_dir=dots_dir, train=params, out_dir=killed)
    assert losses(killed) == losses(whole)
    same = (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert same
    assert not list(killed.glob("checkpoint*"))


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    dots_dir: Path, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    saved: list[int] = []
    path = tmp_path / "checkpoint.safetensors"
    training = start(params_with(NO_FLIPS).train, 1)
    for epoch in (1, 2):
        training.epoch = epoch
        save_run(training, path)
        saved.append(epoch)
    newest = max(tmp_path.glob("checkpoint.*"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    found = load_checkpoint(path)
    assert found is not None
    assert found[1]["epoch"] == 1


def test_the_net_learns_where_the_dot_is(
    dots_dir: Path, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    out_dir = tmp_path / "train"
    out_dir.mkdir()
    params = params_with(NO_FLIPS | {"train.epochs": 25}).train
    summary = train_net(crop_dir=dots_dir, train=params, out_dir=out_dir)
    assert summary["val_crop_px"] < 4.0  # the centre of the crop alone: about 15
    assert summary["epochs"] == 25
    _, about = load_net(out_dir)
    assert about.num_keypoints == 1


def test_a_set_without_a_point_in_the_loss_is_refused(
    dots_dir: Path, params_with: Callable[..., Params], caplog: pytest.LogCaptureFixture
) -> None:
    store = open_crops(dots_dir)
    hidden = np.zeros_like(store.visibility)
    none = dataclasses.replace(store, visibility=hidden)
    train = params_with().train
    with pytest.raises(ValueError, match=r"no point counts in the loss: of 40 labelled points of"):
        check_visible_points(none, train)
    assert check_visible_points(none, params_with({"train.mask_hidden": False}).train) == 1.0
    assert check_visible_points(none, params_with({"train.elt_weight": 1.0}).train) == 0.0
    assert "0 % of the labelled points count" in caplog.text
    few = hidden.copy()
    few[:20] = True  # half of the 40 faces of train
    caplog.clear()
    assert check_visible_points(dataclasses.replace(store, visibility=few), train) == 0.5
    assert caplog.text == ""


def test_flips_without_a_flip_map_are_refused(
    dots_dir: Path, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    with pytest.raises(
        ValueError, match=r"flip_probability is 0\.5, but 1 keypoints have no flip map"
    ):
        train_net(crop_dir=dots_dir, train=params_with().train, out_dir=tmp_path)


def test_a_loss_that_stays_nan_stops_the_run(
    dots_dir: Path, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    out_dir = tmp_path / "train"
    out_dir.mkdir()
    hot = NO_FLIPS | {"train.learning_rate": 1e30, "train.max_skipped_steps": 3}
    with pytest.raises(RuntimeError, match="not finite in 4 steps"):
        train_net(crop_dir=dots_dir, train=params_with(hot).train, out_dir=out_dir)
    assert not (out_dir / "model.safetensors").exists()


def test_the_rate_warms_up_and_ends_at_its_least(params_with: Callable[..., Params]) -> None:
    train: TrainParams = params_with().train
    assert learning_rate(train.warmup_fraction / 2, train) == pytest.approx(train.learning_rate / 2)
    assert learning_rate(train.warmup_fraction, train) == pytest.approx(train.learning_rate)
    assert learning_rate(1.0, train) == pytest.approx(train.min_learning_rate)


def test_a_net_that_answers_as_its_average_moved_has_no_equivariance_loss(
    dots_dir: Path, params_with: Callable[..., Params]
) -> None:
    train = params_with({**NO_FLIPS, "train.elt_weight": 0.5}).train
    store, scheme = open_crops(dots_dir), scheme_for(1)
    training = start(train, 1)
    rows = torch.from_numpy(store.rows("train")[:8])
    batch = sample_batch(open_faces(store, "cpu"), rows, scheme, train, BatchRng(0))
    assert batch.plain is not None
    assert batch.view is not None
    target = targets_of(batch, training.average, None, scheme, train).targets[1]
    with torch.no_grad():
        moved = batch.view.points(training.average(batch.plain / 255)[0], 80, scheme)
    assert torch.equal(target.points, moved)
    assert target.weight.sum().item() == pytest.approx(0.5)
    assert coordinate_loss(moved, target.points, target.weight, train).item() < 1e-6
    assert coordinate_loss(moved + 1.0, target.points, target.weight, train).item() > 0.25
    before = [value.clone() for value in training.net.parameters()]
    training.rate.fill_(1e-3)
    assert torch.isfinite(take_step(training, batch, scheme, train))
    assert any((a != b).any() for a, b in zip(before, training.net.parameters(), strict=True))


def test_a_batch_in_two_parts_has_the_gradient_of_the_whole(
    dots_dir: Path, params_with: Callable[..., Params]
) -> None:
    settings = {"train.net": "base", "train.elt_weight": 0.5, "train.precision": "fp32"}
    train = params_with(NO_FLIPS | settings).train
    store, scheme = open_crops(dots_dir), scheme_for(1)
    rows = torch.from_numpy(store.rows("train")[:8])
    gradients = []
    for parts in (1, 2, 3):  # base has no batch norm, whose statistics would be those of a part
        torch.manual_seed(0)
        training = start(train, 1)
        training.parts = parts
        batch = sample_batch(open_faces(store, "cpu"), rows, scheme, train, BatchRng(0))
        loss = take_step(training, batch, scheme, train)
        grads = [p.grad for p in training.net.parameters() if p.grad is not None]
        gradients.append((loss, torch.cat([grad.flatten() for grad in grads])))
    for loss, gradient in gradients[1:]:
        assert loss.item() == pytest.approx(gradients[0][0].item(), rel=1e-5)
        assert (gradient - gradients[0][1]).norm() < 1e-4 * gradients[0][1].norm()
