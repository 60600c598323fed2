"""Builds one engine in a child process, so that a crash there affects only that engine.

Input: a network, a target and a precision. Does: runs this module as a child process with a time
limit and, where no GPU is used, a memory limit; saves the timing cache for the next build. Output:
the engine. There is one process for each engine because Polygraphy chooses between TensorRT and
TensorRT-RTX once for each process, and because a builder may crash or hang. No partial engine and
no partial timing cache remains on disk.
"""

import errno
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError
from fpenet.core.files import write_whole
from fpenet.deploy.engines.targets import Built, GpuTarget, Network, Precision
from fpenet.params import BuildParams
from fpenet.provenance.digest import digest_bytes

LOGGER = logging.getLogger(__name__)
PROCESS = "fpenet.deploy.engines.builder"
_NO_MEMORY = ("bad_alloc", "OutOfMemory", "out of memory", "MemoryError", "cannot allocate memory")


def build_in_child(
    network: Network,
    gpu_target: GpuTarget,
    precision: Precision,
    build: BuildParams,
    module: str,
    memory_mb: int | None = None,
) -> Built:
    """Build one engine.

    Args:
        module: module of the runtime; the child process calls its ``plan`` and
            ``installed_version``.
        memory_mb: limit of the child's address space; None for a GPU, because its driver maps more
            addresses than the machine has memory.

    Raises:
        InputError: the builder refuses the network, exceeds a limit, or was terminated.
        OSError: the disk is full or read-only; the error names the file.
    """
    with tempfile.TemporaryDirectory(prefix="fpenet-build-") as scratch:
        engine_path, timings = Path(scratch) / "engine", Path(scratch) / "timings"
        request = {
            "runtime": gpu_target.runtime,
            "module": module,
            "network": {
                "onnx": str(network.onnx.resolve()),
                "unquantised": network.unquantised and str(network.unquantised.resolve()),
                "caches": [(number, str(path.resolve())) for number, path in network.caches],
            },
            "gpu_target": asdict(gpu_target),
            "precision": precision,
            "build": build.model_dump(mode="json"),
            "saved_timings": str(build.timing_cache.resolve()),
            "memory_mb": memory_mb,
            "engine_path": str(engine_path),
            "timings": str(timings),
        }
        result = _run(
            request, f"{gpu_target.runtime} {{}} {network.onnx.name} for {gpu_target.device}"
        )
        if result["damaged"]:
            LOGGER.warning(
                "%s: this timing cache is damaged; the kernels are timed again", result["damaged"]
            )
        if timings.is_file():
            save_timings(timings.read_bytes(), build.timing_cache / result["timings"])
        return Built(engine_path.read_bytes(), result["version"])


def _run(request: Mapping[str, Any], sentence: str) -> dict[str, Any]:
    """The JSON result of the child process; ``sentence`` has a place for the verb of an error."""
    seconds = request["build"]["longest_seconds"]
    command = [sys.executable, "-m", PROCESS, json.dumps(request)]
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        start = sentence.format("did not build")
        raise InputError(f"{start} within build.longest_seconds = {seconds} s") from None
    if child.returncode < 0:
        raise InputError(
            f"{sentence.format('was terminated while it built')}: signal {-child.returncode};"
            " a possible cause is too little memory (build.workspace_mb)"
        )
    output = child.stdout + child.stderr
    if child.returncode != 0 and os.strerror(errno.ENOSPC) in output:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), request["engine_path"])
    if child.returncode != 0 and any(words in output for words in _NO_MEMORY):
        raise InputError(
            f"{sentence.format('ran out of memory for')}: build.memory_mb is"
            f" {request['build']['memory_mb']}, build.workspace_mb"
            f" {request['build']['workspace_mb']}: {_error_lines(output)}"
        )
    if child.returncode != 0 or not Path(request["engine_path"]).is_file():
        raise InputError(
            f"{sentence.format('refuses')}: {_error_lines(output)} (exit status {child.returncode})"
        )
    result: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return result


def save_timings(timings: bytes, path: Path) -> None:
    """Replace the timing cache at ``path``: the digest of ``timings``, a newline, ``timings``.

    Raises:
        OSError: the error names ``path``, which is unchanged; no partial file remains.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    content = digest_bytes(timings).encode() + b"\n" + timings
    write_whole(path, content, f".{path.name}.{os.getpid()}.partial")


def read_timings(path: Path) -> bytes | None:
    """The timings that ``save_timings`` wrote; None where the digest does not match."""
    digest, _, timings = path.read_bytes().partition(b"\n")
    return timings if digest_bytes(timings).encode() == digest else None


def _error_lines(output: str) -> str:
    """The last error lines of the builder, or the last lines of its output where it has none."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("[E]", "[!]"))]
    return " ".join((errors or lines or ["no output"])[-3:])[:600]


def build_request(request: dict[str, Any]) -> dict[str, str | None]:
    """In the child process: build the engine of a request of ``build_in_child``.

    Returns:
        version of the runtime, file name of the timing cache, and the path of a damaged one.
    """
    if request["memory_mb"] is not None:
        limit_bytes = request["memory_mb"] << 20
        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    runtime = import_module(request["module"])
    gpu_target = GpuTarget(**request["gpu_target"] | {"card": None})
    files = request["network"]
    network = Network(
        Path(files["onnx"]),
        files["unquantised"] and Path(files["unquantised"]),
        tuple((number, Path(path)) for number, path in files["caches"]),
    )
    version = runtime.installed_version()
    name = timing_cache_name(request["runtime"], version, gpu_target)
    saved = Path(request["saved_timings"]) / name
    copy = Path(request["timings"] + ".copy")
    timings = read_timings(saved) if saved.is_file() else None
    if timings is not None:
        copy.write_bytes(timings)  # Polygraphy writes a lock file next to the file that it reads
    parsed, config = runtime.plan(
        network,
        gpu_target,
        request["precision"],
        BuildParams.model_validate(request["build"]),
        {"load_timing_cache": str(copy)} if copy.is_file() else {},
    )
    from polygraphy.backend.trt import engine_bytes_from_network

    engine_bytes = bytes(
        engine_bytes_from_network(parsed, config, save_timing_cache=request["timings"])
    )
    Path(request["engine_path"]).write_bytes(engine_bytes)
    damaged = str(saved) if saved.is_file() and timings is None else None
    return {"version": version, "timings": name, "damaged": damaged}


def timing_cache_name(runtime: str, version: str, gpu_target: GpuTarget) -> str:
    """File name of the timing cache of one GPU and one runtime version; it is valid for no other.

    >>> from fpenet.deploy.engines.targets import TARGETS
    >>> timing_cache_name("tensorrt", "10.3.0", TARGETS["orin-nx"])
    'tensorrt-10.3.0-sm87-jetson-orin-nx.cache'
    """
    assert gpu_target.compute_capability is not None
    major, minor = gpu_target.compute_capability
    device = gpu_target.device.lower().replace(",", "").replace(" ", "-")
    return f"{runtime}-{version}-sm{major}{minor}-{device}.cache"


if __name__ == "__main__":
    print(json.dumps(build_request(json.loads(sys.argv[1]))))
