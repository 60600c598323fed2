"""The state of a machine that determines its speed: clocks, throttling, power mode."""

import os
import platform
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fpenet.deploy.engines.cuda_device import clocks, cuda_device

QUERY_SECONDS = 10.0
"""Time limit of a program that reads the state."""
_CPU = Path("/sys/devices/system/cpu")


def machine_state() -> dict[str, Any]:
    """The present state as JSON values; None where the machine has no such value."""
    device, now = cuda_device(), clocks()
    return {
        "cpu": {
            "model": _cpu_model(),
            "cores": os.cpu_count(),
            "mhz": _cpu_mhz(),
            "governor": _text(_CPU / "cpu0/cpufreq/scaling_governor"),
            "throttled": _throttle_count(),
            "load": os.getloadavg()[0],
        },
        "gpu": None if device is None or now is None else asdict(device) | asdict(now),
        "power_mode": _power_mode(),
    }


def throttling(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Why the times between two states may be too long; empty where no reason is known.

    >>> cpu = {"throttled": 3, "load": 0.1}
    >>> throttling({"cpu": cpu, "gpu": None}, {"cpu": cpu | {"throttled": 5}, "gpu": None})
    ['the CPU was throttled']
    """
    reasons = []
    if (before["cpu"]["throttled"] or 0) < (after["cpu"]["throttled"] or 0):
        reasons.append("the CPU was throttled")
    for state in (before, after):
        throttled = state["gpu"] and state["gpu"]["throttled"]
        reasons += [f"the GPU's clock was reduced: {reason}" for reason in throttled or ()]
    return list(dict.fromkeys(reasons))


def _cpu_model() -> str:
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cpu_mhz() -> float | None:
    """Mean clock of the cores, MHz."""
    clocks_mhz = [
        float(line.partition(":")[2])
        for line in (_text(Path("/proc/cpuinfo")) or "").splitlines()
        if line.startswith("cpu MHz")
    ]
    return round(sum(clocks_mhz) / len(clocks_mhz), 1) if clocks_mhz else None


def _throttle_count() -> int | None:
    counts = [_text(path) for path in _CPU.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    return sum(int(count) for count in counts if count) if counts else None


def _power_mode() -> str | None:
    """Power mode of a Jetson, e.g. ``MAXN``; None where ``nvpmodel`` is absent or hangs."""
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
