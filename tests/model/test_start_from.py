"""Fine-tuning goes on where the weights were; a teacher is listened to."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fpenet.cli.main import main
from fpenet.data.crops.store import open_crops
from fpenet.data.sample import fixed_lists, points_of, read_table, write_table
from fpenet.keypoints import scheme_for
from fpenet.model.augment import Batch
from fpenet.model.checkpoint import fold, save_net
from fpenet.model.nets.net_description import NetDescription
from fpenet.model.nets.recombinator import build_net
from fpenet.model.start_from import load_teacher, load_weights, save_trainable
from fpenet.model.targets import targets_of
from fpenet.params import Params
from fpenet.provenance.manifest import Manifest, read_manifest, seal
from tests.dots import losses

Command = Callable[..., list[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A nano net of twelve keypoints that saw something, as stage train leaves it."""
    torch.manual_seed(3)
    net = build_net("nano", 12, batch_norm=True).train()
    net(torch.rand(4, 1, 80, 80))
    about = NetDescription("nano", 12)
    folder = tmp_path / "trained"
    folder.mkdir()
    save_net(fold(net.eval(), "nano", 12), about, folder)
    save_trainable(net, folder)
    return folder


def test_the_loaded_net_is_the_saved_one(folder: Path) -> None:
    torch.manual_seed(4)
    net = build_net("nano", 12, batch_norm=True)
    assert load_weights(net, "nano", folder, new_head=False) == []
    images = torch.rand(3, 1, 80, 80)
    torch.manual_seed(3)
    with torch.no_grad():
        shipped = load_teacher(folder, 12)(images * 255)[0]
        torch.testing.assert_close(net.eval()(images)[0], shipped, rtol=0, atol=2e-3)


def test_a_tensor_that_the_net_does_not_have_is_named(folder: Path) -> None:
    file = folder / "trainable.safetensors"
    save_file(load_file(file) | {"head.9.weight": torch.zeros(2)}, file)
    net = build_net("nano", 12, batch_norm=True)
    with pytest.raises(ValueError, match=r"head\.9\.weight: not in net nano"):
        load_weights(net, "nano", folder, new_head=False)


def test_a_head_that_fits_is_kept_fresh_only_where_it_is_asked_for(folder: Path) -> None:
    saved = load_file(folder / "trainable.safetensors")
    for new_head in (False, True):
        torch.manual_seed(4)
        net = build_net("nano", 12, batch_norm=True)
        load_weights(net, "nano", folder, new_head)
        assert torch.equal(net.heatmaps.weight, saved["heatmaps.weight"]) is not new_head
        assert torch.equal(net.state_dict()["head.0.weight"], saved["head.0.weight"])
        assert torch.equal(net.state_dict()["stem.1.running_mean"], saved["stem.1.running_mean"])


def test_weights_that_ship_of_a_net_with_batch_norm_are_no_start(folder: Path) -> None:
    (folder / "trainable.safetensors").unlink()
    net = build_net("nano", 12, batch_norm=True)
    with pytest.raises(ValueError, match=r"trainable\.safetensors: missing; deployed weights have"):
        load_weights(net, "nano", folder, new_head=False)


def test_a_folder_without_a_net_is_neither_start_nor_teacher(tmp_path: Path) -> None:
    net = build_net("nano", 12, batch_norm=True)
    with pytest.raises(ValueError, match=r"train\.start_from .*: no model\.json"):
        load_weights(net, "nano", tmp_path, new_head=False)
    with pytest.raises(ValueError, match=r"train\.teacher .*: no model\.json"):
        load_teacher(tmp_path, 12)


def test_damaged_weights_to_start_from_are_named_in_one_line(folder: Path) -> None:
    (folder / "trainable.safetensors").write_bytes(b"short")
    net = build_net("nano", 12, batch_norm=True)
    with pytest.raises(ValueError, match=r"trainable\.safetensors: ") as failed:
        load_weights(net, "nano", folder, new_head=False)
    assert "\n" not in str(failed.value)


def test_a_teacher_is_in_use_and_does_not_learn(folder: Path) -> None:
    teacher = load_teacher(folder, 12)
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_net_without_batch_norm_starts_from_what_ships(tmp_path: Path) -> None:
    torch.manual_seed(3)
    shipped = build_net("release", 5)
    save_net(shipped, NetDescription("release", 5), tmp_path)
    net = build_net("release", 5, batch_norm=True)
    load_weights(net, "release", tmp_path, new_head=False)
    images = torch.rand(2, 1, 80, 80)
    with torch.no_grad():
        torch.testing.assert_close(net(images)[0], shipped(images * 255)[0], rtol=0, atol=1e-3)


