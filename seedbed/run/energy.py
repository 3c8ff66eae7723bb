"""Energy: from counters where the machine has them (RAPL, NVML), by a stated rule where not."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from seedbed.run.machine import datasheet, describe, gpus

Kind = Literal["measured", "estimated"]

# Cloud Carbon Footprint's coefficients (Thoughtworks, from SPECpower_ssj2008 servers): a logical core idle and at work,
# and memory. A mean over server processors: a given machine may draw half or twice this.
WATTS_IDLE_PER_CORE = 0.74
WATTS_BUSY_PER_CORE = 3.5
WATTS_PER_GB = 0.392
# Mean draw of a training GPU over its board power (Epoch AI, "The rising costs of training frontier AI models", 2024).
GPU_MEAN_DRAW = 0.75


@dataclass(frozen=True)
class Reading:
    """Energy since the meter's start."""

    joules: float
    kind: Kind
    method: str


class Source(Protocol):
    def read(self) -> Reading: ...


class FixedWatts:
    """The draw stated in the recipe, times the time."""

    def __init__(self, watts: float, clock: Callable[[], float]) -> None:
        self._watts, self._clock, self._start = watts, clock, clock()

    def read(self) -> Reading:
        joules = self._watts * (self._clock() - self._start)
        return Reading(joules, "estimated", f"cost.watts = {self._watts:g} W x time")


class CpuEstimate:
    """Idle watts of the usable cores and the memory over time, and what a busy core adds over this process's CPU time.

    The seconds of child processes enter when those end.
    """

    def __init__(self, clock: Callable[[], float], cpu_seconds: Callable[[], float]) -> None:
        machine = describe()
        self._cores, self._gigabytes = machine["logical_cores"], machine["memory_bytes"] / 1e9
        self._clock, self._cpu_seconds = clock, cpu_seconds
        self._start, self._cpu_start = clock(), cpu_seconds()

    def read(self) -> Reading:
        idle = self._cores * WATTS_IDLE_PER_CORE + self._gigabytes * WATTS_PER_GB
        busy = WATTS_BUSY_PER_CORE - WATTS_IDLE_PER_CORE
        joules = idle * (self._clock() - self._start) + busy * (self._cpu_seconds() - self._cpu_start)
        method = (
            f"CPU and memory by rule: {idle:.1f} W idle ({WATTS_IDLE_PER_CORE} W a core, {WATTS_PER_GB} W a GB), "
            f"and {busy:.2f} W a busy core (Cloud Carbon Footprint's means for servers)"
        )
        return Reading(joules, "estimated", method)


class Rapl:
    """The CPU packages' and memory's energy counters. They count the whole machine, other programs included."""

    def __init__(self, zones: list[Path]) -> None:
        self._zones = zones
        self._ranges = [int((zone / "max_energy_range_uj").read_text()) for zone in zones]
        self._last = self._counters()
        self._microjoules = 0

    def _counters(self) -> list[int]:
        return [int((zone / "energy_uj").read_text()) for zone in self._zones]

    def read(self) -> Reading:
        now = self._counters()
        for last, current, size in zip(self._last, now, self._ranges, strict=True):
            # A counter wraps after 262 kJ on many CPUs, 44 minutes at 100 W: read it more often than that.
            self._microjoules += current - last if current >= last else current - last + size
        self._last = now
        return Reading(self._microjoules / 1e6, "measured", "CPU packages and memory by RAPL counters (whole machine)")


