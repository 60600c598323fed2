"""F24: an ONNX file whose weights lie elsewhere, or claim to be huge, is opened by nothing."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from fpenet.deploy.engines.onnxruntime_engine import open_engine
from fpenet.deploy.onnx.network import read_network
from fpenet.deploy.runtime.landmarker import Landmarker

OPENERS: list[Callable[[Path], object]] = [
    open_engine,
    read_network,
    lambda path: Landmarker(path, trusted="anyone"),
]


@pytest.fixture
def scattered(stages: SimpleNamespace, tmp_path: Path) -> Path:
    """The network with its weights in a file beside it, as onnx itself writes and reads it."""
    model = onnx.load(stages.export / "opset17" / "fp32.onnx")
    path = tmp_path / "scattered.onnx"
    onnx.save_model(
        model, path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    assert (tmp_path / "weights.bin").stat().st_size > 100_000
    return path


def moved(path: Path, location: str) -> None:
    """Let every weight of the file lie at ``location``."""
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("opened", OPENERS, ids=["engine", "network", "landmarker"])
@pytest.mark.parametrize("where", ["beside", "absolute", "above", "symlink"])
def test_weights_in_another_file_are_refused_wherever_it_lies(
    scattered: Path, opened: Callable[[Path], object], where: str
) -> None:
    weights = scattered.parent / "weights.bin"
    if where == "absolute":
        moved(scattered, str(weights))
    elif where == "above":
        moved(scattered, f"../{weights.parent.name}/weights.bin")
    elif where == "symlink":
        os.symlink(weights, scattered.parent / "link.bin")
        moved(scattered, "link.bin")
    with pytest.raises(ValueError, match=r"scattered\.onnx: its weights are in another file"):
        opened(scattered)
