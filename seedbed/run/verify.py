"""Is the run what it says it is? Every checksum, every link between stages, every count, and random tokens back to text.

Reads everything and writes nothing. A check gives one line per broken thing, and the others still run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from seedbed.corpus.decisions import VERDICTS, decision_batches, read_decision_rows
from seedbed.corpus.yields import COLUMNS, sum_yields, totals
from seedbed.errors import InputError, SeedbedError
from seedbed.files import read_json, sha256_file
from seedbed.run.folder import RunFolder
from seedbed.run.lineage import Lineage, TraceResult
from seedbed.run.pipeline import load_stage
from seedbed.run.stages import CHECKPOINTS, KEPT
from seedbed.tokens.kept_documents import split_sizes
from seedbed.tokens.linked import is_linked
from seedbed.tokens.reader import ShardReader, verify_shards
from seedbed.tokens.shards import DOCUMENTS_FILE

REPEAT = "delete the stage's folder and start `seedbed run` on the run again"
# What `train` hands on unchanged, so that its folder alone is enough to generate from: file -> stage it comes from.
HANDED_ON = {"tokenizer.json": "tokenizer", "ngram.safetensors": "count"}


@dataclass(frozen=True)
class Finished:
    """A stage of the run: its folder and its stage.json."""

    name: str
    path: Path
    record: dict[str, Any]


@dataclass
class Verification:
    """What was checked, and `problems`: one line per broken thing, empty for a sound run."""

    problems: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    records: int = 0
    tokens: int = 0
    traces: list[TraceResult] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)  # files already named: what else is wrong with them is no news

    def take(self, path: Path, check: Iterator[str]) -> None:
        """Run a check to its end, whatever it runs into."""
        try:
            for problem in check:
                self.add(problem)
        except SeedbedError as error:
            self.add(str(error))
        except Exception as error:  # damaged data may fail anywhere, and that is a finding too
            reason = next(iter(str(error).splitlines()), "no reason given")
            self.add(f"{path} cannot be checked ({type(error).__name__}: {reason}): {REPEAT}")

    def add(self, problem: str) -> None:
        if not any(problem.startswith(f"{file} ") for file in self.damaged):
            self.problems.append(problem)


def verify(
    folder: RunFolder, samples: int = 10, seed: int = 0, on_file: Callable[[Path], None] = lambda path: None
) -> Verification:
    """Check a run's finished stages. Raises InputError where there is none; `on_file` is told what is being read."""
    result = Verification()
    index = folder.index()
    if not index:
        raise InputError(f"{folder.path}: no stage is finished: run `seedbed run --out {folder.path}` first")
    stages: dict[str, Finished] = {}
    for name, stage_folder in index.items():
        path = folder.stages_path / stage_folder
        result.take(path, read_record(name, path, stages))
    result.stages = list(stages)
    for stage in stages.values():
        result.take(stage.path, check_files(stage, result, on_file))
        result.take(stage.path, check_links(stage, stages))
    if {"collect", "curate"} <= stages.keys():
        result.take(stages["curate"].path, check_accounts(stages["collect"], stages["curate"], result))
    if {"curate", "tokenizer", "tokenize"} <= stages.keys():
        result.take(stages["tokenize"].path, check_shards(stages, result, on_file))
        result.take(stages["tokenize"].path, check_traces(folder, samples, seed, result))
    if "train" in stages:
        result.take(stages["train"].path, check_losses(folder, stages["train"]))
    if "evaluate" in stages and folder.receipt_path.is_file():
        result.take(folder.receipt_path, check_receipt(folder, stages))
    return result


def read_record(name: str, path: Path, stages: dict[str, Finished]) -> Iterator[str]:
    """Add the stage to `stages` if its stage.json can be used."""
    if not (path / "stage.json").is_file():
        yield f"{path / 'stage.json'} is missing: {REPEAT}"
        return
    record = read_json(path / "stage.json")
    lacking = {"stage", "key", "digest", "inputs", "files", "summary"} - record.keys()
    if lacking or record["stage"] != name or path.name != f"{name}-{record['key'][:12]}":
        what = f"lacks {', '.join(sorted(lacking))}" if lacking else "is not of this stage and key"
        yield f"{path / 'stage.json'} {what}: {REPEAT}"
        return
    stages[name] = Finished(name, path, record)


