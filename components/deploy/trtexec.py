"""``build.sh``: how an engine is built on its own device, where our Python does not run.

Input: a TensorRT target and the files that its bundle holds. Output: POSIX shell that checks the
bundle's digests, then calls NVIDIA's trtexec once a precision; an engine appears only when whole.
"""

import shlex
from collections.abc import Sequence

from components.deploy.onnx_file import INPUT
from components.deploy.targets import GpuTarget, Precision
from components.deploy.triton import engine_place

CACHE = "source/int8.cache"


def sources(target: GpuTarget, precision: Precision) -> tuple[str, ...]:
    """The files of the bundle that ``precision`` is built from, the network first."""
    if precision == "int8":
        return ("source/fp32.onnx", CACHE) if target.takes_cache else ("source/int8.onnx",)
    return (f"source/{precision}.onnx",)


def trtexec_options(target: GpuTarget, precision: Precision, largest_batch: int) -> list[str]:
    """The command line that builds one engine; the file to write comes last.

    TensorRT 10 honours the types in the network when told to; before, and with a calibration
    cache, flags say what may be used. ``--buildOnly`` became ``--skipInference`` in 8.6.

    >>> from components.deploy.targets import TARGETS
    >>> trtexec_options(TARGETS["nano"], "fp16", 8)[:3]
    ['--onnx=source/fp16.onnx', '--fp16', '--buildOnly']
    """
    version = target.runtime_version
    assert version is not None, f"{target.device}: a TensorRT target says its version"
    network, *cache = sources(target, precision)
    options = [f"--onnx={network}"]
    if cache:
        options += ["--int8", "--fp16", f"--calib={cache[0]}"]
    elif version >= (10, 0, 0):
        options += ["--stronglyTyped"]
    else:
        options += ["--fp16"] if precision == "fp16" else ["--int8", "--fp16"]
    options.append("--skipInference" if version >= (8, 6, 0) else "--buildOnly")
    low, best, high = target.batch
    high = max(min(high, largest_batch), low)
    for name, batch in (("min", low), ("opt", min(best, high)), ("max", high)):
        options.append(f"--{name}Shapes={INPUT}:{batch}x1x80x80")
    options.append(f"--saveEngine=1/{precision}.partial")
    return options


def build_script(
    target: GpuTarget, precisions: Sequence[Precision], default: Precision, largest_batch: int
) -> str:
    """The whole of ``build.sh``; the engine of ``default`` is put into the Triton repository."""
    version = ".".join(map(str, target.runtime_version or ()))
    lines = [
        "#!/bin/sh",
        f"# Builds the engines of this folder on a {target.device} with TensorRT {version}.",
        "# An engine built by one TensorRT or for one GPU does not run on another.",
        "set -eu",
        'cd "$(dirname "$0")"',
        "# Who signed it: FPENET_KEY=NAME.pub sh build.sh (OpenSSL 3 or newer).",
        'if [ -n "${FPENET_KEY:-}" ]; then',
        "    cut -d ' ' -f 3 SHA256SUMS.sig | base64 -d >1.signature",
        "    trap 'rm -f 1.signature' EXIT",
        '    openssl pkeyutl -verify -pubin -inkey "$FPENET_KEY" -rawin -in SHA256SUMS \\',
        "        -sigfile 1.signature",
        "fi",
        "sha256sum -c SHA256SUMS",
        'PATH="$PATH:/usr/src/tensorrt/bin" # where JetPack puts trtexec',
        "if ! command -v trtexec >/dev/null; then",
        '    echo "build.sh: no trtexec on PATH; it comes with TensorRT" >&2',
        "    exit 1",
        "fi",
        "mkdir -p 1",
        "trap 'rm -f 1.signature 1/*.partial' EXIT",
    ]
    for precision in precisions:
        options = trtexec_options(target, precision, largest_batch)
        lines += [
            "trtexec " + " \\\n    ".join(shlex.quote(option) for option in options),
            f"mv 1/{precision}.partial 1/{precision}.engine",
        ]
    if default in precisions:
        lines.append(f"cp 1/{default}.engine triton/{engine_place(target)}")
    names = " ".join(f"1/{precision}.engine" for precision in precisions)
    return "\n".join([*lines, f'echo "built {names}"', ""])
