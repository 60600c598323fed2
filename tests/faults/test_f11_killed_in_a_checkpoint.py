"""SIGKILL while a checkpoint is written: the one before loads, and the curve goes on the same."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fpenet.model.checkpoint import load_checkpoint
from fpenet.model.train import train_net
from fpenet.params import Params
from tests.dots import QUICK, losses
from tests.faults.killed import SAVED


def killed(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "tests.faults.killed", *map(str, arguments)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_f11_whatever_the_moment_of_the_kill_the_last_whole_checkpoint_loads(
    tmp_path: Path,
) -> None:
    killed("saves", tmp_path)
    found = []
    for folder in sorted(tmp_path.iterdir()):
        said = folder / SAVED
        acknowledged = int(said.read_text() or 0) if said.exists() else 0
        loaded = load_checkpoint(folder / "checkpoint.safetensors")
        epoch = loaded[1]["epoch"] if loaded else 0
        assert epoch >= acknowledged
        if loaded:
            assert (loaded[0]["net.weight"] == epoch).all()
        found.append(epoch)
    assert len(found) == 25
    assert max(found) >= 1  # the kills were not all before the first save


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_f11_a_kill_at_each_step_of_a_save_leaves_the_same_loss_curve(
    dots_dir: Path, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    train = params_with(QUICK).train
    whole, root = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    root.mkdir()
    train_net(crop_dir=dots_dir, train=train, out_dir=whole)
    killed("training", root, dots_dir, train.model_dump_json())
    folders = sorted(root.iterdir())
    epochs = set()
    for folder in folders:
        found = load_checkpoint(folder / "checkpoint.safetensors")
        assert found is not None
        epochs.add(found[1]["epoch"])
        train_net(crop_dir=dots_dir, train=train, out_dir=folder)
        assert losses(folder) == losses(whole)
        assert not list(folder.glob("checkpoint*"))
    assert epochs == {2, 3}  # before the rename, and after it
    assert len(folders) >= 5
