"""TAO's spec becomes a preset that trains as it says; what has no meaning here is refused."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from fpenet.cli.main import main
from fpenet.core.yaml_tree import nested, overlay
from fpenet.params import load_params
from fpenet.tao.fields import FIELDS
from fpenet.tao.spec import read_spec
from tests.tao.experiment_spec import SPEC

PARAMS = Path(__file__).parents[2] / "params.yaml"
VIEWS = "dataloader.augmentation_info"
SPACE = f"{VIEWS}.modulus_spatial_augmentation"


def spec_with(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The spec's tree with other values at some dotted keys."""
    return overlay(yaml.safe_load(SPEC), nested(changes))


def settings_of(changes: Mapping[str, Any]) -> dict[str, Any]:
    return read_spec(spec_with(changes), "spec.yaml")[0]


def test_the_shipped_spec_in_our_words() -> None:
    found = settings_of({})
    assert (found["train.net"], found["train.loss"]) == ("public", "wing")
    assert (found["train.wing_w"], found["train.wing_epsilon"]) == (10.0, 2.0)
    assert (found["train.epochs"], found["train.batch_size"]) == (40, 64)
    assert found["train.learning_rate"] == 0.0005
    assert found["train.min_learning_rate"] == 1e-07  # which YAML reads as text
    assert (found["train.warmup_fraction"], found["train.flat_fraction"]) == (0.3, 0.2)
    assert found["train.weight_decay"] == 1e-05
    assert found["train.elt_weight"] == 0.5
    assert found["train.augment.rotate_deg"] == pytest.approx(math.degrees(0.35), abs=1e-3)
    assert found["train.augment.shift_px"] == 10
    assert found["train.augment.zoom"] == 0.25  # 0.8 and 1.25 are as far from 1
    assert found["train.augment.gamma"] == pytest.approx(1 / 0.6 - 1, abs=1e-6)
    assert found["train.augment.low_resolution_px"] == 50  # 80 / 1.6
    assert found["train.augment.patch_px"] == [10, 40]
    assert found["train.augment.shade"] == found["train.augment.noise"] == 0.0


def test_region_weights_are_shares_of_the_loss() -> None:
    """Wing is a sum over points: 40 of the face at 0.5, 12 of eyes and 8 of pupils at 0.3, 20."""
    shares = settings_of({})["train.region_weights"]
    total = 40 * 0.5 + 12 * 0.3 + 8 * 0.3 + 20 * 0.2
    assert shares["eyes"] == pytest.approx(12 * 0.3 / total, abs=1e-6)
    assert shares["pupil"] == pytest.approx(8 * 0.3 / total, abs=1e-6)
    assert shares["mouth"] == pytest.approx(20 * 0.2 / total, abs=1e-6)
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-9)


def test_every_key_of_the_spec_has_one_row_and_the_key_is_not_shown() -> None:
    _, rows = read_spec(spec_with({}), "spec.yaml")
    keys = [row.key for row in rows if row.conversion != "added"]
    assert len(keys) == len(set(keys))
    assert {"dataloader.batch_size", "optimizer.beta1", "loss.__class_name__"} <= set(keys)
    assert all(row.reason for row in rows if row.conversion in ("changed", "ignored"))
    assert "secret" not in str(rows)


def test_what_is_switched_off_there_is_off_here() -> None:
    found = settings_of({f"{VIEWS}.enable_online_augmentation": False})
    assert found["train.augment.rotate_deg"] == found["train.augment.patch_probability"] == 0.0
    assert settings_of({"loss.elt_loss_info.enable_elt_loss": False})["train.elt_weight"] == 0.0
    found = settings_of({f"{VIEWS}.enable_resize_augmentation": False})
    assert found["train.augment.low_resolution_probability"] == 0.0


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("__class_name__", "GazeNetTrainer", "__class_name__ is 'GazeNetTrainer'; it must be Fpe"),
        ("loss.loss_type", "huber", "loss.loss_type is 'huber'; it must be one of ['l1', "),
        ("loss.mask_occ", "false", "loss.mask_occ is 'false'; it must be true or false"),
        ("num_epoch", 2.5, "num_epoch is 2.5; it must be a whole number"),
        ("num_epoch", -1, "train.epochs is -1: Input should be greater than 0"),
        ("dataloader.num_keypoints", 68, "it must be num_keypoints, which is 80"),
        ("dataloader.image_info.image.channel", 3, "channel is 3; it must be 1"),
        ("loss.weights_dict.eyes", 0.9, "it must be face, eyes and mouth, summing to 1"),
        ("model.model_parameters.type", "FpeNet_mobile", "type is 'FpeNet_mobile'; it must be one"),
        ("model.model_parameters.use_upsampling_layer", "yes", "it must be true or false"),
        (f"{SPACE}.zoom_min", 0, "zoom_min is 0; it must be above 0"),
        ("loss.los_type", "l1", "los_type is 'l1': not a key of FPENet's spec, did you mean loss."),
        ("optimizer", "sgd", "optimizer is 'sgd': not a key of FPENet's spec"),
    ],
)
def test_what_has_no_meaning_here_is_refused_with_field_and_value(
    key: str, value: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, out = tmp_path / "spec.yaml", tmp_path / "tao.yaml"
    spec.write_text(yaml.safe_dump(spec_with({key: value})))
    words = ["import-tao", str(spec), "--params", str(PARAMS), "--out", str(out)]
    assert main(words) == 2
    line = capsys.readouterr().err
    assert str(spec) in line
    assert said in line
    assert not out.exists()


def test_flips_of_ten_keypoints_are_refused() -> None:
    few = {"num_keypoints": 10, "dataloader.num_keypoints": 10}
    with pytest.raises(ValueError, match=r"hflip_probability is 0\.25; it must be 0 for 10 keyp"):
        settings_of(few)
    none = {**few, f"{SPACE}.hflip_probability": 0.0}
    assert settings_of(none)["train.region_weights"] is None


def test_the_command_writes_a_preset_that_loads_and_says_what_became_of_the_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS.read_text())
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/laptop.yaml").write_text("train: {epochs: 3}\n")
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    params, out = tmp_path / "params.yaml", tmp_path / "presets/tao.yaml"
    words = ["import-tao", str(spec), "--params", str(params), "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "taken    num_epoch: 40 -> train.epochs = 40\n" in said
    assert "ignored  key: '(not shown)' (TAO models are not decrypted here)\n" in said
    assert "use this preset with --preset tao" in said
    loaded = load_params(params, "tao")
    assert (loaded.train.net, loaded.train.epochs, loaded.data.keypoints) == ("public", 40, 80)
    assert main(words) == 2
    assert f"--out {out}: exists" in capsys.readouterr().err


def test_the_table_of_fields_names_keys_that_params_yaml_has() -> None:
    found = settings_of({})
    for _, ours, _ in FIELDS.values():
        assert set(ours) <= set(found)