def check_files(stage: Finished, result: Verification, on_file: Callable[[Path], None]) -> Iterator[str]:
    """Each file against its size and SHA-256, no file too many, and the digest that the next stages' keys were made of."""
    files: dict[str, dict[str, Any]] = stage.record["files"]
    for name, entry in files.items():
        path = stage.path / name
        on_file(path)
        size = path.stat().st_size if path.is_file() else None
        wrong = ""
        if size is None:
            wrong = "is missing"
        elif size != entry["bytes"]:
            wrong = f"has {size:,} bytes and was written with {entry['bytes']:,}"
        elif sha256_file(path) != entry["sha256"]:
            wrong = "is corrupted (its SHA-256 is not the one it was written with)"
        if wrong:
            yield f"{path} {wrong}: {REPEAT}"
            result.damaged.add(str(path))
        result.files += 1
        result.bytes += entry["bytes"]
    for path in sorted(p for p in stage.path.rglob("*") if p.is_file() and p != stage.path / "stage.json"):
        name = path.relative_to(stage.path).as_posix()
        if name not in files and not name.startswith(
            (f"{CHECKPOINTS}/", f"{KEPT}/")
        ):  # those a kill may have left behind
            yield f"{path} was not written by the stage {stage.name}: remove it"
    if load_stage(stage.name).digest(files) != stage.record["digest"]:
        yield f"{stage.path / 'stage.json'} was changed (its digest is not that of its files): {REPEAT}"


def check_links(stage: Finished, stages: dict[str, Finished]) -> Iterator[str]:
    """Its inputs are the stages of this run, and what it hands on is what it was given."""
    for name, made_from in stage.record["inputs"].items():
        found = stages.get(name)
        if found is not None and made_from != {"key": found.record["key"], "digest": found.record["digest"]}:
            yield f"{stage.path} was made from another {name} than {found.path.name}: {REPEAT}"
    if stage.name == "train":
        for file, origin in HANDED_ON.items():
            here = stage.record["files"].get(file)
            if here and origin in stages and here != stages[origin].record["files"].get(file):
                yield f"{stage.path / file} is not the one that the stage {origin} made: {REPEAT}"


def check_accounts(collect: Finished, curate: Finished, result: Verification) -> Iterator[str]:
    """read = kept + removed + merged + quarantined, in records and bytes, from the decisions themselves."""
    table = curate.path / "decisions-*.parquet"
    yields = sum_yields(decision_batches(curate.path, COLUMNS))
    by_verdict = {verdict: totals(yields, verdict) for verdict in VERDICTS}
    read = sum(count for count, _, _ in by_verdict.values()), sum(size for _, size, _ in by_verdict.values())
    result.records = read[0]
    summary = collect.record["summary"]
    expected = summary["read"], summary["bytes"] + summary["bytes_quarantined"]
    if read != expected:
        yield (
            f"{table} accounts for {read[0]:,} records of {read[1]:,} bytes, and {expected[0]:,} of {expected[1]:,} "
            f"were read: {REPEAT}"
        )
    if by_verdict["quarantined"][0] != summary["quarantined"]:
        yield f"{table} has {by_verdict['quarantined'][0]:,} quarantined records, collect {summary['quarantined']:,}: {REPEAT}"
    if yields != read_json(curate.path / "yields.json"):
        yield f"{curate.path / 'yields.json'} is not the sum of decisions-*.parquet: {REPEAT}"
    hashes = [xxhash.xxh3_64_intdigest(row["id"].encode()) for row in read_decision_rows(curate.path, ["id"])]
    if len(np.unique(np.array(hashes, np.uint64))) != len(hashes):
        yield f"{table} has more than one decision on one id: {REPEAT}"
    sizes = split_sizes(curate.path)
    kept = sum(size.documents for size in sizes.values()), sum(size.bytes for size in sizes.values())
    if kept != (by_verdict["kept"][0], by_verdict["kept"][2]):
        yield (
            f"{curate.path} holds {kept[0]:,} documents of {kept[1]:,} bytes, and {by_verdict['kept'][0]:,} of "
            f"{by_verdict['kept'][2]:,} were kept: {REPEAT}"
        )


