"""Cuts: what of the kept documents repeats others, found over all shards and taken out when they are written.

First lines that a site repeats (`dedup/boilerplate.py`), then, in what is left, passages that occurred before
(`dedup/substrings.py`). What earlier runs kept (`curate.dedup.against`) counts as having come before; nothing of it is cut.
The output is `cuts-N.parquet` beside the documents of shard N: spans as scoring writes them, of the
steps `boilerplate` and `substrings`. Validation files are measured whole and have no part in it.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.corpus.chain import apply_spans
from seedbed.corpus.dedup import boilerplate, substrings
from seedbed.corpus.dedup.index import FinishedRun, kept_documents
from seedbed.corpus.score import SPAN_SCHEMA, write_table
from seedbed.corpus.store import document_parts, read_part
from seedbed.corpus.texts import edited_texts
from seedbed.recipe.curation import DedupConfig

Tasks = list[dict[str, Any]]
Run = Callable[[str, Tasks, Path], list[dict[str, Any]]]  # function, tasks, folder -> results


def find_cuts(
    shards: Tasks,
    rows: list[np.ndarray],
    earlier: Sequence[FinishedRun],
    config: DedupConfig,
    work: Path,
    out: Path,
    run: Run,
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
        counting = base + earlier_shards(earlier, len(base), work)
        counted = run("seedbed.corpus.cuts:count_shard", counting, work)
        parts = boilerplate.num_parts(sum(result["lines"] for result in counted))
        limits = {"min_pages": config.boilerplate_pages, "min_share": config.boilerplate_share}
        finding = [{"part": part, "parts": parts, "shards": len(counting), **limits} for part in range(parts)]
        run("seedbed.corpus.dedup.boilerplate:find_boilerplate", finding, work)
        base = [task | {"boilerplate_parts": parts} for task in base]
    if config.substrings:
        hashed = run("seedbed.corpus.cuts:hash_shard", base, work)
        known: list[dict[str, Any]] = []
        if earlier:
            substrings.make_filter(work, len(base))
            known = run("seedbed.corpus.cuts:hash_earlier", earlier_texts(earlier, len(base), config), work)
        parts = substrings.num_parts(sum(result["windows"] for result in hashed + known))
        ends = np.cumsum([0, *(result["words"] for result in known + hashed)]).tolist()
        starts = (
            ends[len(known) : -1] + ends[: len(known)]
        )  # of this run's shards, then of the earlier ones before them
        finding = [{"part": part, "parts": parts, "starts": starts} for part in range(parts)]
        run("seedbed.corpus.dedup.substrings:find_repeats", finding, work)
        base = [task | {"substring_parts": parts, "first_word": at} for task, at in zip(base, starts, strict=False)]
    run("seedbed.corpus.cuts:cut_shard", [task | {"work": str(work)} for task in base], out)
    return [np.load(work / f"left-{task['shard']:05d}.npy") for task in shards]


def earlier_shards(earlier: Sequence[FinishedRun], first: int, work: Path) -> Tasks:
    """The shards of earlier runs as this run's are given, numbered from `first` on; `kept-N.npy` says what they kept."""
    tasks: Tasks = []
    for found in earlier:
        for number, part in enumerate(found.parts):
            shard = first + len(tasks)
            np.save(work / f"kept-{shard:05d}.npy", np.flatnonzero(kept_documents(found, number)))
            spans = found.score / f"spans-{number:05d}.parquet"
            places = {"part": str(part), "spans": str(spans), "shard": shard, "unicode_form": found.unicode_form}
            tasks.append(places | {"boilerplate_parts": 0, "bytes": part.stat().st_size})
    return tasks


def earlier_texts(earlier: Sequence[FinishedRun], first: int, config: DedupConfig) -> Tasks:
    """A task for each file of documents that earlier runs wrote."""
    parts = [part for found in earlier for part in document_parts(found.curate)]
    return [
        {"part": str(part), "shard": shard, "min_words": config.substring_words, "bytes": part.stat().st_size}
        for shard, part in enumerate(parts, first)
    ]


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


def hash_earlier(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Shard function: those windows of documents that an earlier run wrote that may be in this run's too."""
    texts = (text for batch in read_part(Path(task["part"]), ["text"]) for text in batch.column(0).to_pylist())
    return dict(substrings.hash_windows(enumerate(texts), task["shard"], folder, task["min_words"], filtered=True))


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
