"""Weights and the state of a training: written whole, read back as they were, folded unchanged."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from fpenet.core.files import write_whole
from fpenet.keypoints import scheme_for
from fpenet.model import checkpoint as checkpoint_module
from fpenet.model.augment import Batch
from fpenet.model.checkpoint import (
    fold,
    load_checkpoint,
    load_net,
    resume_run,
    save_checkpoint,
    save_net,
    save_run,
)
from fpenet.model.nets.net_description import NetDescription
from fpenet.model.nets.recombinator import build_net
from fpenet.model.step import EpochSoFar, Training, start, take_step
from fpenet.params import Params, TrainParams
from fpenet.provenance.digest import digest_bytes

pytestmark = pytest.mark.usefixtures("one_thread")


def numbered(folder: Path) -> list[int]:
    return sorted(int(path.name.split(".")[1]) for path in folder.glob("run.0*"))


def test_the_two_newest_checkpoints_are_kept_each_named_by_its_number_and_digest(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run.safetensors"
    for number in (1, 2, 3, 4):
        save_checkpoint({"w": torch.full((2,), float(number))}, {"epoch": number}, path)
        assert numbered(tmp_path) == [*range(max(1, number - 1), number + 1)]
    for file in tmp_path.iterdir():
        _, count, digest, _ = file.name.split(".")
        assert digest == digest_bytes(file.read_bytes())
        assert load_file(file)["w"].tolist() == [float(count)] * 2
    found = load_checkpoint(path)
    assert found is not None
    assert (found[0]["w"].tolist(), found[1]) == ([4.0, 4.0], {"epoch": 4})


def test_numbers_are_compared_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    for number in (999_999, 1_000_000):
        content = save({"w": torch.zeros(1)}, metadata={"state": json.dumps({"epoch": number})})
        (tmp_path / f"run.{number:06d}.{digest_bytes(content)}.safetensors").write_bytes(content)
    found = load_checkpoint(path)
    assert found is not None
    assert found[1] == {"epoch": 1_000_000}


def test_files_of_other_names_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    assert load_checkpoint(path) is None
    save_checkpoint({"w": torch.zeros(1)}, {"epoch": 1}, path)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    file.rename(tmp_path / f"run.7.{digest_bytes(content)[:-1]}.safetensors")  # a shorter digest
    (tmp_path / f"other.000009.{digest_bytes(content)}.safetensors").write_bytes(content)
    (tmp_path / "run.writing").write_bytes(content)
    (tmp_path / f"run.000009.{digest_bytes(content)}.safetensors.bak").write_bytes(content)
    assert load_checkpoint(path) is None


def test_a_checkpoint_without_a_state_is_set_aside_and_the_one_before_loads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.safetensors"
    save_checkpoint({"w": torch.zeros(1)}, {"epoch": 1}, path)
    content = save({"w": torch.zeros(1)})
    (tmp_path / f"run.000002.{digest_bytes(content)}.safetensors").write_bytes(content)
    found = load_checkpoint(path)
    assert found is not None
    assert found[1] == {"epoch": 1}
    assert "not a checkpoint, although its SHA-256 is the one in its name" in caplog.text
    assert "going back to the checkpoint before number 2" in caplog.text
    assert (tmp_path / "run.damaged").read_bytes() == content


def test_a_file_is_flushed_to_the_disk_before_it_has_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, seen = tmp_path / "run.000001.aa.safetensors", os.fsync, list[tuple[str, bool]]()

    def noted(descriptor: int) -> None:
        named = Path(f"/proc/self/fd/{descriptor}").resolve()
        seen.append((named.name, path.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write_whole(path, b"content")
    assert seen == [("run.writing", False), (tmp_path.name, True)]
    assert path.read_bytes() == b"content"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_names_the_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "model.safetensors"
    with pytest.raises(OSError, match="No space left on device") as failed:
        write_whole(path, b"content")
    assert failed.value.filename == str(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["nano", "release", "base_5x5"])
def test_the_folded_net_has_no_batch_norm_and_gives_the_same_for_grey_levels(name: str) -> None:
    torch.manual_seed(0)
    net = build_net(name, 3, batch_norm=True).train()
    with torch.no_grad():
        for parameter in net.parameters():  # no scale, offset or bias is 1 or 0
            parameter.add_(0.02 * torch.randn(parameter.shape))
        net(torch.rand(4, 1, 80, 80))  # statistics of their own
        norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        for norm in norms[:1]:
            assert norm.running_var is not None
            norm.running_var[0] = 1e-4  # of which 1e-5, the smallest that is divided by, is a part
        if net.log_temperature is not None:
            net.log_temperature.fill_(-0.5)
        net.eval()
        images = torch.rand(2, 1, 80, 80)
        shipped = fold(net, name, 3)
        assert not shipped.training
        assert not any(isinstance(one, torch.nn.BatchNorm2d) for one in shipped.modules())
        for mine, known in zip(shipped(images * 255), net(images), strict=True):
            torch.testing.assert_close(mine, known, rtol=1e-3, atol=1e-3)


def test_a_saved_net_is_loaded_in_eval_mode_with_what_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_net("nano", 2)
    description = NetDescription("nano", 2, dataset="dots", regions={"all": (0, 1)})
    save_net(net, description, tmp_path)
    found, about = load_net(tmp_path)
    assert about == description
    assert not found.training
    for name, value in net.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
    text = (tmp_path / "model.json").read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_an_import_has_no_box_scale_and_says_so() -> None:
    assert NetDescription("nano", 2, "dots", 1.2).trained_on("model.json") == ("dots", 1.2)
    with pytest.raises(ValueError, match=r"model\.json: dataset and box_scale are null"):
        NetDescription("nano", 2).trained_on("model.json")


def test_a_net_that_does_not_fit_and_words_that_are_no_json_are_named(tmp_path: Path) -> None:
    save_net(build_net("nano", 2), NetDescription("nano", 3), tmp_path)
    with pytest.raises(ValueError, match=r"model\.safetensors: .*heatmaps\.weight") as failed:
        load_net(tmp_path)
    assert "\n" not in str(failed.value)
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"model\.safetensors: "):
        load_net(tmp_path)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(ValueError, match=r"model\.json: not JSON: "):
        load_net(tmp_path)


def a_training(train: TrainParams, seed: int) -> Training:
    torch.manual_seed(seed)
    training = start(train, 2)
    training.rate.fill_(0.01)
    training.decay.fill_(0.5)
    return training


def take_one(training: Training, train: TrainParams, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(4, 1, 80, 80, generator=generator) * 255
    points = torch.rand(4, 2, 2, generator=generator) * 60 + 10
    batch = Batch(images, points, torch.ones(4, 2).bool())
    return take_step(training, batch, scheme_for(2), train).item()


def everything(training: Training) -> dict[str, Any]:
    moments: Any = training.optimizer.state_dict()["state"]
    return {
        "net": training.net.state_dict(),
        "average": training.average.state_dict(),
        "moments": {
            f"{i}.{name}": v for i, values in moments.items() for name, v in values.items()
        },
        "numbers": [
            training.parts,
            training.epoch,
            training.seconds,
            training.skipped,
            training.faces_seen,
            training.curve,
        ],
    }


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["numbers"] == other["numbers"]
    for part in ("net", "average", "moments"):
        assert one[part].keys() == other[part].keys()
        for name, value in one[part].items():
            assert torch.equal(value, other[part][name]), (part, name)


def test_a_training_is_read_back_whole_and_goes_on_as_it_would_have(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    train = params_with({"train.net": "nano", "train.precision": "fp32"}).train
    path = tmp_path / "checkpoint.safetensors"
    training = a_training(train, 1)
    take_one(training, train, 1)
    take_one(training, train, 2)
    training.parts, training.epoch, training.seconds = 2, 3, 4.5
    training.skipped, training.faces_seen = 6, 7
    training.curve = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
    random = torch.Generator().manual_seed(77).get_state()
    training.so_far = EpochSoFar(8, [0.75, 0.5], random)
    save_run(training, path)

    again = a_training(train, 2)
    assert resume_run(again, path)
    assert_same(everything(again), everything(training))
    assert again.so_far is not None
    assert (again.so_far.steps, again.so_far.losses) == (8, [0.75, 0.5])
    assert torch.equal(again.so_far.random, random)
    for one in (training, again):
        one.rate.fill_(0.003)  # which the optimiser must hear of
    assert take_one(again, train, 3) == take_one(training, train, 3)
    assert_same(everything(again), everything(training))


def test_a_training_between_two_epochs_has_no_step_to_go_on_from(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    train = params_with({"train.net": "nano"}).train
    path = tmp_path / "checkpoint.safetensors"
    again = a_training(train, 2)
    assert not resume_run(again, path)
    save_run(a_training(train, 1), path)
    assert resume_run(again, path)
    assert again.so_far is None


def test_process_1_writes_no_checkpoint(
    tmp_path: Path, params_with: Callable[..., Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = a_training(params_with({"train.net": "nano"}).train, 1)
    monkeypatch.setattr(checkpoint_module, "rank", lambda: 1)
    save_run(training, tmp_path / "checkpoint.safetensors")
    assert not list(tmp_path.iterdir())
