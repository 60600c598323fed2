"""The stage folders of a small release with a champion, and its report."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from fpenet.data.crops.store import open_crops
from fpenet.data.validation.validation_report import VALIDATION, CheckSummary
from fpenet.deploy.judge.judge_release import judge_release
from fpenet.kpi.predictions import load_predictions
from fpenet.params import Params
from fpenet.provenance.manifest import Manifest, seal
from fpenet.provenance.signing import SigningKey
from fpenet.release.report.report import report_release
from fpenet.stages import STAGES
from tests.manifests import VALIDATED

LABELS = replace(
    VALIDATED,
    dataset="rendered",
    faces=1234,
    kept=10,
    subjects=11,
    dropped={"occluded": 1000, "unreadable": 224},
    checks={
        "twins": CheckSummary("warn", 0, "only 10 faces", {}),
        "balance": CheckSummary("warn", 0, None, {}),
    },
)
TRAINING = {
    "net": "small",
    "num_keypoints": 68,
    "box_scale": 1.2,
    "confidence": "learned",
    "parameters": 335792,
    "epochs": 3,
    "minutes": 0.75,
    "faces_seen": 18,
}
PARTS = {
    "rule": "hash",
    "train": {"faces": 5, "subjects": 5},
    "val": {"faces": 1, "subjects": 1},
    "kpi": {"faces": 4, "subjects": 4},
}


@pytest.fixture(scope="session")
def finished(
    stages: SimpleNamespace,
    params: Params,
    signing_key: SigningKey,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Stage -> its finished folder; the champion differs on face 2 only, where it has no error."""
    root = tmp_path_factory.mktemp("finished")
    (root / "gate").mkdir()
    gate = params.gate.model_copy(update={"champion": stages.bundle.as_posix()})
    judge_release(
        crop_dir=stages.crop,
        evaluate_dir=stages.evaluate,
        build_dir=stages.build,
        gate=gate,
        evaluate=params.evaluate,
        trusted=[signing_key.public],
        out_dir=root / "gate",
    )
    better = root / "gate/champion/cpu.fp32.predictions.npz"
    theirs = load_predictions(better)
    store = open_crops(stages.crop)
    theirs.points[2] = store.points_crop(theirs.rows)[2]
    theirs.save(better)
    for name in ("validate", "split"):
        (root / name).mkdir()
    LABELS.write(root / "validate" / VALIDATION)
    folders = {name: root / name for name in STAGES["report"].inputs}
    for name in folders:
        if not (root / name).exists():
            shutil.copytree(getattr(stages, name), root / name)
    said = stages.summary | {"train": TRAINING, "split": PARTS}
    for name, folder in folders.items():
        read = STAGES[name].sections
        sections = {each: params.section(each).model_dump(mode="json") for each in read}
        inputs = {"labels": "ab" * 32} if name == "validate" else {}
        summary = said.get(name, {})
        seal(folder, Manifest(name, name, inputs, sections, "code", {"onnx": "1"}, {}, summary))
    return folders


@pytest.fixture(scope="session")
def report_dir(
    finished: dict[str, Path], params: Params, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The output folder of stage report."""
    out_dir = tmp_path_factory.mktemp("report")
    report_release(
        inputs=finished,
        register=params.register_,
        out_dir=out_dir,
    )
    return out_dir
