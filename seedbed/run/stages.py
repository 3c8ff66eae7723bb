"""Stages: pure functions from a part of the recipe and earlier stages' outputs to a folder.

A stage's key hashes its name, its version, its part of the recipe and the *content* of its inputs, so a stage whose inputs
came out the same is not run again. The folder is written as NAME-KEY.partial, checksummed, and renamed into place.
"""

import errno
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from seedbed.corpus.executors import Execution
from seedbed.errors import SeedbedError
from seedbed.files import publish_folder, read_json, sha256_file, sha256_json, write_json
from seedbed.recipe.schema import Recipe
from seedbed.run.events import EventLog
from seedbed.run.folder import RunFolder

CHECKPOINTS = "checkpoints"  # what a resumable stage continues from: no part of its output
KEPT = "kept"  # those of them that outlive the stage, for branches: no part of its output either
FULL = {
    errno.ENOSPC: "the disk is full: free some space",
    getattr(errno, "EDQUOT", -1): "the quota of disk space is used up: free some, or have it raised,",
    errno.EFBIG: "a file would be larger than this shell or file system allows (ulimit -f): raise it",
}
NO_MEMORY = "can't allocate memory"  # what torch says of main memory, in an error without a type of its own
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # what NumPy says of a full disk, without a number
SOUND = "sound outputs"  # in a process's state: the finished stages that it made or checked


@dataclass(frozen=True)
class StageOutput:
    """A finished stage: its folder, its key, the digest of its content and what it said of itself."""

    path: Path
    key: str
    digest: str
    summary: dict[str, Any]


@dataclass
class StageContext:
    """What a stage may see and touch. It writes into `path` only."""

    name: str
    recipe: Recipe
    path: Path
    inputs: dict[str, StageOutput]
    events: EventLog
    check_stop: Callable[[], None] = lambda: None  # raises Interrupted after Ctrl-C or SIGTERM
    state: dict[str, Any] = field(
        default_factory=dict
    )  # handed between stages of one process: never needed, only faster
    execution: Execution = field(default_factory=Execution)  # who maps a stage's tasks

    def emit(self, kind: str, **fields: Any) -> None:
        self.events.emit(kind, self.name, **fields)

    def progress(self, done: float, total: float, unit: str, **fields: Any) -> None:
        self.check_stop()
        self.events.emit("progress", self.name, done=done, total=total, unit=unit, **fields)

    def counter(self, total: int, unit: str) -> Callable[[int], None]:
        """What to call with the number of units that were done since the last call."""
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self.progress(done, total, unit)

        return advance


@dataclass(frozen=True)
class Stage:
    """`config` picks the part of the recipe (and any fingerprint of outside files) that the output depends on.

    `resumable`: the stage keeps `checkpoints/` in its partial folder and continues from them after a kill.
    `volatile`: files of the output that differ between equal runs (timings), or shell patterns of them: left out of the digest.
    """

    name: str
    version: int
    inputs: tuple[str, ...]
    config: Callable[[Recipe], Any]
    run: Callable[[StageContext], dict[str, Any]]
    resumable: bool = False
    volatile: tuple[str, ...] = ()

    def digest(self, files: dict[str, dict[str, Any]]) -> str:
        """Of the output's content, from what `describe_files` gave."""
        kept = {n: entry["sha256"] for n, entry in files.items() if not any(fnmatch(n, p) for p in self.volatile)}
        return sha256_json(kept)

    def key(self, recipe: Recipe, inputs: dict[str, StageOutput]) -> str:
        digests = {name: inputs[name].digest for name in self.inputs}
        return sha256_json([self.name, self.version, json.loads(json.dumps(self.config(recipe))), digests])


def load_output(path: Path) -> StageOutput | None:
    """The finished stage in `path`, or None."""
    record_path = path / "stage.json"
    if not record_path.is_file():
        return None
    record = read_json(record_path)
    return StageOutput(path, record["key"], record["digest"], record["summary"])


