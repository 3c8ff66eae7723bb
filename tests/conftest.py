"""Runs for tests: folders as the stages would leave them, for what reads finished runs, and real runs of a second."""

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from seedbed.corpus.yields import sum_yields
from seedbed.files import sha256_json, write_json
from seedbed.recipe.resolve import load_recipe
from seedbed.recipe.schema import Recipe
from seedbed.run.events import EventLog
from seedbed.run.folder import RunFolder
from seedbed.run.stages import describe_files

STAGES = ("collect", "curate", "tokenizer", "tokenize", "measure", "train", "evaluate")
HOSTILE = "</script><script>document.title='owned'</script> <b>\u202eevil\x07 &amp; \"quoted\"</b>"
SOURCES = {"sotu": "public domain", "kjv": "public domain", "stdlib": "PSF-2.0"}
DOMAINS = {"sotu": "speeches", "kjv": "scripture", "stdlib": "code"}
RULES = {
    7: ("removed", "min_words", "words: 12 is below 30"),
    11: ("removed", "max_duplicate_line_fraction", f"repeated lines: 0.71 of the characters, above 0.5 {HOSTILE}"),
    13: ("merged", "exact_dedup", "the same text as sotu/1790.txt"),
    29: ("quarantined", "", "line 12 is not JSON: Expecting value at column 3"),
}
PROMPTS = ("The people of the United States", "def main(")
NUM_STEPS = 600
MACHINE = {
    "cpu": "Test CPU", "cores": 2, "logical_cores": 4, "logical_cores_of_machine": 4, "memory_bytes": 8_000_000_000,
    "accelerated": {"float32": "avx2"}, "gpus": [], "os": "Linux 6 x86_64", "python": "3.11.7", "torch": "2.13.0",
}  # fmt: skip

