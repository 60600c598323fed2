"""Judges one model on the judged faces of a crop folder, or compares two models.

A model is the folder of a bundle or of one of its targets, a folder of stage train, an ONNX file
with the inputs and outputs of FPENet, or a folder with ``predictions.npz`` of those faces. Output:
``kpi.json``, its CSV files and plot, ``predictions.npz`` and ``card.md``; or the rows of a
comparison.
"""

import dataclasses
from pathlib import Path

import pyarrow as pa

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CropStore
from fpenet.deploy.judge.candidate_model import (
    CandidateModel,
    framed,
    only_shared,
    open_bundle,
    predict_model,
    shared_keypoints,
    shared_predict,
    without_labels,
)
from fpenet.deploy.judge.contract.foreign_network import MOST
from fpenet.deploy.judge.contract.image_crops import predict_images
from fpenet.deploy.judge.foreign import check_frame, open_onnx
from fpenet.kpi.compare import Difference, compare
from fpenet.kpi.evaluate import evaluate_model, judge
from fpenet.kpi.predictions import (
    Predictions,
    digest_faces,
    judged_rows,
    load_predictions,
)
from fpenet.kpi.report import KpiReport, plot_kpi, write_kpi, write_kpi_card
from fpenet.model.nets.net_description import NET_FILE
from fpenet.params import ComparisonParams, EvaluateParams
from fpenet.provenance.checksums import DEFAULT_TRUST, SUMS, Trusted
from fpenet.provenance.digest import digest_file


def evaluate_candidate(
    candidate: CandidateModel, store: CropStore, params: EvaluateParams
) -> tuple[KpiReport, Predictions]:
    """The KPI report and the predictions, with the candidate model's crop box.

    Raises:
        InputError: its scheme has another numbering, or its points are not pixels of the crop.
    """
    reframed = framed(candidate, store)
    params = params.model_copy(
        update={"batch_size": min(params.batch_size, candidate.max_batch_size)}
    )
    predict = shared_predict(candidate, reframed)
    if candidate.view is None:
        kpi, predictions = evaluate_model(predict, reframed, params, candidate.confidence_px)
    else:
        predictions = predict_images(predict, candidate.view, reframed, params.batch_size)
        kpi = judge(reframed, predictions, params, candidate.confidence_px)
    check_frame(predictions, candidate)
    assumed = list(candidate.assumed)
    if reframed.num_keypoints != max(store.num_keypoints, candidate.num_keypoints):
        assumed.append(
            f"the {candidate.num_keypoints} keypoints of the model and the {store.num_keypoints}"
            f" of the labels share their first {reframed.num_keypoints}, which are judged"
        )
    return dataclasses.replace(kpi, assumed=tuple(assumed)), predictions


def write_evaluation(
    path: Path,
    store: CropStore,
    params: EvaluateParams,
    out_dir: Path,
    trusted: Trusted = DEFAULT_TRUST,
    contract: Path | None = None,
) -> KpiReport:
    """Judge the model at ``path``; write report, predictions, plot and card into ``out_dir``.

    Args:
        contract: see ``open_model``.
    """
    candidate = open_model(path, store, trusted, contract)
    kpi, predictions = evaluate_candidate(candidate, store, params)
    out_dir.mkdir(parents=True, exist_ok=True)
    write_kpi(kpi, out_dir)
    predictions.save(out_dir / "predictions.npz")
    plot_kpi(kpi, framed(candidate, store), predictions, out_dir / "kpi.png")
    files = (path, path / "model.safetensors", *sorted(path.rglob(SUMS)))
    identity = next(file for file in files if file.is_file())
    digest = f"SHA-256 of {identity.name}: {digest_file(identity)}"
    write_kpi_card(kpi, candidate.name, digest, out_dir / "card.md")
    return kpi


