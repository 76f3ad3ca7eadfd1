"""Energy of the whole device while something runs: NVML's counter, or a Jetson's power rails.

Elsewhere it is unknown, never guessed. What the device draws while idle is part of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

HWMON = Path("/sys/class/hwmon")
JETSON_RAILS = ("VDD_IN", "VIN_SYS_5V0", "SYS_VIN_HV", "POM_5V_IN")
"""Labels of the rail that feeds the whole module, from Orin to Nano."""
PERIOD = 0.02
"""Time between two readings of a rail [s]: the monitors average over about as long."""


class Meter(Protocol):
    """Counts joules between `start` and `stop`."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> float | None:
        """Joules since; None: they could not be read throughout."""


class NvmlMeter:
    """The GPU's own counter. Raises OSError where there is none."""

    def __init__(self, index: int = 0) -> None:
        try:
            import pynvml  # noqa: PLC0415

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except ImportError as error:
            raise OSError("nvidia-ml-py is not installed") from error
        except pynvml.NVMLError as error:
            raise OSError(str(error)) from error
        self._read: Callable[[], int] = lambda: int(
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        )
        self._before = 0

    def start(self) -> None:
        """Begin."""
        self._before = self._read()

    def stop(self) -> float:
        """Joules since; the counter is in mJ."""
        return (self._read() - self._before) / 1e3


class RailMeter:
    """A rail's voltage times current, summed over time by a thread of its own."""

    def __init__(self, voltage: Path, current: Path) -> None:
        """Files in mV and mA."""
        self._files = voltage, current
        self._end = threading.Event()
        self._joules, self._whole = 0.0, True

    def watts(self) -> float:
        """Now."""
        millivolts, milliamperes = (float(file.read_text()) for file in self._files)
        return millivolts * milliamperes * 1e-6

    def start(self) -> None:
        """Begin."""
        self._joules, self._whole = 0.0, True
        self._end.clear()
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def _count(self) -> None:
        try:
            self._sum()
        except (OSError, ValueError):  # the monitor's bus is shared
            self._whole = False

    def _sum(self) -> None:
        last, power = time.perf_counter(), self.watts()
        ended = False
        while not ended:
            ended = self._end.wait(PERIOD)
            now, newer = time.perf_counter(), self.watts()
            self._joules += (now - last) * (power + newer) / 2.0
            last, power = now, newer

    def stop(self) -> float | None:
        """Joules since; None: a reading failed."""
        self._end.set()
        self._thread.join()
        return self._joules if self._whole else None


def find_rail(hwmon: Path = HWMON) -> RailMeter | None:
    """The rail that feeds a Jetson, where its power monitor (INA3221) is."""
    for label in sorted(hwmon.glob("hwmon*/in*_label")):
        if label.read_text().strip() in JETSON_RAILS:
            number = label.name.removeprefix("in").removesuffix("_label")
            files = label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input")
            if all(file.is_file() for file in files):
                return RailMeter(*files)
    return None


def find_meter(device: str) -> Meter | None:
    """What tells the energy of this device; None where nothing does."""
    rail = find_rail()
    if rail is not None:
        return rail
    if device != "cuda":
        return None
    try:
        return NvmlMeter()
    except OSError:
        return None
