"""Golden vectors: crops with known points, which an engine must reproduce before it is used.

Input: an engine whose signature and digest are checked. Does: loads and runs it in a separate child
process with limits of memory and time, so that a crash or hang affects only that process; compares
its points with those of the FP32 network. Output: the faults of the engine, as sentences. The crops
are rendered, not photographs, so every bundle may contain them.
"""

import io
import json
import math
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fpenet.core.engine_id import EngineId
from fpenet.core.errors import InputError
from fpenet.core.python_source import SOURCE_ROOT
from fpenet.data.crops.geometry import cut, face_crop_box
from fpenet.data.crops.store import CROP_PX
from fpenet.deploy.bundle.bundle_model import MODEL, BundleModel, GoldenLimits
from fpenet.deploy.engines.device_fit import misfit, this_machine
from fpenet.deploy.engines.engine_table import BuiltFor
from fpenet.deploy.engines.runtimes import RUNTIMES
from fpenet.deploy.engines.targets import Pending, RuntimeName
from fpenet.kpi.predictions import Predict
from fpenet.provenance.checksums import DEFAULT_TRUST, Trusted, verify_checksums
from synthface import EXPRESSIONS, FaceSpec, render_face

GOLDEN = "golden.npz"
_FACES = tuple(
    FaceSpec(yaw_deg=yaw, illumination=light, expression=EXPRESSIONS[mood], seed=900 + light)
    for yaw, light, mood in (
        (-50.0, 2, "neutral"),
        (-25.0, 5, "smile"),
        (0.0, 7, "neutral"),
        (0.0, 13, "surprise"),
        (15.0, 0, "squint"),
        (30.0, 9, "scream"),
        (60.0, 16, "neutral"),
        (-10.0, 11, "disgust"),
    )
)
CANNOT_RUN = 3
"""Exit status of the child where the engine cannot run here; the reason is on standard output."""
_CONSTANT_PX = 1e-3
"""Points that differ by less between the faces are constant."""
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
"""Environment variables of the child: libraries and devices, no credentials, no settings."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Crops (N, 1, 80, 80) uint8 and their points (N, K, 2) float32, 80x80 crop pixels."""

    crops: NDArray[np.uint8]
    points: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Write the vectors without pickle; equal vectors give equal bytes."""
        with path.open("wb") as file:
            np.savez(file, crops=self.crops, points=self.points)


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """Result of one engine on the golden vectors.

    Attributes:
        engine_id: ``target/precision``.
        px: mean distance of its points on the worst crop, 80x80 crop pixels; None where it
            returned no points.
        reasons: the faults of the engine; empty where it passes, or cannot run here.
        absent: why it cannot run here; None where it was executed.
    """

    engine_id: str
    px: float | None
    reasons: tuple[str, ...] = ()
    absent: str | None = None


def make_golden(predict: Predict, box_scale: float) -> Golden:
    """The golden vectors of a network; ``predict`` runs it in FP32."""
    faces = [render_face(spec) for spec in _FACES]
    crops = [
        cut(face.image, face_crop_box(face.face_box, box_scale), CROP_PX)[None] for face in faces
    ]
    stacked = np.stack(crops)
    return Golden(stacked, np.asarray(predict(stacked)[0], np.float32))


def read_golden(data: bytes, source: Path | str) -> Golden:
    """The vectors from the bytes that ``save`` wrote.

    Raises:
        InputError: the bytes are not golden vectors; the message names ``source``.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            golden = Golden(arrays["crops"], arrays["points"])
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise InputError(f"{source}: not golden vectors: {error}") from None
    expected = (len(golden.points), 1, CROP_PX, CROP_PX)
    if golden.points.ndim != 3 or golden.crops.shape != expected or golden.crops.dtype != np.uint8:
        raise InputError(f"{source}: crops are {golden.crops.dtype} {golden.crops.shape}")
    return golden


def faults(
    points: NDArray[np.float32], confidence: NDArray[np.float32], golden: Golden, budget_px: float
) -> tuple[float | None, tuple[str, ...]]:
    """The mean distance on the worst crop, 80x80 crop pixels, and the faults of the points.

    Args:
        points, confidence: (N, K, 2) and (N, K), the engine's output for the golden crops.
        budget_px: largest mean distance of a crop, 80x80 crop pixels.
    """
    for what, values in (("point", points), ("confidence", confidence)):
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            return None, (f"{bad} of {values.size} {what} values are not finite",)
    # Distance of each keypoint to each golden keypoint, mean over the crops: (K, K).
    pairwise = np.linalg.norm(points[:, :, None] - golden.points[:, None], axis=3).mean(axis=0)
    errors = np.linalg.norm(points - golden.points, axis=2)
    px = float(errors.mean(axis=1).max())
    reasons = []
    if np.ptp(points, axis=0).max() < _CONSTANT_PX <= np.ptp(golden.points, axis=0).max():
        reasons.append("its points are the same for every face")
    elif moved := np.flatnonzero(np.diag(pairwise) - pairwise.min(axis=1) > budget_px).tolist():
        pairs = ", ".join(f"{k + 1} is at {pairwise[k].argmin() + 1}" for k in moved[:3])
        reasons.append(f"{len(moved)} keypoints are at the position of other keypoints: {pairs}")
    if px > budget_px:
        worst = int(errors.mean(axis=1).argmax())
        reasons.append(
            f"its mean error on golden face {worst + 1} is {px:.3g} px, the budget is"
            f" {budget_px:g} px"
        )
    return px, tuple(reasons)


