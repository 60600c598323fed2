"""F16: a batch that is too large for the GPU is split into two parts, or the run fails.

Only a GPU runs out of its memory: without one this is not run. What a step does about the error is
tested in tests/model/test_stepper.py.
"""

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fpenet.model.train import train_net
from fpenet.params import Params
from tests.dots import QUICK

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="not run: no CUDA device here, whose memory could run out"
)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


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


@pytest.mark.skipif(torch.cuda.is_available(), reason="not run: there is a GPU")
def test_f16_a_gpu_that_is_not_there_is_refused(
    dots_dir: Path, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    train = params_with(QUICK | {"train.device": "cuda"}).train
    with pytest.raises(ValueError, match=r"train\.device is cuda, but torch sees no GPU"):
        train_net(crop_dir=dots_dir, train=train, out_dir=tmp_path)
