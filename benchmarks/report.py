"""What a report costs, beside the stages that it tells of.

Faces of noise and a fresh ``nano`` net go through the real stages from evaluate to bundle, compared
with themselves as the champion; then the report is written: both editions, the charts as PNGs and
the model card.

    python -m benchmarks.report [--faces 1000] [--save]
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.kpi import KEYPOINTS, crops_of
from benchmarks.result_file import run_benchmark
from fpenet.core.records import encode
from fpenet.data.sample import fixed_lists, write_table
from fpenet.data.validation.validation_report import VALIDATION, ValidationReport
from fpenet.execution import run_stage
from fpenet.model.checkpoint import save_net
from fpenet.model.nets.net_description import NetDescription
from fpenet.model.nets.recombinator import build_net
from fpenet.params import Params, load_params
from fpenet.provenance.manifest import Manifest, seal
from fpenet.provenance.signing import make_key
from fpenet.stages import STAGES

MEASURES = ("fpenet.release.report.report",)
TOLD = ("evaluate", "export", "calibrate", "build", "benchmark", "gate", "bundle")
CALIBRATED = 64  # faces of part train


def given(root: Path, faces: int, params: Params) -> None:
    """The folders of validate, split, crop and train, sealed, with ``faces`` judged ones."""
    for name in ("validate", "split", "crop", "train"):
        (root / name).mkdir()
    store = crops_of(faces + CALIBRATED, root / "crop")
    wave = 100 + 60 * np.sin(np.arange(112) / 9.0)  # calibration refuses noise
    crops = np.load(root / "crop/crops.npy", mmap_mode="r+")
    crops[faces:] = (wave[:, None] / 2 + wave[None] / 2).astype(np.uint8)
    crops.flush()
    count, zero = len(store.crops), np.zeros(len(store.crops))
    table = store.table.drop_columns(["part"])
    for name, column in {
        "part": ["kpi"] * faces + ["train"] * CALIBRATED,
        "image": [f"{n}.png" for n in range(count)],
        "visible": fixed_lists(store.visibility),
        "center_x": zero,
        "center_y": zero,
    }.items():
        table = table.append_column(name, pa.array(column))
    write_table(table, root / "crop/faces.parquet", name="multi_pie", box_scale="1.2")
    np.save(root / "crop/tight.npy", store.tight_crops[:faces])
    write_table(store.tight_table[:faces], root / "crop/tight.parquet")
    torch.manual_seed(0)
    about = NetDescription(
        "nano", KEYPOINTS, dataset="noise", box_scale=1.2, confidence="learned", parameters=1
    )
    save_net(build_net("nano", KEYPOINTS), about, root / "train")
    report = ValidationReport(
        dataset="noise",
        num_keypoints=KEYPOINTS,
        faces=count,
        kept=count,
        dropped={},
        broken=0,
        subjects=count // 10,
        images=count,
        expectations={},
        found={},
        passed=True,
        blocking=(),
        warnings=(),
        checks={},
        counts={},
    )
    report.write(root / "validate" / VALIDATION)
    part = {"faces": faces, "subjects": faces // 10}
    said: dict[str, dict[str, Any]] = {
        "split": {"rule": "hash", "train": part, "val": part, "kpi": part},
        "train": encode(about) | {"epochs": 1, "minutes": 1.0, "faces_seen": 1},
    }
    for name in ("validate", "split", "crop", "train"):
        sections = {
            each: params.section(each).model_dump(mode="json") for each in STAGES[name].sections
        }
        inputs = {"labels": "0" * 64}
        seal(root / name, Manifest(name, name, inputs, sections, "", {}, {}, said.get(name, {})))


def main() -> None:
    """Print seconds a stage, and the report's share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=1_000)
    run_benchmark(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Run the stages twice, the second time with a champion; print the seconds."""
    with tempfile.TemporaryDirectory() as name:
        root, champion = Path(name) / "release", Path(name) / "champion"
        root.mkdir()
        make_key(Path(name) / "key.pem")
        changed = {
            "build.targets": ["cpu"],
            "calibrate.faces": CALIBRATED,
            "export.opsets": [17],
            "gate.champion": None,
            "trust.signing_key": str(Path(name) / "key.pem"),
        }
        took: dict[str, float] = {}
        for champion_or_none in (None, str(champion)):
            overrides = changed | {"gate.champion": champion_or_none}
            params = load_params(Path("params.yaml"), None, overrides)
            if champion_or_none is None:
                given(root, options.faces, params)
            else:
                (root / "bundle").rename(champion)
            for stage in (*TOLD, *(("report",) if champion_or_none else ())):
                inputs = {each: root / each for each in STAGES[stage].inputs}
                began = time.perf_counter()
                run_stage(stage, root / stage, inputs, params)
                took[stage] = max(took.get(stage, 0.0), time.perf_counter() - began)
        size = (root / "report/report.html").stat().st_size / 1e6
    whole = sum(took[stage] for stage in TOLD)
    print(f"{options.faces} judged faces, {KEYPOINTS} keypoints, with a champion")
    print(f"  from evaluate to bundle   {whole:6.1f} s   100%")
    print(f"  the report                {took['report']:6.1f} s   {took['report'] / whole:4.0%}")
    print(f"  its page                  {size:6.2f} MB")


if __name__ == "__main__":
    main()
