"""A whole short training: what counts, what ships, what is saved, and what is written about it."""

import copy
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fpenet.core.progress import EpochEnd, observed_epochs
from fpenet.data.crops.store import CropStore, open_crops
from fpenet.model import step as step_module
from fpenet.model import train as train_module
from fpenet.model.augment import augment_batch
from fpenet.model.checkpoint import load_checkpoint, load_net
from fpenet.model.nets.recombinator import build_net
from fpenet.model.step import Training
from fpenet.model.train import train_on
from fpenet.params import Params, TrainParams
from tests.dots import QUICK, losses

pytestmark = pytest.mark.usefixtures("one_thread")
Load = Callable[..., TrainParams]


@pytest.fixture
def train(params_with: Callable[..., Params]) -> Load:
    """A short training of nano on the dots: two epochs of two steps, but for the settings."""

    def load(**settings: object) -> TrainParams:
        pairs = {"epochs": 2, "batch_size": 8, "precision": "fp32"} | settings
        return params_with(QUICK | {f"train.{key}": value for key, value in pairs.items()}).train

    return load


@pytest.fixture
def store(dots_dir: Path) -> CropStore:
    """Some of the dots: 16 faces of train, then 4 of val."""
    dots, some = open_crops(dots_dir), [*range(16), *range(40, 44)]
    return replace(
        dots,
        crops=dots.crops[some],
        table=dots.table.take(some),
        points_margin=dots.points_margin[some],
        visibility=dots.visibility[some],
    )


@pytest.fixture
def run(tmp_path: Path, store: CropStore) -> Callable[..., dict[str, Any]]:
    """Train into ``tmp_path / name``: ``run("a", settings)``; returns the summary."""

    def into(name: str, settings: TrainParams, faces: CropStore = store) -> dict[str, Any]:
        (tmp_path / name).mkdir(exist_ok=True)
        return train_on(faces, settings, tmp_path / name)

    return into


def shipped(folder: Path) -> dict[str, Tensor]:
    return dict(load_file(folder / "model.safetensors"))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("mask_hidden", [True, False])
def test_wrong_labels_of_hidden_points_move_the_net_only_where_they_are_not_masked(
    mask_hidden: bool, train: Load, run: Callable[..., Any], store: CropStore, tmp_path: Path
) -> None:
    visible = store.visibility.copy()
    visible[:8] = False
    for name, wrong in (("right", 0.0), ("wrong", 25.0)):
        points = store.points_margin.copy()
        points[:8] += np.float32(wrong)
        faces = replace(store, points_margin=points, visibility=visible)
        run(name, train(mask_hidden=mask_hidden), faces)
    assert same(shipped(tmp_path / "right"), shipped(tmp_path / "wrong")) is mask_hidden
    assert (losses(tmp_path / "right") == losses(tmp_path / "wrong")) is mask_hidden


def test_what_ships_is_the_average_of_the_weights_and_not_the_last_ones(
    train: Load,
    run: Callable[..., Any],
    store: CropStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = step_module.take_step
    states: list[dict[str, Tensor]] = []

    def noted(training: Training, *rest: Any) -> Tensor:
        if not states:
            states.append(copy.deepcopy(dict(training.net.state_dict())))
        loss = real(training, *rest)
        states.append(copy.deepcopy(dict(training.net.state_dict())))
        return loss

    monkeypatch.setattr(step_module, "take_step", noted)
    run("out", train(ema_decay=0.25))
    assert len(states) == 5  # before the first of four steps, and after each
    average = {name: value.double() for name, value in states[0].items()}
    for number, weights in enumerate(states[1:], 1):
        decay = min(0.25, (1 + number) / (10 + number))  # 2/11, then 0.25
        for name, value in weights.items():
            average[name] = decay * average[name] + (1 - decay) * value.double()
    trainable = load_file(tmp_path / "out/trainable.safetensors")
    for name, value in trainable.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), average[name], rtol=1e-4, atol=1e-5)
            if value.ndim == 4:
                last = states[-1][name]
                assert not torch.allclose(value, last, rtol=1e-4, atol=1e-5), name
    # The weights that ship give the average's points, and are what was watched.
    images = torch.from_numpy(store.images(store.rows("val"))).float()
    net = build_net("nano", 1, batch_norm=True).eval()
    seen = []
    for weights in (average, states[-1]):
        net.load_state_dict({name: value.float() for name, value in weights.items()})
        with torch.no_grad():
            seen.append(net(images / 255)[0])
    with torch.no_grad():
        points = load_net(tmp_path / "out")[0](images)[0]
    assert (points - seen[0]).abs().max() < 5e-3
    assert (points - seen[1]).abs().max() > 0.1
    error = (seen[0] - torch.from_numpy(store.points_crop(store.rows("val")))).norm(dim=-1).mean()
    line = json.loads((tmp_path / "out/curve.jsonl").read_text().splitlines()[-1])
    assert line["val_crop_px"] == pytest.approx(error.item(), abs=5e-3)


