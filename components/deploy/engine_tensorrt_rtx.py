"""Runtime tensorrt_rtx: engines for T4, A10, L4 and RTX, built ahead of time with no GPU present.

Polygraphy chooses between TensorRT and TensorRT-RTX once a process, so each build has a process of
its own; a crash of the builder ends only that. RTX networks are strongly typed: the precision is
the network's. Nothing here runs the engine: it is built, not judged.
"""

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from components.deploy.onnx_file import INPUT, read_onnx
from components.deploy.targets import Built, GpuTarget, Network, Pending, Precision
from components.params import BuildParams

LONGEST_BUILD_SECONDS = 1800


def build(
    network: Network, target: GpuTarget, precision: Precision, build: BuildParams
) -> Built | Pending:
    """Build the engine in a child process.

    Raises:
        ValueError: the builder refuses the network; the message has its last words.
    """
    missing = [name for name in ("tensorrt_rtx", "polygraphy") if find_spec(name) is None]
    if missing:
        return Pending(f"{' and '.join(missing)} not installed here (extra rtx)")
    read_onnx(network.onnx)
    with tempfile.TemporaryDirectory(prefix="fpenet-rtx-") as scratch:
        engine = Path(scratch) / "engine"
        request = {
            "onnx": str(network.onnx.resolve()),
            "engine": str(engine),
            "compute_capability": target.compute_capability,
            "batch": target.batch,
            "workspace_mb": build.workspace_mb,
            "optimization_level": build.builder_optimization_level,
        }
        command = [sys.executable, "-m", __name__, json.dumps(request)]
        try:
            child = subprocess.run(
                command, capture_output=True, text=True, timeout=LONGEST_BUILD_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise ValueError(
                f"TensorRT-RTX did not build {network.onnx.name} for {target.device} within"
                f" {LONGEST_BUILD_SECONDS} s"
            ) from None
        if child.returncode != 0 or not engine.is_file():
            raise ValueError(
                f"TensorRT-RTX refuses {network.onnx.name} for {target.device}:"
                f" {_last_words(child.stdout + child.stderr)} (exit status {child.returncode})"
            )
        return Built(engine.read_bytes(), json.loads(child.stdout.splitlines()[-1])["version"])


def open_engine(path: Path, threads: int = 0) -> Pending:
    """Nothing here runs an RTX engine."""
    return Pending("a TensorRT-RTX engine runs only on its own GPU")


def _last_words(output: str) -> str:
    """The builder's own errors, or its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("[E]", "[!]"))]
    return " ".join((errors or lines or ["no output"])[-3:])[:600]


def _build_here(request: dict[str, Any]) -> None:
    """What the child process does: one engine, then one line of JSON."""
    from polygraphy import config as polygraphy_config

    polygraphy_config.USE_TENSORRT_RTX = True  # before its TensorRT backend is imported
    import tensorrt_rtx
    from polygraphy.backend.tensorrt_rtx import CreateConfigRTX
    from polygraphy.backend.trt import (
        Profile,
        engine_bytes_from_network,
        network_from_onnx_path,
    )

    low, best, high = ((n, 1, 80, 80) for n in request["batch"])
    config = CreateConfigRTX(
        compute_capabilities=[tuple(request["compute_capability"])],
        profiles=[Profile().add(INPUT, low, best, high)],
        builder_optimization_level=request["optimization_level"],
        memory_pool_limits={tensorrt_rtx.MemoryPoolType.WORKSPACE: request["workspace_mb"] << 20},
    )
    network = network_from_onnx_path(request["onnx"], strongly_typed=True)
    engine = engine_bytes_from_network(network, config=config)
    Path(request["engine"]).write_bytes(bytes(engine))
    print(json.dumps({"version": tensorrt_rtx.__version__}))


if __name__ == "__main__":
    _build_here(json.loads(sys.argv[1]))
