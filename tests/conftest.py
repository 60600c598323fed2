"""Fixtures of several folders of tests: a small labelled set, params.yaml, a release, MLflow."""

import contextlib
import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fpenet.data.validation.validation_report import VALIDATION
from fpenet.deploy.benchmark.timings import TIMINGS, Timing, TimingTable
from fpenet.deploy.bundle.bundle_model import MODEL, BundleModel, GoldenLimits, TensorSpec
from fpenet.deploy.engines.engine_table import ENGINES, Engine, EngineStatus, EngineTable
from fpenet.deploy.judge.golden import GOLDEN, Golden
from fpenet.deploy.judge.parity import PARITY, ParityCheck, ParityTable
from fpenet.kpi.gate import GATE, ChampionResult, ChampionState, GateDecision
from fpenet.params import Params, Precision, load_params
from fpenet.provenance.checksums import write_checksums
from fpenet.provenance.digest import digest_bytes
from fpenet.provenance.manifest import Manifest, seal
from fpenet.provenance.signing import SigningKey, read_signing_key
from fpenet.release.release_manifest import read_release
from tests.manifests import KPI, VALIDATED

pytest_plugins = (
    "tests.s3_server",
    "tests.faulty_proxy",
    "tests.dvc_project",
    "tests.dots",
    "tests.release_store",
    "tests.promoting",
    "tests.mlflow_server",
    "tests.small_release",
)
PARAMS = Path(__file__).parents[1] / "params.yaml"
DEVELOPMENT_KEY = Path(__file__).parents[1] / ".keys" / "development.pem"
PASSED = GateDecision(
    passed=True,
    reasons=(),
    checks=(),
    engines={"cpu/fp32": True},
    dataset="synthetic",
    champion=ChampionResult(ChampionState.FIRST_RELEASE, "none"),
    comparisons=(),
)
"""The gate's decision on a first release whose one engine passed."""
FIVE_POINTS = [(20.0, 24.0), (43.0, 24.0), (32.0, 34.0), (24.0, 44.0), (40.0, 44.5)]


@dataclass
class TinyLabels:
    """A Sloth set in ``folder``: 64x64 images, five keypoints per face."""

    folder: Path
    records: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        name: str,
        points: list[tuple[Any, Any]] | None = None,
        face_box: Mapping[str, Any] | None = None,
        picture: bool = True,
        **fiducial: Any,
    ) -> dict[str, Any]:
        """Add one face; ``points`` start at P1, ``fiducial`` are more keys of FiducialPoints."""
        shift = len(self.records) * 0.01  # so that all faces differ
        points = [(x + shift, y) for x, y in FIVE_POINTS] if points is None else points
        keys: dict[str, Any] = {"class": "FiducialPoints"}
        for number, (x, y) in enumerate(points, 1):
            keys |= {f"P{number}x": x, f"P{number}y": y}
        box = {"class": "FaceBbox", "Occlusion": 0, **(face_box or {})}
        if face_box is None:
            sides = zip(("x", "y", "width", "height"), (16.0, 20.0, 32.0, 28.0), strict=True)
            box |= {f"face_tight_bbox{side}": value for side, value in sides}
        record = {"filename": name, "class": "image", "annotations": [box, keys | fiducial]}
        self.records.append(record)
        if picture:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            levels = np.random.default_rng(len(self.records)).integers(0, 256, (64, 64))
            Image.fromarray(levels.astype(np.uint8)).save(path)
        return record

    def write(self) -> Path:
        """Write labels.json; returns the folder."""
        (self.folder / "labels.json").write_text(json.dumps(self.records))
        return self.folder


@pytest.fixture
def tiny_labels(tmp_path: Path) -> TinyLabels:
    """Twenty valid faces of ten subjects, not yet written."""
    folder = tmp_path / "faces"
    folder.mkdir()
    labels = TinyLabels(folder)
    for number in range(20):
        labels.add(f"images/s{number // 2:03d}_{number % 2}.png")
    return labels


@pytest.fixture
def params_with() -> Callable[..., Params]:
    """params.yaml with some keys changed: ``params_with({"data.labels": "faces"})``."""

    def load(overrides: Mapping[str, Any] | None = None) -> Params:
        return load_params(PARAMS, overrides=overrides)

    return load


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    """The development key of `make setup`; its public key is trusted by default."""
    return read_signing_key(DEVELOPMENT_KEY)