def test_without_a_decay_the_last_weights_ship(
    train: Load, run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, last = step_module.take_step, {}

    def noted(training: Training, *rest: Any) -> Tensor:
        loss = real(training, *rest)
        last.update(copy.deepcopy(dict(training.net.state_dict())))
        return loss

    monkeypatch.setattr(step_module, "take_step", noted)
    run("out", train(ema_decay=0.0, epochs=1))
    for name, value in load_file(tmp_path / "out/trainable.safetensors").items():
        if value.is_floating_point():
            torch.testing.assert_close(value, last[name], rtol=1e-5, atol=1e-6)


def killed_in(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next training die at the start of that epoch, counted from 1."""
    real = train_module._train_epoch

    def die(stepper: Any, *rest: Any) -> float | None:
        if stepper.training.epoch == epoch - 1:
            raise KeyboardInterrupt
        return real(stepper, *rest)

    monkeypatch.setattr(train_module, "_train_epoch", die)


@pytest.mark.parametrize(
    ("every", "dies_in", "saved"), [(2, 2, None), (2, 4, 2), (2, 5, 4), (1, 4, 3), (3, 5, 3)]
)
def test_a_checkpoint_is_saved_after_every_so_many_epochs(
    every: int,
    dies_in: int,
    saved: int | None,
    train: Load,
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed_in(dies_in, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run("out", train(epochs=5, batch_size=16, checkpoint_every_epochs=every))
    found = load_checkpoint(tmp_path / "out/checkpoint.safetensors")
    assert (found and found[1]["epoch"]) == saved


def test_the_last_epoch_is_saved_whatever_its_number(
    train: Load, run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(train_module, "save_net", full)
    settings = train(epochs=3, batch_size=16, checkpoint_every_epochs=2)
    with pytest.raises(OSError, match="disk full"):
        run("out", settings)
    found = load_checkpoint(tmp_path / "out/checkpoint.safetensors")
    assert found is not None
    assert found[1]["epoch"] == 3
    monkeypatch.undo()
    killed_in(4, monkeypatch)  # no epoch is trained again
    assert run("out", settings)["epochs"] == 3


def test_a_run_that_began_again_has_no_more_skipped_steps_than_it_may(
    train: Load, run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = step_module.sample_batch, list[Any]()

    def spoilt(*arguments: Any) -> Any:
        batch = real(*arguments)
        taken.append(len(taken))
        if taken[-1] in (1, 4):  # the second step of the first epoch and the first of the third
            batch.images[0, 0, 40, 40] = float("nan")
        return batch

    monkeypatch.setattr(step_module, "sample_batch", spoilt)
    settings = train(epochs=3, max_skipped_steps=1)
    with monkeypatch.context() as patch:
        killed_in(3, patch)
        with pytest.raises(KeyboardInterrupt):
            run("out", settings)
    with pytest.raises(RuntimeError, match=r"in 2 steps, the last in epoch 3; train\.max_skipped"):
        run("out", settings)
    taken.clear()
    assert run("other", settings.model_copy(update={"max_skipped_steps": 2}))["skipped_steps"] == 2
    taken.clear()
    with pytest.raises(RuntimeError, match="not finite in 1 steps, the last in epoch 1"):
        run("none", settings.model_copy(update={"max_skipped_steps": 0}))


def test_the_curve_s_loss_is_the_mean_of_the_steps_that_were_finite(
    train: Load, run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, values = step_module.take_step, list[Any]()

    def noted(training: Training, batch: Any, *rest: Any) -> Tensor:
        if len(values) == 5:
            batch.images[0, 0, 40, 40] = float("nan")
        loss = real(training, batch, *rest)
        values.append(loss.item())
        return loss

    monkeypatch.setattr(step_module, "take_step", noted)
    summary = run("out", train(epochs=2, batch_size=4))
    assert np.isnan(values[5])
    means = [np.mean(values[:4]), np.mean([values[4], *values[6:]])]
    assert losses(tmp_path / "out") == pytest.approx(means)
    assert summary["loss"] == pytest.approx(means[-1])
    assert summary["skipped_steps"] == 1


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The rows of each batch that is drawn."""
    real, seen = step_module.sample_batch, []

    def noted(faces: Any, rows: Tensor, *rest: Any) -> Any:
        seen.append(rows.tolist())
        return real(faces, rows, *rest)

    monkeypatch.setattr(step_module, "sample_batch", noted)
    return seen


def test_an_epoch_sees_each_training_face_once_in_an_order_of_its_own(
    train: Load, run: Callable[..., Any], orders: list[list[int]]
) -> None:
    run("out", train())
    first, second = orders[:2], orders[2:]
    for epoch in (first, second):
        assert sorted(row for rows in epoch for row in rows) == list(range(16))  # none of val
    assert first != second
    assert sorted(first[0]) != list(range(8))
    orders.clear()
    run("same", train())
    assert orders == first + second
    orders.clear()
    run("other", train(seed=36))
    assert orders[:2] != first


def test_the_faces_that_fill_no_batch_wait_for_another_epoch(
    train: Load, run: Callable[..., Any], orders: list[list[int]]
) -> None:
    summary = run("out", train(batch_size=5))
    assert [len(rows) for rows in orders] == [5] * 6
    assert summary["faces_seen"] == 30
    assert len({row for rows in orders[:3] for row in rows}) == 15


def test_the_seed_alone_makes_another_net(
    train: Load, run: Callable[..., Any], tmp_path: Path
) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        run(name, train(epochs=1, batch_size=16, seed=seed, learning_rate=1e-9))
        torch.rand(1)  # what else draws numbers does not matter
    assert same(shipped(tmp_path / "one"), shipped(tmp_path / "same"))
    assert not same(shipped(tmp_path / "one"), shipped(tmp_path / "other"))


def test_each_epoch_augments_anew(
    train: Load, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, shifts = augment_batch, list[Any]()

    def noted(*arguments: Any) -> Any:
        batch: Any = real(*arguments)
        shifts.append(batch.view.shift[0].tolist())
        return batch

    monkeypatch.setattr(step_module, "augment_batch", noted)
    run("out", train(epochs=3, batch_size=16, weak_fraction=0.0))
    assert len({tuple(shift) for shift in shifts}) == 3


def test_val_is_watched_and_changes_nothing(
    train: Load, run: Callable[..., Any], store: CropStore, tmp_path: Path
) -> None:
    points = store.points_margin.copy()
    points[16:] += np.float32(30)
    points[19] = np.nan  # no label: not watched
    ends: list[EpochEnd] = []
    with observed_epochs(ends.append):
        run("moved", train(), replace(store, points_margin=points))
    summary = run("out", train())
    assert same(shipped(tmp_path / "out"), shipped(tmp_path / "moved"))
    curves = [
        [json.loads(line) for line in (tmp_path / name / "curve.jsonl").read_text().splitlines()]
        for name in ("out", "moved")
    ]
    assert summary["val_crop_px"] == curves[0][-1]["val_crop_px"]
    assert curves[1][-1]["val_crop_px"] > curves[0][-1]["val_crop_px"] + 5
    assert [end.curve[-1]["epoch"] for end in ends] == [1, 2]
    assert [len(end.curve) for end in ends] == [1, 2]
    assert np.array_equal(ends[1].images, store.images(np.arange(16, 20)))
    np.testing.assert_allclose(ends[1].target_crop, points[16:] - 16)
    away = np.linalg.norm(ends[1].points_crop - ends[1].target_crop, axis=-1)
    assert curves[1][-1]["val_crop_px"] == pytest.approx(np.nanmean(away), rel=1e-5)


def test_a_set_without_val_is_trained_and_nothing_is_said_of_it(
    train: Load, run: Callable[..., Any], store: CropStore, tmp_path: Path
) -> None:
    parts = store.table.column_names.index("part")
    table = store.table.set_column(parts, "part", [["train"] * 16 + ["kpi"] * 4])
    summary = run("out", train(epochs=1), replace(store, table=table))
    assert summary["val_crop_px"] is None
    assert "val_crop_px" not in json.loads((tmp_path / "out/curve.jsonl").read_text())


def test_the_folder_says_what_the_net_is(
    train: Load, run: Callable[..., Any], store: CropStore, tmp_path: Path
) -> None:
    summary = run("out", train(confidence_px=3.0))
    about = json.loads((tmp_path / "out/model.json").read_text())
    count = sum(value.numel() for value in shipped(tmp_path / "out").values())
    assert about == {
        "format": 1,
        "net": "nano",
        "num_keypoints": 1,
        "regions": {"all": [0]},
        "dataset": "dots",
        "box_scale": 1.2,
        "confidence": "learned",
        "confidence_px": 3.0,
        "parameters": count,
    }
    lines = [json.loads(line) for line in (tmp_path / "out/curve.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    expected = {
        "epochs": 2,
        "faces_seen": 32,
        "skipped_steps": 0,
        "reinitialised": [],
        "loss": lines[-1]["loss"],
        "val_crop_px": lines[-1]["val_crop_px"],
    }
    assert expected.items() <= summary.items()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "curve.jsonl",
        "model.json",
        "model.safetensors",
        "trainable.safetensors",
    ]


def test_a_net_of_the_original_says_that_its_confidence_is_the_peak(
    train: Load, run: Callable[..., Any], store: CropStore, tmp_path: Path
) -> None:
    run("out", train(net="release", epochs=1, batch_size=16))
    about = json.loads((tmp_path / "out/model.json").read_text())
    assert (about["confidence"], about["confidence_px"]) == ("peak", None)


def test_progress_counts_the_faces_of_all_planned_epochs(
    train: Load, run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="fpenet.core.progress"):
        run("out", train())
    records: list[Any] = [r for r in caplog.records if r.name == "fpenet.core.progress"]
    assert [(r.done, r.total, r.unit) for r in records] == [
        (8, 32, "faces"),
        (16, 32, "faces"),
        (24, 32, "faces"),
        (32, 32, "faces"),
    ]
    assert [sorted(r.metrics) for r in records[1:3]] == [["loss"], ["loss", "val_crop_px"]]


def test_weights_to_start_from_are_those_of_the_average_too(
    train: Load, run: Callable[..., Any], tmp_path: Path
) -> None:
    run("first", train())
    still = {"learning_rate": 1e-12, "min_learning_rate": 1e-12, "ema_decay": 0.9}
    run("second", train(start_from=str(tmp_path / "first"), seed=9, **still))
    first, second = (
        load_file(tmp_path / name / "trainable.safetensors") for name in ("first", "second")
    )
    for name in build_net("nano", 1, batch_norm=True).state_dict():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(second[name], first[name], rtol=1e-5, atol=1e-6)


def test_a_new_head_starts_fresh_and_the_rest_where_it_was(
    train: Load, run: Callable[..., Any], tmp_path: Path
) -> None:
    run("first", train())
    still = {"learning_rate": 1e-12, "min_learning_rate": 1e-12, "ema_decay": 0.9}
    summary = run("second", train(start_from=str(tmp_path / "first"), new_head=True, **still))
    assert summary["reinitialised"] == ["heatmaps.weight", "heatmaps.bias"]
    first, second = (
        load_file(tmp_path / name / "trainable.safetensors") for name in ("first", "second")
    )
    torch.testing.assert_close(second["head.0.weight"], first["head.0.weight"])
    assert (second["heatmaps.weight"] - first["heatmaps.weight"]).abs().max() > 1e-3


def test_a_teacher_is_learnt_from_in_a_training(
    train: Load, run: Callable[..., Any], tmp_path: Path
) -> None:
    run("teacher", train(epochs=1))
    run("alone", train(epochs=1))
    values = []
    for weight in (0.5, 5.0):
        run(
            f"by-{weight}",
            train(epochs=1, teacher=str(tmp_path / "teacher"), teacher_weight=weight),
        )
        values.append(losses(tmp_path / f"by-{weight}")[0])
    assert losses(tmp_path / "alone")[0] < values[0] < values[1]
    assert not same(shipped(tmp_path / "alone"), shipped(tmp_path / "by-0.5"))
