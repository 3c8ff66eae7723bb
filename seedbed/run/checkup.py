"""What this machine can do for a run: the facts behind `seedbed doctor`, each with one line of advice."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seedbed.quantities import byte_size, quantity
from seedbed.run.energy import EnergyMeter, rapl_zones
from seedbed.run.machine import cache_dir, datasheet, describe, measured_peak

DISK_PROBE_BYTES = 64_000_000
ENOUGH_MEMORY = 2_000_000_000  # what the default recipe needs
ENOUGH_DISK = 1_000_000_000
POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Check:
    """One line of the doctor. `state`: good, notice (works, could be better) or bad (a run will fail or suffer)."""

    name: str
    state: str
    found: str
    advice: str
    values: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def checkup(folder: Path, report: Callable[[str], None] = lambda name: None) -> list[Check]:
    """Every check, in the doctor's order, in about five seconds; `report` hears each name before it starts.

    `folder` is where runs would be written: its disk is the one looked at.
    """
    import torch  # first, for `describe` then lists the GPUs as torch sees them

    describe.cache_clear()
    checks: list[tuple[str, Callable[[], list[Check]]]] = [
        ("processor", lambda: [processor()]),
        ("memory", lambda: [memory()]),
        ("disk", lambda: [disk(folder)]),
        ("matrix products", lambda: cpu_peaks()),
        ("GPU", lambda: graphics(torch)),
        ("compiler", lambda: [compiler()]),
        ("energy", lambda: [energy()]),
        ("network", lambda: [network()]),
    ]
    found = []
    for name, run in checks:
        report(name)
        found += run()
    return found


def processor() -> Check:
    machine = describe()
    cores, logical = machine["cores"], machine["logical_cores"]
    found = f"{machine['cpu']}, {cores} physical cores" + (f", {logical} logical" if logical != cores else "")
    if logical < (machine["logical_cores_of_machine"] or logical):
        found += f" of the machine's {machine['logical_cores_of_machine']} logical"
    if cores == 1:
        return Check("processor", "notice", found, "one core works, at half the speed of the two the presets assume")
    advice = f"training uses the {cores} physical cores; train.threads sets another number"
    return Check("processor", "good", found, advice, {"cores": cores, "logical_cores": logical})


def memory() -> Check:
    import psutil

    total, free = describe()["memory_bytes"], psutil.virtual_memory().available
    free = min(free, total)
    values = {"total_bytes": total, "available_bytes": free}
    found = f"{byte_size(total)}, {byte_size(free)} available"
    if free < ENOUGH_MEMORY:
        return Check("memory", "bad", found, "the default run needs 2 GB: close other programs", values)
    return Check("memory", "good", found, "memory use is bounded by shards, not by the corpus", values)


def disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    values: dict[str, Any] = {"folder": str(folder), "free_bytes": free}
    if not os.access(folder, os.W_OK):
        advice = "this folder is read-only: give a writable one to --out"
        return Check("disk", "bad", f"{folder}: {byte_size(free)} free", advice, values)
    if free < 2 * DISK_PROBE_BYTES:
        return Check(
            "disk", "bad", f"{folder}: {byte_size(free)} free", "free some space or give another --out", values
        )
    write, read = disk_speed(folder)
    values |= {"write_bytes_per_second": write, "read_bytes_per_second": read}
    found = f"{byte_size(free)} free, writes {byte_size(write)}/s, reads {byte_size(read)}/s"
    if free < ENOUGH_DISK:
        return Check(
            "disk", "notice", found, "a default run takes some hundred MB, larger ones more: free some space", values
        )
    return Check("disk", "good", found, "a default run takes some hundred MB", values)


def disk_speed(folder: Path, size: int = DISK_PROBE_BYTES) -> tuple[float, float]:
    """(written, read) bytes a second of a file flushed to the disk and, where the system lets, dropped from memory."""
    block = os.urandom(1_000_000)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        start = time.perf_counter()
        for _ in range(size // len(block)):
            file.write(block)
        os.fsync(file.fileno())
        written = time.perf_counter() - start
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        start = time.perf_counter()
        while file.read(len(block)):
            pass
        return size / written, size / (time.perf_counter() - start)


def cpu_peaks() -> list[Check]:
    peaks = {dtype: measured_peak("cpu", dtype, refresh=True) for dtype in ("float32", "bfloat16")}
    native = describe()["accelerated"].get("bfloat16")
    found = ", ".join(f"{dtype} {quantity(peak)}FLOP/s" for dtype, peak in peaks.items())
    if peaks["bfloat16"] > 1.2 * peaks["float32"]:
        advice = (
            f"bfloat16 pays here ({native or 'native'}); train.precision=auto takes it where a model is wide enough"
        )
    else:
        advice = "bfloat16 does not pay on this CPU; train.precision=auto takes float32"
    values = {"flops_per_second": peaks, "kept_in": str(cache_dir())}
    return [Check("matrix products", "good", found, advice, values)]


def graphics(torch: Any) -> list[Check]:
    gpus = describe()["gpus"]
    if not gpus:
        return [Check("GPU", "good", "none", "training runs on the CPU; the same recipe uses a GPU where there is one")]
    names = ", ".join(f"{gpu['name']} ({byte_size(gpu['memory_bytes'])})" for gpu in gpus)
    if not torch.cuda.is_available():
        advice = f"torch {torch.__version__} cannot use it: install the CUDA build of torch, and check the driver"
        return [Check("GPU", "bad", names, advice, {"gpus": gpus})]
    peaks = {dtype: measured_peak("cuda", dtype, refresh=True) for dtype in ("float32", "bfloat16")}
    found = names + "; " + ", ".join(f"{dtype} {quantity(peak)}FLOP/s" for dtype, peak in peaks.items())
    sheet = datasheet(gpus[0]["name"])
    advice = "train.device=auto takes it"
    if sheet:
        advice += f"; bfloat16 reaches {peaks['bfloat16'] / sheet[0]:.0%} of the datasheet's {quantity(sheet[0])}FLOP/s"
    if len(gpus) > 1:
        advice += f"; all {len(gpus)}: torchrun --nproc-per-node {len(gpus)} -m seedbed run"
    return [Check("GPU", "good", found, advice, {"gpus": gpus, "flops_per_second": peaks})]


def compiler() -> Check:
    """Whether the C++ compiler that torch.compile calls builds what it would build on a CPU."""
    name = next((n for n in (os.environ.get("CXX"), "g++", "clang++", "cl") if n and shutil.which(n)), None)
    without = "without one, train.compile=auto trains uncompiled, some 1.3 times slower"
    if name is None:
        return Check(
            "compiler", "notice", "no C++ compiler", f"{without}: install g++ or clang (Debian: apt install g++)"
        )
    if name == "cl":
        return Check(
            "compiler", "good", "cl (not tried)", "torch.compile is tried before training, and used where it pays"
        )
    error = try_compiler(name)
    if error:
        missing_headers = "Python.h" in error
        remedy = (
            "install Python's headers (Debian: apt install python3-dev)" if missing_headers else "mend or replace it"
        )
        return Check("compiler", "notice", f"{name} fails: {error}", f"{without}: {remedy}")
    return Check("compiler", "good", f"{name} works", "torch.compile is tried before training, and used where it pays")


def try_compiler(name: str) -> str:
    """The first error line of building a Python module with OpenMP, or "" when it builds."""
    openmp = [] if sys.platform == "darwin" else ["-fopenmp"]
    with tempfile.TemporaryDirectory() as folder:
        command = [name, "-x", "c++", "-", "-shared", "-fPIC", *openmp, f"-I{sysconfig.get_path('include')}"]
        source = "#include <Python.h>\n#include <cmath>\nint main() { return 0; }\n"
        try:
            done = subprocess.run(
                [*command, "-o", str(Path(folder) / "probe.so")],
                input=source,
                capture_output=True,
                text=True,
                timeout=60,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
    lines = [line.strip() for line in done.stderr.splitlines() if "error" in line] or [f"exit status {done.returncode}"]
    return lines[0] if done.returncode else ""


def energy(powercap: Path = POWERCAP) -> Check:
    meter = EnergyMeter(powercap=powercap)
    meter.start()
    reading = meter.read()
    values = {"kind": reading.kind, "method": reading.method}
    hidden = not rapl_zones(powercap) and list(powercap.glob("intel-rapl:*"))
    if hidden:
        remedy = f"counters exist but only root reads them: sudo chmod a+r {powercap}/intel-rapl:*/energy_uj"
        return Check("energy", "notice", f"estimated: {reading.method}", remedy, values)
    if reading.kind == "measured":
        return Check("energy", "good", reading.method, "the receipt's joules are measured", values)
    advice = "no counter here: set cost.watts to what a wall meter shows for a better figure"
    return Check("energy", "notice", f"estimated: {reading.method}", advice, values)


def network() -> Check:
    return Check("network", "good", "not needed", "the embedded corpus, training and the report work without one")
