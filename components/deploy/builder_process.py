"""The child process that builds one engine: ``python -m components.deploy.builder_process JSON``.

Polygraphy chooses between TensorRT and TensorRT-RTX once a process, and a builder may crash, hang
or be killed: hence a process an engine. It writes the engine and the timing cache where it is told
to, and as its last line the version of the runtime, a name for the timing cache, and the one that
was there if it is damaged, as JSON.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

from components.deploy import engine_tensorrt, engine_tensorrt_rtx
from components.deploy.builder import known_timings
from components.deploy.targets import GpuTarget, Network
from components.params import BuildParams


def build(request: dict[str, Any]) -> dict[str, str | None]:
    """Build what ``builder.build_in_child`` asks for."""
    if request["memory_mb"] is not None:
        room = request["memory_mb"] << 20
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
    runtime = {"tensorrt": engine_tensorrt, "tensorrt_rtx": engine_tensorrt_rtx}[request["runtime"]]
    target = GpuTarget(**request["target"] | {"card": None})
    files = request["network"]
    network = Network(
        Path(files["onnx"]),
        files["unquantised"] and Path(files["unquantised"]),
        tuple((number, Path(path)) for number, path in files["caches"]),
    )
    version = runtime.installed_version()
    name = timing_cache_name(request["runtime"], version, target)
    kept, known = Path(request["known_timings"]) / name, Path(request["timings"] + ".known")
    timings = known_timings(kept) if kept.is_file() else None
    if timings is not None:
        known.write_bytes(timings)  # Polygraphy leaves a lock file beside what it reads
    parsed, config = runtime.plan(
        network,
        target,
        request["precision"],
        BuildParams.model_validate(request["build"]),
        {"load_timing_cache": str(known)} if known.is_file() else {},
    )
    from polygraphy.backend.trt import engine_bytes_from_network

    engine = bytes(engine_bytes_from_network(parsed, config, save_timing_cache=request["timings"]))
    Path(request["engine"]).write_bytes(engine)
    damaged = str(kept) if kept.is_file() and timings is None else None
    return {"version": version, "timings": name, "damaged": damaged}


def timing_cache_name(runtime: str, version: str, target: GpuTarget) -> str:
    """File name of the timings of one GPU and one version: others' do not serve.

    >>> from components.deploy.targets import TARGETS
    >>> timing_cache_name("tensorrt", "10.3.0", TARGETS["orin-nx"])
    'tensorrt-10.3.0-sm87-jetson-orin-nx.cache'
    """
    assert target.compute_capability is not None
    major, minor = target.compute_capability
    device = target.device.lower().replace(",", "").replace(" ", "-")
    return f"{runtime}-{version}-sm{major}{minor}-{device}.cache"


if __name__ == "__main__":
    print(json.dumps(build(json.loads(sys.argv[1]))))