def check_shards(stages: dict[str, Finished], result: Verification, on_file: Callable[[Path], None]) -> Iterator[str]:
    """Shards against manifest, index and sidecar; the documents in them against the decisions."""
    tokenize = stages["tokenize"]
    decided: dict[str, list[int]] = {}
    for row in read_decision_rows(stages["curate"].path, ["id", "split", "verdict"]):
        if row["verdict"] == "kept":
            add_id(decided.setdefault(row["split"], [0, 0]), row["id"])
    for split, entry in tokenize.record["summary"]["splits"].items():
        folder = tokenize.path / entry["folder"]
        on_file(folder)
        manifest = verify_shards(folder)
        result.tokens += manifest["num_tokens"]
        if manifest["tokenizer_sha256"] != stages["tokenizer"].record["files"]["tokenizer.json"]["sha256"]:
            yield f"{folder / 'manifest.json'} names another tokenizer than the run's: {REPEAT}"
        shards = ShardReader(folder)
        batches = [batch for _, batch in shards.sidecar_batches(["id", "num_tokens", "num_bytes"])]
        sidecar = pa.Table.from_batches(batches)
        sizes = np.concatenate([np.diff(ends.astype(np.int64), prepend=0) for ends in shards.ends])
        if not np.array_equal(sizes, sidecar.column("num_tokens").to_numpy()):
            yield f"{folder / DOCUMENTS_FILE} gives other lengths than the index of the shards: {REPEAT}"
        if int(sidecar.column("num_bytes").to_numpy().sum()) != manifest["num_bytes"]:
            yield f"{folder / DOCUMENTS_FILE} has another number of bytes than the manifest: {REPEAT}"
        if is_linked(folder):
            continue  # their documents were decided on elsewhere
        found = [0, 0]
        for identity in sidecar.column("id").to_pylist():
            add_id(found, identity)
        if found != decided.pop(split, [0, 0]):
            yield f"{folder} does not hold the documents that were kept for {split}: {REPEAT}"
    for split in decided:
        yield f"{tokenize.path} lacks the split {split}: {REPEAT}"


def add_id(sums: list[int], identity: str) -> None:
    """Count an id and add its hash: sums that are equal whatever the order, in no memory."""
    sums[0] += 1
    sums[1] = (sums[1] + xxhash.xxh3_64_intdigest(identity.encode())) % 2**64


def check_traces(folder: RunFolder, samples: int, seed: int, result: Verification) -> Iterator[str]:
    """Random training tokens, back to their text."""
    lineage = Lineage(folder)
    result.traces = lineage.trace(lineage.draw(samples, seed))
    for found in result.traces:
        for problem in found.problems:
            yield f"step {found.step}, row {found.row}, position {found.position}: {problem}"


def check_losses(folder: RunFolder, train: Finished) -> Iterator[str]:
    """A finite loss for each step that was trained, and none for those that were skipped."""
    steps = folder.recipe().train.steps
    losses = np.load(train.path / "losses.npy", allow_pickle=False)
    record = train.path / "interventions.json"
    skipped = {n for done in read_json(record) for n in range(*done["skipped"])} if record.is_file() else set()
    if losses.shape != (steps,) or set(np.flatnonzero(~np.isfinite(losses)).tolist()) != skipped:
        what = f"the {steps} steps" + (f" but the {len(skipped)} that {record.name} names" if skipped else "")
        yield f"{train.path / 'losses.npy'} has not one finite loss for each of {what}: {REPEAT}"


def check_receipt(folder: RunFolder, stages: dict[str, Finished]) -> Iterator[str]:
    """What the receipt says was made is what is there."""
    anew = f"`seedbed report {folder.path}` writes it anew"
    claimed = read_json(folder.receipt_path, anew)["hashes"]
    found = {"recipe": sha256_file(folder.recipe_path)}
    made = (("data", "curate"), ("tokens", "tokenize"))
    found |= {name: stages[stage].record["digest"] for name, stage in made if stage in stages}
    for name, stage, file in (("tokenizer", "tokenizer", "tokenizer.json"), ("weights", "train", "model.safetensors")):
        if stage in stages:
            found[name] = stages[stage].record["files"][file]["sha256"]
    for name, value in found.items():
        if claimed.get(name) != value:
            yield f"{folder.receipt_path}: {name} is another than the run holds: {anew}"
