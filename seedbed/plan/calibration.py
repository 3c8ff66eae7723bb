"""What finished runs showed of a device, kept in the cache folder; and what that says of the next run, beside what then happened.

A record is one run: its device, its family (architecture, optimizer, precision, compiled or not), size, rate, goodput, watts,
memory and loss on its text. A plan uses the records that were there before the run began, of the same device and family, the rate
interpolated by size. Without any it assumes a share of the device's peak, and says so.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.files import sha256_json
from seedbed.run.machine import cache_dir

ASSUMED_CPU_MFU = 0.4  # of the measured product rate, where nothing ran before; as plan/layout.py assumes of a GPU
MOST_RECORDS = 2000


@dataclass(frozen=True)
class Record:
    run: str  # a digest: the same run is kept once
    ended: float  # seconds since 1970
    device: str
    family: str
    text: str  # digest of the tokens
    size: float  # FLOPs of a token in training / 6: parameters in products, attention counted
    tokens: float
    batch_tokens: float
    flops_second: float  # while training
    mfu: float | None  # of the device's measured peak
    mfu_datasheet: float | None
    goodput: float | None
    watts: float | None  # over the whole run
    memory_bytes: float | None
    loss: float


def records_path() -> Path:
    return cache_dir() / "plan" / "records.jsonl"


def read_records(path: Path | None = None) -> list[Record]:
    """All of them, the last of a run's; lines that are no record are passed over."""
    found: dict[str, Record] = {}
    try:
        lines = (path or records_path()).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    for line in lines[-MOST_RECORDS:]:
        try:
            record = Record(**json.loads(line))
            if all(
                math.isfinite(x) and x > 0 for x in (record.size, record.flops_second, record.batch_tokens, record.loss)
            ):
                found[record.run] = record
        except (TypeError, ValueError):
            continue
    return list(found.values())


def keep_record(record: Record, path: Path | None = None) -> None:
    """Append it, once. A cache that cannot be written loses nothing but this."""
    where = path or records_path()
    if any(known == record for known in read_records(where)):
        return
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        with where.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record)) + "\n")
    except OSError:
        pass


def family_of(recipe: Any) -> str:
    """Runs of a family are alike in all but size: what changes the work of a token besides."""
    model, train = recipe.model, recipe.train
    experts = f"{model.num_experts} experts" if model.num_experts else "dense"
    return " ".join(
        [model.architecture, experts, train.optimizer, train.precision, f"compile {train.compile}", train.objective]
    )


def device_of(machine: dict[str, Any], recipe: Any) -> str:
    if machine.get("gpus") and recipe.train.device != "cpu":
        return str(machine["gpus"][0]["name"])
    return f"{machine['cpu']}, {recipe.train.threads or machine['cores']} threads"


def record_of(receipt: dict[str, Any], recipe: Any, events: Iterable[dict[str, Any]]) -> Record | None:
    """Of a run that trained to its end; None before."""
    training, cost = receipt["training"], receipt["cost"]
    needed = ("tokens", "flops", "tokens_per_second", "loss", "steps")
    if "weights" not in receipt["hashes"] or not all(training.get(name) for name in needed) or receipt["ended"] is None:
        return None
    per_token = training["flops"] / training["tokens"]
    steps = [event for event in events if event.get("kind") == "step"]
    memory = max((held for held in map(memory_of, steps) if held), default=None)
    datasheet = [event["mfu_datasheet"] for event in steps if event.get("mfu_datasheet")]
    seconds, joules = cost["seconds"]["value"], cost["joules"]["value"]
    return Record(
        run=sha256_json([receipt["started"], receipt["hashes"]["weights"]])[:24],
        ended=datetime.fromisoformat(receipt["ended"]).timestamp(),
        device=device_of(receipt["machines"][-1], recipe),
        family=family_of(recipe),
        text=str(receipt["hashes"].get("tokens", "")),
        size=per_token / 6,
        tokens=training["tokens"],
        batch_tokens=training["tokens"] / training["steps"],
        flops_second=training["tokens_per_second"] * per_token,
        mfu=training.get("mfu"),
        mfu_datasheet=float(np.median(datasheet)) if datasheet else None,
        goodput=receipt["goodput"]["fraction"],
        watts=joules / seconds if seconds and joules else None,
        memory_bytes=memory,
        loss=training["loss"],
    )


