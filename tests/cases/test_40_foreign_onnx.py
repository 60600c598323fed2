"""Case 40: models of other people's kinds are judged, or refused with the contract that fits."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpenet.cli import main as cli
from fpenet.data.crops.store import open_crops
from fpenet.deploy.judge.contract.keypoint_maps import KEYPOINT_MAPS
from fpenet.provenance.manifest import Manifest, seal
from synthface import FaceSpec, render_face
from tests.conftest import PARAMS
from tests.deploy.judge.foreign_models import write_constant
from tests.deploy.judge.image_faces import write_crop_folder

Evaluate = Callable[..., tuple[int, str, dict[str, Any]]]


@pytest.fixture(scope="module")
def crop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rendered faces with 68 points, cut from image files."""
    faces = [render_face(FaceSpec(yaw_deg=yaw, seed=seed)) for seed, yaw in enumerate((-20, 0, 20))]
    points = np.stack([face.points[:68] for face in faces])
    images, boxes = [face.image for face in faces], [face.face_box for face in faces]
    folder = write_crop_folder(tmp_path_factory.mktemp("faces"), images, points, boxes)
    seal(folder, Manifest("crop", "0" * 64, {}, {}, "0" * 64, {}, {}, {}))
    return folder


@pytest.fixture(scope="module")
def mean_shape(crop_folder: Path) -> np.ndarray:
    """(68, 2) mean of the labels in pixels of the 80x80 crop."""
    shape: np.ndarray = open_crops(crop_folder).points_crop(np.arange(3)).mean(axis=0)
    return shape


