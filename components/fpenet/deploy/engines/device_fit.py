"""Whether an engine can run on this machine, by what is known of it: asked before it is parsed.

An engine is machine code for one GPU, one version of its runtime, and a driver no older than the
one it was built under. A runtime that is given another may crash in its deserialiser.
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
    """This machine, as far as an engine minds.

    Attributes:
        compute_capability: (major, minor) of the CUDA device; None where there is none.
        driver_cuda: (major, minor) of the newest CUDA that the driver knows.
        runtime_version: of the engine's runtime; None where it is not installed.
    """

    compute_capability: tuple[int, int] | None
    driver_cuda: tuple[int, int] | None
    runtime_version: str | None


def this_machine(runtime: RuntimeName) -> Machine:
    """What this machine offers to engines of ``runtime``."""
    return Machine(compute_capability(), driver_cuda(), _installed(runtime))


def misfit(engine: BuiltFor, machine: Machine) -> str | None:
    """Why ``engine`` cannot run on ``machine``; None where nothing is known against it.

    >>> misfit(BuiltFor("tensorrt", "10.3.0", (8, 7)), Machine((9, 0), (12, 6), "10.3.0"))[:54]
    'it was built for SM 8.7, the CUDA device here is SM 9.'
    """
    if not RUNTIMES[engine.runtime].needs_gpu:
        return None
    wanted, found = engine.compute_capability, machine.compute_capability
    if wanted is None or engine.runtime_version is None:
        return f"nothing names the GPU and the {engine.runtime} that it was built for"
    if found is None:
        return f"no CUDA device here; it was built for SM {_dotted(wanted)}"
    if wanted != found and not _runs_on_others(engine, wanted, found):
        return (
            f"it was built for SM {_dotted(wanted)}, the CUDA device here is SM {_dotted(found)};"
            f" {_REBUILD}"
        )
    name, built, installed = engine.runtime, engine.runtime_version, machine.runtime_version
    if installed is None:
        return f"{name} is not installed here; it was built by {name} {built}"
    if not _same_version(built, installed, engine.version_compatible):
        return f"it was built by {name} {built}, here is {name} {installed}; {_REBUILD}"
    under = engine.driver_cuda
    if under is not None and (machine.driver_cuda is None or machine.driver_cuda < under):
        known = machine.driver_cuda and _dotted(machine.driver_cuda)
        return (
            f"it was built under a driver of CUDA {_dotted(under)}, the driver here knows CUDA"
            f" {known}; update the driver, or {_REBUILD}"
        )
    return None


def _runs_on_others(engine: BuiltFor, expected: tuple[int, int], actual: tuple[int, int]) -> bool:
    """Whether it was built for this GPU too, by TensorRT's hardware compatibility."""
    return engine.hardware_compatibility == "ampere_plus" and actual >= (8, 0) <= expected


def _same_version(built: str, installed: str, compatible: bool) -> bool:
    """Major, minor and patch alike; of a version-compatible engine only the major, and no older."""
    one, other = (tuple(map(int, text.split(".")[:3])) for text in (built, installed))
    return one == other or (compatible and one[0] == other[0] and other > one)


def _installed(runtime: RuntimeName) -> str | None:
    for name in RUNTIMES[runtime].distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def _dotted(numbers: Any) -> str:
    return ".".join(map(str, numbers))
