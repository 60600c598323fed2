"""``build.sh``: builds the engines of a bundle on the device itself, without Python.

Input: a TensorRT target and the files that its bundle holds. Output: a POSIX shell script that
checks the bundle's digests and the version of TensorRT, then calls NVIDIA's trtexec once for each
precision. An engine file is complete or absent; the timing cache is saved for the next build.
"""

import shlex
from collections.abc import Sequence

from fpenet.deploy.bundle.triton import engine_place
from fpenet.deploy.engines.targets import GpuTarget, Precision, profile, tensorrt_number
from fpenet.deploy.onnx.onnx_file import INPUT
from fpenet.params import BuildParams

CACHE = "source/int8.cache"
TIMINGS = "1/timings.partial"


def sources(gpu_target: GpuTarget, precision: Precision) -> tuple[str, ...]:
    """The files of the bundle that ``precision`` is built from; the network is the first."""
    if precision == "int8":
        return ("source/fp32.onnx", CACHE) if gpu_target.takes_cache else ("source/int8.onnx",)
    return (f"source/{precision}.onnx",)


def trtexec_options(
    gpu_target: GpuTarget, precision: Precision, largest_batch: int, build: BuildParams
) -> list[str]:
    """The options of trtexec that build one engine; the files to write come last.

    From TensorRT 10 on ``--stronglyTyped`` makes the types in the network binding; before, and with
    a calibration cache, flags permit precisions. ``--buildOnly`` is ``--skipInference`` from 8.6
    on, which also brought optimisation levels and compatibilities; ``--workspace`` is
    ``--memPoolSize`` from 8.4 on.
    """
    version = gpu_target.runtime_version
    assert version is not None, f"{gpu_target.device}: a TensorRT target has a version"
    network, *cache = sources(gpu_target, precision)
    options = [f"--onnx={network}"]
    if cache:
        options += ["--int8", "--fp16", f"--calib={cache[0]}"]
    elif version >= (10, 0, 0):
        options += ["--stronglyTyped"]
    else:
        options += ["--fp16"] if precision == "fp16" else ["--int8", "--fp16"]
    options.append("--skipInference" if version >= (8, 6, 0) else "--buildOnly")
    low, best, high = profile(gpu_target, build.dla)
    high = max(min(high, largest_batch), low)
    for name, batch in (("min", low), ("opt", min(best, high)), ("max", high)):
        options.append(f"--{name}Shapes={INPUT}:{batch}x1x80x80")
    workspace = "--memPoolSize=workspace:" if version >= (8, 4, 0) else "--workspace="
    options.append(f"{workspace}{build.workspace_mb}")
    if version >= (8, 6, 0):
        options.append(f"--builderOptimizationLevel={build.builder_optimization_level}")
        options += _COMPATIBILITY[build.hardware_compatibility]
        options += ["--versionCompatible"] if build.version_compatible else []
    if build.dla and gpu_target.dla_cores:
        options += ["--useDLACore=0", "--allowGPUFallback"]
    return [*options, f"--timingCacheFile={TIMINGS}", f"--saveEngine=1/{precision}.partial"]


_COMPATIBILITY = {
    "none": (),
    "ampere_plus": ("--hardwareCompatibilityLevel=ampere+",),
    "same_compute_capability": ("--hardwareCompatibilityLevel=sameComputeCapability",),
}


def build_script(
    gpu_target: GpuTarget,
    precisions: Sequence[Precision],
    default: Precision,
    largest_batch: int,
    build: BuildParams,
) -> str:
    """The text of ``build.sh``; it copies the engine of ``default`` into the Triton repository.

    The script refuses another version of TensorRT: its trtexec may not know the flags, and if it
    rejects the calibration cache it calibrates with noise and prints no warning.
    """
    assert gpu_target.runtime_version is not None
    version = ".".join(map(str, gpu_target.runtime_version))
    number = tensorrt_number(gpu_target.runtime_version)
    lines = [
        "#!/bin/sh",
        f"# Builds the engines of this folder on a {gpu_target.device} with TensorRT {version}.",
        "# An engine runs only with the version of TensorRT and on the GPU that it is built for.",
        "set -eu",
        'cd "$(dirname "$0")"',
        "# To check the signature: FPENET_KEY=NAME.pub sh build.sh (OpenSSL 3 or newer).",
        'if [ -n "${FPENET_KEY:-}" ]; then',
        "    cut -d ' ' -f 3 SHA256SUMS.sig | base64 -d >1.signature",
        "    trap 'rm -f 1.signature' EXIT",
        '    openssl pkeyutl -verify -pubin -inkey "$FPENET_KEY" -rawin -in SHA256SUMS \\',
        "        -sigfile 1.signature",
        "fi",
        "sha256sum -c SHA256SUMS",
        'PATH="$PATH:/usr/src/tensorrt/bin" # the folder of trtexec in JetPack',
        "if ! command -v trtexec >/dev/null; then",
        '    echo "build.sh: no trtexec on PATH; it comes with TensorRT" >&2',
        "    exit 1",
        "fi",
        "version=$(trtexec --help 2>&1 |",
        "    sed -n 's/.*\\[TensorRT v\\([0-9]*\\)\\].*/\\1/p' | head -n 1)",
        f'if [ "$version" != {number} ]; then',
        f'    echo "build.sh: made for TensorRT {version}; trtexec is of ${{version:-?}}" >&2',
        "    exit 1",
        "fi",
        "mkdir -p 1",
        "trap 'rm -f 1.signature 1/*.partial' EXIT",
    ]
    for precision in precisions:
        options = trtexec_options(gpu_target, precision, largest_batch, build)
        lines += [
            "sha256sum -c timings.sum 2>/dev/null || rm -f timings.cache",
            f"[ ! -f timings.cache ] || cp timings.cache {TIMINGS}",
            "trtexec " + " \\\n    ".join(shlex.quote(option) for option in options),
            f"[ ! -f {TIMINGS} ] || mv {TIMINGS} timings.cache",
            "[ ! -f timings.cache ] || sha256sum timings.cache >timings.sum",
            f"mv 1/{precision}.partial 1/{precision}.engine",
        ]
    if default in precisions:
        lines.append(f"cp 1/{default}.engine triton/{engine_place(gpu_target)}")
    names = " ".join(f"1/{precision}.engine" for precision in precisions)
    return "\n".join([*lines, f'echo "built {names}"', ""])
