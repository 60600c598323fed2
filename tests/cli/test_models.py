"""`fpenet compare` and `fpenet evaluate --model`, as a person types them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fpenet.cli import main as cli
from fpenet.execution import run_stage
from fpenet.provenance.manifest import Manifest, seal

PARAMS = Path(__file__).parents[2] / "params.yaml"
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(crop_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command on a root that has a finished crop folder; its status and what it says."""
    shutil.copytree(crop_dir, tmp_path / "root/crop")
    seal(tmp_path / "root/crop", Manifest("crop", "0" * 64, {}, {}, "0" * 64, {}, {}, {}))

    def call(*words: Any) -> tuple[int, str]:
        sets = [
            "evaluate.interval.resamples=1000",
            "evaluate.robustness.faces=0",
            "evaluate.slices.min_faces=2",
            "evaluate.slices.min_subjects=2",
        ]
        shared: list[Any] = ["--params", PARAMS, "--root", tmp_path / "root"]
        shared += [word for pair in sets for word in ("--set", pair)]
        status = cli.main([str(word) for word in (*words, *shared)])
        said = capsys.readouterr()
        return status, said.out + said.err

    return call


def test_evaluate_judges_any_model_and_prints_its_card(
    run: Run, stages: SimpleNamespace, tmp_path: Path
) -> None:
    status, said = run("evaluate", "--model", stages.export / "opset17/fp16.onnx")
    assert status == 0
    assert "# fp16.onnx" in said
    assert "Judged on rendered, part kpi: 4 faces of 4 subjects, 68 keypoints" in said
    assert "| all | " in said
    assert json.loads((tmp_path / "root/judged/kpi.json").read_text())["num_faces"] == 4


def test_every_face_is_judged_where_that_is_asked(
    run: Run, stages: SimpleNamespace, tmp_path: Path
) -> None:
    out = tmp_path / "all"
    status, said = run("evaluate", "--model", stages.train, "--all-faces", "--out", out)
    assert (status, json.loads((out / "kpi.json").read_text())["num_faces"]) == (0, 10), said


def test_labels_are_validated_split_and_cropped_once(
    run: Run, stages: SimpleNamespace, tmp_path: Path, params: Any
) -> None:
    labels = tmp_path / "faces"
    tiny = params.model_copy(
        update={"synth": params.synth.model_copy(update={"subjects": 4, "faces_per_subject": 1})}
    )
    run_stage("synth", labels, {}, tiny)
    asked = ("evaluate", "--model", stages.bundle / "cpu", "--labels", labels)
    few = ("--set", "validate.min_faces=5")
    status, said = run(*asked, *few)
    assert status == 0, said
    assert "Judged on synthetic, part kpi: 23 faces of 23 subjects, 68 keypoints" in said
    crops = list((tmp_path / "root/labelled/crop").rglob("crops.npy"))
    assert len(crops) == 1
    written = [path.stat().st_mtime_ns for path in crops]
    assert run(*asked, *few)[0] == 0
    assert [path.stat().st_mtime_ns for path in crops] == written


def test_compare_prints_every_difference_and_writes_it(
    run: Run, stages: SimpleNamespace, tmp_path: Path
) -> None:
    out = tmp_path / "rows.json"
    status, said = run("compare", stages.train, stages.bundle / "cpu", "--out", out)
    assert status == 0
    header, first = said.splitlines()[:2]
    assert header.split() == ["metric", "slice", "faces", "A", "B", "change", "interval"]
    assert first.split()[:4] == ["crop_px/all", "all", "faces", "4"]
    rows = json.loads(out.read_text())
    assert rows[0]["metric"] == "crop_px/all"
    assert rows[0]["second"] == pytest.approx(rows[0]["first"], rel=0.2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate", "--labels", "faces"), "--labels and --all-faces need --model"),
        (("evaluate", "--model", "nowhere"), "nowhere: no such file or folder"),
        (("compare", "nowhere", "nobody"), "nowhere: no such file or folder"),
        (("compare", "models:/nobody", "x"), "models:/nobody; must be models:/NAME/VERSION"),
    ],
)
def test_what_is_not_there_is_named(run: Run, words: tuple[str, ...], said: str) -> None:
    status, error = run(*words)
    assert status == 2
    assert said in error
