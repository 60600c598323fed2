"""A pickle that runs code is refused wherever weights, engines or arrays are taken; it never runs.

The canary is a file that the pickle would make. That it would, the first test shows.
"""

import io
import logging
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from yaml.constructor import SafeConstructor

from fpenet.cli.main import main
from fpenet.core import yaml_tree
from fpenet.data.crops.store import open_crops
from fpenet.kpi.predictions import load_predictions
from fpenet.model.checkpoint import load_checkpoint, save_checkpoint
from fpenet.params import Params
from fpenet.provenance.digest import digest_bytes
from tests.faults.test_f17_pretrained_that_does_not_fit import trained

ROOT = Path(__file__).parents[2]
FACE = str(ROOT / "docs/keypoints.png")
Command = Callable[..., list[str]]


class Canary:
    """Unpickled, it makes the file ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def _torch_save(canary: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"state_dict": Canary(canary)}, file)
    return file.getvalue()


def _pt2(canary: Path) -> bytes:
    """As torch.export writes an archive: its sample inputs are a pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/archive_format", "pt2")
        archive.writestr("archive/data/sample_inputs/model.pt", _torch_save(canary))
        archive.writestr("archive/data/weights/weight_0", pickle.dumps(Canary(canary)))
    return file.getvalue()


def _npy(canary: Path) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Canary(canary)], object), allow_pickle=True)
    return file.getvalue()


PICKLES: dict[str, Callable[[Path], bytes]] = {
    "pickle": lambda canary: pickle.dumps(Canary(canary)),
    "torch.save": _torch_save,
    "pt2": _pt2,
    "npy": _npy,
}


@pytest.fixture(params=PICKLES)
def content(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    return PICKLES[request.param](tmp_path / "canary")


@pytest.fixture
def refused(
    tmp_path: Path, train_command: Command, capsys: pytest.CaptureFixture[str]
) -> Callable[[list[str], str], None]:
    """Run a command and hold it to its refusal: exit status 2, the file named, no canary."""

    def check(words: list[str], named: str) -> None:
        capsys.readouterr()
        assert main(words) == 2
        line = capsys.readouterr().err
        assert re.search(named, line), line
        assert "Traceback" not in line
        assert not (tmp_path / "canary").exists()

    return check


def test_f14_the_canary_would_sing(tmp_path: Path) -> None:
    pickle.loads(PICKLES["pickle"](tmp_path / "canary"))
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("file", ["model.safetensors", "trainable.safetensors", "model.json"])
def test_f14_as_weights_to_start_from(
    file: str,
    content: bytes,
    tmp_path: Path,
    train_command: Command,
    refused: Callable[[list[str], str], None],
) -> None:
    folder = trained(tmp_path / "weights", "release", 1)
    if file == "model.safetensors":
        (folder / "trainable.safetensors").unlink()
    (folder / file).write_bytes(content)
    words = train_command(tmp_path / "root", net="release", start_from=folder)
    refused(words, rf"weights/{re.escape(file)}")
    if file != "trainable.safetensors":
        refused(train_command(tmp_path / "root", teacher=folder), rf"weights/{re.escape(file)}")


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "model.pt2"])
def test_f14_as_a_file_in_place_of_a_folder(
    name: str,
    content: bytes,
    tmp_path: Path,
    train_command: Command,
    refused: Callable[[list[str], str], None],
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / name).write_bytes(content)
    for key in ("start_from", "teacher"):
        given = train_command(tmp_path / "root", **{key: folder / name})
        refused(given, rf"train\.{key}: .*{re.escape(name)} is not a folder with files")
        refused(
            train_command(tmp_path / "root", **{key: folder}), rf"train\.{key} .*no model\.json"
        )
    for words in (
        ["import-tao", str(folder / name), "--out", str(tmp_path / "out")],
        ["infer", FACE, "--box", "0", "0", "80", "80", "--model", str(folder / name)],
    ):
        refused(words, re.escape(name))


def test_f14_as_an_onnx_file(
    content: bytes, tmp_path: Path, refused: Callable[[list[str], str], None]
) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    for words in (
        ["import-tao", str(file), "--out", str(tmp_path / "out")],
        ["infer", FACE, "--box", "0", "0", "80", "80", "--model", str(file)],
    ):
        refused(words, r"model\.onnx")


def test_f14_as_a_checkpoint_to_go_on_from(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its name has its digest, so that only its content can give it away."""
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint({"weight": torch.zeros(2)}, {"epoch": 3}, path)
    name = f"checkpoint.000009.{digest_bytes(content)}.safetensors"
    (tmp_path / name).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        found = load_checkpoint(path)
    assert found is not None
    assert found[1] == {"epoch": 3}
    assert f"{name}: damaged: not a checkpoint" in caplog.text
    assert not (tmp_path / "canary").exists()


def test_f14_as_crops_and_as_predictions(
    content: bytes, dots_dir: Path, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    (tmp_path / "predictions.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"predictions\.npz: not the predictions of a model"):
        load_predictions(tmp_path / "predictions.npz")
    (dots_dir / "crops.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"crops\.npy: not an array"):
        open_crops(dots_dir)
    assert not (tmp_path / "canary").exists()


def test_f14_nothing_in_the_sources_can_unpickle() -> None:
    able = re.compile(
        r"import (c?pickle|dill|joblib|marshal|shelve)|(torch|jit|torch\.export)\.load\("
        r"|allow_pickle=True|yaml\.(unsafe_|full_)?load\("
    )
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for top in ("components", "flows", "infra", "benchmarks")
        for path in (ROOT / top).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if able.search(line)
    ]
    assert found == []
    assert issubclass(yaml_tree._SAFE_LOADER, SafeConstructor)
