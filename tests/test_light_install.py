"""``pip install .`` alone, in an environment of its own: what an edge device has."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from fpenet.data.crops.store import open_crops
from fpenet.provenance.manifest import Manifest, seal
from tests.conftest import DEVELOPMENT_KEY

PROJECT = Path(__file__).parents[1]
UV = Path(sys.executable).parent / "uv"
SETTINGS = (
    "evaluate.interval.resamples=1000",
    "evaluate.robustness.levels={shift: [0.05]}",
    "build.parity_px.int8=5.0",
    "build.golden.px.int8=20.0",
    "benchmark.timed_runs=20",
)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The programs of a fresh environment of the oldest Python that is here, with fpenet alone."""
    source, venv = tmp_path / "source", tmp_path / "venv"
    source.mkdir()
    shutil.copytree(PROJECT / "components", source / "components")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    for version in ("3.10", sys.executable):
        made = subprocess.run([UV, "venv", "--quiet", "--python", version, venv], check=False)
        if made.returncode == 0:
            break
    install: list[str | Path] = [UV, "pip", "install", "--quiet", "--python"]
    subprocess.run([*install, venv, source], check=True)
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


@pytest.mark.slow
def test_the_light_install_builds_benchmarks_and_infers(
    bare: Path, device: Path, stages: SimpleNamespace
) -> None:
    def run(*arguments: str | Path) -> str:
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

    for absent in ("torch", "prefect", "mlflow", "onnx", "polygraphy"):
        tried = subprocess.run([bare / "python", "-c", f"import {absent}"], check=False)
        assert tried.returncode != 0, absent
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    targets = ["--target", "cpu", "--target", "orin-nx", "--target", "l4"]
    run("build", *targets, *settings)
    engines = json.loads((device / "dvc/build/engines.json").read_text())["engines"]
    status = {f"{row['target']}/{row['precision']}": row["status"] for row in engines}
    assert status == {
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
