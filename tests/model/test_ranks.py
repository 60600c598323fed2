"""Two processes of ``torchrun`` train what one does; only the first writes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fpenet.cli.main import main
from fpenet.data.crops.store import open_crops
from fpenet.model.checkpoint import load_net
from fpenet.model.distributed import (
    BatchRng,
    WholeBatchNorm,
    device_of,
    from_first,
    joined,
    rank,
    see_whole_batch,
    size,
    summed,
)
from fpenet.params import Params
from tests.dots import losses
from tests.model.two_ranks import IMAGES, a_norm, normalise

ROOT = Path(__file__).parents[2]
Command = Callable[..., list[str]]


def torchrun(
    words: list[str], processes: int = 2, module: str = "fpenet"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", module, *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_two_processes_share_sums_gradients_random_numbers_and_batch_norm(tmp_path: Path) -> None:
    done = torchrun([str(tmp_path)], module="tests.model.two_ranks")
    assert done.returncode == 0, done.stderr
    first, second = (load_file(tmp_path / f"{number}.safetensors") for number in (0, 1))
    assert (first["mine"].tolist(), second["mine"].tolist()) == ([1.0, 0.0], [2.0, 10.0])
    for one in (first, second):
        assert one["size"].item() == 2
        assert one["total"].tolist() == [3.0, 10.0]
        assert one["one"].tolist() == [3.0, 3.0]
        assert one["two"].tolist() == [0.0, 30.0, 60.0]
        assert one["first"].tolist() == [5, 7]  # what process 0 has
    chance = BatchRng(3)
    drawn = {
        "uniform": chance.uniform(4, 3),
        "normal": chance.normal(4),
        "between": chance.between(4.0, 4, 2),
    }
    for name, value in drawn.items():
        assert torch.equal(torch.cat((first[name], second[name])), value), name
    alone = normalise(a_norm(), IMAGES)
    for name, value in alone.items():
        both = [one[name] for one in (first, second)]
        if name in ("output", "gradient"):
            both = [torch.cat(both)]
        for seen in both if "num_batches" not in name else ():
            torch.testing.assert_close(seen, value, rtol=1e-4, atol=1e-4, msg=name)


def test_one_process_is_number_0_of_1_and_its_sums_are_its_values(
    params_with: Callable[..., Params],
) -> None:
    assert (rank(), size()) == (0, 1)
    value = torch.tensor([2.0])
    with joined(torch.device("cpu")):
        assert not torch.distributed.is_initialized()
        assert summed(value) is value
    assert from_first(value) is value
    norm = torch.nn.Sequential(torch.nn.BatchNorm2d(2))
    see_whole_batch(norm)
    assert type(norm[0]) is torch.nn.BatchNorm2d
    assert device_of(params_with({"train.device": "cpu"}).train) == torch.device("cpu")


@pytest.mark.parametrize(
    ("device", "available", "expected"),
    [
        ("auto", True, "cuda:3"),
        ("cuda", True, "cuda:3"),
        ("cpu", True, "cpu"),
        ("auto", False, "cpu"),
    ],
)
def test_each_process_has_the_gpu_of_its_number_where_there_are_some(
    device: str,
    available: bool,
    expected: str,
    params_with: Callable[..., Params],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_of(params_with({"train.device": device}).train) == torch.device(expected)
    assert used == ([torch.device(expected)] if "cuda" in expected else [])


def test_batch_norm_in_use_takes_the_statistics_that_it_learned() -> None:
    own, theirs = WholeBatchNorm(3), a_norm()
    own.load_state_dict(theirs.state_dict())
    for norm in (own, theirs):
        norm.train()(IMAGES)
        norm.eval()
    torch.testing.assert_close(own.running_mean, theirs.running_mean)
    torch.testing.assert_close(own.running_var, theirs.running_var)
    torch.testing.assert_close(own(IMAGES[:2]), theirs(IMAGES[:2]), rtol=1e-4, atol=1e-5)
    half = own.train()(IMAGES.bfloat16())
    assert half.dtype == torch.bfloat16
