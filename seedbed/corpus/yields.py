"""Yields: sums over the decision table by source, verdict and rule, and the table that shows them."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from seedbed.corpus.decisions import VERDICTS

COLUMNS = ["source", "language", "verdict", "rule", "bytes_in", "bytes_out"]
KEYS = COLUMNS[:4]


def sum_yields(batches: Iterable[pa.RecordBatch]) -> list[dict[str, Any]]:
    """One entry per (source, language, verdict, rule) in order of first source, verdict and size."""
    sums: dict[tuple[str, ...], list[int]] = {}
    sources: dict[str, None] = {}
    for batch in batches:
        table = pa.Table.from_batches([batch])
        sources |= dict.fromkeys(table.column("source").unique().to_pylist())
        grouped = table.group_by(KEYS).aggregate([([], "count_all"), ("bytes_in", "sum"), ("bytes_out", "sum")])
        for row in grouped.to_pylist():
            entry = sums.setdefault(tuple(row[key] for key in KEYS), [0, 0, 0])
            for at, name in enumerate(("count_all", "bytes_in_sum", "bytes_out_sum")):
                entry[at] += row[name]
    order = list(sources)
    return [
        {**dict(zip(KEYS, key, strict=True)), "documents": n, "bytes_in": read, "bytes_out": kept}
        for key, (n, read, kept) in sorted(
            sums.items(),
            key=lambda item: (order.index(item[0][0]), VERDICTS.index(item[0][2]), -item[1][0], item[0][3], item[0][1]),
        )
    ]


def totals(yields: list[dict[str, Any]], verdict: str = "", source: str = "") -> tuple[int, int, int]:
    """(documents, bytes_in, bytes_out) of the entries with this verdict and source, "" meaning any."""
    chosen = [e for e in yields if verdict in ("", e["verdict"]) and source in ("", e["source"])]
    return sum(e["documents"] for e in chosen), sum(e["bytes_in"] for e in chosen), sum(e["bytes_out"] for e in chosen)


def size_text(count: int) -> str:
    if count >= 1_000_000:
        return f"{count / 1e6:,.2f} MB"
    return f"{count / 1e3:.1f} kB" if count >= 10_000 else f"{count:,} B"


def yield_table(yields: list[dict[str, Any]]) -> str:
    """The waterfall as text: a row per source, then a row per rule that took something."""
    sources = list(dict.fromkeys(entry["source"] for entry in yields))
    header = ["source", "read", *VERDICTS[1:], "kept", "share", "bytes read", "bytes kept"]
    rows = []
    for source, label in [*((s, s) for s in sources), *([("", "total")] if len(sources) > 1 else [])]:
        read, bytes_in, bytes_out = totals(yields, "", source)
        counts = [totals(yields, verdict, source)[0] for verdict in VERDICTS]
        share = f"{counts[0] / read:.1%}" if read else "-"
        numbers = [f"{n:,}" for n in (read, *counts[1:], counts[0])]
        rows.append([label, *numbers, share, size_text(bytes_in), size_text(bytes_out)])
    blocks = [align([header, *rows])]
    lost: dict[tuple[str, str], list[int]] = {}
    for entry in yields:
        if entry["verdict"] != "kept":
            sums = lost.setdefault((entry["verdict"], entry["rule"]), [0, 0])
            sums[0] += entry["documents"]
            sums[1] += entry["bytes_in"]
    if lost:
        ordered = sorted(lost.items(), key=lambda item: (VERDICTS.index(item[0][0]), -item[1][0], item[0][1]))
        table = [[rule, verdict, f"{n:,}", size_text(size)] for (verdict, rule), (n, size) in ordered]
        blocks.append(align([["rule", "verdict", "documents", "bytes read"], *table], left=2))
    return "\n\n".join(blocks)


def align(rows: list[list[str]], left: int = 1) -> str:
    """Columns of equal width, the first `left` to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
