"""Rate, average and strength of the augmentation at each step of a training: known values."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fpenet.model import step as step_module
from fpenet.model import step as stepper_module
from fpenet.model import train as train_module
from fpenet.model.augment import augment_batch
from fpenet.model.step import learning_rate, start, strength
from fpenet.model.train import planned_epochs, train_net
from fpenet.params import AugmentParams, Params, TrainParams
from tests.dots import QUICK

pytestmark = pytest.mark.usefixtures("one_thread")
SCHEDULE = {
    "train.learning_rate": 0.01,
    "train.min_learning_rate": 0.001,
    "train.warmup_fraction": 0.1,
    "train.flat_fraction": 0.4,
}
# A tenth of warm-up, flat up to the half, then 0.001 + 0.0045 (1 + cos) down to the end.
RATES = {
    0.0: 0.0,
    0.05: 0.005,
    0.1: 0.01,
    0.3: 0.01,
    0.5: 0.01,
    0.625: 0.00868198,  # cos 45 degrees = 0.70710678
    0.75: 0.0055,
    0.875: 0.00231802,
    1.0: 0.001,
    1.2: 0.001,  # a run that was planned too short
}


@pytest.mark.parametrize(("done", "rate"), RATES.items())
def test_the_rate_warms_up_stays_and_falls_along_a_half_cosine(
    done: float, rate: float, params_with: Callable[..., Params]
) -> None:
    assert learning_rate(done, params_with(SCHEDULE).train) == pytest.approx(rate, abs=1e-8)


@pytest.mark.parametrize(
    ("warmup", "flat", "rates"),
    [
        (0.0, 0.0, [0.01, 0.0055, 0.001]),
        (0.5, 0.0, [0.0, 0.01, 0.001]),
        (0.0, 1.0, [0.01, 0.01, 0.01]),
        (0.5, 0.9, [0.0, 0.01, 0.01]),  # no room for the cosine
    ],
)
def test_a_phase_may_be_absent(
    warmup: float, flat: float, rates: list[float], params_with: Callable[..., Params]
) -> None:
    phases = {"train.warmup_fraction": warmup, "train.flat_fraction": flat}
    train = params_with(SCHEDULE | phases).train
    assert [learning_rate(done, train) for done in (0.0, 0.5, 1.0)] == pytest.approx(rates)


def test_the_augmentation_is_weak_after_the_strong_part_and_not_at_its_last_step(
    params_with: Callable[..., Params],
) -> None:
    train = params_with({"train.weak_fraction": 0.25, "train.weak_strength": 0.3}).train
    steps = [strength(done, train) for done in (0.125, 0.75, 0.8125, 1.0)]
    assert steps == [1.0, 1.0, 0.3, 0.3]
    never = train.model_copy(update={"weak_fraction": 0.0})
    assert strength(1.0, never) == 1.0


def test_each_step_has_the_rate_and_the_decay_of_its_place_in_the_run(
    dots_dir: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, seen = stepper_module.take_step, []

    def noted(training: Any, *rest: Any) -> Any:
        seen.append((float(training.rate), float(training.decay)))
        return real(training, *rest)

    monkeypatch.setattr(stepper_module, "take_step", noted)
    settings = {"train.epochs": 4, "train.batch_size": 20, "train.ema_decay": 0.3}
    train_net(
        crop_dir=dots_dir, train=params_with(QUICK | SCHEDULE | settings).train, out_dir=tmp_path
    )
    rates, decays = zip(*seen, strict=True)  # of 2 steps in each of 4 epochs
    known = [0.01, 0.01, 0.01, 0.01, RATES[0.625], RATES[0.75], RATES[0.875], RATES[1.0]]
    assert rates == pytest.approx(known, rel=1e-5)
    # (1 + n) / (10 + n) of a young average, and 0.3 from the third step on.
    assert decays == pytest.approx([2 / 11, 3 / 12, *[0.3] * 6], rel=1e-6)


KEPT = {"flip_probability", "patch_px", "patch_hides", "low_resolution_px"}


@pytest.mark.parametrize(("fraction", "weak_steps"), [(0.0, 0), (0.25, 1), (0.5, 2), (1.0, 4)])
def test_the_last_steps_augment_with_every_limit_scaled_but_the_flip(
    fraction: float,
    weak_steps: int,
    dots_dir: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, seen = augment_batch, list[AugmentParams]()

    def noted(*arguments: Any) -> Any:
        seen.extend(one for one in arguments if isinstance(one, AugmentParams))
        return real(*arguments)

    monkeypatch.setattr(step_module, "augment_batch", noted)
    settings = {
        "train.epochs": 2,
        "train.batch_size": 20,
        "train.weak_fraction": fraction,
        "train.weak_strength": 0.5,
    }
    train = params_with(QUICK | settings).train
    train_net(crop_dir=dots_dir, train=train, out_dir=tmp_path)
    assert len(seen) == 4  # 2 steps in each of 2 epochs
    for number, augment in enumerate(seen, 1):
        scale = 0.5 if number > 4 - weak_steps else 1.0
        for name, value in train.augment.model_dump().items():
            factor = 1.0 if name in KEPT else scale
            expected = value if name in KEPT else pytest.approx(value * factor)
            assert getattr(augment, name) == expected, (number, name)


@pytest.mark.parametrize(
    ("epoch", "seconds", "minutes", "planned"),
    [
        (0, 0.0, 1.0, 10),  # the pace is not known yet
        (2, 60.0, 2.5, 5),  # 30 s an epoch; 90 s left
        (2, 60.0, 2.49, 4),  # 89.4 s are not enough for three more
        (2, 60.0, 100.0, 10),  # never more than train.epochs
        (2, 60.0, 0.5, 2),  # what was trained is not taken back
        (2, 60.0, 1.0, 2),
    ],
)
def test_epochs_are_fitted_to_the_minutes_at_the_pace_so_far(
    epoch: int, seconds: float, minutes: float, planned: int, params_with: Callable[..., Params]
) -> None:
    train = params_with({"train.epochs": 10, "train.max_minutes": minutes}).train
    training = start(train.model_copy(update={"net": "nano"}), 1)
    training.epoch, training.seconds = epoch, seconds
    assert planned_epochs(training, train) == planned


def test_a_run_that_is_out_of_minutes_ends_its_schedule_with_them(
    dots_dir: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = iter(range(0, 10_000, 15))  # each look at the clock is 15 s after the one before
    monkeypatch.setattr(train_module, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    limits = {"train.epochs": 9, "train.max_minutes": 1.5}
    train: TrainParams = params_with(QUICK | SCHEDULE | limits).train
    summary = train_net(crop_dir=dots_dir, train=train, out_dir=tmp_path)
    # An epoch is 15 s of steps and 15 s of its report: three of them are 1.5 minutes.
    assert (summary["epochs"], summary["faces_seen"]) == (3, 120)
    assert summary["minutes"] == pytest.approx(1.5)
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [line["seconds"] for line in lines] == [15, 45, 75]
    assert [line["faces_seen"] for line in lines] == [40, 80, 120]
    assert [line["faces_per_second"] for line in lines] == pytest.approx([40 / 15] * 3)
    rates = [learning_rate(done, train) for done in (1 / 9, 2 / 3, 1.0)]
    assert [line["learning_rate"] for line in lines] == pytest.approx(rates)
