"""Yields: sums over the decision table by source, language, verdict and rule, and the waterfall through the steps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seedbed.corpus.decide import IN_VALIDATION, NEAR_VALIDATION
from seedbed.corpus.decisions import VERDICTS
from seedbed.files import read_json

COLUMNS = ["source", "language", "verdict", "rule", "bytes_in", "bytes_text", "bytes_out"]
KEYS = COLUMNS[:4]
SUMS = COLUMNS[4:]

COLLECT, TEXT, DEDUP, CUTS = "collect", "text", "dedup", "cuts"  # steps that no recipe names
BEFORE_RULES = (COLLECT, TEXT, "empty")
AFTER_RULES = ("validation", DEDUP)

# Characters of English text per token of a 128k vocabulary: Llama Team 2024 (arXiv:2407.21783), section 3.2.
BYTES_PER_TOKEN = 3.94


def sum_yields(batches: Iterable[pa.RecordBatch]) -> list[dict[str, Any]]:
    """One entry per (source, language, verdict, rule) in order of first source, verdict and size.

    `bytes_in`: of the records as they were read; `bytes_text`: UTF-8 of their normalised, edited text; `bytes_out`: of what
    was kept of it.
    """
    sums: dict[tuple[str, ...], list[int]] = {}
    sources: dict[str, None] = {}
    for batch in batches:
        table = pa.Table.from_batches([batch])
        sources |= dict.fromkeys(table.column("source").unique().to_pylist())
        grouped = table.group_by(KEYS).aggregate([([], "count_all"), *((name, "sum") for name in SUMS)])
        for row in grouped.to_pylist():
            entry = sums.setdefault(tuple(row[key] for key in KEYS), [0, *(0 for _ in SUMS)])
            for at, name in enumerate(("count_all", *(f"{name}_sum" for name in SUMS))):
                entry[at] += row[name]
    order = {source: at for at, source in enumerate(sources)}
    return [
        {**dict(zip(KEYS, key, strict=True)), **dict(zip(("documents", *SUMS), found, strict=True))}
        for key, found in sorted(
            sums.items(),
            key=lambda item: (order[item[0][0]], VERDICTS.index(item[0][2]), -item[1][0], item[0][3], item[0][1]),
        )
    ]


def totals(yields: list[dict[str, Any]], verdict: str = "", source: str = "") -> tuple[int, int, int]:
    """(documents, bytes_in, bytes_out) of the entries with this verdict and source, "" meaning any."""
    chosen = [e for e in yields if verdict in ("", e["verdict"]) and source in ("", e["source"])]
    return sum(e["documents"] for e in chosen), sum(e["bytes_in"] for e in chosen), sum(e["bytes_out"] for e in chosen)


@dataclass(frozen=True)
class Amount:
    documents: int = 0
    bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.documents + other.documents, self.bytes + other.bytes)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.documents - other.documents, self.bytes - other.bytes)


@dataclass
class Step:
    """What reached a step, what it took (by rule, the largest first) and what it left.

    The step `text` takes no documents: its bytes are markup, white space and edits, and from there on bytes are of text. Nor
    does `cuts`: its bytes are lines and passages of kept documents that stand elsewhere too.
    """

    name: str
    reached: Amount
    rules: dict[str, Amount] = field(default_factory=dict)

    @property
    def taken(self) -> Amount:
        return sum(self.rules.values(), Amount())

    @property
    def left(self) -> Amount:
        return self.reached - self.taken

    def share(self) -> float:
        """Documents left of those that reached it; 1 where none did."""
        return self.left.documents / self.reached.documents if self.reached.documents else 1.0


@dataclass(frozen=True)
class Tokens:
    """How bytes become tokens. `measured`: tokens of the kept text of every source, once it is tokenized."""

    bytes_per_token: float = BYTES_PER_TOKEN
    measured: dict[str, int] | None = None

    def estimate(self, amount: Amount) -> int:
        return round(amount.bytes / self.bytes_per_token)

    def kept(self, amount: Amount, source: str = "") -> tuple[int, bool]:
        """Tokens of the kept text of a source ("" for all), and whether they were counted rather than estimated."""
        if self.measured is None:
            return self.estimate(amount), False
        return (self.measured.get(source, 0) if source else sum(self.measured.values())), True

    def kept_text(self, amount: Amount, source: str = "") -> str:
        count, counted = self.kept(amount, source)
        return ("" if counted else "~") + count_text(count)


def count_tokens(tokenize: Path | None) -> Tokens:
    """From the folder of a finished tokenize stage: this run's bytes per token, and every source's tokens."""
    manifests = [] if tokenize is None else [read_json(p) for p in sorted(tokenize.glob("*/manifest.json"))]
    num_tokens = sum(manifest["num_tokens"] for manifest in manifests)
    if tokenize is None or not num_tokens:
        return Tokens()
    measured: dict[str, int] = {}
    for path in sorted(tokenize.glob("*/documents.parquet")):
        table = pq.read_table(path, columns=["source", "num_tokens"])
        for row in table.group_by("source").aggregate([("num_tokens", "sum")]).to_pylist():
            measured[row["source"]] = measured.get(row["source"], 0) + row["num_tokens_sum"]
    return Tokens(sum(m["num_bytes"] for m in manifests) / num_tokens, measured or None)


def step_of(verdict: str, rule: str) -> str:
    """The step of the waterfall that a verdict belongs to; "" for kept documents."""
    if verdict == "kept":
        return ""
    if rule in (IN_VALIDATION, NEAR_VALIDATION):
        return "validation"
    return {"quarantined": COLLECT, "merged": DEDUP}.get(verdict, rule.partition(".")[0])


def step_order(yields: list[dict[str, Any]], steps: Sequence[str]) -> list[str]:
    """The recipe's steps in their order, before and after them those that it does not name, of these only what took some."""
    met = dict.fromkeys(name for entry in yields if (name := step_of(entry["verdict"], entry["rule"])))
    before = [name for name in BEFORE_RULES if name == TEXT or name in met]
    after = [name for name in met if name not in (*steps, *BEFORE_RULES, *AFTER_RULES)]
    after += [name for name in AFTER_RULES if name in met or name == DEDUP]
    cut = any(entry["bytes_text"] != entry["bytes_out"] for entry in yields if entry["verdict"] == "kept")
    return [*before, *steps, *after, *([CUTS] if cut else [])]


