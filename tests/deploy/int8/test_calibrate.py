"""Calibration: which faces, what they make the network do, and what is refused."""

import csv
import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fpenet.data.crops.store import CropStore, open_crops
from fpenet.deploy.int8.calibrate import calibrate_ranges
from fpenet.deploy.int8.calibration_faces import crop_batches, draw_faces
from fpenet.deploy.int8.histogram import METHODS, collect_histograms, ranges_of
from fpenet.deploy.onnx.network import read_network
from fpenet.deploy.onnx.onnx_file import INPUT
from fpenet.params import Params
from fpenet.provenance.digest import digest_bytes


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
    crowded = taken(store, [0, 0, 0, 0, 0, 1, 2, 3, 4, 5])
    drawn = draw_faces(crowded, 6, seed=1)
    assert set(crowded.attribute("yaw", drawn)) == {-30.0, -15.0, 0.0}
    assert sum(row < 5 for row in drawn) == 1


def test_faces_are_spread_over_occlusion(store: CropStore) -> None:
    crowded = taken(store, [0, 0, 0, 0, 0, 0])
    crowded.visibility[5, :30] = False  # much of it is hidden
    for seed in range(4):
        assert 5 in draw_faces(crowded, 2, seed)


def test_where_no_label_tells_the_light_its_brightness_does(store: CropStore) -> None:
    crowded = taken(store, [0] * 10)
    plain = crowded.table.drop_columns(["attr_illumination"])
    crops = np.array(crowded.crops)
    crops[9] = crops[9] // 3
    for seed in range(4):
        assert 9 in draw_faces(dataclasses.replace(crowded, table=plain, crops=crops), 2, seed)


def test_faces_that_are_left_out_are_not_drawn(store: CropStore) -> None:
    assert draw_faces(store, 6, seed=0, but=[0, 1, 5]).tolist() == [2, 3, 4]


def taken(store: CropStore, rows: list[int]) -> CropStore:
    """The store with its faces ``rows`` only, each as often as it is there."""
    return dataclasses.replace(
        store,
        table=store.table.take(rows),
        crops=np.asarray(store.crops)[rows],
        points_margin=store.points_margin[rows],
        visibility=np.array(store.visibility[rows]),
    )


def test_more_faces_than_there_are_takes_all(store: CropStore) -> None:
    assert draw_faces(store, 999, seed=0).tolist() == [0, 1, 2, 3, 4, 5]


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
    with pytest.raises(ValueError, match=f"tensor {INPUT}, batch 1: .* no finite range"):
        collect_histograms(network, [{INPUT: face}])


def test_all_methods_but_minmax_clip_the_same_histograms(
    stages: SimpleNamespace, store: CropStore, params: Params
) -> None:
    network = read_network(stages.export / "opset17" / "fp32.onnx")
    histograms = collect_histograms(network, crop_batches(store, np.arange(3)))
    tables = {
        method: ranges_of(
            histograms,
            params.calibrate.model_copy(update={"method": method, "percentile": 99.0}),
        )
        for method in METHODS
    }
    for name, largest in tables["minmax"].items():
        assert 0 < tables["percentile"][name] <= largest
        assert 0 < tables["entropy"][name] <= largest
        assert 0 < tables["mse"][name] <= largest
    clipped = [n for n, v in tables["minmax"].items() if tables["percentile"][n] < v]
    assert len(clipped) > 30


def test_the_faces_used_are_listed_with_the_digest_of_their_crop(stages: SimpleNamespace) -> None:
    store = open_crops(stages.crop)
    with (stages.calibrate / "calibration_faces.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert {row["image"] for row in rows} < {f"{n}.png" for n in range(6)}
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
    assert len(files) == 4 + 6 + 6  # tables and faces, networks, caches
    for name in files:
        assert (tmp_path / name).read_bytes() == (stages.calibrate / name).read_bytes()


def test_an_export_without_a_network_is_named(
    crop_dir: Path, params: Params, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no opset"):
        calibrate_ranges(
            crop_dir=crop_dir, export_dir=tmp_path, calibrate=params.calibrate, out_dir=tmp_path
        )