settings.register_profile("seedbed", deadline=None)  # a busy machine is no failure
settings.load_profile("seedbed")
FINISHED: list[Path] = []
WORDS = ["the", "people", "of", "this", "land", "shall", "give", "their", "king", "a", "house", "and", "bread", "for"]
SMALL_RUN = {
    "corpus.held_out_fraction": 0.1, "tokenizer.vocab_size": 300, "evaluate.prompts": [], "evaluate.sample_tokens": 4,
    "evaluate.max_bytes_per_domain": 2000, "model.size": "20k", "model.layers": 1, "model.width": 32,
    "model.context": 16, "model.ngram_rows": 64, "model.prior_order": 3, "train.steps": 12, "train.batch_tokens": 64,
    "train.precision": "float32", "train.compile": "off", "train.threads": 1, "train.micro_batch_rows": 4,
    "train.device": "cpu", "train.validate_every_fraction": 1,
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Measurements made by tests stay out of the user's cache, and no library's threads spin on a shared machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEDBED_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture
def small_corpus(tmp_path: Path) -> Path:
    """A folder of 40 short texts that the default rules keep."""
    folder = tmp_path / "texts"
    folder.mkdir()
    draw = random.Random(1)
    for number in range(40):
        lines = [" ".join(draw.choices(WORDS, k=12)) + f" {number}." for _ in range(8)]
        (folder / f"{number:02d}.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def small_settings() -> Callable[..., list[str]]:
    """small_settings(changes) -> `KEY=VALUE` settings of a run of about a second; a changed None leaves the field out."""

    def make(changes: dict[str, Any] | None = None) -> list[str]:
        values = {key: value for key, value in {**SMALL_RUN, **(changes or {})}.items() if value is not None}
        return [f"{key}={value}" for key, value in values.items()]

    return make


@pytest.fixture
def small_recipe(small_corpus: Path, small_settings: Callable[..., list[str]]) -> Callable[..., Recipe]:
    """small_recipe({"train.steps": 5}) -> the recipe of such a run, on `small_corpus` or another path."""

    def make(changes: dict[str, Any] | None = None, corpus: Path | None = None) -> Recipe:
        return load_recipe(settings=small_settings(changes), corpus=[corpus or small_corpus])

    return make


@pytest.fixture
def finished_run(
    small_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> RunFolder:
    """A copy of a real run, finished up to its report. Made once; its sources are those of the first test that asked."""
    from seedbed.run.pipeline import run_pipeline

    if not FINISHED:
        path = tmp_path_factory.mktemp("finished") / "run"
        FINISHED.append(run_pipeline(small_recipe(), path, lambda event: None).path)
    shutil.copytree(FINISHED[0], tmp_path / "finished")
    return RunFolder.existing(tmp_path / "finished")


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """make_run(until="evaluate", resumed=False) -> the folder of a run whose stages up to `until` are finished."""

    def make(until: str = "evaluate", resumed: bool = False, name: str = "run") -> RunFolder:
        recipe = load_recipe(settings=["train.precision=float32", "train.compile=off", "train.steps=600"])
        folder = RunFolder.for_recipe(tmp_path / name, recipe)
        folder.write_recipe(recipe)
        clock = Clock()
        log = EventLog(folder.events_path, clock=clock)
        log.emit("run_start", command="seedbed run", recipe=recipe.name, machine=MACHINE)
        meter = Meter(log, clock)
        finished: dict[str, str] = {}
        for stage in STAGES[: STAGES.index(until) + 1]:
            key = sha256_json([stage, "key"])
            path = folder.stages_path / f"{stage}-{key[:12]}"
            path.mkdir()
            log.emit("stage_start", stage, key=key)
            clock.now += 2.0
            meter.spend(stage, 20.0)
            if stage == "train":
                train_events(log, clock, meter, resumed, key)
            summary = WRITERS[stage](path)
            files = describe_files(path)
            record = {
                "stage": stage,
                "key": key,
                "digest": sha256_json(files),
                "seconds": 2.0,
                "files": files,
                "summary": summary,
            }
            write_json(path / "stage.json", record)
            log.emit("stage_end", stage, key=key, seconds=2.0, summary=summary)
            finished[stage] = path.name
        log.emit("run_end", seconds=clock.now, status="done")
        log.close()
        folder.write_index(finished)
        return folder

    return make


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class Meter:
    """Writes `cost` events as CostRecorder would."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self.log, self.clock, self.session, self.joules, self.start = log, clock, "1-1", 0.0, clock.now
        self.flops = 0.0

    def spend(self, stage: str, joules: float, flops: float = 0.0) -> None:
        self.joules += joules
        self.flops += flops
        seconds = self.clock.now - self.start
        self.log.emit(
            "cost",
            stage,
            session=self.session,
            seconds=seconds,
            joules=self.joules,
            energy="estimated",
            method="test",
            flops=self.flops,
        )


def history_step(step: int) -> dict[str, Any]:
    return {
        "step": step, "steps": NUM_STEPS, "tokens": step * 1024, "seconds": step * 0.1, "flops": step * 2e10,
        "loss": loss_at(step), "lr": 0.02 * min(1.0, step / 20) * min(1.0, 2.5 * (1 - step / (NUM_STEPS + 1))),
        "tokens_per_second": 10_240 + 200 * math.sin(step), "mfu": 0.62 + 0.01 * math.sin(step),
    }  # fmt: skip


def loss_at(step: int) -> float:
    return 2.2 + 6.1 * math.exp(-step / 60) + 0.08 * math.sin(step * 12.9898)


def history() -> dict[str, Any]:
    looks = range(100, NUM_STEPS + 1, 100)
    bits = {
        step: {"all": loss_at(step) / 1.25, "speeches": loss_at(step) / 1.35, "code": loss_at(step) / 1.1}
        for step in looks
    }
    return {
        "steps": [history_step(step) for step in (1, *range(10, NUM_STEPS + 1, 10))],
        "validations": [{**history_step(step), "bits_per_byte": bits[step]} for step in looks],
        "samples": [{"step": s, "prompt": p, "text": f" at step {s}, {HOSTILE}"} for s in looks for p in PROMPTS],
    }


def train_events(log: EventLog, clock: Clock, meter: Meter, resumed: bool, key: str) -> None:
    story = history()
    before = 0
    for entry in story["steps"]:
        clock.now += 1.0
        log.emit("step", "train", **entry)
        meter.spend("train", 15.0, entry["flops"] - before * 2e10)
        before = entry["step"]
        if resumed and entry["step"] == 300:  # killed here, continued from the checkpoint at step 250
            meter.__init__(log, clock)  # type: ignore[misc]
            meter.session = "2-2"
            clock.now += 60.0
            log.emit("run_start", command="seedbed run", recipe="first-light", machine=MACHINE)
            log.emit("stage_start", "train", key=key)
            before = 250
            log.emit("resume", "train", step=250, flops=250 * 2e10)
    for entry in story["validations"]:
        log.emit("validation", "train", step=entry["step"], bits_per_byte=entry["bits_per_byte"])


def write_collect(path: Path) -> dict[str, Any]:
    rows = [document(i) for i in range(120)]
    pq.write_table(
        pa.Table.from_pylist([{k: r[k] for k in ("id", "text", "source", "domain")} for r in rows]),
        path / "documents-00000.parquet",
    )
    sources = {
        s: {"documents": 40, "bytes": sum(r["bytes_in"] for r in rows if r["source"] == s), "licence": SOURCES[s]}
        for s in SOURCES
    }
    return {
        "read": 120,
        "documents": 116,
        "quarantined": 4,
        "bytes": sum(r["bytes_in"] for r in rows),
        "sources": sources,
    }


def document(index: int) -> dict[str, Any]:
    source = list(SOURCES)[index % 3]
    name = f"{source}/{1790 + index}.txt" if index else f"{source}/{HOSTILE}"
    text = f"Document {index} of {source}. {HOSTILE}\n" + "It goes on for some lines.\n" * (index % 40)
    verdict, rule, reason = next((RULES[n] for n in RULES if index % n == n - 1), ("kept", "", ""))
    return {
        "id": name, "text": text, "source": source, "domain": DOMAINS[source], "language": "", "split": "train",
        "verdict": verdict, "rule": rule, "reason": reason, "merged_into": "",
        "bytes_in": len(text), "bytes_text": len(text) - 1, "bytes_out": len(text) - 1 if verdict == "kept" else 0,
    }  # fmt: skip


def write_curate(path: Path) -> dict[str, Any]:
    rows = [{k: v for k, v in document(i).items() if k != "text"} for i in range(120)]
    pq.write_table(pa.Table.from_pylist(rows), path / "decisions-00000.parquet")
    write_json(path / "yields.json", sum_yields(pa.Table.from_pylist(rows).to_batches()))
    return {"read": 120}


def write_tokenizer(path: Path) -> dict[str, Any]:
    (path / "tokenizer.json").write_text("{}")
    return {"vocab_size": 4096, "imported": False, "trained_on_bytes": 2_000_000}


def write_tokenize(path: Path) -> dict[str, Any]:
    for split, tokens in (("train", 500_000), ("validation", 20_000)):
        (path / split).mkdir()
        write_json(
            path / split / "manifest.json",
            {"num_tokens": tokens, "num_documents": tokens // 500, "num_bytes": tokens * 4},
        )
    return {}


def write_measure(path: Path) -> dict[str, Any]:
    tried = [
        {
            "precision": "float32",
            "compile": compiled,
            "micro_batch_rows": 8,
            "recompute": "none",
            "first_step_seconds": 0.4,
            "step_seconds": step,
        }
        for compiled, step in ((False, 0.125), (True, 0.1))
    ]
    write_json(
        path / "measure.json", {**tried[1], "device": "cpu", "threads": 2, "steps": NUM_STEPS, "candidates": tried}
    )
    return {}


def write_train(path: Path) -> dict[str, Any]:
    (path / "model.safetensors").write_bytes(b"weights")
    (path / "config.json").write_text(json.dumps({"layers": 4}))
    np.save(path / "losses.npy", np.array([loss_at(step) for step in range(1, NUM_STEPS + 1)], dtype=np.float32))
    write_json(path / "history.json", history())
    return {"parameters": 2_400_000}


def write_evaluate(path: Path) -> dict[str, Any]:
    rows = {
        "all": {"bytes": 800_000, "model": 1.79, "transformer": 1.95, "gzip": 2.93, "xz": 2.41, "ngram": 2.22},
        "speeches": {"bytes": 400_000, "model": 1.71, "gzip": 2.91, "xz": 2.44, "ngram": 2.11},
        "code": {"bytes": 400_000, "model": 1.87, "gzip": 2.32, "xz": 1.84, "ngram": 2.33},
    }
    write_json(
        path / "evaluation.json", {"bits_per_byte": rows, "context": 128, "slide": 64, "copied": {"held_out": 0.19}}
    )
    samples = [{"prompt": p, "text": f" {HOSTILE}", "seed": 1, "temperature": 0.8, "copied": 0.25} for p in PROMPTS]
    write_json(path / "samples.json", samples)
    return {}


WRITERS = {
    "collect": write_collect, "curate": write_curate, "tokenizer": write_tokenizer, "tokenize": write_tokenize,
    "measure": write_measure, "train": write_train, "evaluate": write_evaluate,
}  # fmt: skip