def memory_of(event: dict[str, Any]) -> float | None:
    """Of its GPU where a step has one, else of its process."""
    return event.get("device_memory_bytes") or event.get("memory_bytes")


@dataclass(frozen=True)
class Calibration:
    """What earlier runs say of one more. `basis` is a sentence; None where nothing is known."""

    flops_second: float
    goodput: float | None
    watts: float | None
    memory_bytes: float | None  # at the most, of the process or its GPU
    loss_factor: float | None  # actual loss over the law's, on the same text
    runs: int
    size_ratio: float  # of the nearest earlier run's size to this one's, 1 or more
    basis: str


def calibrate(
    records: list[Record], device: str, family: str, size: float, peak: float | None, text: str = "", law: Any = None
) -> Calibration | None:
    """Rates by size on a line in logarithms between the sizes that ran, level beyond them. None without runs and peak."""
    alike = [record for record in records if record.device == device and record.family == family]
    here = [record for record in records if record.device == device]
    goodput, watts = middle(record.goodput for record in here), middle(record.watts for record in here)
    factor = None
    if law is not None and text:
        factor = middle(record.loss / law.loss(record.size, record.tokens) for record in records if record.text == text)
    if not alike:
        if not peak:
            return None
        basis = f"no earlier run of this family here: {ASSUMED_CPU_MFU:.0%} of the measured peak assumed"
        return Calibration(ASSUMED_CPU_MFU * peak, goodput, watts, None, factor, 0, math.inf, basis)
    rate = by_size(size, [(record.size, record.flops_second) for record in alike])
    held = [(record.size, record.memory_bytes) for record in alike if record.memory_bytes]
    memory = by_size(size, held) if held else None
    nearest = min(abs(math.log(size / record.size)) for record in alike)
    runs = f"{len(alike)} earlier run{'s' if len(alike) > 1 else ''} of this family here"
    basis = f"{runs}, the nearest {math.exp(nearest):.1f}x away in size"
    return Calibration(rate, goodput, watts, memory, factor, len(alike), math.exp(nearest), basis)


def by_size(size: float, pairs: list[tuple[float, float]]) -> float:
    """The value at a size, on a line in logarithms between the medians of like sizes, level beyond them."""
    found: dict[float, list[float]] = {}
    for known, value in pairs:
        found.setdefault(round(math.log(known), 1), []).append(math.log(value))
    sizes = sorted(found)
    return math.exp(float(np.interp(math.log(size), sizes, [float(np.median(found[s])) for s in sizes])))


def middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.median(known)) if known else None


def planned_against_actual(record: Record, records: list[Record], recipe: Any, began: float) -> dict[str, Any]:
    """For the receipt: what the planner would have said before the run, from records older than it, beside what happened."""
    from seedbed.laws import PUBLISHED

    law = PUBLISHED["besiroglu"]
    before = [other for other in records if other.ended <= began and other.run != record.run]
    peak = record.flops_second / record.mfu if record.mfu else None
    said = calibrate(before, record.device, record.family, record.size, peak, record.text, law)
    if said is None:
        return {}
    step = record.batch_tokens * 6 * record.size
    training_seconds = record.tokens * 6 * record.size / said.flops_second
    wall = training_seconds / said.goodput if said.goodput else None
    actual_training = record.tokens * 6 * record.size / record.flops_second
    actual_wall = actual_training / record.goodput if record.goodput else None
    planned: dict[str, tuple[float | None, float | None]] = {
        "step_seconds": (step / said.flops_second, step / record.flops_second),
        "training_seconds": (training_seconds, actual_training),
        "memory_bytes": (said.memory_bytes, record.memory_bytes),
        "watts": (said.watts, record.watts),
        "joules": (times(said.watts, wall), times(record.watts, actual_wall)),
        "goodput": (said.goodput, record.goodput),
        "loss": (times(said.loss_factor, law.loss(record.size, record.tokens)), record.loss),
    }
    rows = {
        name: {"planned": plan, "actual": actual, "error": plan / actual - 1 if plan and actual else None}
        for name, (plan, actual) in planned.items()
    }
    return {"basis": said.basis, "runs": said.runs, "figures": rows}


def times(one: float | None, other: float | None) -> float | None:
    return one * other if one is not None and other is not None else None
