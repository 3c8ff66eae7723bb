"""The compare stage: which documents are equal or similar, and in which order they are worth keeping. It merges none.

Documents are numbered in the order of scoring; those of earlier runs (`curate.dedup.against`) come after them. The output is
`ranks.npy` (int64, the one to keep lowest; -1 for what an earlier run did not keep), `known.npy` (u64 [documents, 2], digests
of the earlier runs' documents) and `edges-N.parquet` (a, b, jaccard: verified, shard by shard). Similarities are stored from .5
on: the threshold can change without comparing again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.corpus.chain import SCORE_PREFIX, score_columns
from seedbed.corpus.dedup.candidates import LEFT_OUT, num_parts
from seedbed.corpus.dedup.exact import first_copies
from seedbed.corpus.dedup.index import FinishedRun, digests_of, fingerprint, kept_documents, open_run
from seedbed.corpus.dedup.keeping import keep_ranks
from seedbed.corpus.dedup.signature import hasher
from seedbed.corpus.dedup.verify import store_shingles, wanted_rows
from seedbed.corpus.executors import run_tasks
from seedbed.corpus.score import signature_config
from seedbed.corpus.store import document_parts, read_table
from seedbed.corpus.texts import edited_texts
from seedbed.errors import InputError
from seedbed.recipe.curation import CurateConfig
from seedbed.recipe.schema import Recipe
from seedbed.run.stages import CHECKPOINTS, Stage, StageContext

VERSION = 1


@dataclass(frozen=True)
class Shard:
    """A shard of this run or an earlier one: where its documents, their scores and signatures lie."""

    part: Path
    scored: Path  # folder of the score stage
    number: int  # in that folder
    documents: int
    unicode_form: str

    @property
    def scores(self) -> Path:
        return self.scored / f"scored-{self.number:05d}.parquet"

    @property
    def spans(self) -> Path:
        return self.scored / f"spans-{self.number:05d}.parquet"


def compare_config(recipe: Recipe) -> Any:
    """Raises InputError for a run that cannot be compared with, and for a score that the recipe does not have."""
    dedup = recipe.curate.dedup
    if dedup.keep_score:
        check_keep_score(recipe.curate, dedup.keep_score)
    for run in dedup.against:
        open_run(run, signature_config(dedup))
    against = [fingerprint(run) for run in dedup.against]
    return [VERSION, signature_config(dedup), dedup.keep, dedup.keep_score, list(dedup.prefer_sources), against]


def run_compare(context: StageContext) -> dict[str, Any]:
    config = context.recipe.curate
    own = own_shards(context)
    runs = [open_run(run, signature_config(config.dedup)) for run in config.dedup.against]
    shards = own + [shard for run in runs for shard in shards_of(run)]
    starts = np.cumsum([0, *(shard.documents for shard in shards)])
    first_known = int(starts[len(own)])

    known = np.concatenate([np.empty((0, 2), np.uint64), *(digests_of(shard.scores) for shard in shards[len(own) :])])
    digests = np.concatenate([*(digests_of(shard.scores) for shard in own), known])
    ranks = rank_documents(own, runs, config)
    np.save(context.path / "ranks.npy", ranks)
    np.save(context.path / "known.npy", known)
    summary: dict[str, Any] = {"known": int(np.sum(ranks[first_known:] != LEFT_OUT)), "candidates": 0, "edges": 0}
    if config.dedup.near:
        asked = ranks.copy()
        asked[first_copies(digests, ranks != LEFT_OUT, first_known) != np.arange(len(ranks))] = LEFT_OUT
        summary |= find_edges(context, shards, starts, first_known, asked)
    return summary


def check_keep_score(config: CurateConfig, name: str) -> None:
    kinds = {column.removeprefix(SCORE_PREFIX): kind for column, kind in score_columns(config)}
    if kinds.get(name) != "number":
        wrong = "a label, and has no best" if name in kinds else "not in this recipe"
        numbers = ", ".join(score for score, kind in kinds.items() if kind == "number")
        raise InputError(f"curate.dedup.keep_score: {name!r} is {wrong}: scores are {numbers}")


def own_shards(context: StageContext) -> list[Shard]:
    scored = context.inputs["score"]
    parts = document_parts(context.inputs["collect"].path)
    form = context.recipe.curate.unicode_form
    return [
        Shard(part, scored.path, number, documents, form)
        for number, (part, documents) in enumerate(zip(parts, scored.summary["documents"], strict=True))
    ]


def shards_of(run: FinishedRun) -> list[Shard]:
    return [
        Shard(part, run.score, number, documents, run.unicode_form)
        for number, (part, documents) in enumerate(zip(run.parts, run.documents, strict=True))
    ]


def rank_documents(own: list[Shard], runs: list[FinishedRun], config: CurateConfig) -> np.ndarray:
    """int64: validation files first, then what earlier runs kept, then this run's documents in the order of the recipe."""
    dedup = config.dedup
    score = f"{SCORE_PREFIX}{dedup.keep_score}" if dedup.keep_score else None
    wanted = ["bytes_out", "date", "source", "split", *([score] if score else [])]
    table = [read_table(shard.scores, columns=wanted) for shard in own]
    columns = {name: np.concatenate([piece.column(name).to_numpy() for piece in table]) for name in wanted}
    columns |= {"num_bytes": columns["bytes_out"]} | ({"score": columns[score].astype(float)} if score else {})
    named = columns["split"] != ""
    ranks = keep_ranks(dedup.keep, columns, dedup.prefer_sources)
    ranks = np.argsort(np.lexsort((ranks, ~named)))
    kept = np.concatenate(
        [np.empty(0, bool), *(kept_documents(run, n) for run in runs for n in range(len(run.documents)))]
    )
    known = np.where(kept, int(named.sum()) + np.cumsum(kept) - 1, LEFT_OUT)
    return np.concatenate([np.where(named, ranks, ranks + int(kept.sum())), known])


