"""Calibration: which faces, what they make the network do, and what is refused."""

import csv
import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from components.data.crop_store import CropStore, open_crops
from components.deploy.calibrate import (
    calibrate_ranges,
    collect_histograms,
    crop_batches,
    draw_faces,
    ranges_of,
)
from components.deploy.network import read_network
from components.deploy.onnx_file import INPUT
from components.params import Params
from components.provenance.digest import digest_bytes


@pytest.fixture
def store(crop_dir: Path) -> CropStore:
    return open_crops(crop_dir)


def test_faces_are_training_faces_and_the_same_every_time(store: CropStore) -> None:
    drawn = draw_faces(store, 4, seed=35)
    assert set(drawn) <= {0, 1, 2, 3, 4, 5}
    assert len(set(drawn)) == 4
    assert draw_faces(store, 4, seed=35).tolist() == drawn.tolist()
    assert len({tuple(draw_faces(store, 2, seed).tolist()) for seed in range(8)}) > 3


def test_faces_are_spread_over_light_and_pose(store: CropStore) -> None:
    # Five copies of the first face, which fill its stratum, beside five faces of other strata.
    names = store.table.column_names
    rows = [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    table = store.table.take(rows)
    crowded = dataclasses.replace(store, table=table, crops=np.asarray(store.crops)[rows])
    assert "attr_yaw" in names
    yaws = set(crowded.attribute("yaw", draw_faces(crowded, 6, seed=1)))
    assert yaws == {-30.0, -15.0, 0.0}
    assert sum(row < 5 for row in draw_faces(crowded, 6, seed=1)) == 1


def test_more_faces_than_there_are_takes_all(store: CropStore) -> None:
    assert draw_faces(store, 999, seed=0).tolist() == [0, 1, 2, 3, 4, 5]


def test_f29_faces_without_contrast_are_refused(store: CropStore) -> None:
    black = dataclasses.replace(store, crops=np.zeros_like(np.asarray(store.crops)))
    with pytest.raises(ValueError, match=r"contrast of 0\.00 grey levels; they are not faces"):
        draw_faces(black, 6, seed=0)


def test_a_set_without_training_faces_is_refused(store: CropStore) -> None:
    with pytest.raises(ValueError, match=r"no face in part 'train' to calibrate on.*\['kpi'\]"):
        draw_faces(dataclasses.replace(store, table=store.table.slice(6)), 6, seed=0)


def test_the_input_histogram_counts_every_pixel_of_every_face(
    stages: SimpleNamespace, store: CropStore
) -> None:
    network = read_network(stages.export / "opset17" / "fp32.onnx")
    histograms = collect_histograms(network, crop_batches(store, np.arange(6)))
    assert histograms[INPUT].counts.sum() == 6 * 80 * 80
    assert histograms[INPUT].largest == store.images(np.arange(6)).max()
    assert len(histograms) > 40


def test_f27_batches_that_were_used_before_are_an_error(
    stages: SimpleNamespace, store: CropStore
) -> None:
    network = read_network(stages.export / "opset17" / "fp32.onnx")
    batches = crop_batches(store, np.arange(2))
    collect_histograms(network, batches)
    with pytest.raises(ValueError, match=r"no batch: .* a generator that was used before"):
        collect_histograms(network, batches)


def test_f29_a_face_that_is_not_a_number_is_an_error_that_names_the_tensor(
    stages: SimpleNamespace,
) -> None:
    network = read_network(stages.export / "opset17" / "fp32.onnx")
    face = np.full((1, 1, 80, 80), np.nan, np.float32)
    with pytest.raises(ValueError, match=f"tensor {INPUT}, batch 1: .* no range"):
        collect_histograms(network, [{INPUT: face}])


def test_percentile_and_entropy_clip_and_minmax_does_not(
    stages: SimpleNamespace, store: CropStore, params: Params
) -> None:
    network = read_network(stages.export / "opset17" / "fp32.onnx")
    histograms = collect_histograms(network, crop_batches(store, np.arange(3)))
    tables = {
        method: ranges_of(
            histograms,
            params.calibrate.model_copy(update={"method": method, "percentile": 99.0}),
        )
        for method in ("minmax", "percentile", "entropy")
    }
    for name, largest in tables["minmax"].items():
        assert 0 < tables["percentile"][name] <= largest
        assert 0 < tables["entropy"][name] <= largest
    clipped = [n for n, v in tables["minmax"].items() if tables["percentile"][n] < v]
    assert len(clipped) > 30


def test_the_faces_used_are_listed_with_the_digest_of_their_crop(stages: SimpleNamespace) -> None:
    store = open_crops(stages.crop)
    with (stages.calibrate / "calibration_faces.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [f"{n}.png" for n in range(6)]
    for row in rows:
        crop = store.images(np.array([int(row["row"])]))[0]
        assert row["crop_sha256"] == digest_bytes(crop.tobytes())


def test_f26_the_same_weights_and_faces_give_the_same_bytes(
    stages: SimpleNamespace, params: Params, tmp_path: Path
) -> None:
    calibrate_ranges(
        crop_dir=stages.crop,
        export_dir=stages.export,
        calibrate=params.calibrate,
        out_dir=tmp_path,
    )
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*") if path.is_file())
    assert len(files) == 2 + 4 + 3  # table and faces, renderings, caches
    for name in files:
        assert (tmp_path / name).read_bytes() == (stages.calibrate / name).read_bytes()


def test_an_export_without_a_network_is_named(
    crop_dir: Path, params: Params, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no opset"):
        calibrate_ranges(
            crop_dir=crop_dir, export_dir=tmp_path, calibrate=params.calibrate, out_dir=tmp_path
        )
