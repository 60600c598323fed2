"""A batch that is too large for the GPU is split into two parts, or the run fails in one line."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fpenet.model import step
from fpenet.model.augment import Batch
from fpenet.model.step import Training, take_step
from fpenet.model.train import train_net
from fpenet.params import Params
from tests.dots import QUICK

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU to run out of memory")


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("most", [20, 10])
def test_f16_a_step_that_finds_too_little_memory_is_run_again_in_two_parts(
    most: int,
    dots_dir: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without a GPU: a step refuses parts of more than ``most`` faces, as an allocator would."""
    real = take_step

    def limited(training: Training, batch: Batch, *rest: Any) -> torch.Tensor:
        if len(batch.images) > most * training.parts:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")
        return real(training, batch, *rest)

    monkeypatch.setattr(step, "take_step", limited)
    train = params_with(QUICK | {"train.batch_size": 40, "train.epochs": 2}).train
    if most == 20:
        assert train_net(crop_dir=dots_dir, train=train, out_dir=tmp_path)["faces_seen"] == 80
    else:
        with pytest.raises(ValueError, match=r"too small for train\.batch_size 40 in 2 parts"):
            train_net(crop_dir=dots_dir, train=train, out_dir=tmp_path)
    assert caplog.text.count("each batch is split into two parts") == 1


@needs_gpu
@pytest.mark.parametrize(("share", "fits"), [(0.8, True), (0.3, False)])
def test_f16_a_batch_is_halved_once_and_the_memory_released(
    share: float,
    fits: bool,
    dots_dir: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    caplog: pytest.LogCaptureFixture,
) -> None:
    train = params_with(QUICK | {"train.batch_size": 40, "train.net": "base"}).train
    torch.cuda.reset_peak_memory_stats()
    train_net(crop_dir=dots_dir, train=train, out_dir=_folder(tmp_path / "free"))
    gc.collect()
    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated()  # what the libraries keep for the next matrix product
    needed = torch.cuda.max_memory_allocated() - held
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((held + share * needed) / total)
    try:
        if fits:
            summary = train_net(crop_dir=dots_dir, train=train, out_dir=_folder(tmp_path / "less"))
            assert summary["faces_seen"] == 160
        else:
            with pytest.raises(ValueError, match=r"too small for train\.batch_size 40 in 2 parts"):
                train_net(crop_dir=dots_dir, train=train, out_dir=_folder(tmp_path / "less"))
        assert "each batch is split into two parts" in caplog.text
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    gc.collect()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() < held + 2**20


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_f16_a_gpu_that_is_not_there_is_refused(
    dots_dir: Path, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    train = params_with(QUICK | {"train.device": "cuda"}).train
    with pytest.raises(ValueError, match=r"train\.device is cuda, but torch sees no GPU"):
        train_net(crop_dir=dots_dir, train=train, out_dir=tmp_path)
