"""The curate stage: every document judged by its scores and accounted for, and the good ones written with their split.

Deciding reads no text (`decide.py`); writing repeats the edits that scoring recorded, shard by shard.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seedbed.corpus import normalise
from seedbed.corpus.chain import apply_steps
from seedbed.corpus.cuts import Run, find_cuts
from seedbed.corpus.decide import (
    ALL_CUT,
    EMPTY,
    IN_VALIDATION,
    KEPT,
    OTHER_CAUSES,
    REMOVED,
    Decided,
    Ledger,
    decide,
    hold_out,
    read_compared,
    read_ledger,
    scored_parts,
)
from seedbed.corpus.decisions import DecisionBook, decision_batches, decision_table
from seedbed.corpus.decontaminate.index import open_index
from seedbed.corpus.decontaminate.report import FILE as CONTAMINATION
from seedbed.corpus.decontaminate.report import contamination_report, places_of_run
from seedbed.corpus.dedup.index import FinishedRun, document_ids, open_run
from seedbed.corpus.executors import run_tasks
from seedbed.corpus.rules import decontaminate
from seedbed.corpus.score import PACKED, read_spans
from seedbed.corpus.store import DocumentWriter, document_parts, read_part
from seedbed.corpus.yields import COLUMNS, sum_yields, totals
from seedbed.errors import InputError, SeedbedError
from seedbed.files import write_json
from seedbed.recipe.curation import DedupConfig
from seedbed.recipe.schema import Recipe
from seedbed.run.stages import CHECKPOINTS, Stage, StageContext

GIANTS_NAMED = 5
DECIDING_SHARE = 0.2  # of the stage's time, measured on the embedded corpus: for progress only


def curate_config(recipe: Recipe) -> Any:
    corpus = recipe.corpus
    held_out = None if corpus.validation else [recipe.seed, corpus.held_out_fraction, corpus.held_out_max_bytes]
    return [recipe.curate.model_dump(mode="json"), held_out, normalise.VERSION]


def run_curate(context: StageContext) -> dict[str, Any]:
    recipe = context.recipe
    scored, collect = context.inputs["score"], context.inputs["collect"]
    ledger = read_ledger(scored_parts(scored.path), recipe.curate)
    decided = decide(ledger, recipe.curate, read_compared(context.inputs["compare"].path))
    warn_of_giants(context, decided)
    if recipe.corpus.validation:
        require_training_text(decided, ledger)
        require_validation_text(decided, ledger)
    elif recipe.corpus.sources:  # else training reads shards that exist already
        require_training_text(decided, ledger)
        corpus = recipe.corpus
        texts = hold_out(decided, ledger, recipe.seed, corpus.held_out_fraction, corpus.held_out_max_bytes)
        require_two_texts(texts, decided, ledger)
    runs = [open_run(run, None) for run in recipe.curate.dedup.against]
    if recipe.curate.dedup.boilerplate or recipe.curate.dedup.substrings:
        cut_repeats(context, ledger, decided, runs)
        if recipe.corpus.sources:
            require_training_text(decided, ledger)
    book = DecisionBook(ledger, decided, lambda documents: document_ids(runs, documents))
    book.write(context.path, sorted(collect.path.glob("quarantine*.parquet")))
    yields = sum_yields(decision_batches(context.path, COLUMNS))
    check_identity(yields, collect.summary)
    write_json(context.path / "yields.json", yields)
    if decontaminate.STEP in recipe.curate.steps:
        write_contamination(context)
    write_kept(context, book)
    return summarise(context, ledger, decided)


def warn_of_giants(context: StageContext, decided: Decided) -> None:
    """Say which components of similar documents are over the limit, and what became of them."""
    for giant in decided.giants[:GIANTS_NAMED]:
        context.emit(
            "note",
            message=f"{giant.documents:,} documents are connected by similarity, more than curate.dedup.max_cluster: their edges "
            f"had to reach {giant.min_jaccard:.2f}, and {giant.kept:,} of them are kept. Look at a few before training on them",
        )


def cause_name(ledger: Ledger, cause: int) -> str:
    return ledger.rules[cause].name if cause < len(ledger.rules) else OTHER_CAUSES[cause - len(ledger.rules)]


def most_frequent_cause(decided: Decided, ledger: Ledger) -> tuple[str, int]:
    """The cause that took most documents of training text, and how many."""
    causes = decided.cause[(decided.cause >= 0) & (ledger.named == 0)]
    [(cause, count)] = Counter(causes.tolist()).most_common(1)
    return cause_name(ledger, cause), count


def require_training_text(decided: Decided, ledger: Ledger) -> None:
    """Raise InputError when no training document was kept, naming the rule that took most."""
    read = ledger.named == 0
    if np.any(read & (decided.verdict == KEPT)):
        return
    rule, count = most_frequent_cause(decided, ledger)
    remedy = {
        EMPTY: "give text that holds more than white space",
        IN_VALIDATION: "name validation files that are not the training text",
    }.get(rule, f'loosen curate.{rule}, or set it to "none"')
    raise InputError(f"no document of the corpus was kept: {rule} removed {count} of {int(read.sum())}: {remedy}")


def require_validation_text(decided: Decided, ledger: Ledger) -> None:
    """Raise InputError when a named validation file holds nothing to be measured on."""
    kept = set(ledger.named[decided.verdict == KEPT].tolist())
    for number, name in enumerate(ledger.named_names):
        if name and number not in kept:
            raise InputError(f"corpus.validation: {name} holds no text: give a file that does, or leave it out")


def require_two_texts(texts: int, decided: Decided, ledger: Ledger) -> None:
    if texts > 1:
        return
    left = ""
    if np.any(decided.cause >= 0):
        rule, count = most_frequent_cause(decided, ledger)
        left = f" left of {len(ledger)} ({rule} took {count})"
    raise InputError(
        f"the corpus has one document{left}, and some text must be held out: "
        "give more, cut it into files, or name a validation file (--set corpus.validation=FILE)"
    )


def write_contamination(context: StageContext) -> None:
    """Which evaluation items were found, and which are left."""
    config = context.recipe.curate
    summary = open_index(decontaminate.index_config(config.decontaminate)).summary
    parts = document_parts(context.inputs["collect"].path)
    places = places_of_run(context.inputs["score"].path, parts, context.path, config)
    report = contamination_report(places, summary, config.decontaminate.max_documents)
    write_json(context.path / CONTAMINATION, report)


def shard_tasks(collected: Path, scored: Path, unicode_form: str) -> list[dict[str, Any]]:
    """A task a shard: where its documents and their spans are."""
    return [
        {
            "part": str(part),
            "spans": str(scored / f"spans-{n:05d}.parquet"),
            "shard": n,
            "unicode_form": unicode_form,
            "bytes": part.stat().st_size * PACKED,
            "what": str(part),
        }
        for n, part in enumerate(document_parts(collected))
    ]


def own_tasks(context: StageContext) -> list[dict[str, Any]]:
    collected, scored = context.inputs["collect"].path, context.inputs["score"].path
    return shard_tasks(collected, scored, context.recipe.curate.unicode_form)


def cut_repeats(context: StageContext, ledger: Ledger, decided: Decided, earlier: Sequence[FinishedRun]) -> None:
    """Find what of the kept documents repeats others, and write it beside them."""

    def run(function: str, tasks: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
        return run_tasks(function, tasks, folder, context.execution, check_stop=context.check_stop)

    work, dedup = context.path / CHECKPOINTS / "cuts", context.recipe.curate.dedup
    cut_decided(ledger, decided, own_tasks(context), earlier, dedup, work, context.path, run)


def cut_decided(
    ledger: Ledger,
    decided: Decided,
    tasks: list[dict[str, Any]],
    earlier: Sequence[FinishedRun],
    dedup: DedupConfig,
    work: Path,
    out: Path,
    run: Run,
) -> None:
    """Take from what was decided what repeats other documents; of which nothing is left are removed. The cuts go to `out`."""
    taking_part = (decided.verdict == KEPT) & (ledger.named == 0)
    rows = [np.flatnonzero(taking_part[a:b]) for a, b in pairwise(ledger.starts.tolist())]
    left = find_cuts(tasks, rows, earlier, dedup, work, out, run)
    decided.num_bytes[taking_part] = np.concatenate(left)
    emptied = taking_part & (decided.num_bytes == 0)
    decided.verdict[emptied] = REMOVED
    decided.cause[emptied] = len(ledger.rules) + OTHER_CAUSES.index(ALL_CUT)


def write_kept(context: StageContext, book: "DecisionBook") -> None:
    """The kept documents of every shard, by the executor."""
    tasks = [task | {"kept": book.digest(n)} for n, task in enumerate(own_tasks(context))]
    total, done = sum(task["bytes"] for task in tasks), 0
    kept = removed = 0

    def advance(number: int) -> None:
        nonlocal done, kept, removed
        done += tasks[number]["bytes"]
        shard = book.verdicts(number)
        kept, removed = kept + int(np.sum(shard == KEPT)), removed + int(np.sum(shard != KEPT))
        share = DECIDING_SHARE + (1 - DECIDING_SHARE) * done / max(1, total)
        size = context.inputs["collect"].summary["bytes"]
        counts = {"kept": kept, "removed": removed, "last_reason": book.last_reason(number)}
        context.progress(share * size, size, "bytes", **counts)

    run_tasks("seedbed.corpus.curate:write_shard", tasks, context.path, context.execution, advance, context.check_stop)


def write_shard(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The kept documents of one part, normalised and edited as they were scored, without what was cut since."""
    columns = ["verdict", "split", "language"]
    decisions = decision_table(folder, columns, task["shard"])
    rows = np.flatnonzero(pc.equal(decisions.column("verdict"), "kept").to_numpy())
    decided = decisions.take(rows).to_pylist()
    spans = read_spans(Path(task["spans"]), rows)
    path = folder / f"cuts-{task['shard']:05d}.parquet"
    cuts = read_spans(path) if path.is_file() else {}
    with DocumentWriter(folder, f"documents-{task['shard']:05d}") as documents:
        start = written = 0
        for batch in read_part(Path(task["part"])):
            end = start + batch.num_rows
            wanted = rows[slice(*np.searchsorted(rows, [start, end]))]
            for number, row in zip(wanted.tolist(), batch.take(pa.array(wanted - start)).to_pylist(), strict=True):
                text = normalise.normalise(row["text"], task["unicode_form"])
                text = apply_steps(apply_steps(text, spans.get(number, ())), cuts.get(number, ()))
                decision = decided[written]
                row |= {"text": text, "split": decision["split"], "language": decision["language"]}
                documents.add(row, len(text.encode()))
                written += 1
            start = end
    return {"kept": written}


