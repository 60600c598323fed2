"""The first CUDA device of this machine, asked of its driver; nothing is installed for that.

What libcuda does not tell (other programs on the device, clocks) NVML does; a Jetson's has little
of it, and what is not told is None.
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_CC_MAJOR, _CC_MINOR = 75, 76  # CUdevice_attribute
_NVML_SM, _NVML_MEMORY = 1, 2  # nvmlClockType_t
_MOST_PROCESSES = 64
_THROTTLES = {  # nvmlClocksEventReasons
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "thermal, software",
    0x40: "thermal, hardware",
    0x80: "power brake",
}


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """A device as it is now.

    Attributes:
        sliced: only a slice of it (MIG) is here.
        other_processes: that compute on it beside this one; None where NVML does not tell.
        free_mb: of its memory.
    """

    name: str
    compute_capability: tuple[int, int]
    sliced: bool
    other_processes: int | None
    free_mb: int | None


@dataclass(frozen=True, slots=True)
class Clocks:
    """What the device's speed hangs on, at one moment; None where NVML does not tell.

    Attributes:
        throttled: why the clock is held down, empty where it is not.
    """

    sm_mhz: int | None
    memory_mhz: int | None
    most_sm_mhz: int | None
    temperature_c: int | None
    power_w: float | None
    throttled: tuple[str, ...] | None


class _ProcessInfo(ctypes.Structure):
    _fields_ = (
        ("pid", ctypes.c_uint),
        ("memory", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class _Memory(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_ulonglong) for name in ("total", "free", "used"))


def compute_capability() -> tuple[int, int] | None:
    """(major, minor) of the first CUDA device; None where there is no driver or no device."""
    found = _first_device()
    return found and found[2]


def cuda_device() -> CudaDevice | None:
    """The first CUDA device; None where there is no driver or no device."""
    found = _first_device()
    if found is None:
        return None
    name, bus, capability = found
    nvml = _nvml(bus)
    current, later = ctypes.c_uint(), ctypes.c_uint()
    mig = nvml("nvmlDeviceGetMigMode", ctypes.byref(current), ctypes.byref(later))
    memory = _Memory()
    known = nvml("nvmlDeviceGetMemoryInfo", ctypes.byref(memory))
    return CudaDevice(
        name,
        capability,
        "MIG" in name or (mig and current.value == 1),
        _other_processes(nvml),
        memory.free >> 20 if known else None,
    )


def clocks() -> Clocks | None:
    """The clocks of the first CUDA device now; None where there is none."""
    found = _first_device()
    if found is None:
        return None
    nvml = _nvml(found[1])

    def number(function: str, *arguments: int) -> int | None:
        value = ctypes.c_uint()
        return value.value if nvml(function, *arguments, ctypes.byref(value)) else None

    reasons = ctypes.c_ulonglong()
    told = nvml("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.byref(reasons))
    milliwatt = number("nvmlDeviceGetPowerUsage")
    return Clocks(
        number("nvmlDeviceGetClockInfo", _NVML_SM),
        number("nvmlDeviceGetClockInfo", _NVML_MEMORY),
        number("nvmlDeviceGetMaxClockInfo", _NVML_SM),
        number("nvmlDeviceGetTemperature", 0),
        None if milliwatt is None else milliwatt / 1000,
        throttles(reasons.value) if told else None,
    )


def throttles(reasons: int) -> tuple[str, ...]:
    """The names of NVML's bits that say why a clock is held down.

    >>> throttles(0x1), throttles(0x24)
    ((), ('power cap', 'thermal, software'))
    """
    return tuple(name for bit, name in _THROTTLES.items() if reasons & bit)


def _first_device() -> tuple[str, bytes, tuple[int, int]] | None:
    """Name, PCI bus id and compute capability."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGet(ctypes.byref(device), 0) != 0:
        return None
    value = ctypes.c_int()
    capability = []
    for attribute in (_CC_MAJOR, _CC_MINOR):
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device) != 0:
            return None
        capability.append(value.value)
    name, bus = (ctypes.create_string_buffer(128) for _ in range(2))
    if driver.cuDeviceGetName(name, 128, device) != 0:
        return None
    driver.cuDeviceGetPCIBusId(bus, 128, device)
    return name.value.decode(), bus.value, (capability[0], capability[1])


def _nvml(bus: bytes) -> Callable[..., bool]:
    """A caller of NVML's functions on the device; it says whether the call succeeded."""
    handle = ctypes.c_void_p()
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        absent = library.nvmlInit_v2() != 0 or (
            library.nvmlDeviceGetHandleByPciBusId_v2(bus, ctypes.byref(handle)) != 0
        )
    except (OSError, AttributeError):
        absent = True

    def call(function: str, *arguments: Any) -> bool:
        return (
            not absent
            and hasattr(library, function)
            and getattr(library, function)(handle, *arguments) == 0
        )

    return call


def _other_processes(nvml: Callable[..., bool]) -> int | None:
    processes = (_ProcessInfo * _MOST_PROCESSES)()
    count = ctypes.c_uint(_MOST_PROCESSES)
    if not nvml("nvmlDeviceGetComputeRunningProcesses_v3", ctypes.byref(count), processes):
        return None
    own = os.getpid()
    return [int(process.pid) != own for process in processes[: count.value]].count(True)


def driver_cuda() -> tuple[int, int] | None:
    """(major, minor) of the newest CUDA that the driver here knows; None where there is none."""
    value = ctypes.c_int()
    try:
        known = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(value)) == 0
    except OSError:
        return None
    return (value.value // 1000, value.value % 1000 // 10) if known else None
