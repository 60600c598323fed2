"""F27: no calibration data, used-up data and noise are errors, never a silent calibration."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fpenet.data.crops.store import CropStore, open_crops
from fpenet.deploy.int8 import calibrate
from fpenet.deploy.int8.calibrate import calibrate_ranges
from fpenet.params import Params


def stage(stages: SimpleNamespace, params: Params, store: CropStore, out_dir: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "open_crops", lambda _: store)
        calibrate_ranges(
            crop_dir=stages.crop,
            export_dir=stages.export,
            calibrate=params.calibrate,
            out_dir=out_dir,
        )


@pytest.mark.parametrize("levels", ["noise", "black", "one grey"])
def test_crops_that_are_no_faces_are_refused(
    stages: SimpleNamespace, params: Params, tmp_path: Path, levels: str
) -> None:
    store = open_crops(stages.crop)
    crops = {
        "noise": np.random.default_rng(0).integers(0, 256, store.crops.shape, np.uint8),
        "black": np.zeros_like(store.crops),
        "one grey": np.full_like(store.crops, 120),
    }[levels]
    with pytest.raises(
        ValueError, match="calibration crops are one grey level or noise, the first of"
    ):
        stage(stages, params, dataclasses.replace(store, crops=crops), tmp_path)
    assert not list(tmp_path.rglob("*.onnx"))
    assert not list(tmp_path.rglob("*.cache"))


def test_a_set_without_training_faces_is_refused(
    stages: SimpleNamespace, params: Params, tmp_path: Path
) -> None:
    store = open_crops(stages.crop)
    judged = dataclasses.replace(store, table=store.table.slice(6))
    with pytest.raises(ValueError, match="no face in part 'train' to calibrate on"):
        stage(stages, params, judged, tmp_path)
