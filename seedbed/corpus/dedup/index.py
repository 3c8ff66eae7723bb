"""Finished runs as an index: what a new crawl is compared with is their stored digests and band keys, not their texts.

Only documents that the run kept count. Texts of earlier runs are read only where a new document shares a band with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from seedbed.corpus.decisions import decision_batches
from seedbed.corpus.store import document_parts, read_table
from seedbed.errors import InputError
from seedbed.files import read_json
from seedbed.run.folder import RunFolder

NEEDED = ("collect", "score", "curate")


@dataclass(frozen=True)
class FinishedRun:
    """The folders of a finished run's stages, and how many documents each of its shards scored."""

    run: str
    collect: Path
    score: Path
    curate: Path
    documents: tuple[int, ...]
    unicode_form: str

    @property
    def parts(self) -> list[Path]:
        return document_parts(self.collect)


def stage_record(run: str, name: str) -> tuple[Path, dict[str, Any]]:
    """(folder, content of its stage.json) of a finished stage. Raises InputError where there is none."""
    folder = RunFolder(Path(run))
    try:
        stage = folder.stages_path / folder.index()[name]
        return stage, read_json(stage / "stage.json")
    except (OSError, KeyError):
        raise InputError(
            f"curate.dedup.against: {run} holds no finished stage {name!r}: give the folder of a finished run"
        ) from None


def fingerprint(run: str) -> list[str]:
    """What the run's documents, scores and decisions are, for the key of a stage that depends on them."""
    return [str(stage_record(run, name)[1]["digest"]) for name in NEEDED]


def open_run(run: str, signature: list[int] | None) -> FinishedRun:
    """A finished run to compare with. `signature`: what this run's own signatures are made with, None for none."""
    (collect, _), (score, scored), (curate, _) = (stage_record(run, name) for name in NEEDED)
    theirs = scored["summary"].get("signature")
    if signature is not None and theirs != signature:
        raise InputError(
            f"curate.dedup.against: {run} has {describe_signature(theirs)}, this run {describe_signature(signature)}: "
            "use its numbers, or run it again with these"
        )
    form = RunFolder.existing(Path(run)).recipe().curate.unicode_form
    return FinishedRun(run, collect, score, curate, tuple(scored["summary"]["documents"]), form)


def describe_signature(signature: list[int] | None) -> str:
    if signature is None:
        return "no signatures (curate.dedup.near is off)"
    version, ngram, bands, rows = signature
    return f"signatures of ngram {ngram}, bands {bands}, rows {rows} (version {version})"


def kept_documents(run: FinishedRun, shard: int) -> np.ndarray:
    """bool: which of the shard's documents the run kept."""
    verdicts = [batch.column(0).to_pylist() for batch in decision_batches(run.curate, ["verdict"], shard)]
    return np.array([verdict == "kept" for column in verdicts for verdict in column], bool)


def digests_of(scored: Path) -> np.ndarray:
    """u64 [documents, 2] of one scored shard."""
    column = read_table(scored, columns=["digest"]).column("digest").to_pylist()
    return np.frombuffer(b"".join(column), np.uint64).reshape(-1, 2)


def document_ids(runs: Sequence[FinishedRun], documents: np.ndarray) -> dict[int, str]:
    """Ids of the runs' documents by number, with the run's folder before them. Numbers: the runs in order, ascending."""
    found: dict[int, str] = {}
    start = 0
    for run in runs:
        for shard, count in enumerate(run.documents):
            here = documents[slice(*np.searchsorted(documents, [start, start + count]))]
            if len(here):
                column = read_table(run.score / f"scored-{shard:05d}.parquet", columns=["id"]).column("id")
                names = column.take(pa.array(here - start)).to_pylist()
                found |= {number: f"{run.run}: {name}" for number, name in zip(here.tolist(), names, strict=True)}
            start += count
    return found