def rapl_zones(root: Path) -> list[Path]:
    """The readable packages, and memory where it is counted apart, under /sys/class/powercap."""
    zones = []
    for zone in sorted(root.glob("intel-rapl:*")):  # AMD's counters carry the same name
        try:
            name = (zone / "name").read_text().strip()
            int((zone / "energy_uj").read_text())
            int((zone / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            continue
        if name.startswith("package") or name == "dram":
            zones.append(zone)
    return zones


class Nvml:
    """The GPUs' own energy counters (NVIDIA Volta and later)."""

    def __init__(self, nvml: Any, handles: list[Any]) -> None:
        self._nvml, self._handles = nvml, handles
        self._start = self._millijoules()

    def _millijoules(self) -> int:
        return sum(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in self._handles)

    def read(self) -> Reading:
        joules = (self._millijoules() - self._start) / 1e3
        return Reading(joules, "measured", f"{len(self._handles)} GPU by NVML energy counter")


class GpuEstimate:
    """Board power in the datasheet times the mean draw of training GPUs."""

    def __init__(self, names: list[str], clock: Callable[[], float]) -> None:
        sheets = [datasheet(name) for name in names]
        self._watts = GPU_MEAN_DRAW * sum(sheet[1] for sheet in sheets if sheet)
        self._unknown = [name for name, sheet in zip(names, sheets, strict=True) if sheet is None]
        self._clock, self._start = clock, clock()

    def read(self) -> Reading:
        method = (
            f"GPU by rule: {GPU_MEAN_DRAW} x board power = {self._watts:.0f} W (counted with: pip install seedbed[gpu])"
        )
        if self._unknown:
            method += f"; not counted for want of a datasheet: {', '.join(self._unknown)}"
        return Reading(self._watts * (self._clock() - self._start), "estimated", method)


def gpu_source(count: int, clock: Callable[[], float]) -> Source | None:
    """A source for the first `count` GPUs this process may see, or None without GPUs."""
    if count < 1:
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            handles = [nvml_handle(pynvml, handles, item.strip()) for item in visible.split(",") if item.strip()]
        handles = handles[:count]
        return Nvml(pynvml, handles) if handles else None
    except Exception:  # no package, no driver, no counter: the rule stands in
        names = [gpu["name"] for gpu in gpus()][:count]
        return GpuEstimate(names, clock) if names else None


def nvml_handle(nvml: Any, handles: list[Any], item: str) -> Any:
    """The device that one entry of CUDA_VISIBLE_DEVICES names, by index or UUID."""
    return handles[int(item)] if item.isdigit() else nvml.nvmlDeviceGetHandleByUUID(item)


def process_cpu_seconds() -> float:
    """CPU seconds of this process, its threads and its ended children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class EnergyMeter:
    """Joules since `start`, from the best sources there are.

    `watts`: the recipe's `cost.watts`, which replaces every other source. `num_gpus`: GPUs at work in this machine
    (default: one per local rank under torchrun, else one; 0 when training on the CPU).
    """

    def __init__(
        self,
        watts: float | None = None,
        num_gpus: int | None = None,
        powercap: Path = Path("/sys/class/powercap"),
        clock: Callable[[], float] = time.monotonic,
        cpu_seconds: Callable[[], float] = process_cpu_seconds,
    ) -> None:
        self._watts, self._powercap, self._clock, self._cpu_seconds = watts, powercap, clock, cpu_seconds
        self._num_gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if num_gpus is None else num_gpus
        self._sources: list[Source] = []
        self._started = 0.0
        self._last = Reading(0.0, "estimated", "not started")

    def start(self) -> None:
        self._started = self._clock()
        if self._watts is not None:
            self._sources = [FixedWatts(self._watts, self._clock)]
            return
        zones = rapl_zones(self._powercap)
        cpu = Rapl(zones) if zones else CpuEstimate(self._clock, self._cpu_seconds)
        gpu = gpu_source(self._num_gpus, self._clock)
        self._sources = [cpu, gpu] if gpu else [cpu]

    def read(self) -> Reading:
        """Energy since `start`. A counter that fails on the way leaves the last reading standing."""
        try:
            parts = [source.read() for source in self._sources]
        except Exception:  # a driver that went away must not end a run
            return self._last
        kind: Kind = "measured" if parts and all(part.kind == "measured" for part in parts) else "estimated"
        method = "; ".join(part.method for part in parts)
        self._last = Reading(sum(part.joules for part in parts), kind, method)
        return self._last

    def seconds(self) -> float:
        return self._clock() - self._started
