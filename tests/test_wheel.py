"""The wheel, alone in a fresh environment: what ``pip install fpenet`` gives an edge device."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import ZipFile

import pytest
from PIL import Image

from fpenet.data.crops.store import open_crops
from fpenet.params import Params
from fpenet.provenance.manifest import Manifest, seal
from fpenet.provenance.signing import SigningKey, read_trusted
from fpenet.release.store.interface import Store
from tests.conftest import DEVELOPMENT_KEY
from tests.release_store import promote_release

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).parents[1]
UV = Path(sys.executable).parent / "uv"
SETTINGS = (
    "evaluate.interval.resamples=1000",
    "evaluate.robustness.levels={shift: [0.05]}",
    "build.parity_px.int8=5.0",
    "build.golden.px.int8=20.0",
    "benchmark.timed_runs=20",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources; the checkout stays as it is."""
    source = tmp_path_factory.mktemp("source")
    hidden = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(PROJECT / "components", source / "components", ignore=hidden)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    subprocess.run(
        [UV, "build", "--quiet", "--wheel", "--python", sys.executable, source], check=True
    )
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module", params=["3.10", "3.11"])
def bare(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The programs of a fresh environment of one Python, with the wheel and what it requires."""
    venv = tmp_path_factory.mktemp("bare") / "venv"
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = sys.executable if request.param == running else request.param
    words: list[str | Path] = [UV, "venv", "--quiet", "--python", python, venv]
    made = subprocess.run(words, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no Python {request.param} here: {' '.join(made.stderr.split())[:200]}")
    install: list[str | Path] = [UV, "pip", "install", "--quiet", "--python", venv / "bin/python"]
    subprocess.run([*install, wheel], check=True)
    return venv / "bin"


@pytest.fixture
def device(stages: SimpleNamespace, tmp_path: Path) -> Path:
    """A folder as it comes to a device: params and the finished stages that a build reads."""
    folder = tmp_path / "device"
    for name in ("crop", "train", "evaluate", "export", "calibrate"):
        shutil.copytree(getattr(stages, name), folder / "dvc" / name)
        seal(folder / "dvc" / name, Manifest(name, name, {}, {}, "", {}, {}, {}))
    shutil.copy(PROJECT / "params.yaml", folder)
    shutil.copytree(PROJECT / "presets", folder / "presets")
    crops = open_crops(stages.crop)
    Image.fromarray(crops.crops[0]).save(folder / "face.png")
    return folder


Run = Callable[..., str]


@pytest.fixture
def run(bare: Path, device: Path) -> Run:
    """Run ``fpenet`` of the bare environment in the device's folder; returns its stdout."""

    def call(*arguments: str | Path) -> str:
        done = subprocess.run(
            [bare / "fpenet", *arguments],
            cwd=device,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_the_wheel_holds_two_packages_and_nothing_else(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in ZipFile(wheel).namelist()}
    packages = {name for name in tops if not name.endswith(".dist-info")}
    assert packages == {"fpenet", "synthface"}
    assert len(tops) == 3
    names = ZipFile(wheel).namelist()
    assert [name for name in names if name.startswith("fpenet/release/report/templates/")]


def test_the_bare_environment_imports_ours_and_nothing_of_the_checkout(
    bare: Path, tmp_path: Path
) -> None:
    def imports(name: str) -> bool:
        words: list[str | Path] = [bare / "python", "-c", f"import {name}"]
        path = {"PATH": os.environ["PATH"]}
        done = subprocess.run(words, cwd=tmp_path, env=path, capture_output=True, check=False)
        return done.returncode == 0

    absent = ("components", "flows", "infra", "torch", "prefect", "mlflow", "onnx", "polygraphy")
    assert [name for name in ("fpenet", "synthface") if not imports(name)] == []
    assert [name for name in absent if imports(name)] == []


def test_the_wheel_builds_benchmarks_infers_and_checks(run: Run, device: Path, stages: Any) -> None:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    targets = ["--target", "cpu", "--target", "orin-nx", "--target", "l4"]
    run("build", *targets, *settings)
    rows = json.loads((device / "dvc/build/engines.json").read_text())["engines"]
    assert {f"{row['target']}/{row['precision']}": row["status"] for row in rows} == {
        "cpu/fp32": "ready",
        "cpu/int8": "ready",
        "orin-nx/fp16": "pending",
        "orin-nx/int8": "pending",
        "l4/fp16": "pending",
        "l4/int8": "pending",
    }
    table = run("benchmark", "--target", "cpu", *settings)
    assert "| torch | fp32 | torch |" in table
    assert "torch is not installed here" in table
    assert table.count("| ready |") == 2
    key = DEVELOPMENT_KEY.with_suffix(".pub")
    bundle = ["--model", stages.bundle / "cpu", "--trusted", key]
    run("infer", "face.png", *bundle, "--detector", "whole", "--out", "drawn")
    assert list((device / "drawn").glob("*.json"))
    checked = json.loads(run("check", stages.bundle / "cpu", "--trusted", key, "--json"))
    assert {row["engine_id"]: row["reasons"] for row in checked} == {"cpu/fp32": [], "cpu/int8": []}


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_the_wheel_gets_a_promoted_release(
    run: Run,
    device: Path,
    stages: SimpleNamespace,
    params: Params,
    mlflow_server: str,
    stage_folders: Any,
    register: Any,
    store: Store,
    key: SigningKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    shutil.copytree(stages.bundle, tmp_path / "sealed/bundle")
    sections = {name: params.section(name).model_dump(mode="json") for name in ("bundle", "build")}
    manifest = Manifest("bundle", "bundle", {}, sections, "code", {"onnx": "1"}, {}, {})
    seal(tmp_path / "sealed/bundle", manifest)
    release = register({**stage_folders(), "bundle": tmp_path / "sealed/bundle"})
    (releaser,) = read_trusted([tmp_path / ".keys/development.pub"])
    promote_release(store, key, releaser, release, tmp_path / "run")
    words = ["get", "--target", "cpu", "--out", "bundle", "--model", release["model"], "--json"]
    keys = [tmp_path / ".keys/development.pub", tmp_path / "keys", DEVELOPMENT_KEY.parent]
    got = json.loads(run(*words, "--from", mlflow_server, "--trusted", *keys))
    assert (got["target"], got["version"], got["fresh"]) == ("cpu", "1", True)
    assert (device / "bundle/model.json").is_file()
    run("infer", "face.png", "--model", "bundle", "--trusted", keys[0], "--detector", "whole")
    assert (device / "face.keypoints.json").is_file()
