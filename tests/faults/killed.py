"""A program that starts child processes and kills them while they write checkpoints.

The children are forks, so that torch is imported only once.
"""

import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fpenet.model import checkpoint
from fpenet.model.checkpoint import save_checkpoint
from fpenet.model.train import train_net
from fpenet.params import TrainParams

SAVED = "saved.txt"
STEPS = {"open", "os.rename", "os.remove", "os.scandir"}  # as Python audits them


def save_forever(folder: Path) -> None:
    """Save a checkpoint of 2 MB per epoch; after each save write the epoch into a file."""
    for epoch in range(1, 1000):
        tensors = {"net.weight": torch.full((500_000,), float(epoch))}
        save_checkpoint(tensors, {"epoch": epoch}, folder / "checkpoint.safetensors")
        (folder / SAVED).write_text(str(epoch))


def train_and_die(crop_dir: Path, train: TrainParams, root: Path) -> None:
    """Train until the third save, then repeat this save in children, each killed at another step.

    Each child has its own copy of the folder: ``root/000`` is killed at the first step.
    """
    saves = 0
    folder = root / "training"
    folder.mkdir()

    def save(tensors: Any, state: Any, path: Path) -> None:
        nonlocal saves
        saves += 1
        if saves < 3:
            return save_checkpoint(tensors, state, path)
        for step in range(100):
            copy = root / f"{step:03d}"
            shutil.copytree(folder, copy)
            status = child(partial(save_until, step, tensors, state, copy / path.name))
            if os.WIFEXITED(status):
                break
        assert os.WEXITSTATUS(status) == 0, status
        shutil.rmtree(folder)
        sys.exit(0)

    checkpoint.save_checkpoint = save
    train_net(crop_dir=crop_dir, train=train, out_dir=folder)


def save_until(step: int, *arguments: Any) -> None:
    """Save a checkpoint; SIGKILL ends the process at the given step, if there is such a step."""
    steps = 0

    def count(name: str, _arguments: tuple[Any, ...]) -> None:
        nonlocal steps
        if name in STEPS:
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)
            steps += 1

    sys.addaudithook(count)
    save_checkpoint(*arguments)
    os._exit(0)


def child(work: Callable[[], None], milliseconds: float | None = None) -> int:
    """Run ``work`` in a fork, kill it after ``milliseconds``; returns the wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
        os._exit(3)
    if milliseconds is not None:
        time.sleep(milliseconds / 1000)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def main() -> None:
    torch.set_num_threads(1)
    root = Path(sys.argv[2])
    if sys.argv[1] == "saves":
        for milliseconds in range(10, 260, 10):
            folder = root / f"{milliseconds:03d}"
            folder.mkdir()
            child(partial(save_forever, folder), milliseconds)
        return
    train_and_die(Path(sys.argv[3]), TrainParams.model_validate_json(sys.argv[4]), root)


if __name__ == "__main__":
    main()