def test_another_number_of_keypoints_makes_the_head_anew_and_says_which_tensors(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net = build_net("nano", 5, batch_norm=True)
    before = net.heatmaps.weight.clone()
    with caplog.at_level(logging.INFO):
        fresh = load_weights(net, "nano", folder, new_head=True)
    assert fresh == ["heatmaps.weight", "heatmaps.bias"]
    assert torch.equal(net.heatmaps.weight, before)
    assert "reinitialised: heatmaps.weight, heatmaps.bias" in caplog.text


def test_a_teacher_says_where_the_points_are(
    folder: Path, params_with: Callable[..., Params]
) -> None:
    train = params_with({"train.teacher_weight": 0.25}).train
    teacher, net = load_teacher(folder, 12), build_net("nano", 12, batch_norm=True)
    images = torch.rand(2, 1, 80, 80) * 255
    unlabelled = torch.full((2, 12, 2), float("nan"))
    batch = Batch(images, unlabelled, torch.zeros(2, 12).bool())
    labels, said = targets_of(batch, net, teacher, scheme_for(12), train).targets
    assert labels.weight.sum().item() == 0.0
    assert torch.equal(said.points, teacher(images)[0])
    assert said.weight.sum().item() == pytest.approx(0.25)


def test_fine_tuning_begins_at_the_error_where_the_other_training_ended(
    tmp_path: Path, train_command: Command
) -> None:
    assert main(train_command(tmp_path / "first", epochs=8)) == 0
    first = losses(tmp_path / "first/train")
    further = train_command(
        tmp_path / "second",
        epochs=1,
        learning_rate=0.0001,
        min_learning_rate=0.0001,
        start_from=tmp_path / "first/train",
    )
    assert main(further) == 0
    assert losses(tmp_path / "second/train")[0] < (first[0] + first[-1]) / 2
    assert open_crops(tmp_path / "second/crop").num_keypoints == 1


def test_the_weights_are_part_of_what_a_finished_training_depends_on(
    tmp_path: Path, train_command: Command
) -> None:
    assert main(train_command(tmp_path / "root", epochs=1)) == 0
    copy = tmp_path / "weights"
    copy.mkdir()
    for name in ("model.json", "model.safetensors", "trainable.safetensors"):
        shutil.copy(tmp_path / "root/train" / name, copy)
    words = train_command(tmp_path / "other", epochs=1, start_from=copy, teacher=copy)
    assert main(words) == 0
    first = losses(tmp_path / "other/train")
    file = copy / "trainable.safetensors"
    save_file({name: value * 1.01 for name, value in load_file(file).items()}, file)
    assert main(words) == 0
    assert losses(tmp_path / "other/train") != first


def test_a_sealed_folder_that_was_changed_is_not_started_from(
    tmp_path: Path, train_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train_command(tmp_path / "root", epochs=1)) == 0
    saved = tmp_path / "root/train"
    (saved / "trainable.safetensors").write_bytes(b"other")
    assert main(train_command(tmp_path / "other", start_from=saved)) == 2
    assert "trainable.safetensors" in capsys.readouterr().err


def test_unlabelled_faces_are_trained_on_and_their_labels_are_not_read(
    tmp_path: Path, train_command: Command
) -> None:
    labelled = tmp_path / "root"
    words = train_command(labelled, elt_weight=0.5, epochs=2)
    assert main(words) == 0
    alone = losses(labelled / "train")
    train_command(tmp_path / "more")  # makes the crops
    seen = []
    for wrong in (0.0, 30.0):
        more = tmp_path / f"more-{wrong}"
        shutil.copytree(tmp_path / "more/crop", more)
        (more / "manifest.json").unlink()
        table, about = read_table(more / "faces.parquet")
        points = points_of(table).reshape(len(table), -1) + wrong
        place = table.column_names.index("points")
        table = table.set_column(place, "points", fixed_lists(points))
        write_table(table, more / "faces.parquet", name=about["name"], box_scale="1.2")
        seal(more, Manifest("crop", f"key{wrong}", {}, {}, "code", {}, {}, {}))
        words = train_command(labelled, elt_weight=0.5, epochs=2, unlabelled=more)
        assert main(words) == 0
        seen.append(losses(labelled / "train"))
        summary = read_manifest(labelled / "train").summary
        assert summary["faces_seen"] == 2 * 88  # 40 labelled, 48 not, in batches of 8
    assert seen[0] == seen[1] != alone


def test_unlabelled_faces_without_a_question_to_them_are_refused(
    tmp_path: Path, train_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train_command(tmp_path, unlabelled=tmp_path)) == 2
    assert "train.unlabelled has no effect without train.elt_weight" in capsys.readouterr().err
