"""The receipt of a run: what went in, what came out, what it cost, and the command that makes it again."""

import hashlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import seedbed
from seedbed.errors import SeedbedError
from seedbed.files import read_json, sha256_file, write_json, write_text
from seedbed.plan.calibration import keep_record, planned_against_actual, read_records, record_of
from seedbed.recipe.schema import Recipe
from seedbed.run.cost import total_cost
from seedbed.run.events import scores_of
from seedbed.run.folder import RunFolder
from seedbed.run.machine import describe, package_version
from seedbed.run.stages import check_json

LIBRARIES = ("seedbed", "torch", "numpy", "tokenizers", "gigatoken", "pyarrow", "safetensors", "pydantic")


def build_receipt(folder: RunFolder, recipe: Recipe) -> dict[str, Any]:
    """The receipt of what the run folder holds now; of an unfinished run, what there is of it.

    Seconds are wall clock, joules and what follows from them are marked `measured` or `estimated` with the method.
    """
    events = folder.events()
    records = stage_records(folder)
    training = training_totals(folder, records, events)
    cost = total_cost(events, recipe, training.get("flops", 0.0))
    receipt: dict[str, Any] = {
        "format": 1,
        "recipe": recipe.name,
        "seed": recipe.seed,
        "started": iso_time(events[0]["time"]) if events else None,
        "ended": iso_time(events[-1]["time"]) if events else None,
        "finished": "evaluate" in records,
        "hashes": hashes(folder, records),
        "code": code_version(),
        "versions": {"python": describe()["python"], **{name: package_version(name) for name in LIBRARIES}},
        "machines": machines(events),
        "training": training,
        "stages": stage_accounts(events, {name: record["key"] for name, record in records.items()}),
        "goodput": goodput(training.get("seconds", 0.0), cost.seconds.value, training_times(events)),
        "cost": cost.as_dict(),
        "interventions": interventions(events),
        "command": "seedbed run recipe.toml --out again",
        "command_note": "run in the folder of this receipt; recipe.toml holds every value, measured ones included",
    }
    record = record_of(receipt, recipe, events)
    if record is not None:
        receipt["plan"] = planned_against_actual(record, read_records(), recipe, events[0]["time"])
    if "evaluate" in records:
        scores = read_json(folder.stage_path("evaluate") / "evaluation.json")
        name, receipt_scores = scores_of(scores)
        receipt[name] = receipt_scores
    return receipt


