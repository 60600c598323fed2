"""Any models on the judged faces of a crop folder: one judged by itself, or two compared.

A model is given as the folder of a bundle or of one of its targets, of stage train, an ONNX file
with the contract (ours or anybody's), or a folder with ``predictions.npz`` of those faces. Output:
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
)
from fpenet.deploy.judge.foreign import MOST, check_frame, open_onnx
from fpenet.kpi.compare import Difference, compare
from fpenet.kpi.evaluate import evaluate as judge
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


def evaluate_model(
    candidate: CandidateModel, store: CropStore, params: EvaluateParams
) -> tuple[KpiReport, Predictions]:
    """Everything that the judge measures, in the candidate model's own box.

    Raises:
        InputError: its keypoints are numbered otherwise, or its points are no pixels of the crop.
    """
    own = framed(candidate, store)
    params = params.model_copy(
        update={"batch_size": min(params.batch_size, candidate.max_batch_size)}
    )
    kpi, found = judge(shared_predict(candidate, own), own, params, candidate.confidence_px)
    check_frame(found, candidate.name)
    assumed = list(candidate.assumed)
    if own.num_keypoints != max(store.num_keypoints, candidate.num_keypoints):
        assumed.append(
            f"the {candidate.num_keypoints} keypoints of the model and the {store.num_keypoints}"
            f" of the labels share their first {own.num_keypoints}, which are judged"
        )
    return dataclasses.replace(kpi, assumed=tuple(assumed)), found


def write_evaluation(
    path: Path,
    store: CropStore,
    params: EvaluateParams,
    out_dir: Path,
    trusted: Trusted = DEFAULT_TRUST,
) -> KpiReport:
    """Judge the model at ``path`` and write all that there is to say into ``out_dir``."""
    contestant = open_model(path, store.box_scale, trusted)
    kpi, found = evaluate_model(contestant, store, params)
    out_dir.mkdir(parents=True, exist_ok=True)
    write_kpi(kpi, out_dir)
    found.save(out_dir / "predictions.npz")
    plot_kpi(kpi, framed(contestant, store), found, out_dir / "kpi.png")
    files = (path, path / "model.safetensors", *sorted(path.rglob(SUMS)))
    told = next(file for file in files if file.is_file())
    digest = f"SHA-256 of {told.name}: {digest_file(told)}"
    write_kpi_card(kpi, contestant.name, digest, out_dir / "card.md")
    return kpi


def open_model(path: Path, box_scale: float, trusted: Trusted = DEFAULT_TRUST) -> CandidateModel:
    """The model of a bundle (its default engine that runs here), of a training, or of an ONNX file.

    Args:
        trusted: whose signature a bundle must bear; an ONNX file is anybody's.

    Raises:
        InputError: there is none, or none that runs here.
    """
    if path.is_file():
        return open_onnx(path, box_scale)
    if (path / "model.safetensors").is_file():
        return _open_trained(path)
    opened, absent = open_bundle(path, trusted)
    if not opened:
        raise InputError(f"{path}: none of its engines runs here: {'; '.join(absent)}")
    return opened[0]


def _open_trained(folder: Path) -> CandidateModel:
    """The net in a folder of stage train, or of the trainable model's version."""
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
) -> list[Difference]:
    """How the second model differs from the first, on the judged faces of ``store``.

    Args:
        first, second: a bundle, an ONNX file, or a folder with ``predictions.npz``.
    """
    old, new = (_said(path, store, params, trusted) for path in (first, second))
    shared = shared_keypoints(store, min(old.points.shape[1], new.points.shape[1]))
    return compare(shared, only_shared(old, shared), only_shared(new, shared), params, comparison)


def _said(path: Path, store: CropStore, params: EvaluateParams, trusted: Trusted) -> Predictions:
    """What a model said of the judged faces, then or now.

    Raises:
        InputError: what it said is of other faces.
    """
    kept = path / "predictions.npz"
    if not kept.is_file():
        contestant = open_model(path, store.box_scale, trusted)
        shared = shared_keypoints(store, contestant.num_keypoints)
        return predict_model(contestant, shared, params.batch_size)
    found = load_predictions(kept)
    faces = digest_faces(store, judged_rows(store))
    if found.faces != faces:
        raise InputError(
            f"{kept}: of the faces {found.faces[:16]}; these are {faces[:16]}. Give its model"
            " instead, to judge it on these faces"
        )
    return found


def all_faces_judged(store: CropStore) -> CropStore:
    """``store`` with every face judged, on the pipeline's crop alone."""
    place = store.table.column_names.index("part")
    part = pa.array([store.judged_part] * len(store.table))
    return dataclasses.replace(
        store,
        table=store.table.set_column(place, "part", part),
        tight_crops=store.tight_crops[:0],
        tight_table=store.tight_table.slice(0, 0),
    )
