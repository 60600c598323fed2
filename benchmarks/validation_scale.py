"""How validation of labels grows: the checks and the suites on 1k, 10k and 100k faces of 68 points.

The faces are numbers, not pictures: shapes of the labelled set's own kind (mean and components),
turned, scaled, moved and jittered, one subject for each 12. Each size runs in a process of its own,
whose largest memory is printed, and that of the process of the suites. A face's time is also a
ratio to that of the first size.

    python -m benchmarks.validation_scale [LABELS] [--faces 1000 10000 100000] [--save]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.result_file import run_benchmark
from fpenet.data.checks.faces import labelled_faces
from fpenet.data.checks.shape_outliers import fit_shape_model
from fpenet.data.readers import read_labels
from fpenet.data.sample import FaceSample, keypoints_box
from fpenet.data.validation.docs_process import suite_process
from fpenet.data.validation.run_checks import kept_samples, run_face_checks
from fpenet.data.validation.validate import suites_of
from fpenet.params import Params, load_params

MEASURES = ("fpenet.data.validation.validate",)
KEYPOINTS = 68
_JITTER_PX = 0.5


def render(count: int, params: Params) -> list[FaceSample]:
    """``count`` faces in images of 640x480."""
    given = labelled_faces(read_labels(Path(params.data.labels), params.data).samples)
    shapes = fit_shape_model(given.take(np.arange(len(given)), KEYPOINTS))
    if isinstance(shapes, str):
        raise ValueError(f"{params.data.labels}: {shapes}")
    random = np.random.default_rng(35)
    samples = []
    for number in range(count):
        along = random.normal(0, shapes.spread)
        shape = shapes.mean + np.tensordot(along, shapes.modes, axes=1)
        turn, size = random.normal(0, 0.15), random.uniform(40, 80)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        points = size * shape @ rotation.T + random.uniform((250, 200), (390, 280))
        points += random.normal(0, _JITTER_PX, points.shape)
        box, visible = keypoints_box(points), np.ones(KEYPOINTS, bool)
        name = f"images/{number:07d}.png"
        samples.append(
            FaceSample(name, (640, 480), box, points, visible, 0, f"s{number // 12:06d}")
        )
    return samples


def measure_one(count: int, params: Params) -> None:
    """Print the numbers of one size as JSON."""
    samples = render(count, params)
    validate = params.validate_
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    with suite_process() as process, tempfile.TemporaryDirectory() as docs:
        sifted = run_face_checks(labelled_faces(samples), validate, None)
        checked = time.perf_counter()
        suites = suites_of(kept_samples(samples, sifted), sifted, validate)
        results = process.evaluate(suites, Path(docs))
        ended = time.perf_counter()
    row = {
        "kept": len(sifted.kept),
        "checks": checked - began,
        "suites": ended - checked,
        "before_mb": before / 1024,
        "most_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "suites_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "ran": sum(outcome.skipped is None for outcome in sifted.outcomes.values()),
        "evaluated": sum(result.evaluated for result in results.values()),
    }
    print(json.dumps(row))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, each row by a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", nargs="?", default="data")
    parser.add_argument("--faces", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    run_benchmark(parser, measure, arguments)


def measure(options: argparse.Namespace) -> None:
    """Validate each size in a process of its own; print the table."""
    if options.one:
        params = load_params(Path("params.yaml"), None, {"data.labels": options.labels})
        measure_one(options.one, params)
        return
    print(f"{'faces':>8}{'kept':>8}{'checks':>11}{'suites':>11}{'all':>11}", end="")
    print(f"{'a face, of the first':>22}{'faces only':>13}{'largest':>11}{'suites':>11}", end="")
    print(f"{'checks':>8}{'expectations':>14}")
    command = [sys.executable, "-m", "benchmarks.validation_scale", options.labels]
    first = 0.0
    for count in options.faces:
        words = [*command, "--one", str(count)]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        seconds = row["checks"] + row["suites"]
        first = first or seconds / count
        print(
            f"{count:>8}{row['kept']:>8}{row['checks']:>9.1f} s{row['suites']:>9.1f} s"
            f"{seconds:>9.1f} s{seconds / count / first:>21.2f}x{row['before_mb']:>10.0f} MB"
            f"{row['most_mb']:>8.0f} MB{row['suites_mb']:>8.0f} MB{row['ran']:>8}"
            f"{row['evaluated']:>14}"
        )


if __name__ == "__main__":
    main()
