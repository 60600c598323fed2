"""How steps are run: each process its share, and a step that finds too little memory once more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fpenet.data.crops.store import open_crops
from fpenet.keypoints import scheme_for
from fpenet.model import step as stepper_module
from fpenet.model.faces import open_faces
from fpenet.model.step import Stepper, Training, start
from fpenet.params import Params
from tests.dots import QUICK

pytestmark = pytest.mark.usefixtures("one_thread")
Begin = Callable[..., Stepper]


@pytest.fixture
def begin(dots_dir: Path, params_with: Callable[..., Params]) -> Begin:
    """A stepper of nano on the dots, in batches of four."""

    def make(**settings: object) -> Stepper:
        changed = {f"train.{key}": value for key, value in settings.items()}
        train = params_with(QUICK | {"train.batch_size": 4, **changed}).train
        return Stepper(
            start(train, 1), open_faces(open_crops(dots_dir), "cpu"), scheme_for(1), train
        )

    return make


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Tensor]]:
    """Parts and images of each step that is tried; the second try of all has too little memory."""
    real, seen = stepper_module.take_step, []

    def limited(training: Training, batch: Any, *rest: Any) -> Tensor:
        seen.append((training.parts, batch.images.clone()))
        if len(seen) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB.\nDetails")
        return real(training, batch, *rest)

    monkeypatch.setattr(stepper_module, "take_step", limited)
    return seen


def test_a_step_that_is_tried_again_sees_the_same_views(
    begin: Begin, tries: list[tuple[int, Tensor]]
) -> None:
    stepper = begin()
    for number in range(3):
        assert torch.isfinite(stepper.step(torch.arange(4) + 4 * number, 0.5))
    assert [parts for parts, _ in tries] == [1, 1, 2, 2]
    assert torch.equal(tries[1][1], tries[2][1])  # drawn anew from the same random numbers
    assert not torch.equal(tries[0][1], tries[1][1])
    assert not torch.equal(tries[2][1], tries[3][1])
    assert stepper.training.faces_seen == 12  # a step that was tried again counts once


def as_process(monkeypatch: pytest.MonkeyPatch, rank: int, size: int) -> None:
    """Have this process be number ``rank`` of ``size`` that have joined."""
    for name, value in (("is_initialized", True), ("get_rank", rank), ("get_world_size", size)):
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)


def test_a_process_of_several_does_not_part_its_batch(
    begin: Begin, tries: list[tuple[int, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_process(monkeypatch, 0, 2)
    stepper = begin()
    tries.append((0, torch.zeros(0)))  # so that the next one has too little memory
    with pytest.raises(
        ValueError, match=r"batch_size 4 in 1 parts: CUDA out of memory\."
    ) as failed:
        stepper.step(torch.arange(4), 0.5)
    assert "Details" not in str(failed.value)
    assert stepper.training.parts == 1


@pytest.mark.parametrize(("rank", "rows"), [(0, [10, 11]), (1, [12, 13])])
def test_each_process_draws_its_share_of_a_batch(
    rank: int, rows: list[int], begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_process(monkeypatch, rank, 2)
    real, seen = stepper_module.sample_batch, []

    def noted(faces: Any, mine: Tensor, *rest: Any) -> Any:
        seen.append((mine.tolist(), len(real(faces, mine, *rest).images)))
        return real(faces, mine, *rest)

    monkeypatch.setattr(stepper_module, "sample_batch", noted)
    monkeypatch.setattr(stepper_module, "take_step", lambda *_: torch.zeros(()))
    stepper = begin()
    stepper.step(torch.arange(10, 14), 0.5)
    assert seen == [(rows, 2)]
    assert stepper.training.faces_seen == 4  # of both


def test_a_batch_that_processes_cannot_share_alike_is_refused(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_process(monkeypatch, 0, 3)
    with pytest.raises(ValueError, match="batch_size is 4; 3 processes share it, so it must be a"):
        begin()
    assert begin(batch_size=6).share == 2


def test_an_interrupted_average_goes_on_at_the_decay_of_its_age(begin: Begin) -> None:
    stepper = begin(ema_decay=0.99)
    stepper.training.faces_seen = 4 * 89  # the ninetieth step is to come
    stepper.step(torch.arange(4), 0.5)
    assert stepper.training.decay.item() == pytest.approx(91 / 100)
