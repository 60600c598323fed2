"""SIGTERM: a checkpoint of this very step, an exit that says "again", and nothing lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpenet.core.errors import Resumable
from fpenet.core.stopping import deferred_sigterm
from fpenet.model import step
from fpenet.model.checkpoint import load_checkpoint
from fpenet.model.step import take_step
from fpenet.model.train import train_net
from fpenet.params import Params
from tests.dots import QUICK, losses
from tests.waiting import LONGEST_SECONDS, wait_for

SIGNALS_AT = 7  # steps, of five an epoch


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Training gets SIGTERM twice at its seventh step."""
    real = take_step
    taken = 0

    def take(*arguments: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken == SIGNALS_AT:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(step, "take_step", take)
    return monkeypatch


def test_f19_the_step_is_finished_and_the_rest_of_the_epoch_goes_on_the_same(
    dots_dir: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    signalled: pytest.MonkeyPatch,
) -> None:
    train = params_with(QUICK).train
    out_dir, whole = tmp_path / "train", tmp_path / "whole"
    out_dir.mkdir()
    whole.mkdir()
    with pytest.raises(Resumable, match="the state is saved"):
        train_net(crop_dir=dots_dir, train=train, out_dir=out_dir)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    found = load_checkpoint(out_dir / "checkpoint.safetensors")
    assert found is not None
    assert (found[1]["epoch"], found[1]["so_far"]["steps"]) == (1, 2)
    signalled.undo()
    train_net(crop_dir=dots_dir, train=train, out_dir=out_dir)
    train_net(crop_dir=dots_dir, train=train, out_dir=whole)
    assert losses(out_dir) == losses(whole)
    assert (out_dir / "model.safetensors").read_bytes() == (
        whole / "model.safetensors"
    ).read_bytes()


def test_f19_a_prefect_run_saves_and_then_ends_its_own_way(
    dots_dir: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    signalled: pytest.MonkeyPatch,
) -> None:
    from prefect.exceptions import TerminationSignal
    from prefect.utilities.engine import capture_sigterm

    def train() -> None:
        with capture_sigterm():
            train_net(crop_dir=dots_dir, train=params_with(QUICK).train, out_dir=tmp_path)

    signalled.setattr(os, "_exit", lambda status: None)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with pytest.raises(TerminationSignal):
            train()
    finally:
        signal.signal(signal.SIGTERM, before)
    found = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert found is not None
    assert found[1]["so_far"]["steps"] == 2


def test_f19_without_a_signal_nothing_is_raised() -> None:
    with deferred_sigterm() as came:
        assert not came()


@pytest.mark.slow
def test_f19_a_preempted_command_exits_resumable_and_goes_on(
    tmp_path: Path, train_command: Callable[..., list[str]]
) -> None:
    def command(root: Path) -> list[str]:
        return [sys.executable, "-m", "fpenet", *train_command(root, epochs=12)]

    root = tmp_path / "root"
    training = subprocess.Popen(command(root), stderr=subprocess.PIPE, text=True)

    def saved_once() -> bool:
        assert training.poll() is None
        return bool(list(root.glob(".train.*.partial/checkpoint.0*")))

    try:
        wait_for(saved_once, "the first checkpoint")
        training.send_signal(signal.SIGTERM)
        time.sleep(0.02)
        training.send_signal(signal.SIGTERM)
        _, said = training.communicate(timeout=LONGEST_SECONDS)
    finally:
        training.kill()
    assert (training.returncode, said) == (
        75,
        "fpenet train: stopped by SIGTERM; the state is saved, the same command resumes it\n",
    )
    assert not (root / "train").exists()
    # In processes of the same kind: another number of threads gives other sums.
    for folder in (root, tmp_path / "whole"):
        subprocess.run(command(folder), check=True, stdout=subprocess.DEVNULL)
    assert losses(root / "train") == losses(tmp_path / "whole/train")
