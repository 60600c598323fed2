"""`fpenet`: bad input is one line that names it, exit status 2, and nothing half-written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpenet.cli import main as cli

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command below ``tmp_path/out``; returns its exit status and what stderr says."""

    def call(*words: Any, **overrides: Any) -> tuple[int, str]:
        pairs = {"validate.min_faces": 5, **overrides}
        sets = [word for key, value in pairs.items() for word in ("--set", f"{key}={value}")]
        shared = ["--params", ROOT / "params.yaml", "--root", tmp_path / "out", *sets]
        status = cli.main([str(word) for word in (*words, *shared)])
        return status, capsys.readouterr().err

    return call


def left_behind(folder: Path) -> list[str]:
    """All that lies below ``folder`` but lock files."""
    return sorted(p.name for p in folder.rglob("*") if not p.name.endswith(".lock"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("train.epochz", 3, "train.epochz is 3: no such key; did you mean epochs?"),
        ("nothing.at_all", 3, "nothing is {'at_all': 3}: no such key; choose one of ['benchmark',"),
        ("train.epochs", "many", "train.epochs is 'many': Input should be a valid integer"),
        ("train.epochs", 0, "train.epochs is 0: Input should be greater than 0"),
        ("train.learning_rate", ".inf", "train.learning_rate is inf: Input should be a finite"),
        ("train.net", "huge", "train.net is 'huge': Input should be 'base',"),
        ("build.targets", "[abacus]", "build.targets.0 is 'abacus': Input should be 'cpu'"),
        ("preset", "desktop", "preset is 'desktop'; choose one of ['full', 'laptop', 'standard']"),
        ("split.subjects", "{}", "split.subjects is {}: no such key; did you mean kpi_subjects?"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_is_allowed(
    run: Run, tmp_path: Path, key: str, value: Any, said: str
) -> None:
    status, error = run("validate", **{key: value})
    assert status == 2
    assert error.startswith(f"fpenet validate: {ROOT}/params.yaml")
    assert error.count("\n") == 1
    assert said in error
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data: [", "not YAML"),
        ("- data", "must be a mapping of sections"),
        ("", "must be a mapping of sections"),
        ("preset: 3\n", "preset is 3"),
    ],
)
def test_params_yaml_that_is_no_tree_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert cli.main(["plan", "--params", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"fpenet plan: {path}: ")
    assert said in error
    assert error.count("\n") == 1


def test_absent_params_yaml_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "params.yaml"
    assert cli.main(["plan", "--params", str(path)]) == 2
    assert capsys.readouterr().err == f"fpenet plan: {path}: no such file\n"


def test_a_pair_without_a_value_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--set", "train.epochs"]) == 2
    said = "fpenet plan: --set train.epochs: must be KEY=VALUE, e.g. train.epochs=3\n"
    assert capsys.readouterr().err == said


def test_missing_labels_are_named(run: Run, tmp_path: Path) -> None:
    status, error = run("validate", **{"data.labels": tmp_path / "nowhere"})
    assert status == 2
    assert error.startswith(f"fpenet validate: data.labels: {tmp_path}/nowhere does not exist; ")
    assert error.count("\n") == 1
    assert left_behind(tmp_path) == []


def test_a_stage_before_its_input_is_told_what_it_needs(run: Run, tmp_path: Path) -> None:
    status, error = run("split")
    assert (status, error.count("\n")) == (2, 1)
    assert f"{tmp_path}/out/validate/manifest.json: no such file" in error


def test_unreadable_images_above_the_limit_stop_the_run(
    run: Run, tmp_path: Path, tiny_labels: Any
) -> None:
    for name in ("images/s000_0.png", "images/s001_1.png"):
        (tiny_labels.folder / name).write_bytes(b"no picture")
    status, error = run("validate", **{"data.labels": tiny_labels.write()})
    assert (status, error.count("\n")) == (2, 1)
    assert "2 of 20 faces are broken, more than validate.max_rejected_fraction 0.05" in error
    assert "first: images/s000_0.png" in error
    assert (tmp_path / "out/validate/report.html").is_file()  # to be read, and not gone on from
    status, error = run("split")
    assert (status, error.count("\n")) == (2, 1)
    assert "stage validate has blocking findings: 2 of 20 faces are broken" in error


def test_zero_usable_faces_stop_the_run(run: Run, tmp_path: Path, tiny_labels: Any) -> None:
    for record in tiny_labels.records:
        record["annotations"][0]["Occlusion"] = 9
    status, error = run("validate", **{"data.labels": tiny_labels.write()})
    assert (status, error.count("\n")) == (2, 1)
    assert "0 usable faces" in error
    assert left_behind(tmp_path / "out") == []


def test_flips_without_a_flip_map_are_refused_before_training(
    run: Run, tmp_path: Path, tiny_labels: Any
) -> None:
    labels = {"data.labels": tiny_labels.write(), "data.keypoints": 4}
    for stage in ("validate", "split", "crop"):
        assert run(stage, **labels) == (0, "")
    status, error = run("train", **labels, **{"train.batch_size": 2})
    assert (status, error.count("\n")) == (2, 1)
    assert "train.augment.flip_probability is 0.5, but 4 keypoints have no flip map" in error
    assert not (tmp_path / "out/train").exists()


def test_plan_says_what_would_run_and_what_changed(
    run: Run, tmp_path: Path, tiny_labels: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {"data.labels": tiny_labels.write()}

    def plan(**overrides: Any) -> dict[str, str]:
        pairs = {"validate.min_faces": 5, **labels, **overrides}
        sets = [word for key, value in pairs.items() for word in ("--set", f"{key}={value}")]
        root = ["--params", str(ROOT / "params.yaml"), "--root", str(tmp_path / "out")]
        assert cli.main(["plan", *root, *sets]) == 0
        lines = capsys.readouterr().out.splitlines()
        return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}

    first = plan()
    assert first["validate"] == "run: no result yet"
    assert first["split"] == "run: after validate"
    for stage in ("validate", "split"):
        assert run(stage, **labels)[0] == 0
    capsys.readouterr()
    done = plan()
    assert (done["validate"], done["split"]) == ("done", "done")
    assert done["crop"] == "run: no result yet"
    changed = plan(**{"split.val_fraction": 0.3})
    assert changed["validate"] == "done"
    assert changed["split"] == "run: split.val_fraction was 0.1, is 0.3"
    assert changed["crop"] == "run: after split"


def test_a_stage_prints_its_summary_as_json(
    tmp_path: Path, tiny_labels: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["validate", "--params", str(ROOT / "params.yaml"), "--root", str(tmp_path / "out")]
    sets = ["--set", f"data.labels={tiny_labels.write()}", "--set", "validate.min_faces=5"]
    assert cli.main([*words, *sets]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["faces"], summary["kept"], summary["num_keypoints"]) == (20, 20, 5)


def test_convert_and_describe_say_what_they_did(
    run: Run, tmp_path: Path, tiny_labels: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, new = tiny_labels.write(), tmp_path / "new"
    assert run("convert", folder, "--to", "coco", "--out", new)[0] == 0
    assert run("describe", new, "--format", "coco", "--out", tmp_path / "about")[0] == 0
    said = json.loads((tmp_path / "about/describe.json").read_text())
    assert (said["dataset"], said["faces"], said["usable"]) == ("faces", 20, 20)
    assert sorted(path.name for path in (tmp_path / "about").iterdir()) == [
        "contact_sheet.png",
        "describe.json",
    ]


def test_convert_and_describe_refuse_in_one_line(
    run: Run, tmp_path: Path, tiny_labels: Any
) -> None:
    folder = tiny_labels.write()
    status, error = run("convert", folder, "--to", "xml", "--out", tmp_path / "new")
    assert (status, error.count("\n")) == (2, 1)
    assert error.startswith("fpenet convert: --to is xml; it must be one of sloth, ")
    status, error = run("describe", folder, "--format", "voc", "--out", tmp_path / "about")
    assert (status, error.count("\n")) == (2, 1)
    assert "data.format is 'voc'" in error
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "about").exists()


def test_synth_says_what_its_options_may_be_and_spares_a_folder_with_something_in_it(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/other.txt").write_text("mine")
    status, error = run("synth", "--out", tmp_path / "mine")
    assert (status, error.count("\n")) == (2, 1)
    assert "mine: not empty; remove it, or choose another folder" in error
    for words, said in (
        (("--views", "all", "front"), "synth.views.1 is 'front': Input should be 'all', 'near-f"),
        (("--subjects", 324), "synth.subjects is 324: Input should be less than or equal to 323"),
        (("--faces-per-subject", 221, "--views", "05_1"), "it must be 1 to 220 (1 of 15 cameras)"),
        (("--workers", 0), "synth.workers is 0: "),
    ):
        status, error = run("synth", *words, "--out", tmp_path / "faces")
        assert status == 2
        assert said in error
        assert not (tmp_path / "faces").exists()
