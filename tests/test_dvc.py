"""dvc.yaml and data.dvc: the same stages as STAGES, and only what changed runs again."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fpenet.provenance.manifest import read_manifest
from fpenet.stages import STAGES
from tests.dvc_project import DvcProject

ROOT = Path(__file__).parents[1]
PIPELINE = [name for name in STAGES if name not in ("synth", "register")]

SMALL = {
    "synth.subjects": 5,
    "synth.faces_per_subject": 3,
    "train.batch_size": 8,
    "evaluate.robustness.faces": 0,
    "evaluate.temporal.faces": 0,
    "calibrate.draws": 0,
    "build.targets": ["cpu"],
    "build.precisions": ["fp32"],
    "benchmark.batch_sizes": [1],
}
"""Keys of params.yaml with which all stages run, in as little time as they can."""


def dvc_yaml() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    return tree


def test_dvc_has_the_rows_of_stages() -> None:
    stages = dvc_yaml()["stages"]
    assert list(stages) == PIPELINE
    for name, row in stages.items():
        stage = STAGES[name]
        labels = ["${data.labels}"] if stage.reads_labels else []
        assert row["cmd"] == "${fpenet} " + name
        assert row["deps"] == ["components", *labels, *(f"dvc/{each}" for each in stage.inputs)]
        assert [each for each in row["params"] if isinstance(each, str)] == list(stage.sections)
        assert row["outs"] == [{f"dvc/{name}": {"persist": True}}]


def test_a_stage_whose_section_a_preset_changes_depends_on_the_preset() -> None:
    changed = {
        section
        for preset in ("full", "laptop", "standard")
        for section in yaml.safe_load((ROOT / f"presets/{preset}.yaml").read_text())
    }
    for name, row in dvc_yaml()["stages"].items():
        tracks = {"presets/${preset}.yaml": None} in row["params"]
        assert tracks == bool(changed & set(STAGES[name].sections)), name


def test_setup_left_the_embedded_faces_as_data_dvc_has_them(tmp_path: Path) -> None:
    if not (ROOT / "data").exists() or not (ROOT / ".dvc/cache").exists():
        pytest.skip("data/ or its DVC cache is absent; `make setup` fills them")
    (tmp_path / ".dvc").mkdir()  # DVC writes beside its configuration: not into the checkout
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    for name in (".dvc/config", "data.dvc"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in (".dvc/cache", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "dvc", "status", "data.dvc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Data and pipelines are up to date."


@pytest.fixture
def project(dvc_project: DvcProject) -> Path:
    return dvc_project.folder


@pytest.fixture
def committed(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], set[str]]:
    """The pipeline as if it had run: what it returns says which stages changed since."""
    from dvc.repo import Repo

    for name in ("data", *(f"dvc/{name}" for name in PIPELINE)):
        (project / name).mkdir(parents=True)
        (project / name / "file").write_text(name)
    monkeypatch.chdir(project)
    with Repo(str(project)) as repo:
        repo.commit(force=True)

    def changed() -> set[str]:
        with Repo(str(project)) as repo:
            return set(repo.status())

    return changed


def test_nothing_changed_after_a_run(committed: Callable[[], set[str]]) -> None:
    assert committed() == set()


@pytest.mark.parametrize(
    ("file", "line", "other", "stages"),
    [
        ("params.yaml", "  val_fraction: 0.1 ", "  val_fraction: 0.2 ", {"split"}),
        ("params.yaml", "  learning_rate: 0.004", "  learning_rate: 0.003", {"train"}),
        ("params.yaml", "  workspace_mb: 1024", "  workspace_mb: 2048", {"build", "bundle"}),
        ("params.yaml", "  min_faces: 50", "  min_faces: 51", {"gate"}),
        ("params.yaml", "preset: laptop", "preset: standard", {"train"}),
        ("params.yaml", "  experiment: fpenet", "  experiment: other", {"report"}),
        ("presets/laptop.yaml", "  max_minutes: 10.0", "  max_minutes: 9.0", {"train"}),
        ("presets/full.yaml", "  max_minutes: 600.0", "  max_minutes: 9.0", set()),
        ("data/file", "data", "other faces", {"validate"}),
    ],
)
def test_one_change_reaches_the_stages_that_read_it(
    project: Path,
    committed: Callable[[], set[str]],
    file: str,
    line: str,
    other: str,
    stages: set[str],
) -> None:
    text = (project / file).read_text()
    assert text.count(line) == 1
    (project / file).write_text(text.replace(line, other))
    assert committed() == stages


@pytest.mark.slow
def test_dvc_repro_runs_the_stages_once_and_then_what_one_key_reaches(
    dvc_project: DvcProject,
) -> None:
    folder = dvc_project.folder
    dvc_project.set_keys("params.yaml", SMALL)
    dvc_project.set_keys("presets/laptop.yaml", {"train.net": "nano", "train.max_minutes": 0.02})
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to(Path(sys.executable).parent)
    subprocess.run([".venv/bin/fpenet", "synth"], cwd=folder, check=True)
    assert repro(folder) == PIPELINE
    assert repro(folder) == []
    dvc_project.set_keys("params.yaml", {"benchmark.timed_runs": 100})
    assert repro(folder) == ["benchmark", "bundle", "report"]


def repro(project: Path) -> list[str]:
    """The stages that one `dvc repro` ran."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=project, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return [line.split("'")[1] for line in lines if line.startswith("Running stage")]


def test_an_experiment_with_another_value_trains_with_it(
    dvc_project: DvcProject, train_command: Callable[..., list[str]]
) -> None:
    """`dvc exp run -S`: of keys that no preset sets; those it sets are changed in its file."""
    folder = dvc_project.folder
    train_command(folder / "dvc")  # makes dvc/crop: the dots
    for name in ("data", "dvc/validate", "dvc/split"):
        (folder / name).mkdir()
        (folder / name / "file").write_text(name)
    preset = folder / "presets/laptop.yaml"
    preset.write_text(
        "train: {net: nano, epochs: 2, batch_size: 8, augment: {flip_probability: 0}}\n"
    )
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to(Path(sys.executable).parent)
    status, said = dvc_project.dvc("commit", "--force", "validate", "split", "crop")
    assert status == 0, said
    dvc_project.git("add", ".")
    dvc_project.git("commit", "--quiet", "--message", "dots")
    words = ("-S", "train.learning_rate=0.002", "-S", "presets/laptop.yaml:train.epochs=1")
    status, said = dvc_project.dvc("exp", "run", "--single-item", "--name", "slow", *words, "train")
    assert status == 0, said
    manifest = read_manifest(folder / "dvc/train")
    assert manifest.params["train"]["learning_rate"] == 0.002
    assert manifest.summary["epochs"] == 1
    kept = ["git", "for-each-ref", "refs/exps"]
    assert "/slow\n" in subprocess.run(kept, capture_output=True, text=True, check=True).stdout
