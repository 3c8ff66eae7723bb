"""Cuts: what of the kept documents repeats others, found over all shards and taken out when they are written.

First lines that a site repeats (`dedup/boilerplate.py`), then, in what is left, passages that occurred before
(`dedup/substrings.py`). The output is `cuts-N.parquet` beside the documents of shard N: spans as scoring writes them, of the
steps `boilerplate` and `substrings`. Validation files are measured whole and have no part in it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.corpus.chain import apply_spans
from seedbed.corpus.dedup import boilerplate, substrings
from seedbed.corpus.score import SPAN_SCHEMA, write_table
from seedbed.corpus.texts import edited_texts
from seedbed.recipe.curation import DedupConfig

Tasks = list[dict[str, Any]]
Run = Callable[[str, Tasks, Path], list[dict[str, Any]]]  # function, tasks, folder -> results


def find_cuts(
    shards: Tasks, rows: list[np.ndarray], config: DedupConfig, work: Path, out: Path, run: Run
) -> list[np.ndarray]:
    """Write the cuts of every shard to `out`, and give the bytes that are left of each kept document.

    `shards`: tasks with `part`, `spans`, `shard`, `unicode_form` and `bytes`; `rows`: which of their documents take part.
    """
    work.mkdir(parents=True, exist_ok=True)
    for task, kept in zip(shards, rows, strict=True):
        np.save(work / f"kept-{task['shard']:05d}.npy", kept)
    base = [
        task | {"boilerplate_parts": 0, "substring_parts": 0, "min_words": config.substring_words} for task in shards
    ]
    if config.boilerplate:
        counted = run("seedbed.corpus.cuts:count_shard", base, work)
        parts = boilerplate.num_parts(sum(result["lines"] for result in counted))
        limits = {"min_pages": config.boilerplate_pages, "min_share": config.boilerplate_share}
        finding = [{"part": part, "parts": parts, "shards": len(shards), **limits} for part in range(parts)]
        run("seedbed.corpus.dedup.boilerplate:find_boilerplate", finding, work)
        base = [task | {"boilerplate_parts": parts} for task in base]
    if config.substrings:
        hashed = run("seedbed.corpus.cuts:hash_shard", base, work)
        parts = substrings.num_parts(sum(result["windows"] for result in hashed))
        starts = np.cumsum([0, *(result["words"] for result in hashed)]).tolist()
        finding = [{"part": part, "parts": parts, "starts": starts[:-1]} for part in range(parts)]
        run("seedbed.corpus.dedup.substrings:find_repeats", finding, work)
        base = [task | {"substring_parts": parts, "first_word": at} for task, at in zip(base, starts, strict=False)]
    run("seedbed.corpus.cuts:cut_shard", [task | {"work": str(work)} for task in base], out)
    return [np.load(work / f"left-{task['shard']:05d}.npy") for task in shards]


def texts_of(task: dict[str, Any], work: Path) -> Iterator[tuple[int, str, list[Any]]]:
    """(row, text without its boilerplate, the spans that took it) of the shard's documents that take part."""
    rows = np.load(work / f"kept-{task['shard']:05d}.npy")
    parts = task["boilerplate_parts"]
    lines = boilerplate.Boilerplate(work, parts) if parts else None
    for row, text, url in edited_texts(Path(task["part"]), Path(task["spans"]), task["unicode_form"], rows):
        spans = lines.spans(url, text) if lines is not None else []
        yield row, apply_spans(text, spans), spans


def count_shard(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Shard function: the lines of every site."""
    rows = np.load(folder / f"kept-{task['shard']:05d}.npy")
    texts = edited_texts(Path(task["part"]), Path(task["spans"]), task["unicode_form"], rows)
    return dict(boilerplate.count_lines(((url, text) for _, text, url in texts), task["shard"], folder))


def hash_shard(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Shard function: the windows of every document."""
    documents = ((row, text) for row, text, _ in texts_of(task, folder))
    return dict(substrings.hash_windows(documents, task["shard"], folder, task["min_words"]))


def cut_shard(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Shard function: write the shard's cuts, and to `work` the bytes that they leave of each document."""
    work, parts = Path(task["work"]), task["substring_parts"]
    runs = substrings.cut_words(work, task["shard"], parts, task["first_word"], task["min_words"]) if parts else {}
    marks: list[tuple[Any, ...]] = []
    left = []
    for row, text, lines in texts_of(task, work):
        passages = substrings.spans_of(text, runs[row]) if row in runs else []
        for step, spans in (("boilerplate", lines), ("substrings", passages)):
            marks += [(row, "", step, s.start, s.end, s.kind, s.replacement) for s in spans]
        text = apply_spans(text, passages)
        left.append(len(text.encode()) if text.strip() else 0)
    np.save(work / f"left-{task['shard']:05d}.npy", np.array(left, np.int64))
    write_table(folder / f"cuts-{task['shard']:05d}.parquet", marks, SPAN_SCHEMA)
    return {"cuts": len(marks)}
