"""Golden vectors: crops whose points are known, which an engine must give before it is trusted.

Input: an engine, its signature and digest checked. Does: has a child process of its own load and
query it within limits of memory and time, so that an engine that crashes, hangs or lies harms
nothing else; compares its points with those of the FP32 network. Output: what is wrong with it, in
words. The crops are rendered, so they may travel with every bundle.
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
from fpenet.data.crops.geometry import cut, face_crop_box
from fpenet.data.crops.store import CROP_PX
from fpenet.deploy.bundle.bundle_model import MODEL, BundleModel, GoldenLimits
from fpenet.deploy.engines.device_fit import misfit, this_machine
from fpenet.deploy.engines.engine_table import BuiltFor
from fpenet.deploy.engines.runtimes import RUNTIMES
from fpenet.deploy.engines.targets import Pending, RuntimeName
from fpenet.kpi.predictions import Predict
from fpenet.provenance.checksums import DEFAULT_TRUST, Trusted, verify_checksums
from fpenet.provenance.digest import SOURCE_ROOT
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
"""Exit status of the child where the engine cannot run on this machine; standard output has why."""
_CONSTANT_PX = 1e-3
"""Points that move less between the faces do not depend on them."""
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
"""What the child needs to find libraries and devices; credentials and settings stay outside."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Crops (N, 1, 80, 80) uint8 and their points (N, K, 2) float32, 80x80 crop pixels."""

    crops: NDArray[np.uint8]
    points: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Write them, without pickle; the same vectors give the same bytes."""
        with path.open("wb") as file:
            np.savez(file, crops=self.crops, points=self.points)


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """One engine against the golden vectors.

    Attributes:
        engine: ``target/precision``.
        px: mean distance of its points on the worst crop; None where it gave none.
        reasons: what is wrong with it; empty where it is good, or cannot run here.
        absent: why it cannot run here; None where it did.
    """

    engine: str
    px: float | None
    reasons: tuple[str, ...] = ()
    absent: str | None = None


def make_golden(predict: Predict, box_scale: float) -> Golden:
    """The vectors of a network: ``predict`` is its FP32 form."""
    faces = [render_face(spec) for spec in _FACES]
    crops = [
        cut(face.image, face_crop_box(face.face_box, box_scale), CROP_PX)[None] for face in faces
    ]
    stacked = np.stack(crops)
    return Golden(stacked, np.asarray(predict(stacked)[0], np.float32))


def read_golden(data: bytes, source: Path | str) -> Golden:
    """What ``save`` wrote.

    Raises:
        InputError: naming ``source``: not golden vectors.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            golden = Golden(found["crops"], found["points"])
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise InputError(f"{source}: not golden vectors: {error}") from None
    wanted = (len(golden.points), 1, CROP_PX, CROP_PX)
    if golden.points.ndim != 3 or golden.crops.shape != wanted or golden.crops.dtype != np.uint8:
        raise InputError(f"{source}: crops are {golden.crops.dtype} {golden.crops.shape}")
    return golden


def faults(
    points: NDArray[np.float32], confidence: NDArray[np.float32], golden: Golden, budget_px: float
) -> tuple[float | None, tuple[str, ...]]:
    """How far the points are off on the worst crop, and what is wrong with them.

    Args:
        points, confidence: (N, K, 2) and (N, K), what the engine said of the golden crops.
        budget_px: largest mean distance of a crop, 80x80 crop pixels.
    """
    for what, values in (("point", points), ("confidence", confidence)):
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            return None, (f"{bad} of {values.size} {what} values are no numbers",)
    # How far each keypoint is from each golden one, over the crops: (K, K).
    apart = np.linalg.norm(points[:, :, None] - golden.points[:, None], axis=3).mean(axis=0)
    own = np.linalg.norm(points - golden.points, axis=2)
    px = float(own.mean(axis=1).max())
    reasons = []
    if np.ptp(points, axis=0).max() < _CONSTANT_PX <= np.ptp(golden.points, axis=0).max():
        reasons.append("it says the same points of every face")
    elif moved := np.flatnonzero(np.diag(apart) - apart.min(axis=1) > budget_px).tolist():
        pairs = ", ".join(f"{k + 1} lies where {apart[k].argmin() + 1} does" for k in moved[:3])
        reasons.append(f"{len(moved)} keypoints are in the place of others: {pairs}")
    if px > budget_px:
        worst = int(own.mean(axis=1).argmax())
        reasons.append(
            f"its points are {px:.3g} px off on golden face {worst + 1}, the budget is"
            f" {budget_px:g} px"
        )
    return px, tuple(reasons)