def stage_records(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """Stage -> its stage.json, for the finished stages of the present recipe."""
    paths = {name: folder.stages_path / stage / "stage.json" for name, stage in folder.index().items()}
    return {name: read_json(path) for name, path in paths.items() if path.is_file()}


def hashes(folder: RunFolder, records: dict[str, dict[str, Any]]) -> dict[str, str]:
    """SHA-256 of the recipe, of each part of what was made, and of this program. Data: the curated files' digest."""
    found = {"recipe": sha256_file(folder.recipe_path)}
    for label, stage in (("data", "curate"), ("tokens", "tokenize")):
        if stage in records:
            found[label] = records[stage]["digest"]
    for label, stage, file in (("tokenizer", "tokenizer", "tokenizer.json"), ("weights", "train", "model.safetensors")):
        if file in records.get(stage, {}).get("files", {}):
            found[label] = records[stage]["files"][file]["sha256"]
    found["code"] = code_sha256()
    return found


def code_sha256(package: Path | None = None) -> str:
    """SHA-256 over the names and bytes of the package's Python files, in order of name."""
    package = package or Path(seedbed.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py"), key=lambda p: p.relative_to(package).as_posix()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def code_version() -> dict[str, Any]:
    """The package's version and, where it runs from a checkout, the commit and whether files differ from it."""
    root = Path(seedbed.__file__).parent.parent
    version: dict[str, Any] = {"version": package_version("seedbed")}
    if (root / ".git").exists():
        commit, changes = git(root, "rev-parse", "HEAD"), git(root, "status", "--porcelain", "--", "seedbed")
        if commit:
            version |= {"commit": commit, "changed_since_commit": bool(changes)}
    return version


def git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def machines(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every different machine the run was worked on with, in order."""
    found: list[dict[str, Any]] = []
    for event in events:
        if event["kind"] == "run_start" and event.get("machine") and event["machine"] not in found:
            found.append(event["machine"])
    return found or [describe()]


def training_totals(
    folder: RunFolder, records: dict[str, dict[str, Any]], events: list[dict[str, Any]]
) -> dict[str, Any]:
    """Steps, tokens, FLOPs and seconds of the model that came out: repeated work counts once. Empty before training."""
    if "train" in records:
        steps = read_json(folder.stage_path("train") / "history.json")["steps"]
    else:
        steps = [event for event in events if event["kind"] == "step"]
    if not steps:
        return {}
    last = steps[-1]
    rates = [step["tokens_per_second"] for step in steps if step.get("tokens_per_second")]
    mfus = [step["mfu"] for step in steps if step.get("mfu") is not None]
    sources = records["train"]["summary"].get("sources") if "train" in records else None
    return {
        "steps": last["step"],
        "tokens": last["tokens"],
        "flops": last["flops"],
        "seconds": last["seconds"],
        "loss": last["loss"],
        "tokens_per_second": sorted(rates)[len(rates) // 2] if rates else None,
        "mfu": sorted(mfus)[len(mfus) // 2] if mfus else None,
        **({"sources": sources} if sources else {}),  # what a mixture read of each, in tokens and epochs
    }


def training_times(events: list[dict[str, Any]]) -> tuple[float, dict[str, float]]:
    """(useful seconds, seconds by kind over all processes) of the last training; a kill costs the seconds since its last note."""
    key, useful = None, 0.0
    sessions: list[dict[str, float]] = [{}]
    for event in events:
        kind = event["kind"]
        if kind == "run_start":
            sessions.append({})
        elif kind == "stage_start" and event["stage"] == "train" and event["key"] != key:
            key, useful, sessions = event["key"], 0.0, [{}]  # another recipe's training
        elif kind == "time":
            sessions[-1], useful = event["spent"], event["useful_seconds"]
    sums: dict[str, float] = {}
    for spent in sessions:
        for name, seconds in spent.items():
            sums[name] = sums.get(name, 0.0) + seconds
    return useful, sums


def goodput(training_seconds: float, wall_seconds: float, times: tuple[float, dict[str, float]]) -> dict[str, Any]:
    """The share of all processes' wall clock that went into steps of the model that came out, and where the rest went.

    `seconds`: by kind of work (train/meters.py); `step` are the useful ones, `repeated` those that were trained again after a
    kill or a rewind, `elsewhere` what was not training. Of a run without such notes the whole training counts as useful.
    """
    useful, spent = times
    share = (useful if spent else training_seconds) / wall_seconds if wall_seconds > 0 else None
    found: dict[str, Any] = {"training_seconds": training_seconds, "wall_seconds": wall_seconds, "fraction": share}
    if spent:
        others = {name: seconds for name, seconds in spent.items() if name != "step"}
        seconds = {"step": useful, "repeated": max(0.0, spent.get("step", 0.0) - useful), **others}
        seconds["elsewhere"] = max(0.0, wall_seconds - sum(seconds.values()))
        found["seconds"] = {name: round(value, 3) for name, value in seconds.items()}
    return found


def stage_accounts(events: list[dict[str, Any]], keys: dict[str, str]) -> list[dict[str, Any]]:
    """Seconds and joules of each present stage over all processes, and under "other" start-up and abandoned work."""
    seconds = dict.fromkeys(keys, 0.0)
    joules = {**dict.fromkeys(keys, 0.0), "other": 0.0}
    open_stage: str | None = None
    before = 0.0
    spent_before: dict[str, float] = {}
    for event in events:
        kind, stage = event["kind"], event.get("stage", "")
        if kind == "run_start":
            open_stage = None
        elif kind == "stage_start":
            open_stage, before = (stage if keys.get(stage) == event["key"] else None), event["time"]
        if open_stage and stage == open_stage:
            seconds[open_stage] += event["time"] - before
            before = event["time"]
        if kind == "cost":
            session = event["session"]
            joules[stage if stage == open_stage else "other"] += event["joules"] - spent_before.get(session, 0.0)
            spent_before[session] = event["joules"]
    accounts = [{"stage": name, "seconds": round(seconds[name], 3), "joules": round(joules[name], 3)} for name in keys]
    return [*accounts, {"stage": "other", "seconds": None, "joules": round(joules["other"], 3)}]


def interventions(events: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What happened besides the plan: kills, restarts, resumes, what the guard did, notes."""
    found = []
    open_run = False
    for event in events:
        what = ""
        if event["kind"] == "run_start":
            what = "started again after a process that ended without a word" if open_run else ""
            open_run = True
        elif event["kind"] == "run_end":
            open_run = False
            what = "" if event["status"] == "done" else f"ended: {event['status']}"
        elif event["kind"] == "resume":
            what = f"training continued from step {event['step']}"
        elif event["kind"] in ("note", "intervention"):
            what = event["message"]
        if what:
            found.append({"time": iso_time(event["time"]), "stage": event.get("stage", ""), "what": what})
    return found


def iso_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat("T", "seconds")


def write_report(folder: RunFolder) -> None:
    """Write receipt.json and report.html of the run folder as it stands, each whole or not at all."""
    from seedbed.report import gather, render

    recipe = folder.recipe()
    for name in folder.index().values():
        if (folder.stages_path / name / "stage.json").is_file():
            check_json(folder.stages_path / name)
    receipt = build_receipt(folder, recipe)
    record = record_of(receipt, recipe, folder.events())
    if record is not None and receipt["finished"]:
        keep_record(record)  # the next plan on this machine knows of this run
    try:
        write_json(folder.receipt_path, receipt)
        write_text(folder.report_path, render(gather(folder, recipe, receipt)))
    except OSError as error:
        raise SeedbedError(
            f"{folder.report_path} cannot be written ({error.strerror}): free some space, or make the folder writable, and run "
            f"`seedbed report {folder.path}`"
        ) from None
