"""The collect stage: every source read once, in shards, as documents in Parquet and tables of what could not be read."""

from collections import Counter
from pathlib import Path
from typing import Any

from seedbed.corpus import extract
from seedbed.corpus.decisions import QUARANTINE_SCHEMA, DecisionWriter, quarantine_row
from seedbed.corpus.executors import run_tasks
from seedbed.corpus.records import Quarantined
from seedbed.corpus.sources import read_pieces, source_fingerprint
from seedbed.corpus.store import DocumentWriter, document_row
from seedbed.corpus.tasks import pieces_of, plan_collect
from seedbed.errors import InputError
from seedbed.recipe.extraction import ExtractConfig
from seedbed.recipe.schema import Recipe, SourceConfig
from seedbed.run.stages import Stage, StageContext

FUNCTION = "seedbed.corpus.collect:collect_shard"
COUNTS = ("documents", "bytes", "quarantined", "bytes_quarantined")
TABLES = ("rules", "licences", "passed_over")


def collect_config(recipe: Recipe) -> Any:
    """The sources and a fingerprint of their files. Raises InputError when a path does not exist."""
    corpus = recipe.corpus
    return {
        "extract": [corpus.extract.model_dump(mode="json"), extract.VERSION, corpus.max_record_bytes],
        **{
            group: [[source.model_dump(mode="json"), source_fingerprint(source)] for source in sources]
            for group, sources in (("validation", corpus.validation), ("sources", corpus.sources))
        },
    }


def run_collect(context: StageContext) -> dict[str, Any]:
    """Validation files come first, so that a later document equal to one of theirs is the one that goes."""
    tasks = plan_collect(context.recipe.corpus)
    advance = context.counter(sum(task["size"] for task in tasks), "bytes")

    def on_done(number: int) -> None:
        advance(tasks[number]["size"])

    results = run_tasks(FUNCTION, tasks, context.path, context.execution, on_done, context.check_stop)
    if not tasks:  # training reads shards that exist already
        with DocumentWriter(context.path):
            pass
    summaries: dict[str, dict[str, Any]] = {}
    for task, result in zip(tasks, results, strict=True):
        add_result(summaries.setdefault(task["source"]["name"], new_summary(task)), result)
    check_sources(context, summaries)
    return {
        "read": sum(summary["documents"] + summary["quarantined"] for summary in summaries.values()),
        **{name: sum(summary[name] for summary in summaries.values()) for name in COUNTS},
        "sources": {name: finish_summary(summary) for name, summary in summaries.items()},
    }


def collect_shard(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Read one task's part of a source into `documents-NAME-*.parquet` and `quarantine-NAME.parquet`.

    Gives its counts: `bytes` are those of documents as read, `first` the reason of the first record in quarantine,
    `passed_over` records of a WARC file that hold no page.
    """
    source, split, name = SourceConfig(**task["source"]), task["split"], task["name"]
    counts, tables = dict.fromkeys(COUNTS, 0), {table: Counter[str]() for table in TABLES}
    first = ""
    partial = folder / f".quarantine-{name}.parquet.partial"
    with (
        DocumentWriter(folder, f"documents-{name}", digits=3) as documents,
        DecisionWriter(partial, QUARANTINE_SCHEMA) as quarantine,
    ):
        records = read_pieces(
            source, pieces_of(task), ExtractConfig(**task["extract"]), tables["passed_over"], task["limit"]
        )
        for record in records:
            record.split = split
            if isinstance(record, Quarantined):
                quarantine.add(quarantine_row(record))
                tables["rules"][record.rule] += 1
                first = first or record.reason
                counts["quarantined"] += 1
                counts["bytes_quarantined"] += record.bytes_in
            else:
                documents.add(document_row(record), len(record.text.encode()))
                tables["licences"][record.licence] += 1
                counts["documents"] += 1
                counts["bytes"] += record.bytes_in
    partial.replace(folder / f"quarantine-{name}.parquet")
    return {**counts, **{table: dict(sorted(counter.items())) for table, counter in tables.items()}, "first": first}


def new_summary(task: dict[str, Any]) -> dict[str, Any]:
    start: dict[str, Any] = {name: 0 for name in COUNTS}
    start |= {name: Counter[str]() for name in TABLES}
    return {**start, "first": "", "path": task["source"]["path"], "split": task["split"]}


def add_result(summary: dict[str, Any], result: dict[str, Any]) -> None:
    for name in COUNTS:
        summary[name] += result[name]
    for name in TABLES:
        summary[name].update(result[name])
    summary["first"] = summary["first"] or result["first"]


def finish_summary(summary: dict[str, Any]) -> dict[str, Any]:
    """As the stage's record keeps it: the commonest licences in a word, and no licence for each document."""
    licences = ", ".join(licence for licence, _ in summary.pop("licences").most_common(3) if licence)
    rules = dict(sorted(summary["rules"].items()))
    return {**summary, "licence": licences, "rules": rules, "passed_over": dict(sorted(summary["passed_over"].items()))}


def check_sources(context: StageContext, summaries: dict[str, dict[str, Any]]) -> None:
    """Raise InputError where nothing could be read; note a source without documents among others that have some."""
    training = [summary for summary in summaries.values() if not summary["split"]]
    for summary in summaries.values():
        if summary["documents"]:
            continue
        message = f"{summary['path']}: no document could be read ({rules_text(summary['rules'])}: {summary['first']})"
        if summary["split"] or len(training) == 1:
            raise InputError(f"{message} Give UTF-8 text, HTML, WARC, JSON lines or Parquet")
        context.emit("note", message=message)
    if training and not any(summary["documents"] for summary in training):
        raise InputError(f"corpus.sources: none of the {len(training)} sources holds a document that could be read")


def rules_text(rules: dict[str, int]) -> str:
    """`3 binary, 1 hidden`."""
    return (
        ", ".join(f"{n} {rule.replace('_', ' ')}" for rule, n in sorted(rules.items(), key=lambda kv: -kv[1]))
        or "empty"
    )


COLLECT = Stage(name="collect", version=3, inputs=(), config=collect_config, run=run_collect, resumable=True)