def check_identity(yields: list[dict[str, Any]], collected: dict[str, Any]) -> None:
    """read = kept + removed + merged + quarantined, in documents and in bytes; anything else is a defect of ours."""
    num_documents, num_bytes, _ = totals(yields)
    expected = collected["read"], collected["bytes"] + collected["bytes_quarantined"]
    if (num_documents, num_bytes) != expected:
        raise SeedbedError(
            f"curate has {num_documents} records of {num_bytes} bytes, collect for {expected[0]} of {expected[1]}: "
            "a defect of seedbed, please report it"
        )


def summarise(context: StageContext, ledger: Ledger, decided: Decided) -> dict[str, Any]:
    collected = context.inputs["collect"].summary
    kept = decided.verdict == KEPT
    splits: dict[str, dict[str, int]] = {}
    domains: dict[str, dict[str, dict[str, int]]] = {}
    pairs = np.stack([ledger.domains[kept], decided.split[kept]], axis=1)
    found, where = np.unique(pairs, axis=0, return_inverse=True)
    where = where.reshape(-1)
    sizes = np.bincount(where, weights=decided.num_bytes[kept], minlength=len(found)).astype(np.int64)
    for (domain, split), count, size in zip(
        found.tolist(), np.bincount(where, minlength=len(found)), sizes, strict=True
    ):
        by_domain = domains.setdefault(ledger.domain_names[domain], {})
        for group in (splits, by_domain):
            entry = group.setdefault(decided.splits[split], {"documents": 0, "bytes": 0})
            entry["documents"] += int(count)
            entry["bytes"] += int(size)
    verdicts = np.bincount(decided.verdict, minlength=3)
    return {
        "read": collected["read"],
        **{name: int(verdicts[number]) for number, name in enumerate(("kept", "removed", "merged"))},
        "quarantined": collected["quarantined"],
        "bytes_read": collected["bytes"] + collected["bytes_quarantined"],
        "bytes_kept": sum(entry["bytes"] for entry in splits.values()),
        "splits": splits,
        "domains": domains,
        "similar": {
            "components": len(decided.components),
            "largest": decided.components[:20].tolist(),
            "giants": [asdict(giant) for giant in decided.giants],
        },
    }


CURATE = Stage(
    name="curate",
    version=4,
    inputs=("collect", "score", "compare"),
    config=curate_config,
    run=run_curate,
    resumable=True,
)