def find_edges(
    context: StageContext, shards: list[Shard], starts: np.ndarray, first_known: int, ranks: np.ndarray
) -> dict[str, Any]:
    """Candidates, shingles and edges, each mapped by the executor."""
    work = context.path / CHECKPOINTS / "work"
    work.mkdir(parents=True, exist_ok=True)
    np.save(work / "ranks.npy", ranks)
    parts = num_parts(int(starts[-1]))
    first, own = starts[:-1].tolist(), int(np.searchsorted(starts, first_known))
    size = [shard.part.stat().st_size for shard in shards]
    looking = [
        {
            "tables": [[str(shard.scored), shard.number] for shard in shards],
            "starts": first,
            "part": part,
            "parts": parts,
            "ranks": str(work / "ranks.npy"),
            "first_known": first_known,
            "bytes": 8 * int(starts[-1]) // parts,
        }
        for part in range(parts)
    ]
    dedup = context.recipe.curate.dedup
    storing = [
        {
            "shard": number,
            "part": str(shard.part),
            "spans": str(shard.spans),
            "unicode_form": shard.unicode_form,
            "start": first[number],
            "end": first[number] + shard.documents,
            "parts": parts,
            "signature": [dedup.ngram, dedup.bands, dedup.rows],
            "bytes": size[number],
            "what": str(shard.part),
        }
        for number, shard in enumerate(shards)
    ]
    verifying = [
        {"shard": n, "starts": first, "end": int(starts[n + 1]), "parts": parts, "work": str(work), "bytes": size[n]}
        for n in range(own)
    ]
    advance = context.counter(len(looking) + len(storing) + len(verifying), "tasks")

    def on_done(number: int) -> None:
        advance(1)

    found, stored, edges = (
        run_tasks(function, tasks, folder, context.execution, on_done, context.check_stop)
        for function, tasks, folder in (
            ("seedbed.corpus.dedup.candidates:find_candidates", looking, work),
            ("seedbed.corpus.compare:store_shard", storing, work),
            ("seedbed.corpus.dedup.verify:verify_pairs", verifying, context.path),
        )
    )
    return {
        "candidates": sum(result["pairs"] for result in edges),
        "edges": sum(result["edges"] for result in edges),
        "texts_read": sum(result["texts"] for result in stored[:own]),
        "known_texts_read": sum(result["texts"] for result in stored[own:]),
        "largest_bucket": max(result["largest_bucket"] for result in found),
        "crowded_buckets": sum(result["crowded_buckets"] for result in found),
    }


def store_shard(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Shard function: the shingles of a shard's documents that are in a candidate pair."""
    rows = wanted_rows(folder, task["parts"], task["start"], task["end"])
    texts = edited_texts(Path(task["part"]), Path(task["spans"]), task["unicode_form"], rows)
    read = ((row, text) for row, text, _ in texts)
    return dict(store_shingles(folder, task["shard"], task["start"], read, hasher(*task["signature"])))


COMPARE = Stage(
    name="compare", version=1, inputs=("collect", "score"), config=compare_config, run=run_compare, resumable=True
)
