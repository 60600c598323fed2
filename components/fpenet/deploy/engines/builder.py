"""One engine, built by a child process: what goes wrong there ends nothing but that engine.

Input: a network, a target and a precision. Does: runs this module as a child process within a
limit of time and, where no GPU is used, of memory; keeps the timing cache for the next build.
Output: the engine. Polygraphy chooses between TensorRT and TensorRT-RTX once for each process, and
a builder may crash or hang: hence one process for each engine. No partial engine or timing cache is
left behind.
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
    target: GpuTarget,
    precision: Precision,
    build: BuildParams,
    module: str,
    memory_mb: int | None = None,
) -> Built:
    """Build one engine.

    Args:
        module: of the runtime, whose ``plan`` and ``installed_version`` the child process calls.
        memory_mb: of the child's address space; None where a GPU driver maps more than there is.

    Raises:
        InputError: the builder refuses the network, takes too long, or was ended; it says which.
        OSError: naming the file that a full or read-only disk has no place for.
    """
    with tempfile.TemporaryDirectory(prefix="fpenet-build-") as scratch:
        engine, timings = Path(scratch) / "engine", Path(scratch) / "timings"
        request = {
            "runtime": target.runtime,
            "module": module,
            "network": {
                "onnx": str(network.onnx.resolve()),
                "unquantised": network.unquantised and str(network.unquantised.resolve()),
                "caches": [(number, str(path.resolve())) for number, path in network.caches],
            },
            "target": asdict(target),
            "precision": precision,
            "build": build.model_dump(mode="json"),
            "known_timings": str(build.timing_cache.resolve()),
            "memory_mb": memory_mb,
            "engine": str(engine),
            "timings": str(timings),
        }
        said = _run(request, f"{target.runtime} {{}} {network.onnx.name} for {target.device}")
        if said["damaged"]:
            LOGGER.warning("%s: not what a build left; measured anew", said["damaged"])
        if timings.is_file():
            keep_timings(timings.read_bytes(), build.timing_cache / said["timings"])
        return Built(engine.read_bytes(), said["version"])


def _run(request: Mapping[str, Any], what: str) -> dict[str, Any]:
    seconds = request["build"]["longest_seconds"]
    command = [sys.executable, "-m", PROCESS, json.dumps(request)]
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        told = what.format("did not build")
        raise InputError(f"{told} within build.longest_seconds = {seconds} s") from None
    if child.returncode < 0:
        raise InputError(
            f"{what.format('was ended while it built')}: signal {-child.returncode}, which may be"
            " for want of memory (build.workspace_mb)"
        )
    output = child.stdout + child.stderr
    if child.returncode != 0 and os.strerror(errno.ENOSPC) in output:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), request["engine"])
    if child.returncode != 0 and any(words in output for words in _NO_MEMORY):
        raise InputError(
            f"{what.format('had no memory left for')}: build.memory_mb is"
            f" {request['build']['memory_mb']}, build.workspace_mb"
            f" {request['build']['workspace_mb']}: {_last_words(output)}"
        )
    if child.returncode != 0 or not Path(request["engine"]).is_file():
        raise InputError(
            f"{what.format('refuses')}: {_last_words(output)} (exit status {child.returncode})"
        )
    said: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return said


def keep_timings(timings: bytes, kept: Path) -> None:
    """Put a finished timing cache, behind its own digest, in the place of the one before.

    Raises:
        OSError: naming ``kept``, which is as it was; no part of the new one stays.
    """
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(kept)) from None
    content = digest_bytes(timings).encode() + b"\n" + timings
    write_whole(kept, content, f".{kept.name}.{os.getpid()}.partial")


def known_timings(kept: Path) -> bytes | None:
    """What ``keep_timings`` put there; None where any byte is another."""
    digest, _, timings = kept.read_bytes().partition(b"\n")
    return timings if digest_bytes(timings).encode() == digest else None


def _last_words(output: str) -> str:
    """The builder's own errors, or its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("[E]", "[!]"))]
    return " ".join((errors or lines or ["no output"])[-3:])[:600]


def build_request(request: dict[str, Any]) -> dict[str, str | None]:
    """Build what ``builder.build_in_child`` asks for."""
    if request["memory_mb"] is not None:
        room = request["memory_mb"] << 20
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
    runtime = import_module(request["module"])
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

    >>> from fpenet.deploy.engines.targets import TARGETS
    >>> timing_cache_name("tensorrt", "10.3.0", TARGETS["orin-nx"])
    'tensorrt-10.3.0-sm87-jetson-orin-nx.cache'
    """
    assert target.compute_capability is not None
    major, minor = target.compute_capability
    device = target.device.lower().replace(",", "").replace(" ", "-")
    return f"{runtime}-{version}-sm{major}{minor}-{device}.cache"


if __name__ == "__main__":
    print(json.dumps(build_request(json.loads(sys.argv[1]))))
