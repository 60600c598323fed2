"""Settings that cannot be trained with are refused before a net is made or a device used."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fpenet.cli.main import main
from fpenet.model import train as train_module


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"region_weights": "{face: 0.5, eyes: 0.4}"},
            "train.region_weights is {'face': 0.5, 'eyes': 0.4}: must sum to 1 but sums to 0.9",
        ),
        ({"region_weights": "{face: 0.5, ears: 0.5}"}, "train.region_weights.ears"),
        ({"region_weights": "{face: .nan, eyes: 1}"}, "train.region_weights.face is nan"),
        (
            {"region_weights": "{face: 0.5, pupil: 0.5}"},
            "train.region_weights has ['pupil']; 1 keypoints have the groups ['face']",
        ),
        (
            {"augment.flip_probability": 0.5},
            "train.augment.flip_probability is 0.5, but 1 keypoints have no flip map; set it to 0",
        ),
        (
            {"batch_size": 64},
            "40 training faces are fewer than one batch, train.batch_size 64; set it to at most 40,"
            " or label more faces; validate.min_faces 20 is of all parts together",
        ),
    ],
)
def test_f18_a_wrong_setting_is_one_line_before_any_net(
    settings: dict[str, object],
    said: str,
    tmp_path: Path,
    train_command: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a net was made")

    monkeypatch.setattr(train_module, "start", never)
    words = train_command(tmp_path, **settings)
    capsys.readouterr()
    assert main(words) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    initialised: Callable[[], bool] = torch.cuda.is_initialized
    assert not initialised()
    assert not (tmp_path / "train").exists()