def waterfall(
    yields: list[dict[str, Any]], steps: Sequence[str], everything: Sequence[str] | None = None
) -> list[Step]:
    """From what was read to what was kept, step by step; the last step's `left` is what was kept.

    A document is taken by the first rule that it fails, so the steps' takings add up to all that is not kept.
    """
    reached = sum((Amount(entry["documents"], entry["bytes_in"]) for entry in yields), Amount())
    found: list[Step] = []
    for name in everything or step_order(yields, steps):
        step = Step(name, reached)
        if name == CUTS:
            kept = [entry for entry in yields if entry["verdict"] == "kept"]
            cut = sum(entry["bytes_text"] - entry["bytes_out"] for entry in kept)
            step.rules["repeated lines and passages"] = Amount(0, cut)
        if name == TEXT:
            read = [entry for entry in yields if entry["verdict"] != "quarantined"]
            step.rules["markup, white space and edits"] = Amount(
                0, sum(entry["bytes_in"] - entry["bytes_text"] for entry in read)
            )
        for entry in yields:
            if step_of(entry["verdict"], entry["rule"]) == name:
                size = entry["bytes_in" if name == COLLECT else "bytes_text"]
                rule = entry["rule"].removeprefix(f"{name}.")
                step.rules[rule] = step.rules.get(rule, Amount()) + Amount(entry["documents"], size)
        step.rules = dict(sorted(step.rules.items(), key=lambda item: (-item[1].documents, item[0])))
        found.append(step)
        reached = step.left
    return found


def waterfalls(yields: list[dict[str, Any]], steps: Sequence[str], by: str) -> dict[str, list[Step]]:
    """A waterfall for every value of `by` (source or language), the largest first; all have the same steps."""
    everything = step_order(yields, steps)
    sizes: dict[str, int] = {}
    for entry in yields:
        sizes[entry[by]] = sizes.get(entry[by], 0) + entry["documents"]
    found = {}
    for value in sorted(sizes, key=lambda value: -sizes[value]):
        found[value] = waterfall([entry for entry in yields if entry[by] == value], steps, everything)
    return found


def size_text(count: int) -> str:
    if count >= 1_000_000_000:
        return f"{count / 1e9:,.2f} GB"
    if count >= 1_000_000:
        return f"{count / 1e6:,.2f} MB"
    return f"{count / 1e3:.1f} kB" if count >= 10_000 else f"{count:,} B"


def count_text(count: float) -> str:
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if count >= size:
            scaled = count / (1e3 if unit == "k" else size)
            return f"{scaled:,.{2 if scaled < 10 else 1}f}{unit}"
    return f"{count:,.0f}"


def share_text(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def align(rows: list[list[str]], left: int = 1) -> str:
    """Columns of equal width, the first `left` to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