def open_model(
    path: Path, store: CropStore, trusted: Trusted = DEFAULT_TRUST, contract: Path | None = None
) -> CandidateModel:
    """The model of a bundle (the first engine that runs here), of a train folder, or an ONNX file.

    Args:
        store: the judged faces.
        trusted: keys of which one must have signed a bundle; an ONNX file needs no signature.
        contract: a contract file, for an ONNX file only.

    Raises:
        InputError: there is no model, or none that runs here.
    """
    if path.is_file():
        return open_onnx(path, store, contract)
    if contract is not None:
        raise InputError(f"{contract}: a contract is for an ONNX file; {path} is none")
    if (path / "model.safetensors").is_file():
        return _open_trained(path)
    opened, absent = open_bundle(path, trusted)
    if not opened:
        raise InputError(f"{path}: none of its engines runs here: {'; '.join(absent)}")
    return opened[0]


def _open_trained(folder: Path) -> CandidateModel:
    """The net in a folder of stage train, or of a version of the trainable model."""
    from fpenet.model.checkpoint import load_net
    from fpenet.model.evaluate import torch_predict

    net, about = load_net(folder)
    _, box_scale = about.trained_on(folder / NET_FILE)
    return CandidateModel(
        f"{folder.name}: {about.net}",
        torch_predict(net),
        about.num_keypoints,
        box_scale,
        MOST,
        confidence_px=about.confidence_px,
    )


def compare_models(
    first: Path,
    second: Path,
    store: CropStore,
    params: EvaluateParams,
    comparison: ComparisonParams,
    trusted: Trusted = DEFAULT_TRUST,
    contracts: tuple[Path | None, Path | None] = (None, None),
) -> list[Difference]:
    """How the second model differs from the first, on the judged faces of ``store``.

    Args:
        first, second: a bundle, an ONNX file, or a folder with ``predictions.npz``.
        contracts: the contract file of each model, or None; see ``open_model``.
    """
    (old, not_in_old), (new, not_in_new) = (
        _predictions(path, store, params, trusted, contract)
        for path, contract in zip((first, second), contracts, strict=True)
    )
    shared = shared_keypoints(store, min(old.points.shape[1], new.points.shape[1]))
    old, new = only_shared(old, shared), only_shared(new, shared)
    absent = [k for k in {*not_in_old, *not_in_new} if k < shared.num_keypoints]
    shared = without_labels(shared, absent)
    return compare(shared, old, new, params, comparison)


def _predictions(
    path: Path,
    store: CropStore,
    params: EvaluateParams,
    trusted: Trusted,
    contract: Path | None,
) -> tuple[Predictions, tuple[int, ...]]:
    """The saved predictions of a model for the judged faces, computed where there are none.

    Returns:
        the predictions, and the 0-based keypoints that the model does not have.

    Raises:
        InputError: the saved predictions are of other faces.
    """
    file = path / "predictions.npz"
    if not file.is_file():
        candidate = open_model(path, store, trusted, contract)
        shared = shared_keypoints(store, candidate.num_keypoints)
        return predict_model(candidate, shared, params.batch_size), candidate.absent
    if contract is not None:
        raise InputError(f"{contract}: a contract is for an ONNX file; {path} has predictions")
    predictions = load_predictions(file)
    faces = digest_faces(store, judged_rows(store))
    if predictions.faces != faces:
        raise InputError(
            f"{file}: predictions of the faces {predictions.faces[:16]}; the faces here are"
            f" {faces[:16]}. Name the model instead, and it is judged on these faces"
        )
    return predictions, ()


def all_faces_judged(store: CropStore) -> CropStore:
    """``store`` with every face in the judged part, without the tight crops."""
    place = store.table.column_names.index("part")
    part = pa.array([store.judged_part] * len(store.table))
    return dataclasses.replace(
        store,
        table=store.table.set_column(place, "part", part),
        tight_crops=store.tight_crops[:0],
        tight_table=store.tight_table.slice(0, 0),
    )
