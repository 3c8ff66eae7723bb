"""The score stage: every document examined by every step of the recipe, shard by shard. It decides nothing.

Of part N of the collected documents come `scored-N.parquet` (a row a document, with every score) and `spans-N.parquet`
(what the steps marked in its text, and what they replaced); for near-duplicates `bands-N.npy` and `rows-N.npy`
(`dedup/tables.py`). Thresholds play no role: they can change without it.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from seedbed.corpus import normalise
from seedbed.corpus.chain import SCORE_PREFIX, Chain, score_columns, scoring_config
from seedbed.corpus.dedup import signature
from seedbed.corpus.dedup.signature import hasher
from seedbed.corpus.dedup.tables import write_bands
from seedbed.corpus.executors import run_tasks
from seedbed.corpus.rules.group import Span
from seedbed.corpus.store import document_parts, read_part, read_table
from seedbed.recipe.curation import CurateConfig, DedupConfig
from seedbed.recipe.schema import Recipe
from seedbed.run.stages import Stage, StageContext

FACTS = (
    "id",
    "source",
    "origin",
    "url",
    "title",
    "licence",
    "opt_out",
    "date",
    "language",
    "domain",
    "split",
    "bytes_in",
)
LANGUAGE_COLUMN = f"{SCORE_PREFIX}language.language"  # fills the column `language` too
COLUMNS = ("id", "source", "domain", "language", "split", "date")
SPAN_SCHEMA = pa.schema(
    [
        ("document", pa.int32()),  # row of the shard
        ("id", pa.string()),
        ("step", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("kind", pa.string()),
        ("replacement", pa.string()),
    ]
)


def scored_schema(config: CurateConfig) -> pa.Schema:
    kinds = {"number": pa.float64(), "label": pa.string()}
    return pa.schema(
        [
            *((name, pa.string()) for name in COLUMNS),
            ("bytes_in", pa.int64()),
            ("bytes_out", pa.int64()),  # UTF-8 bytes of the normalised and edited text
            ("digest", pa.binary(16)),  # XXH3 of it
            *((name, kinds[kind]) for name, kind in score_columns(config)),
        ]
    )


def score_config(recipe: Recipe) -> Any:
    return [normalise.VERSION, scoring_config(recipe.curate), signature_config(recipe.curate.dedup)]


def run_score(context: StageContext) -> dict[str, Any]:
    parts = document_parts(context.inputs["collect"].path)
    config = context.recipe.curate.model_dump(mode="json")
    tasks: list[dict[str, Any]] = [
        {"part": str(part), "shard": n, "curate": config, "bytes": part.stat().st_size * PACKED, "what": str(part)}
        for n, part in enumerate(parts)
    ]
    advance = context.counter(sum(task["bytes"] for task in tasks), "bytes")

    def on_done(number: int) -> None:
        advance(tasks[number]["bytes"])

    results = run_tasks(
        "seedbed.corpus.score:score_shard", tasks, context.path, context.execution, on_done, context.check_stop
    )
    return {
        "documents": [result["documents"] for result in results],
        "spans": sum(r["spans"] for r in results),
        "signature": signature_config(context.recipe.curate.dedup),
    }


PACKED = 3  # text is about three times its Parquet file: for the sizes of tasks only


@lru_cache(maxsize=2)
def chain_of(section: str) -> Chain:
    """One chain a process and recipe: its models are read once. `section`: the `curate` section as JSON."""
    return Chain(CurateConfig.model_validate_json(section))


def score_shard(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Score one part. Memory: a row group's text, and some hundred bytes a document."""
    chain = chain_of(json.dumps(task["curate"], sort_keys=True))
    schema = scored_schema(chain.config)
    names = [name for name, _ in score_columns(chain.config)]
    detected = names.index(LANGUAGE_COLUMN) if LANGUAGE_COLUMN in names else None
    dedup = chain.config.dedup
    signatures = hasher(dedup.ngram, dedup.bands, dedup.rows) if dedup.near else None
    keys: list[np.ndarray] = []
    rows: list[list[Any]] = []
    marks: list[tuple[Any, ...]] = []
    for batch in read_part(Path(task["part"]), ["text", *FACTS]):
        for facts in batch.to_pylist():
            text = normalise.normalise(facts.pop("text"), chain.config.unicode_form)
            found = chain.examine(text, facts)
            data = found.text.encode()
            values = [facts[name] for name in (*COLUMNS, "bytes_in")]
            if detected is not None and found.scores[detected]:
                values[COLUMNS.index("language")] = found.scores[detected]
            values += [len(data), xxhash.xxh3_128_digest(data), *found.scores]
            name = facts["id"]
            marks += [(len(rows), name, step, s.start, s.end, s.kind, s.replacement) for step, s in found.spans]
            rows.append(values)
            if signatures is not None:
                keys.append(signatures.bands(found.text))
    if signatures is not None:
        write_bands(folder, task["shard"], np.array(keys, np.uint64).reshape(-1, dedup.bands))
    write_table(folder / f"scored-{task['shard']:05d}.parquet", rows, schema)
    write_table(folder / f"spans-{task['shard']:05d}.parquet", marks, SPAN_SCHEMA)
    return {"documents": len(rows), "spans": len(marks)}


def signature_config(config: DedupConfig) -> list[int] | None:
    """What the documents' signatures depend on; None where there are none."""
    return [signature.VERSION, config.ngram, config.bands, config.rows] if config.near else None


def write_table(path: Path, rows: Sequence[Sequence[Any]], schema: pa.Schema) -> None:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, compression="zstd")


def read_spans(path: Path, rows: np.ndarray | None = None) -> dict[int, list[tuple[str, Span]]]:
    """Document's row in the shard -> its spans in the order of the steps; of these rows alone, where they are given."""
    names = ["document", "step", "start", "end", "kind", "replacement"]
    found: dict[int, list[tuple[str, Span]]] = {}
    table = read_table(path, names)
    if rows is not None:
        table = table.filter(np.isin(table.column("document").to_numpy(), rows))
    for document, step, *span in zip(*(column.to_pylist() for column in table.columns), strict=True):
        found.setdefault(document, []).append((step, Span(*span)))
    return found


SCORE = Stage(name="score", version=2, inputs=("collect",), config=score_config, run=run_score, resumable=True)
