"""A batch that is too large for the GPU is answered in two parts, or the run fails in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from components.model.train import train_net
from components.params import Params
from tests.dots import QUICK

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU to run out of memory")


@needs_gpu
@pytest.mark.parametrize(
    ("epochs", "share", "fits"),
    [(4, 0.8, True), (4, 0.3, False), (8, 1.3, True)],
    ids=["a batch", "half a batch", "a graph of the step"],
)
def test_f16_a_batch_is_halved_once_and_the_memory_released(
    epochs: int,
    share: float,
    fits: bool,
    dots_dir: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys = {"train.batch_size": 40, "train.net": "base", "train.epochs": epochs}
    train = params_with(QUICK | keys).train
    few = train.model_copy(update={"epochs": 2})
    torch.cuda.reset_peak_memory_stats()
    train_net(crop_dir=dots_dir, train=few, out_dir=_folder(tmp_path / "free"))
    needed = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(share * needed / total)
    try:
        if fits:
            summary = train_net(crop_dir=dots_dir, train=train, out_dir=_folder(tmp_path / "less"))
            assert summary["faces_seen"] == 40 * epochs
        else:
            with pytest.raises(ValueError, match=r"too small for train\.batch_size 40 in 2 parts"):
                train_net(crop_dir=dots_dir, train=train, out_dir=_folder(tmp_path / "less"))
        assert "each batch is answered in two parts" in caplog.text
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() < 50 * 2**20


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_f16_a_gpu_that_is_not_there_is_refused(
    dots_dir: Path, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    train = params_with(QUICK | {"train.device": "cuda"}).train
    with pytest.raises(ValueError, match=r"train\.device is cuda, but torch sees no GPU"):
        train_net(crop_dir=dots_dir, train=train, out_dir=tmp_path)
