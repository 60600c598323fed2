"""Two processes of ``torchrun`` train what one does; only the first writes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fpenet.cli.main import main
from fpenet.data.crops.store import open_crops
from fpenet.model.checkpoint import load_net
from fpenet.model.distributed import WholeBatchNorm
from tests.dots import losses

ROOT = Path(__file__).parents[2]
Command = Callable[..., list[str]]


def torchrun(words: list[str], processes: int = 2) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "fpenet", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.usefixtures("one_thread")
def test_two_processes_give_the_losses_and_the_net_of_one(
    tmp_path: Path, train_command: Command
) -> None:
    settings = {
        "epochs": 2,
        "elt_weight": 0.5,
        "heatmap_weight": 0.3,
        "region_weights": "{face: 1.0}",
        "learning_rate": 0.0002,
        "precision": "fp32",
    }
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(train_command(one, **settings)) == 0
    done = torchrun(train_command(two, **settings))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == 2  # and nothing of the second process
    assert losses(two / "train") == pytest.approx(losses(one / "train"), rel=2e-3)
    store = open_crops(one / "crop")
    images = torch.from_numpy(store.images(store.rows("val"))).float()
    with torch.no_grad():
        points, other = (load_net(root / "train")[0](images)[0] for root in (one, two))
    assert (points - other).abs().max().item() < 0.05
    assert sorted(path.name for path in (two / "train").iterdir()) == sorted(
        path.name for path in (one / "train").iterdir()
    )
    again = torchrun(train_command(two, **settings))
    assert again.returncode == 0, again.stderr


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path, train_command: Command) -> None:
    done = torchrun(train_command(tmp_path, batch_size=9))
    assert done.returncode != 0
    assert "train.batch_size is 9; 2 processes share it, so it must be a multiple" in done.stderr


def test_a_stage_of_one_process_is_refused_in_another(
    tmp_path: Path,
    train_command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = train_command(tmp_path)
    assert main(words) == 0
    capsys.readouterr()
    monkeypatch.setenv("RANK", "1")
    assert main(["evaluate", *words[1:]]) == 2
    assert "stage evaluate runs in one process; this process is number 1" in capsys.readouterr().err


def test_batch_norm_of_the_whole_batch_is_pytorch_s_in_one_process() -> None:
    torch.manual_seed(0)
    own, theirs = WholeBatchNorm(3), torch.nn.BatchNorm2d(3)
    with torch.no_grad():
        own.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
    theirs.load_state_dict(own.state_dict())
    image = torch.randn(4, 3, 5, 6) * 3 + 1
    seen = []
    for norm in (own, theirs):
        norm.train()
        given = image.clone().requires_grad_()
        output = norm(given)
        (output**3).sum().backward()
        assert given.grad is not None
        seen.append((output.detach(), given.grad, norm.weight.grad, norm.running_var))
    for mine, wanted in zip(*seen, strict=True):
        assert mine is not None
        assert wanted is not None
        torch.testing.assert_close(mine, wanted, rtol=1e-4, atol=1e-4)
