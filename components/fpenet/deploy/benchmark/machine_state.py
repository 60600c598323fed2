"""What a machine's speed hangs on, at one moment: clocks, throttling, power mode."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fpenet.core.records import FileRecord, fields_of
from fpenet.deploy.engines.cuda_device import CudaDevice, clocks, cuda_device

MACHINE = "machine.json"
QUERY_SECONDS = 10.0
"""How long a program that reads the state may take."""
_CPU = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, slots=True)
class CpuState:
    """A CPU at one moment; None where the machine does not tell.

    Attributes:
        mhz: mean over the cores.
        throttled: number of throttling events since the start of the machine.
        load: mean number of runnable processes of the last minute.
    """

    model: str
    cores: int | None
    mhz: float | None
    governor: str | None
    throttled: int | None
    load: float


@dataclass(frozen=True, slots=True)
class GpuState(CudaDevice):
    """A GPU at one moment; the further attributes are those of ``Clocks``."""

    sm_mhz: int | None
    memory_mhz: int | None
    most_sm_mhz: int | None
    temperature_c: int | None
    power_w: float | None
    throttled: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class MachineState:
    """A machine at one moment; None where it does not tell, or has no GPU.

    Attributes:
        power_mode: of a Jetson, e.g. ``MAXN``.
    """

    cpu: CpuState
    gpu: GpuState | None
    power_mode: str | None


@dataclass(frozen=True, slots=True)
class MachineReport(FileRecord):
    """``machine.json``: the machine before and after the timings.

    Attributes:
        held_down: see ``throttling``.
    """

    before: MachineState
    after: MachineState
    held_down: tuple[str, ...]


def machine_state() -> MachineState:
    """The state of this machine."""
    device, now = cuda_device(), clocks()
    gpu = None
    if device is not None and now is not None:
        gpu = GpuState(**fields_of(device), **fields_of(now))
    cpu = CpuState(
        model=_cpu_model(),
        cores=os.cpu_count(),
        mhz=_cpu_mhz(),
        governor=_text(_CPU / "cpu0/cpufreq/scaling_governor"),
        throttled=_throttle_count(),
        load=os.getloadavg()[0],
    )
    return MachineState(cpu, gpu, _power_mode())


def throttling(before: MachineState, after: MachineState) -> list[str]:
    """Why the times between two states may be too long; empty where nothing says so.

    >>> def state(throttled: int) -> MachineState:
    ...     return MachineState(CpuState("any", 2, None, None, throttled, 0.1), None, None)
    >>> throttling(state(3), state(5))
    ['the CPU was throttled']
    """
    found = []
    if (before.cpu.throttled or 0) < (after.cpu.throttled or 0):
        found.append("the CPU was throttled")
    for state in (before, after):
        reasons = state.gpu and state.gpu.throttled
        found += [f"the GPU's clock was held down: {reason}" for reason in reasons or ()]
    return list(dict.fromkeys(found))


def _cpu_model() -> str:
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cpu_mhz() -> float | None:
    """Mean over the cores."""
    found = [
        float(line.partition(":")[2])
        for line in (_text(Path("/proc/cpuinfo")) or "").splitlines()
        if line.startswith("cpu MHz")
    ]
    return round(sum(found) / len(found), 1) if found else None


def _throttle_count() -> int | None:
    counts = [_text(path) for path in _CPU.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    return sum(int(count) for count in counts if count) if counts else None


def _power_mode() -> str | None:
    """A Jetson's, e.g. ``MAXN``; None where ``nvpmodel`` is absent or does not end."""
    if shutil.which("nvpmodel") is None:
        return None
    try:
        done = subprocess.run(
            ["nvpmodel", "-q"], capture_output=True, text=True, timeout=QUERY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    lines = done.stdout.splitlines()
    modes = [line.partition(":")[2].strip() for line in lines if "Power Mode" in line]
    return modes[0] if modes else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
