"""Seconds and memory of `seedbed corpus redecide` on a million documents of invented scores (FineWeb's steps, MinHash edges).

python bench/redecide.py [--documents 1000000]      writes bench/results/redecide.json
"""

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seedbed.corpus.chain import Judgement, judgements
from seedbed.corpus.decide import Compared
from seedbed.corpus.redecide import Redecider, redecided_text
from seedbed.corpus.rules.group import numeric
from seedbed.corpus.score import scored_schema
from seedbed.recipe.schema import Recipe

SHARD = 65_536
CURATE = {
    "steps": ["url", "language", "gopher_repetition", "gopher_quality", "c4", "fineweb", "scrub"],
    "dedup": {"near": True},
}
SETTINGS = (
    ["gopher_quality.max_bullet_lines=0.5"],
    ["gopher_quality.max_bullet_lines=0.7"],
    ["fineweb.max_short_lines=0.5"],
)


def write_scores(folder: Path, recipe: Recipe, documents: int) -> None:
    """Scores of which about one in forty fails each rule, around its threshold; one document in eight repeats another."""
    draw = np.random.default_rng(0)
    schema = scored_schema(recipe.curate)
    bounds = {rule.column: numeric(rule.threshold) for rule in judgements(recipe.curate) if is_numeric(rule)}
    for shard, start in enumerate(range(0, documents, SHARD)):
        rows = min(SHARD, documents - start)
        text = draw.integers(0, documents * 7 // 8, rows).astype(np.uint64)
        columns = []
        for field in schema:
            if field.name == "id":
                columns.append(pa.array([f"crawl/{start + row}" for row in range(rows)]))
            elif field.name == "digest":
                digests = pa.py_buffer(np.stack([text, text * np.uint64(0x9E3779B97F4A7C15)], axis=1).tobytes())
                columns.append(pa.FixedSizeBinaryArray.from_buffers(field.type, rows, [None, digests]))
            elif field.type == pa.int64():
                columns.append(pa.array(draw.integers(1, 20_000, rows)))
            elif field.type == pa.float64():
                low, high = bounds.get(field.name, (-np.inf, 1.0))
                spread = np.exp(draw.normal(0, 1, rows))
                columns.append(pa.array(low * spread * 7 if np.isfinite(low) else high * spread / 7))
            else:
                labels = ["crawl"] if field.name == "source" else [""]
                columns.append(pa.array(labels * rows))
        table = pa.Table.from_arrays(columns, schema=schema)
        pq.write_table(table, folder / f"scored-{shard:05d}.parquet", compression="zstd")


def is_numeric(rule: Judgement) -> bool:
    return rule.threshold is not None and rule.rule.side in ("at least", "at most", "between")


def invented_edges(documents: int) -> Compared:
    """One edge for every five documents, of similarities from .5 to 1."""
    draw = np.random.default_rng(1)
    ends = np.sort(draw.integers(0, documents, (documents // 5, 2)), axis=1)
    ends = np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0)
    return Compared(np.arange(documents), np.empty((0, 2), np.uint64), ends, draw.uniform(0.5, 1, len(ends)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=1_000_000)
    documents = parser.parse_args().documents
    recipe = Recipe.model_validate(
        {"name": "bench", "corpus": {"sources": ["x"]}, "curate": CURATE, "train": {"steps": 1}}
    )
    result: dict[str, object] = {
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
        "date": time.strftime("%F"),
        "documents": documents,
        "steps": list(recipe.curate.steps),
        "edges": documents // 5,
        "scores_a_document": sum(field.name.startswith("score.") for field in scored_schema(recipe.curate)),
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_scores(folder, recipe, documents)
        compared = invented_edges(documents)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        decider = Redecider(sorted(folder.glob("scored-*.parquet")), compared, recipe)
        result["first_reading_seconds"] = round(time.perf_counter() - start, 2)
        for settings in SETTINGS:
            start = time.perf_counter()
            found = decider.ask(settings)
            answered = time.perf_counter()
            text = redecided_text(found, decider, 5)
            told = time.perf_counter()
            result[settings[0]] = {
                "decided_seconds": round(answered - start, 2),
                "with_ids_and_sources_seconds": round(told - start, 2),
                "kept": found.verdicts()["kept"],
            }
        result["more_memory_megabytes"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(text)
    Path(__file__).with_name("results").joinpath("redecide.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
