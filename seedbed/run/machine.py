"""This machine: what it is, what this process may use of it, and the matrix-product rate it was measured to reach."""

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from seedbed.files import read_json, sha256_json, write_json

PEAK_BUDGET_S = 1.2
PEAK_REPEATS = 8
EMULATED_BELOW = 10e9  # FLOP/s; one AVX2 core of 2013 reaches 50e9 in float32, emulated bfloat16 1e9 to 3e9
# m x k x n of the products timed, small first: a machine without the data type shows it in milliseconds.
CPU_SHAPES = (
    (128, 128, 128),
    (256, 256, 256),
    (512, 512, 512),
    (1024, 1024, 1024),
    (1024, 512, 2048),
    (2048, 1024, 1024),
)
GPU_SHAPES = ((1024, 1024, 1024), (4096, 4096, 4096), (8192, 8192, 8192), (8192, 4096, 16384))


def cache_dir() -> Path:
    """Where measurements of this machine are kept: $SEEDBED_CACHE, else the platform's cache folder. May not exist."""
    chosen = os.environ.get("SEEDBED_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "seedbed" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/seedbed"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seedbed"


@cache
def describe() -> dict[str, Any]:
    """The machine as this process sees it, for the log and the receipt. Takes milliseconds; imports no torch."""
    import psutil

    physical, logical = usable_cores()
    limit = cgroup_limits()[1]
    memory = psutil.virtual_memory().total
    return {
        "cpu": cpu_name(),
        "cores": physical,
        "logical_cores": logical,
        "logical_cores_of_machine": os.cpu_count(),
        "memory_bytes": min(memory, limit) if limit else memory,
        "accelerated": accelerated_dtypes(),
        "gpus": gpus(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": package_version("torch"),
    }


def free_memory_bytes() -> int:
    """What this process may still take: of the machine, of its control group, and of its own limit (ulimit -v)."""
    import psutil

    free = min(psutil.virtual_memory().available, describe()["memory_bytes"])
    if sys.platform.startswith("linux"):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            free = min(free, max(0, limit - psutil.Process().memory_info().vms))
    return free


def package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def usable_cores() -> tuple[int, int]:
    """(physical, logical) cores this process may run on: its affinity, capped by the container's CPU quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = affinity(0) if affinity else set(range(os.cpu_count() or 1))
    logical = len(cpus)
    siblings = {read_line(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")) for cpu in cpus} - {
        None
    }
    if siblings:
        physical = len(siblings)
    else:
        import psutil

        physical = min(logical, psutil.cpu_count(logical=False) or logical)
    quota = cgroup_limits()[0]
    if quota:
        logical = min(logical, max(1, round(quota)))
    return min(physical, logical), logical


def cgroup_limits(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> tuple[float | None, int | None]:
    """(CPUs, bytes of memory) that Linux control groups, version 2 or 1, leave this process; None is no limit."""
    groups: dict[str, str] = {}
    try:
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            groups.update(dict.fromkeys(controllers.split(","), path))
    except (OSError, ValueError):
        return None, None
    cpus: list[float] = []
    memory: list[int] = []
    for folder in group_folders(root, groups.get("", "/")):
        quota, _, period = (read_line(folder / "cpu.max") or "max 1").partition(" ")
        if quota != "max":
            cpus.append(int(quota) / int(period))
        limit = read_line(folder / "memory.max") or "max"
        if limit != "max":
            memory.append(int(limit))
    for folder in group_folders(root / "cpu", groups.get("cpu", "/")):
        quota = read_line(folder / "cpu.cfs_quota_us") or "-1"
        if int(quota) > 0:
            cpus.append(int(quota) / int(read_line(folder / "cpu.cfs_period_us") or "100000"))
    for folder in group_folders(root / "memory", groups.get("memory", "/")):
        limit = read_line(folder / "memory.limit_in_bytes") or "0"
        if 0 < int(limit) < 2**60:  # version 1 writes "no limit" as nearly 2^63
            memory.append(int(limit))
    return min(cpus, default=None), min(memory, default=None)


def group_folders(root: Path, path: str) -> list[Path]:
    """A control group's folder and those above it: a limit anywhere on the way holds."""
    folder = root / path.strip("/")
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]


def read_line(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def cpu_name() -> str:
    if sys.platform == "linux":
        for line in (read_line(Path("/proc/cpuinfo")) or "").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Hardware", "cpu model") and value.strip():
                return value.strip()
    if sys.platform == "darwin":
        return run_text(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.machine()
    return platform.processor() or platform.machine()


def accelerated_dtypes() -> dict[str, str]:
    """Data type -> the CPU's instructions for matrices of it. A type not listed is emulated, slowly."""
    flags: set[str] = set()
    if sys.platform == "linux":
        for line in (read_line(Path("/proc/cpuinfo")) or "").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("flags", "Features"):
                flags = set(value.split())
                break
    elif sys.platform == "darwin" and run_text(["sysctl", "-n", "hw.optional.arm.FEAT_BF16"]) == "1":
        flags = {"asimd", "bf16"}
    candidates = {
        "float32": ("avx512f", "avx2", "asimd", "neon"),
        "bfloat16": ("amx_bf16", "avx512_bf16", "svebf16", "bf16"),
        "float16": ("amx_fp16", "avx512_fp16", "asimdhp"),
        "int8": ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm"),
    }
    found = {dtype: next((name for name in names if name in flags), None) for dtype, names in candidates.items()}
    return {dtype: name for dtype, name in found.items() if name}


def gpus() -> list[dict[str, Any]]:
    """Name and bytes of memory of each NVIDIA GPU: from torch when it is loaded, else NVML, else nvidia-smi."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        return [{"name": item.name, "memory_bytes": item.total_memory} for item in found]
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        names = [pynvml.nvmlDeviceGetName(handle) for handle in handles]
        memory = [pynvml.nvmlDeviceGetMemoryInfo(handle).total for handle in handles]
        return [{"name": name, "memory_bytes": size} for name, size in zip(names, memory, strict=True)]
    except Exception:  # no package, no driver, or a driver of another version: not a failure of the run
        listing = run_text(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"])
    rows = [line.rpartition(",") for line in (listing or "").splitlines() if line.count(",")]
    return [
        {"name": name.strip(), "memory_bytes": int(float(size) * 2**20)}
        for name, _, size in rows
        if size.strip()[:1].isdigit()
    ]


def run_text(command: list[str]) -> str | None:
    """What a system tool prints, or None where it is absent or fails."""
    if not shutil.which(command[0]):
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def datasheet(gpu: str) -> tuple[float, float] | None:
    """(dense bfloat16 FLOP/s, watts at its limit) in the planner's table, or None for a GPU not in it.

    Sparse figures are twice these and reached by no training run.
    """
    from seedbed.plan.tables import read_table

    for row in read_table("chips").values():
        if "driver" in row and re.search(row["driver"], gpu, re.IGNORECASE):
            return row["bf16_tflops"] * 1e12, float(row["watts"])
    return None


def datasheet_peak(device: str, dtype: str) -> float | None:
    """FLOP/s in the datasheet of the GPU that torch uses; None for a CPU, another data type or an unknown GPU."""
    if not device.startswith("cuda") or dtype != "bfloat16":
        return None
    import torch

    sheet = datasheet(torch.cuda.get_device_name(device))
    return sheet[0] if sheet else None


def measured_peak(
    device: str = "cpu", dtype: str = "float32", threads: int | None = None, refresh: bool = False
) -> float:
    """The best matrix-product rate in FLOP/s of `device` in `dtype` on `threads` CPU threads (default: physical cores).

    Measured in at most about 1.5 s and kept in `cache_dir()`. A peak is a maximum: `refresh`, or a kept value that
    other programs disturbed, measures again and keeps the better.
    """
    import torch

    threads = threads or usable_cores()[0]
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{threads} threads"
    key = f"{device.partition(':')[0]}/{name}/{dtype}"
    path = cache_dir() / "peaks.json"
    machine = sha256_json([cpu_name(), usable_cores(), torch.__version__])[:16]
    kept = read_peaks(path)
    held = kept.get(machine, {}).get(key, {})
    if held.get("undisturbed") and not refresh:
        return float(held["flops_per_second"])
    peak, undisturbed = measure_products(device, dtype, threads)
    if peak > held.get("flops_per_second", 0.0) or undisturbed:
        peak = max(peak, held.get("flops_per_second", 0.0))
        now = datetime.now(UTC).isoformat("T", "seconds")
        kept.setdefault(machine, {})[key] = {"flops_per_second": peak, "undisturbed": undisturbed, "measured": now}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, kept)
        except OSError:
            pass  # a read-only cache costs a second at each start and nothing else
    return max(peak, held.get("flops_per_second", 0.0))


def read_peaks(path: Path) -> dict[str, dict[str, Any]]:
    try:
        kept = read_json(path)
        return kept if isinstance(kept, dict) else {}
    except Exception:  # absent, unreadable or spoilt: measured again
        return {}


def measure_products(device: str, dtype: str, threads: int, budget_s: float = PEAK_BUDGET_S) -> tuple[float, bool]:
    """(best FLOP/s over shapes and repeats, whether the CPU was ours meanwhile). Too large shapes are skipped."""
    import torch

    on_gpu = device.startswith("cuda")
    wait: Callable[[], None] = torch.cuda.synchronize if on_gpu else lambda: None
    generator = torch.Generator(device).manual_seed(0)  # its own: a measurement must not shift a run's random numbers
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    start = time.perf_counter()
    best, occupied, elapsed = 0.0, 0.0, 0.0
    try:
        for m, k, n in GPU_SHAPES if on_gpu else CPU_SHAPES:
            flops = 2 * m * k * n
            if best and flops / best > (budget_s - (time.perf_counter() - start)) / 2:
                continue
            # Normal values, for a GPU draws less power on constants and then runs faster than any training can.
            a = torch.randn(m, k, generator=generator, device=device).to(getattr(torch, dtype))
            b = torch.randn(k, n, generator=generator, device=device).to(getattr(torch, dtype))
            out = torch.mm(a, b)  # the first call picks the kernel and packs weights
            wait()
            for _ in range(PEAK_REPEATS):
                cpu_before, before = time.process_time(), time.perf_counter()
                torch.mm(a, b, out=out)
                wait()
                seconds = time.perf_counter() - before
                best = max(best, flops / seconds)
                if not on_gpu and seconds > 2e-3:
                    occupied += time.process_time() - cpu_before
                    elapsed += seconds * threads
                if time.perf_counter() - start > budget_s:
                    break
    finally:
        torch.set_num_threads(threads_before)
    emulated = best < EMULATED_BELOW  # on one thread, whatever was asked
    return best, on_gpu or emulated or occupied >= 0.8 * elapsed