@pytest.fixture
def evaluate(crop_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """``fpenet evaluate --model``: its status, what it prints, and kpi.json."""
    shutil.copytree(crop_folder, tmp_path / "root/crop")

    def call(model: Path, *words: Any) -> tuple[int, str, dict[str, Any]]:
        sets = ["evaluate.interval.resamples=1000"]
        sets += ["evaluate.robustness.faces=0", "evaluate.temporal.faces=0"]
        shared = ["--params", PARAMS, "--root", tmp_path / "root"]
        shared += [word for pair in sets for word in ("--set", pair)]
        status = cli.main([str(w) for w in ("evaluate", "--model", model, *words, *shared)])
        printed = capsys.readouterr()
        file = tmp_path / "root/judged/kpi.json"
        kpi = json.loads(file.read_text()) if status == 0 else {}
        return status, printed.out + printed.err, kpi

    return call


def expected_error(crop_folder: Path, shape: np.ndarray) -> float:
    """The slow reference: mean over points of the mean distance over faces, crop pixels."""
    labels = open_crops(crop_folder).points_crop(np.arange(3))
    return float(
        np.mean([np.linalg.norm(face[k] - shape[k]) for face in labels for k in range(68)])
    )


@pytest.mark.parametrize("confidence", [None, np.full(68, 0.5)], ids=["no confidence", "both"])
@pytest.mark.parametrize("flat", [True, False])
def test_grey_80_px_crops_and_pixels_need_no_contract(
    evaluate: Evaluate,
    crop_folder: Path,
    mean_shape: np.ndarray,
    tmp_path: Path,
    flat: bool,
    confidence: np.ndarray | None,
) -> None:
    output = mean_shape.ravel() if flat else mean_shape
    model = write_constant(tmp_path / "theirs.onnx", output, ("n", 1, 80, 80), confidence)
    status, printed, kpi = evaluate(model)
    assert status == 0, printed
    assert kpi["metrics"]["crop_px/all"] == pytest.approx(
        expected_error(crop_folder, mean_shape), abs=1e-4
    )
    assert (kpi["confidence"]["auroc_large_error"] is None) == (confidence is None)
    assert ("it has no confidence" in printed) == (confidence is None)


def at(shape: np.ndarray, side: int) -> np.ndarray:
    """Points of the 80x80 crop in pixels of a crop of ``side``."""
    return (shape - 39.5) * (side / 80) + (side - 1) / 2


@pytest.mark.parametrize(
    ("shape", "of_crop", "reason"),
    [
        (("n", 3, 112, 112), lambda p: (at(p, 112) / 112).ravel(), "NCHW, 112x112 px, 3 channels"),
        ((1, 3, 256, 256), lambda p: at(p, 256).ravel(), "256x256 px, 3 channels"),
        (("n", 1, 80, 80), lambda p: p / 80, "normalised (unit)"),
        (("n", 1, 80, 80), lambda p: p / 40 - 1, "normalised (centred)"),
        (("n", 80, 80, 1), lambda p: p, "NHWC, 80x80 px, 1 channel;"),
        (("n", 3, 80, 80), lambda p: p, "80x80 px, 3 channels"),
        (("n", 3, "h", "w"), lambda p: at(p, 112) / 112, "112x112 px, 3 channels"),
    ],
    ids=["pfld", "256 rgb", "unit", "centred", "nhwc", "rgb", "free size"],
)
def test_a_refused_model_is_judged_with_the_contract_that_the_refusal_prints(
    evaluate: Evaluate,
    crop_folder: Path,
    mean_shape: np.ndarray,
    tmp_path: Path,
    shape: tuple[int | str, ...],
    of_crop: Callable[[np.ndarray], np.ndarray],
    reason: str,
) -> None:
    model = write_constant(tmp_path / "theirs.onnx", of_crop(mean_shape), shape)
    status, printed, _ = evaluate(model)
    assert status == 2
    first, _, lines = printed.partition("\n")
    assert "--contract theirs.yaml" in first
    assert "Traceback" not in printed
    assert reason in first
    contract = tmp_path / "theirs.yaml"
    contract.write_text(lines)
    status, printed, kpi = evaluate(model, "--contract", contract)
    assert status == 0, printed
    assert kpi["metrics"]["crop_px/all"] == pytest.approx(
        expected_error(crop_folder, mean_shape), abs=1e-3
    )


@pytest.mark.parametrize("count", [98, 106])
def test_models_of_98_and_106_points_are_judged_on_the_68_of_the_labels(
    evaluate: Evaluate, crop_folder: Path, mean_shape: np.ndarray, tmp_path: Path, count: int
) -> None:
    theirs = np.full((count, 2), 56.0)
    theirs[list(KEYPOINT_MAPS[f"{count}->68"])] = at(mean_shape, 112)
    shape = ("n", 3, 112, 112)
    model = write_constant(tmp_path / "theirs.onnx", (theirs / 112).ravel(), shape)
    status, printed, _ = evaluate(model)
    first, _, lines = printed.partition("\n")
    assert (status, f"it has {count} keypoints, the faces 68" in first) == (2, True)
    assert f'keypoints: "{count}->68"' in lines
    (tmp_path / "c.yaml").write_text(lines)
    status, printed, kpi = evaluate(model, "--contract", tmp_path / "c.yaml")
    assert status == 0, printed
    assert kpi["num_keypoints"] == 68
    assert kpi["metrics"]["crop_px/all"] == pytest.approx(
        expected_error(crop_folder, mean_shape), abs=1e-3
    )


def test_a_contract_without_a_model_and_one_for_a_folder_are_refused(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text("crop_scale: 1\n")
    status, printed, _ = evaluate(tmp_path, "--contract", tmp_path / "c.yaml")
    assert status == 2
    assert "c.yaml: a contract is for an ONNX file" in printed


def test_a_file_that_no_contract_fits_says_what_its_tensors_are(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    odd = write_constant(tmp_path / "odd.onnx", np.zeros(6), ("n", 5, 40, 40))
    status, printed, _ = evaluate(odd)
    assert status == 2
    assert "its input is face tensor(float) (n, 5, 40, 40); it must be (N, C, height" in printed
    classes = write_constant(tmp_path / "classes.onnx", np.zeros(7), ("n", 3, 112, 112))
    status, printed, _ = evaluate(classes)
    assert status == 2
    assert "none is like points" in printed