def predict_in_child(
    runtime: RuntimeName,
    engine_bytes: bytes,
    golden: Golden,
    batch: int,
    limits: GoldenLimits,
    source: str,
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | Pending:
    """Points (N, K, 2) and confidence (N, K) of the golden crops, from a child process.

    Args:
        batch: largest batch that the engine takes.
        limits: of time, and for an engine of the CPU of address space (a GPU's driver needs more).

    Raises:
        InputError: the engine crashed, exceeded a limit, or was refused; the message names
            ``source``.
    """
    crops = golden.crops
    request = {
        "runtime": runtime,
        "source": source,
        "crops": len(crops),
        "batch": batch,
        "seconds": limits.seconds,
        "memory_mb": None if RUNTIMES[runtime].needs_gpu else limits.memory_mb,
    }
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE_ROOT)!r});"
        " from fpenet.deploy.judge.golden import main; main()"
    )
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-B", "-c", code],
            input=json.dumps(request).encode() + b"\n" + crops.tobytes() + engine_bytes,
            capture_output=True,
            env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
            cwd="/",
            timeout=limits.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{source}: returned no points within {limits.seconds} s") from None
    if child.returncode == CANNOT_RUN:
        return Pending(child.stdout.decode())
    if child.returncode != 0:
        cause = f"signal {-child.returncode}" if child.returncode < 0 else "refused"
        last = child.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
        raise InputError(f"{source}: could not be executed ({cause}): {last[0][:400]}")
    count = golden.points.shape[1]
    expected = len(crops) * count * 3  # x, y and confidence
    if len(child.stdout) != 4 * expected:
        size = len(child.stdout)
        raise InputError(f"{source}: returned {size} bytes; {count} keypoints are {4 * expected}")
    values = np.frombuffer(child.stdout, np.float32)
    points, confidence = values[: expected * 2 // 3], values[expected * 2 // 3 :]
    return points.reshape(len(crops), count, 2), confidence.reshape(len(crops), count)


def check_engine(
    engine_id: EngineId,
    built_for: BuiltFor,
    batch: int,
    engine_bytes: bytes,
    golden: Golden,
    limits: GoldenLimits,
    source: str,
) -> GoldenResult:
    """Run one engine on the golden vectors and judge its points.

    Args:
        batch: largest batch that it takes.
        engine_bytes: its bytes, whose digest the caller has checked.
        limits: section ``build.golden``.
    """
    key, runtime = str(engine_id), built_for.runtime
    if (unfit := misfit(built_for, this_machine(runtime))) is not None:
        return GoldenResult(key, None, absent=unfit)
    try:
        outputs = predict_in_child(runtime, engine_bytes, golden, batch, limits, source)
    except InputError as error:
        return GoldenResult(key, None, (str(error),))
    if isinstance(outputs, Pending):
        return GoldenResult(key, None, absent=outputs.reason)
    return GoldenResult(key, *faults(*outputs, golden, limits.px[engine_id.precision]))


def check_golden(folder: Path, trusted: Trusted = DEFAULT_TRUST) -> list[GoldenResult]:
    """The result of every engine of one target's folder in a bundle, on this machine.

    Raises:
        InputError: the folder has no signature of a trusted key, or a file differs from its
            signed digest.
    """
    checksums = verify_checksums(folder, trusted)
    model = BundleModel.parse(checksums.read(MODEL), folder / MODEL)
    golden = read_golden(checksums.read(GOLDEN), folder / GOLDEN)
    results = []
    for engine in model.engines:
        engine_id, file = model.id_of(engine), engine.file
        if file is None:
            absent = "it is not built yet; run build.sh"
            results.append(GoldenResult(str(engine_id), None, absent=absent))
            continue
        built_for, batch = model.built_for(engine), model.max_batch_size
        data, source = checksums.read(file), str(folder / file)
        results.append(
            check_engine(engine_id, built_for, batch, data, golden, model.golden, source)
        )
    return results


def main() -> None:
    """In the child process: read the request from standard input, write the result to output."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps the prints of a runtime out of the result
    request = json.loads(sys.stdin.buffer.readline())
    crops = np.frombuffer(sys.stdin.buffer.read(request["crops"] * CROP_PX * CROP_PX), np.uint8)
    engine_bytes = sys.stdin.buffer.read()
    _limit(request)
    try:
        _predict(request, crops.reshape(-1, 1, CROP_PX, CROP_PX), engine_bytes, output)
    except (ValueError, MemoryError) as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")


def _limit(request: dict[str, Any]) -> None:
    """Set the limits of memory and time; forbid files and core dumps."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CPU: math.ceil(request["seconds"]),
    }
    if request["memory_mb"] is not None:
        limits[resource.RLIMIT_AS] = request["memory_mb"] << 20
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))


def _predict(request: dict[str, Any], crops: Any, engine_bytes: bytes, output: BinaryIO) -> None:
    """Write the points and the confidence of the crops as float32 to ``output``."""
    from fpenet.kpi.predictions import predict_all

    runtime: Any = request["runtime"]
    predict = RUNTIMES[runtime].load(engine_bytes, request["source"], 1)
    if isinstance(predict, Pending):
        output.write(predict.reason.encode())
        output.close()
        sys.exit(CANNOT_RUN)
    for array in predict_all(predict, crops, request["batch"]):
        output.write(np.ascontiguousarray(array, np.float32).tobytes())
    output.close()
