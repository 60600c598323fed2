"""Weights to start from that do not fit: every layer is listed, unless a new head is asked for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fpenet.cli.main import main
from fpenet.model.checkpoint import save_net
from fpenet.model.nets.net_description import NetDescription
from fpenet.model.nets.recombinator import build_net
from fpenet.model.start_from import save_trainable

Command = Callable[..., list[str]]


def trained(folder: Path, net: str, keypoints: int) -> Path:
    folder.mkdir()
    about = NetDescription(net, keypoints)
    save_net(build_net(net, keypoints), about, folder)
    save_trainable(build_net(net, keypoints, batch_norm=True), folder)
    return folder


@pytest.mark.parametrize(
    ("net", "keypoints", "key", "said"),
    [
        (
            "nano",
            5,
            "start_from",
            "heatmaps.weight: [10, 64, 1, 1], must be [2, 64, 1, 1];"
            " heatmaps.bias: [10], must be [2]; train.new_head: true reinitialises these",
        ),
        ("small", 1, "start_from", "its net is small; train.net is nano"),
        ("nano", 5, "teacher", "5 keypoints; the data have 1"),
    ],
)
def test_f17_weights_that_do_not_fit_are_refused_with_their_layers(
    net: str,
    keypoints: int,
    key: str,
    said: str,
    tmp_path: Path,
    train_command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = trained(tmp_path / "weights", net, keypoints)
    words = train_command(tmp_path / "root", **{key: folder})
    capsys.readouterr()
    assert main(words) == 2
    line = capsys.readouterr().err
    assert f"train.{key} {folder}: {said}" in line
    assert line.count("\n") == 1
    assert not (tmp_path / "root/train").exists()


def test_f17_a_damaged_net_of_the_right_name_lists_each_layer(
    tmp_path: Path, train_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained(tmp_path / "weights", "small", 1)
    about = folder / "model.json"
    about.write_text(about.read_text().replace("small", "nano"))
    words = train_command(tmp_path / "root", start_from=folder)
    capsys.readouterr()
    assert main(words) == 2
    line = capsys.readouterr().err
    assert "stem.0.weight: [24, 1, 3, 3], must be [32, 1, 3, 3]" in line
    assert "trunk.0.0.weight: [80, 80, 3, 3], must be [128, 128, 3, 3]" in line
    assert "new_head" not in line  # that alone would not help


def test_f17_a_new_head_is_allowed_and_the_summary_names_it(
    tmp_path: Path, train_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained(tmp_path / "weights", "nano", 5)
    words = train_command(tmp_path / "root", start_from=folder, new_head=True, epochs=1)
    capsys.readouterr()
    assert main(words) == 0
    assert '"heatmaps.weight"' in capsys.readouterr().out


def test_f17_a_folder_without_weights_is_named_with_its_key(
    tmp_path: Path, train_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    words = train_command(tmp_path / "root", teacher=tmp_path / "nowhere")
    capsys.readouterr()
    assert main(words) == 2
    assert (
        f"train.teacher: {tmp_path / 'nowhere'} is not a folder with files"
        in capsys.readouterr().err
    )
