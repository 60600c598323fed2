"""Whether an engine can run on this machine; checked from its metadata, before it is parsed.

An engine is machine code for one GPU and one version of its runtime, and it needs a driver that is
not older than the driver of the device that built it. A runtime that deserialises an engine of
another GPU or version may crash.
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fpenet.deploy.engines.cuda_device import compute_capability, driver_cuda
from fpenet.deploy.engines.engine_table import BuiltFor
from fpenet.deploy.engines.runtimes import RUNTIMES
from fpenet.deploy.engines.targets import RuntimeName

_REBUILD = "build it on this device: fpenet build, or build.sh in its bundle"


@dataclass(frozen=True, slots=True)
class Machine:
    """The properties of this machine that decide whether an engine runs.

    Attributes:
        compute_capability: (major, minor) of the CUDA device; None where there is none.
        driver_cuda: (major, minor) of the newest CUDA that the driver supports.
        runtime_version: version of the engine's runtime; None where it is not installed.
    """

    compute_capability: tuple[int, int] | None
    driver_cuda: tuple[int, int] | None
    runtime_version: str | None


def this_machine(runtime: RuntimeName) -> Machine:
    """The properties of this machine for engines of ``runtime``."""
    return Machine(compute_capability(), driver_cuda(), _installed(runtime))


def misfit(built_for: BuiltFor, machine: Machine) -> str | None:
    """Why ``engine`` cannot run on ``machine``; None where no reason is known.

    >>> misfit(BuiltFor("tensorrt", "10.3.0", (8, 7)), Machine((9, 0), (12, 6), "10.3.0"))[:54]
    'it was built for SM 8.7, the CUDA device here is SM 9.'
    """
    if not RUNTIMES[built_for.runtime].needs_gpu:
        return None
    expected, actual = built_for.compute_capability, machine.compute_capability
    if expected is None or built_for.runtime_version is None:
        return f"its record does not name the GPU and the {built_for.runtime} that it was built for"
    if actual is None:
        return f"no CUDA device here; it was built for SM {_dotted(expected)}"
    if expected != actual and not _hardware_compatible(built_for, expected, actual):
        return (
            f"it was built for SM {_dotted(expected)}, the CUDA device here is SM"
            f" {_dotted(actual)}; {_REBUILD}"
        )
    name, built, installed = built_for.runtime, built_for.runtime_version, machine.runtime_version
    if installed is None:
        return f"{name} is not installed here; it was built by {name} {built}"
    if not _same_version(built, installed, built_for.version_compatible):
        return f"it was built by {name} {built}, here is {name} {installed}; {_REBUILD}"
    needed = built_for.driver_cuda
    if needed is not None and (machine.driver_cuda is None or machine.driver_cuda < needed):
        supported = machine.driver_cuda and _dotted(machine.driver_cuda)
        return (
            f"it was built under a driver of CUDA {_dotted(needed)}, the driver here supports CUDA"
            f" {supported}; update the driver, or {_REBUILD}"
        )
    return None


def _hardware_compatible(
    built_for: BuiltFor, expected: tuple[int, int], actual: tuple[int, int]
) -> bool:
    """Whether TensorRT's hardware compatibility lets the engine run on GPU ``actual`` too."""
    return built_for.hardware_compatibility == "ampere_plus" and actual >= (8, 0) <= expected


def _same_version(built: str, installed: str, compatible: bool) -> bool:
    """Whether the installed version can load the engine.

    Major, minor and patch must be equal. For a version-compatible engine the major must be equal,
    and the installed version must not be older.
    """
    builder, runtime = (tuple(map(int, text.split(".")[:3])) for text in (built, installed))
    return builder == runtime or (compatible and builder[0] == runtime[0] and runtime > builder)


def _installed(runtime: RuntimeName) -> str | None:
    for name in RUNTIMES[runtime].distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def _dotted(numbers: Any) -> str:
    return ".".join(map(str, numbers))
