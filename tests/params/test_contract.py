"""Contract files: what they may say, and what a wrong one is answered."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fpenet.deploy.judge.contract.contract_text import contract_yaml
from fpenet.params.contract import ContractParams, read_contract

DOCS = Path(__file__).parents[2] / "docs" / "contracts.md"
TREE: dict[str, Any] = {
    "input": {
        "size": [112, 112],
        "channels": 3,
        "order": "bgr",
        "layout": "nchw",
        "mean": [104, 117, 123],
        "scale": 0.0078125,
    },
    "crop_scale": 1.3,
    "output": {"form": "flat", "units": "unit"},
}


def written(path: Path, section: str | None = None, **changes: Any) -> Path:
    tree = {key: dict(value) if isinstance(value, dict) else value for key, value in TREE.items()}
    (tree[section] if section else tree).update(changes)
    path.write_text(yaml.safe_dump(tree))
    return path


def test_a_single_number_is_that_of_every_channel_and_names_are_optional(tmp_path: Path) -> None:
    contract = read_contract(written(tmp_path / "c.yaml"))
    assert (contract.input.mean, contract.input.scale) == ((104, 117, 123), (0.0078125,))
    assert (contract.input.name, contract.output.points, contract.output.confidence) == (None,) * 3
    assert contract.keypoints is None


@pytest.mark.parametrize("keypoints", ["98->68", [3, None, 1], {1: 3, 3: 1}, None])
def test_the_lines_of_a_contract_are_read_back_as_the_same_contract(
    tmp_path: Path, keypoints: Any
) -> None:
    contract = read_contract(written(tmp_path / "c.yaml", keypoints=keypoints))
    text = contract_yaml(
        contract, {"keypoints": "check", "output.units": "check", "crop_scale": "x"}
    )
    (tmp_path / "again.yaml").write_text(text)
    assert read_contract(tmp_path / "again.yaml") == contract
    assert text.count("# ") == 5  # three to check; size, mean and units have a hint


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("input", {"size": [112]}, r"input\.size"),
        ("input", {"size": [112, 4]}, r"input\.size\.1 is 4: .* greater than or equal to 8"),
        ("input", {"channels": 4}, r"input\.channels is 4: Input should be 1 or 3"),
        ("input", {"order": None}, "order is None; with channels 3: rgb or bgr"),
        ("input", {"channels": 1, "mean": 0}, "order is bgr; with channels 1: null"),
        ("input", {"mean": [1, 2]}, r"mean is \[1.0, 2.0\]; must be one number or 3"),
        ("input", {"scale": 0}, r"scale is \[0.0\]; must not be 0"),
        ("input", {"width": 9}, r"input\.width is 9: no such key; choose one of \['channels'"),
        (None, {"crop_scale": -1}, "crop_scale is -1: Input should be greater than 0"),
        ("output", {"units": "percent"}, r"output\.units is 'percent': Input should be 'pixels'"),
        ("output", {"units": None}, "units is None; with form flat: pixels, unit or centred"),
        ("output", {"form": "heatmaps"}, "units is unit; with form heatmaps: null"),
        (None, {"keypoints": [0, 1]}, r"keypoints is \[0, 1\]: .* numbers count from 1"),
        (None, {"keypoints": 7}, "keypoints is 7: must be the name of a map"),
        (None, {"output": {"form": "flat", "units": None}}, "units is None"),
    ],
)
def test_a_wrong_contract_names_file_key_value_and_what_is_allowed(
    tmp_path: Path, section: str | None, changes: dict[str, Any], message: str
) -> None:
    path = written(tmp_path / "c.yaml", section, **changes)
    with pytest.raises(ValueError, match=rf"c\.yaml: .*{message}"):
        read_contract(path)


def test_missing_keys_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("crop_scale: 1.2\n")
    with pytest.raises(ValueError, match="input is missing; output is missing"):
        read_contract(tmp_path / "c.yaml")


def test_the_examples_of_the_docs_are_contracts() -> None:
    blocks = DOCS.read_text(encoding="utf-8").split("```yaml\n")[1:]
    trees = [yaml.safe_load(block.split("```")[0]) for block in blocks]
    contracts = [ContractParams.model_validate(tree) for tree in trees]
    assert {contract.output.form for contract in contracts} >= {"flat", "points", "heatmaps"}
    assert {"98->68", "106->68"} <= {c.keypoints for c in contracts if isinstance(c.keypoints, str)}
