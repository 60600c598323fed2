"""The CUDA device of this machine, asked of its driver; nothing needs to be installed for that."""

import ctypes

_CC_MAJOR, _CC_MINOR = 75, 76  # CUdevice_attribute


def compute_capability() -> tuple[int, int] | None:
    """(major, minor) of the first CUDA device; None where there is no driver or no device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGet(ctypes.byref(device), 0) != 0:
        return None
    value = ctypes.c_int()
    found = []
    for attribute in (_CC_MAJOR, _CC_MINOR):
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device) != 0:
            return None
        found.append(value.value)
    return found[0], found[1]