def predict_in_child(
    runtime: RuntimeName,
    engine: bytes,
    golden: Golden,
    batch: int,
    limits: GoldenLimits,
    source: str,
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | Pending:
    """What the engine says of the golden crops, asked in a clean child process.

    Args:
        batch: largest that it takes.
        limits: of time, and of address space for an engine of the CPU: a GPU's driver maps more
            than there is.

    Raises:
        InputError: naming ``source``: it crashed, took too long or too much, or was refused.
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
            input=json.dumps(request).encode() + b"\n" + crops.tobytes() + engine,
            capture_output=True,
            env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
            cwd="/",
            timeout=limits.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{source}: gave no points within {limits.seconds} s") from None
    if child.returncode == CANNOT_RUN:
        return Pending(child.stdout.decode())
    if child.returncode != 0:
        how = f"signal {-child.returncode}" if child.returncode < 0 else "refused"
        last = child.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
        raise InputError(f"{source}: could not be queried ({how}): {last[0][:400]}")
    count = golden.points.shape[1]
    wanted = len(crops) * count * 3  # x, y and confidence
    if len(child.stdout) != 4 * wanted:
        raise InputError(f"{source}: gave {len(child.stdout)} bytes; {count} keypoints are wanted")
    said = np.frombuffer(child.stdout, np.float32)
    points, confidence = said[: wanted * 2 // 3], said[wanted * 2 // 3 :]
    return points.reshape(len(crops), count, 2), confidence.reshape(len(crops), count)


def check_engine(
    engine_id: EngineId,
    built_for: BuiltFor,
    batch: int,
    engine: bytes,
    golden: Golden,
    limits: GoldenLimits,
    source: str,
) -> GoldenResult:
    """One engine, whose bytes are those that were signed, against the golden vectors.

    Args:
        batch: largest that it takes.
        limits: section ``build.golden``.
    """
    name, runtime = str(engine_id), built_for.runtime
    if (unfit := misfit(built_for, this_machine(runtime))) is not None:
        return GoldenResult(name, None, absent=unfit)
    try:
        said = predict_in_child(runtime, engine, golden, batch, limits, source)
    except InputError as error:
        return GoldenResult(name, None, (str(error),))
    if isinstance(said, Pending):
        return GoldenResult(name, None, absent=said.reason)
    return GoldenResult(name, *faults(*said, golden, limits.px[engine_id.precision]))


def check_golden(folder: Path, trusted: Trusted = DEFAULT_TRUST) -> list[GoldenResult]:
    """Every engine of one target's folder in a bundle, queried on this machine.

    Raises:
        InputError: nobody trusted signed the folder, or a file is not what was signed.
    """
    sums = verify_checksums(folder, trusted)
    model = BundleModel.parse(sums.read(MODEL), folder / MODEL)
    golden = read_golden(sums.read(GOLDEN), folder / GOLDEN)
    found = []
    for engine in model.engines:
        name, file = model.id_of(engine), engine.file
        if file is None:
            absent = "it is not built yet; run build.sh"
            found.append(GoldenResult(str(name), None, absent=absent))
            continue
        built_for, batch = model.built_for(engine), model.max_batch_size
        data, source = sums.read(file), str(folder / file)
        found.append(check_engine(name, built_for, batch, data, golden, model.golden, source))
    return found


def main() -> None:
    """Answer the request on standard input."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a runtime prints is no part of the answer
    request = json.loads(sys.stdin.buffer.readline())
    crops = np.frombuffer(sys.stdin.buffer.read(request["crops"] * CROP_PX * CROP_PX), np.uint8)
    engine = sys.stdin.buffer.read()
    _limit(request)
    try:
        _answer(request, crops.reshape(-1, 1, CROP_PX, CROP_PX), engine, answer)
    except (ValueError, MemoryError) as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")


def _limit(request: dict[str, Any]) -> None:
    """No more memory or time than is granted, no file, no core dump."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CPU: math.ceil(request["seconds"]),
    }
    if request["memory_mb"] is not None:
        limits[resource.RLIMIT_AS] = request["memory_mb"] << 20
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))


def _answer(request: dict[str, Any], crops: Any, engine: bytes, answer: BinaryIO) -> None:
    from fpenet.kpi.predictions import predict_all

    runtime: Any = request["runtime"]
    predict = RUNTIMES[runtime].load(engine, request["source"], 1)
    if isinstance(predict, Pending):
        answer.write(predict.reason.encode())
        answer.close()
        sys.exit(CANNOT_RUN)
    for said in predict_all(predict, crops, request["batch"]):
        answer.write(np.ascontiguousarray(said, np.float32).tobytes())
    answer.close()