STAGES = (
    "validate",
    "split",
    "crop",
    "train",
    "evaluate",
    "export",
    "calibrate",
    "build",
    "benchmark",
    "gate",
    "bundle",
)


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an SQLite store of MLflow; created once, because it takes seconds."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("mlflow")
    with contextlib.chdir(folder):  # where this process has MLflow put the store's artifacts
        MlflowClient(tracking_uri_of(folder)).get_experiment("0")
    return folder


def tracking_uri_of(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture
def mlflow_store(mlflow_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the MLflow store that MLFLOW_TRACKING_URI names during the test."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri_of(mlflow_folder))
    return mlflow_folder


@pytest.fixture
def stage_folders(tmp_path: Path, signing_key: SigningKey) -> Callable[..., dict[str, Path]]:
    """Make the sealed folders of one release: ``stage_folders(engines=[...], verdict={...})``."""

    def make(
        name: str = "stages",
        engines: list[Engine] | None = None,
        verdict: Mapping[str, Any] | None = None,
        kpi_all: float | None = 4.25,
        engine_bytes: bytes = b"engine",
    ) -> dict[str, Path]:
        folders = {stage: tmp_path / name / stage for stage in STAGES}
        for folder in folders.values():
            folder.mkdir(parents=True)
        engines = [READY_CPU] if engines is None else engines
        VALIDATED.write(folders["validate"] / VALIDATION)
        kpi = replace(KPI, metrics={**KPI.metrics, "image_px/all": kpi_all})
        kpi.write(folders["evaluate"] / "kpi.json")
        (folders["evaluate"] / "kpi.png").write_bytes(b"\x89PNG")
        (folders["evaluate"] / "predictions.npz").write_bytes(b"faces")
        (folders["train"] / "model.safetensors").write_bytes(b"weights")
        (folders["train"] / "trainable.safetensors").write_bytes(b"batch norm")
        write(folders["train"] / "model.json", {"net": "small"})
        curve = [{"epoch": n, "step": 10 * n, "seconds": 1.5 * n, "loss": 1 / n} for n in (1, 2)]
        lines = "".join(json.dumps(line) + "\n" for line in curve)
        (folders["train"] / "curve.jsonl").write_text(lines)
        for stage, file in (("export", "fp32"), ("calibrate", "int8")):
            (folders[stage] / "opset17").mkdir()
            (folders[stage] / f"opset17/{file}.onnx").write_bytes(file.encode())
        EngineTable(tuple(engines)).write(folders["build"] / ENGINES)
        check = ParityCheck("onnx", "torch", 0.001, 0.002, 0.01, True, ())
        ParityTable((check,)).write(folders["build"] / PARITY)
        rows = (
            Timing("cpu", "fp32", 1, 3.0, 3.5, 4.0, 330.0, threads=1, runs=9),
            Timing("cpu", "fp32", 8, 20.0, 3.5, 4.0, 330.0, threads=1, runs=9),
        )
        TimingTable(rows).write(folders["benchmark"] / TIMINGS)
        replace(PASSED, **(verdict or {})).write(folders["gate"] / GATE)
        write(folders["bundle"] / "bundle.json", {"version": "v0.1"})
        (folders["bundle"] / "cpu").mkdir()
        (folders["bundle"] / "cpu/fp32.onnx").write_bytes(engine_bytes)
        empty_bundle().write(folders["bundle"] / "cpu" / MODEL)
        nothing = np.zeros((1, 1, 80, 80), np.uint8), np.zeros((1, 68, 2), np.float32)
        Golden(*nothing).save(folders["bundle"] / "cpu" / GOLDEN)
        write_checksums(folders["bundle"] / "cpu", signing_key)
        for stage, folder in folders.items():
            params = {stage: {"seed": 35, "nested": {"zoom": 0.2}, "nothing": None}}
            params |= {"bundle": {"version": "v3"}} if stage == "bundle" else {}
            summary = TRAINED if stage == "train" else {}
            seal(folder, Manifest(stage, f"key-{stage}", {}, params, "code", {}, {}, summary))
        return folders

    return make


def engine(target: str, precision: Precision, status: str) -> Engine:
    ready = status == "ready"
    return Engine(
        target,
        "onnxruntime" if target == "cpu" else "tensorrt",
        precision,
        EngineStatus(status),
        "" if ready else "no worker",
        f"{target}/{precision}.onnx" if ready else None,
        1200 if ready else None,
        digest_bytes(b"engine") if ready else None,
        parity_px=0.001 if ready else None,
        metrics={"image_px/all": 4.25, "image_px/nose": 4.0} if ready else None,
    )


def empty_bundle() -> BundleModel:
    """``model.json`` of a bundle of the CPU with no engine."""
    tensor = TensorSpec("input_face_images", "float32", ("N", 1, 80, 80))
    return BundleModel(
        name="fpenet",
        version="v3",
        target="cpu",
        device="any CPU",
        compute_capability=None,
        runtime="onnxruntime",
        runtime_version=None,
        net="small",
        num_keypoints=68,
        dataset="synthetic",
        box_scale=1.2,
        confidence="peak",
        confidence_px=None,
        crop_px=80,
        input=tensor,
        outputs=(tensor,),
        max_batch_size=8,
        default="fp32",
        golden=GoldenLimits({"fp32": 0.01}, 4096, 60.0),
        gate_passed=True,
        engines=(),
        signed_by="nobody",
    )


TRAINED: dict[str, Any] = {
    "net": "small",
    "parameters": 300_000,
    "num_keypoints": 68,
    "box_scale": 1.2,
    "confidence": "learned",
    "epochs": 2,
    "faces_seen": 64,
    "minutes": 0.5,
}
"""The summary of stage train, in part."""
READY_CPU = engine("cpu", "fp32", "ready")


@pytest.fixture
def make_engine() -> Callable[[str, Precision, str], Engine]:
    """One row of engines.json: ``make_engine("cpu", "fp32", "ready")``."""
    return engine


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


@pytest.fixture
def development_key(tmp_path: Path, signing_key: SigningKey) -> SigningKey:
    """The development key, copied to ``.keys`` of the project at ``tmp_path``."""
    (tmp_path / ".keys").mkdir()
    for suffix in (".pem", ".pub"):
        shutil.copy2(DEVELOPMENT_KEY.with_suffix(suffix), tmp_path / ".keys")
    return signing_key


@pytest.fixture
def names() -> dict[str, Any]:
    """Keys of params.yaml: names of an experiment and models, unique to the test."""
    mark = uuid.uuid4().hex[:8]
    return {
        "register.experiment": f"faces-{mark}",
        "register.trainable_model": f"trainable-{mark}",
        "register.deployable_model": f"deployable-{mark}",
    }


@pytest.fixture
def register(
    mlflow_store: Path,
    tmp_path: Path,
    params_with: Callable[..., Params],
    names: dict[str, Any],
    development_key: SigningKey,
) -> Callable[..., dict[str, Any]]:
    """Register a small release; all calls of one test use the same names."""
    from fpenet.release.registry.register import register_release
    from fpenet.release.report.citations import evidence_table

    def run(
        folders: Mapping[str, Path],
        required: tuple[str, ...] = ("cpu",),
        card: str | None = None,
        encrypt: bool = False,
    ) -> dict[str, Any]:
        keys = {"register.required_targets": list(required), "register.encrypt": encrypt}
        params = params_with({**names, **keys})
        out_dir = tmp_path / uuid.uuid4().hex
        out_dir.mkdir()
        report_dir = folders["gate"].with_name("report")
        (report_dir / "published").mkdir(parents=True, exist_ok=True)
        (report_dir / "report.html").write_text("faces")
        (report_dir / "published/report.html").write_text("numbers")
        card = card or f"# Model card\n\n{evidence_table(folders)}\n"
        (report_dir / "model_card.md").write_text(card)
        release = register_release(
            inputs={**folders, "report": report_dir},
            register=params.register_,
            signing_key=development_key,
            out_dir=out_dir,
        )
        manifest = read_release(out_dir, [development_key.public]).manifest
        assert manifest.tree() == release
        return release

    return run