def run_stage(
    stage: Stage,
    folder: RunFolder,
    recipe: Recipe,
    outputs: dict[str, StageOutput],
    events: EventLog,
    check_stop: Callable[[], None],
    state: dict[str, Any],
    execution: Execution | None = None,
) -> StageOutput:
    """Give the stage's output, from the folder if its key was computed before, else by running it."""
    check_stop()
    inputs = {name: outputs[name] for name in stage.inputs}
    key = stage.key(recipe, inputs)
    final = folder.stages_path / f"{stage.name}-{key[:12]}"
    finished = load_output(final)
    if finished is not None and finished.key == key:
        shutil.rmtree(final / CHECKPOINTS, ignore_errors=True)
        events.emit("stage_cached", stage.name, key=key)
        return finished
    partial = final.with_name(final.name + ".partial")
    if final.exists():
        shutil.rmtree(final)  # without its stage.json it is no finished stage
    if partial.exists() and not stage.resumable:
        shutil.rmtree(partial)
    partial.mkdir(exist_ok=True)
    for stray in partial.glob(".*.partial"):
        stray.unlink()  # a file that a kill left half written must not count as output
    events.emit("stage_start", stage.name, key=key)
    for output in inputs.values():
        require_sound(output, state)
    start = time.monotonic()
    context = StageContext(stage.name, recipe, partial, inputs, events, check_stop, state, execution or Execution())
    try:
        summary = stage.run(context)
        seconds = round(time.monotonic() - start, 3)
        files = describe_files(partial)
        digest = stage.digest(files)
        record = {
            "stage": stage.name,
            "version": stage.version,
            "key": key,
            "digest": digest,
            "inputs": {name: {"key": output.key, "digest": output.digest} for name, output in inputs.items()},
            "seconds": seconds,
            "files": files,
            "summary": summary,
        }
        write_json(partial / "stage.json", record)
        publish_folder(partial, final)
        shutil.rmtree(final / CHECKPOINTS, ignore_errors=True)  # only now: until here a kill goes on from them
    except OSError as error:
        number = errno.ENOSPC if error.errno is None and SHORT_WRITE.search(str(error)) else error.errno
        if number in FULL:
            raise SeedbedError(f"{folder.path}: {FULL[number]} and run the same command again") from None
        raise
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or NO_MEMORY in str(error):
            raise SeedbedError(
                f"{stage.name}: there is no memory left: close other programs or raise the limit (ulimit -v) and run the same "
                "command again, or choose a smaller model.size, or fewer --workers for the corpus"
            ) from None
        raise
    events.emit("stage_end", stage.name, key=key, seconds=seconds, summary=summary)
    output = StageOutput(final, key, digest, summary)
    state.setdefault(SOUND, set()).add(output.path)
    return output


def require_sound(output: StageOutput, state: dict[str, Any]) -> None:
    """Raise SeedbedError when a finished stage that is about to be read differs from its record. Once a process."""
    checked: set[Path] = state.setdefault(SOUND, set())
    if output.path not in checked:
        check_files(output.path)
        checked.add(output.path)


def check_files(path: Path, names: Iterable[str] = (), remedy: str = "run the same command again") -> None:
    """Raise SeedbedError when a finished stage's files (or those of them with `names`) differ from its record.

    `remedy` is what to do after deleting the folder.
    """
    recorded = read_json(path / "stage.json")["files"]
    for name in names or recorded:
        if name in recorded and not (path / name).is_file():
            raise SeedbedError(f"{path / name} is missing: delete {path} and {remedy}")
        if name in recorded and describe_file(path / name) != recorded[name]:
            raise SeedbedError(f"{path / name} is damaged (its checksum differs): delete {path} and {remedy}")


def check_json(path: Path) -> None:
    """`check_files` of what readers of a finished stage take at its word: its JSON files and curves of losses."""
    read = [name for name in read_json(path / "stage.json")["files"] if name.endswith((".json", "losses.npy"))]
    if read:
        check_files(path, read)


def describe_file(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def describe_files(path: Path) -> dict[str, dict[str, Any]]:
    """Relative name -> bytes and SHA-256 of every file of the output under `path`, in order of name."""
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != "stage.json")
    files = [p for p in files if p.relative_to(path).parts[0] not in (CHECKPOINTS, KEPT)]
    return {p.relative_to(path).as_posix(): describe_file(p) for p in files}
