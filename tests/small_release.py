"""A small net with random weights, and the folders of all stages of deploy for it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fpenet.data.crops.geometry import CropBox, cut, face_crop_box, tight_crop_box
from fpenet.data.sample import fixed_lists, write_table
from fpenet.model.nets.net_description import NetDescription
from fpenet.params import Params, load_params
from fpenet.provenance.signing import SigningKey
from synthface import FaceSpec, render_face

POSES = [(yaw, light) for yaw in (-30.0, -15.0, 0.0, 15.0, 30.0) for light in (0, 4)]
"""Yaw and light of the ten faces; the last four are judged."""


@pytest.fixture(scope="session")
def params(tmp_path_factory: pytest.TempPathFactory) -> Params:
    overrides: dict[str, Any] = {
        "build.timing_cache": str(tmp_path_factory.mktemp("timings")),
        "calibrate.faces": 5,
        "calibrate.draws": 2,
        "calibrate.recovery.budget_px": 5.0,
        "build.targets": ["cpu", "l4", "nano", "xavier-nx", "orin-agx", "h200"],
        "build.parity_px.int8": 5.0,
        "build.golden.px.int8": 10.0,
        "benchmark.warmup_runs": 1,
        "benchmark.timed_runs": 4,
        "benchmark.batch_sizes": [1, 4],
        "gate.champion": None,
        "gate.min_faces": 1,
        "gate.min_subjects": 1,
        "gate.thresholds": {"rendered": {"nme_box/all": 100.0}},
        "evaluate.interval.resamples": 1000,
        "evaluate.robustness.levels": {"shift": [0.05], "patch": [0.25]},
        "evaluate.slices.min_faces": 2,
        "evaluate.slices.min_subjects": 2,
    }
    return load_params(Path(__file__).parents[1] / "params.yaml", overrides=overrides)


@pytest.fixture(scope="session")
def crop_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten rendered faces with 68 keypoints: six for calibration, four for evaluation."""
    folder = tmp_path_factory.mktemp("crop")
    faces = [
        render_face(FaceSpec(yaw_deg=yaw, illumination=light, seed=number))
        for number, (yaw, light) in enumerate(POSES)
    ]
    points = np.stack([face.points[:68] for face in faces])
    boxes = [face_crop_box(face.face_box, 1.2) for face in faces]
    margins = [CropBox(box.center_x, box.center_y, box.side * 112 / 80) for box in boxes]
    store = [cut(face.image, box, 112) for face, box in zip(faces, margins, strict=True)]
    np.save(folder / "crops.npy", np.stack(store))
    columns = {
        "image": [f"{number}.png" for number in range(10)],
        "occlusion_level": pa.nulls(10, pa.int8()),
        "subject": [str(number) for number in range(10)],
        "part": ["train"] * 6 + ["kpi"] * 4,
        "points": fixed_lists(points.reshape(10, -1)),
        "visible": fixed_lists(np.ones((10, 68), bool)),
        "attr_yaw": [yaw for yaw, _ in POSES],
        "attr_illumination": [f"{light:02d}" for _, light in POSES],
        "box_width": [face.face_box[2] for face in faces],
        "box_height": [face.face_box[3] for face in faces],
    }
    write_table(
        pa.table(columns | _columns(boxes)),
        folder / "faces.parquet",
        name="rendered",
        box_scale="1.2",
    )
    tight = [tight_crop_box(points[row]) for row in range(6, 10)]
    np.save(
        folder / "tight.npy",
        np.stack([cut(faces[6 + row].image, box, 80) for row, box in enumerate(tight)]),
    )
    write_table(
        pa.table({"row": pa.array(range(6, 10), pa.int64())} | _columns(tight)),
        folder / "tight.parquet",
    )
    return folder


def _columns(boxes: list[CropBox]) -> dict[str, Any]:
    names = ("center_x", "center_y", "side")
    return {name: pa.array([getattr(box, name) for box in boxes], pa.float64()) for name in names}


@pytest.fixture(scope="session")
def train_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a training, but with random weights, of the net ``small``."""
    import torch

    from fpenet.model.checkpoint import save_net
    from fpenet.model.nets.recombinator import build_net, first_convolution

    folder = tmp_path_factory.mktemp("train")
    torch.manual_seed(35)
    net = build_net("small", 68)
    with torch.no_grad():
        first_convolution(net).weight /= 255.0
        net.heatmaps.weight *= 10.0
    about = NetDescription("small", 68, "rendered", 1.2, "learned", confidence_px=4.0)
    save_net(net, about, folder)
    return folder


@pytest.fixture(scope="session")
def stages(
    crop_dir: Path,
    train_dir: Path,
    params: Params,
    signing_key: SigningKey,
    tmp_path_factory: pytest.TempPathFactory,
) -> SimpleNamespace:
    """The folders of evaluate, export, calibrate, build, benchmark, gate and bundle."""
    from fpenet.deploy.benchmark.benchmark import benchmark_engines
    from fpenet.deploy.bundle.bundle import bundle_targets
    from fpenet.deploy.engines.build import build_engines
    from fpenet.deploy.int8.calibrate import calibrate_ranges
    from fpenet.deploy.judge.judge_release import judge_release
    from fpenet.deploy.onnx.export import export_onnx
    from fpenet.model.evaluate import evaluate_net

    root = tmp_path_factory.mktemp("stages")
    folders = SimpleNamespace(crop=crop_dir, train=train_dir, summary={})

    def run(name: str, stage: Any, *inputs: str, **sections: Any) -> None:
        out_dir = root / name
        out_dir.mkdir()
        given = {f"{source}_dir": getattr(folders, source) for source in inputs}
        folders.summary[name] = stage(**given, **sections, out_dir=out_dir)
        json.dumps(folders.summary[name], allow_nan=False)
        setattr(folders, name, out_dir)

    judged = {"evaluate": params.evaluate}
    run("evaluate", evaluate_net, "crop", "train", **judged)
    run("export", export_onnx, "train", export=params.export)
    run("calibrate", calibrate_ranges, "crop", "export", calibrate=params.calibrate)
    built_from = ("crop", "evaluate", "export", "calibrate")
    run("build", build_engines, *built_from, build=params.build, **judged)
    timed = ("crop", "train", "evaluate", "build")
    run("benchmark", benchmark_engines, *timed, benchmark=params.benchmark)
    trusted = [signing_key.public]
    gate_reads = ("crop", "evaluate", "build")
    run("gate", judge_release, *gate_reads, gate=params.gate, trusted=trusted, **judged)
    bundled = ("export", "calibrate", "build", "benchmark", "gate")
    run(
        "bundle",
        bundle_targets,
        *bundled,
        bundle=params.bundle,
        build=params.build,
        signing_key=signing_key,
    )
    return folders
