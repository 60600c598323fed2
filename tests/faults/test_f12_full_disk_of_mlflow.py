"""F12 where MLflow writes: artifacts, its server's store and its database on a full disk."""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fpenet.cli.main import main
from fpenet.provenance.digest import digest_file
from fpenet.provenance.manifest import Manifest, seal
from fpenet.provenance.signing import SigningKey
from fpenet.release.report.citations import evidence_table
from tests.conftest import PARAMS
from tests.faults.conftest import PAGE, Mount, fill

Folders = Callable[..., dict[str, Path]]


@pytest.fixture
def words(
    stage_folders: Folders,
    names: dict[str, Any],
    development_key: SigningKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """The command line that registers a tiny release; logs go to tmp_path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folders = stage_folders(engine_bytes=bytes(range(256)) * 64)  # 16 KiB
    report = folders["gate"].with_name("report")
    (report / "published").mkdir(parents=True)
    for name, text in (
        ("report.html", "faces"),
        ("published/report.html", "numbers"),
        ("model_card.md", f"# Model card\n\n{evidence_table(folders)}\n"),
    ):
        (report / name).write_text(text)
    seal(report, Manifest("report", "", {}, {}, "code", {}, {}, {}))
    keys = {**names, "trust.signing_key": tmp_path / ".keys/development.pem"}
    settings = [word for pair in keys.items() for word in ("--set", "{}={}".format(*pair))]
    return ["register", "--params", str(PARAMS), "--root", str(report.parent), *settings]


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a registration ends; it leaves no release."""
    capsys.readouterr()
    assert main(words) == 1
    root = Path(words[words.index("--root") + 1])
    assert not (root / "register").exists()
    assert list(root.glob(".register.*.partial")) == []
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fpenet")]
    (line,) = said
    return line


def models_of(names: Mapping[str, Any]) -> list[str]:
    """Which of the release's two models MLflow has."""
    from mlflow import MlflowClient

    wanted = {names["register.trainable_model"], names["register.deployable_model"]}
    return [one.name for one in MlflowClient().search_registered_models() if one.name in wanted]


def runs_of(experiment_id: str) -> list[Any]:
    """All runs of an experiment, the first one first."""
    from mlflow import MlflowClient

    order = ["attributes.start_time ASC"]
    return list(MlflowClient().search_runs([experiment_id], order_by=order))


def check_whole(run: Any, folders_root: Path, stored: Path) -> None:
    """The finished run has every file whole, and the release is signed."""
    assert run.info.status == "FINISHED"
    for file in ("train/model.safetensors", "bundle/cpu/fp32.onnx"):
        place = {"train": "trainable", "bundle": "deployable"}[file.partition("/")[0]]
        copy = stored / place / file.partition("/")[2]
        assert digest_file(copy) == digest_file(folders_root / file)
    assert (stored / "release.json.sig").exists()


@pytest.mark.parametrize("through", ["files", "server"])
def test_f12_a_full_disk_of_artifacts_registers_nothing_and_a_retry_works(
    through: str,
    request: pytest.FixtureRequest,
    mlflow_store: Path,
    words: list[str],
    names: dict[str, Any],
    disk_of: Mount,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient

    if through == "server":
        address = request.getfixturevalue("mlflow_server")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        experiment = MlflowClient().create_experiment(names["register.experiment"])
        disk = disk_of("size=64m", at=mlflow_store / "artifacts" / experiment)
        expected = f"fpenet register: MLflow at {address}: "
    else:
        disk = disk_of("size=64m")
        experiment = MlflowClient().create_experiment(
            names["register.experiment"], artifact_location=disk.as_uri()
        )
        expected = "fpenet register: [Errno 28] No space left on device: "
    filler = fill(disk, 14 * PAGE)  # files before the engine take less, the engine all of it
    assert refused(words, capsys).startswith(expected)
    assert [run.info.status for run in runs_of(experiment)] == ["FAILED"]
    assert models_of(names) == []

    filler.unlink()
    assert main(words) == 0
    first, second = runs_of(experiment)
    assert first.info.status == "FAILED"
    root = Path(words[words.index("--root") + 1])
    check_whole(second, root, disk / second.info.run_id / "artifacts")
    assert len(models_of(names)) == 2


def test_f12_a_full_disk_of_the_database_registers_nothing_and_a_retry_works(
    mlflow_store: Path,
    words: list[str],
    names: dict[str, Any],
    disk_of: Mount,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient

    disk = disk_of("size=64m")
    shutil.copy(mlflow_store / "mlflow.db", disk)
    address = f"sqlite:///{disk}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.chdir(disk.parent)
    experiment = MlflowClient().create_experiment(names["register.experiment"])
    filler = fill(disk, 0)
    line = refused(words, capsys)
    assert line.startswith(f"fpenet register: MLflow at {address}: ")
    assert "database or disk is full" in line
    filler.unlink()
    assert [run for run in runs_of(experiment) if run.info.status == "FINISHED"] == []
    assert models_of(names) == []

    assert main(words) == 0
    assert [run.info.status for run in runs_of(experiment)][-1] == "FINISHED"
    assert len(models_of(names)) == 2
