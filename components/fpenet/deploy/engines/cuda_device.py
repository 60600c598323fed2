"""The first CUDA device of this machine, read from its driver; no package is needed for that.

Values that libcuda does not have (other processes on the device, clocks) come from NVML. A
Jetson's NVML has few of them; a value that NVML does not have is None.
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
    """The present state of a device.

    Attributes:
        sliced: whether this machine has only a slice of it (MIG).
        other_processes: number of other processes that compute on it; None where NVML has no
            number.
        free_mb: free memory, None where NVML has no number.
    """

    name: str
    compute_capability: tuple[int, int]
    sliced: bool
    other_processes: int | None
    free_mb: int | None


@dataclass(frozen=True, slots=True)
class Clocks:
    """The values that determine the device's speed, at one moment; None where NVML has no value.

    Attributes:
        throttled: why the clock is reduced, empty where it is not.
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
    device = _first_device()
    return device and device[2]


def cuda_device() -> CudaDevice | None:
    """The first CUDA device; None where there is no driver or no device."""
    device = _first_device()
    if device is None:
        return None
    name, bus, capability = device
    nvml = _nvml(bus)
    current, later = ctypes.c_uint(), ctypes.c_uint()
    mig = nvml("nvmlDeviceGetMigMode", ctypes.byref(current), ctypes.byref(later))
    memory = _Memory()
    has_memory = nvml("nvmlDeviceGetMemoryInfo", ctypes.byref(memory))
    return CudaDevice(
        name,
        capability,
        "MIG" in name or (mig and current.value == 1),
        _other_processes(nvml),
        memory.free >> 20 if has_memory else None,
    )


def clocks() -> Clocks | None:
    """The present clocks of the first CUDA device; None where there is no device."""
    device = _first_device()
    if device is None:
        return None
    nvml = _nvml(device[1])

    def number(function: str, *arguments: int) -> int | None:
        value = ctypes.c_uint()
        return value.value if nvml(function, *arguments, ctypes.byref(value)) else None

    reasons = ctypes.c_ulonglong()
    has_reasons = nvml("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.byref(reasons))
    milliwatt = number("nvmlDeviceGetPowerUsage")
    return Clocks(
        number("nvmlDeviceGetClockInfo", _NVML_SM),
        number("nvmlDeviceGetClockInfo", _NVML_MEMORY),
        number("nvmlDeviceGetMaxClockInfo", _NVML_SM),
        number("nvmlDeviceGetTemperature", 0),
        None if milliwatt is None else milliwatt / 1000,
        throttles(reasons.value) if has_reasons else None,
    )


def throttles(reasons: int) -> tuple[str, ...]:
    """The reasons for a reduced clock, from NVML's bit mask.

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
    """A function that calls NVML's functions on the device and returns whether the call worked."""
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
    this_pid = os.getpid()
    return [int(process.pid) != this_pid for process in processes[: count.value]].count(True)


def driver_cuda() -> tuple[int, int] | None:
    """(major, minor) of the newest CUDA that the driver supports; None where there is no driver."""
    value = ctypes.c_int()
    try:
        succeeded = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(value)) == 0
    except OSError:
        return None
    return (value.value // 1000, value.value % 1000 // 10) if succeeded else None
