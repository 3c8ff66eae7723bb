"""The collect stage: every source read once, as documents in Parquet and a table of what could not be read."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from seedbed.corpus.decisions import QUARANTINE_SCHEMA, DecisionWriter, quarantine_row
from seedbed.corpus.records import Quarantined
from seedbed.corpus.sources import name_sources, read_source, source_bytes, source_fingerprint
from seedbed.corpus.store import DocumentWriter, document_row
from seedbed.errors import InputError
from seedbed.recipe.schema import Recipe, SourceConfig
from seedbed.run.stages import Stage, StageContext

PROGRESS_BYTES = 1 << 20


def collect_config(recipe: Recipe) -> Any:
    """The sources and a fingerprint of their files. Raises InputError when a path does not exist."""
    return {
        group: [[source.model_dump(mode="json"), source_fingerprint(source)] for source in sources]
        for group, sources in (("validation", recipe.corpus.validation), ("sources", recipe.corpus.sources))
    }


def run_collect(context: StageContext) -> dict[str, Any]:
    """Validation files come first, so that a later document equal to one of theirs is the one that goes."""
    validation, sources = name_sources(context.recipe.corpus)
    total = sum(source_bytes(source) for source in (*validation, *sources))
    done = 0

    def advance(bytes_in: int) -> None:
        nonlocal done
        before, done = done, done + bytes_in
        if before // PROGRESS_BYTES != done // PROGRESS_BYTES:
            context.progress(min(done, total), total, "bytes")

    summaries = {}
    quarantine_path = context.path / "quarantine.parquet"
    with DocumentWriter(context.path) as documents, DecisionWriter(quarantine_path, QUARANTINE_SCHEMA) as quarantine:
        for source, split in [*((s, s.name) for s in validation), *((s, "") for s in sources)]:
            context.check_stop()
            summary = collect_source(source, split, documents, quarantine, advance)
            summaries[source.name] = summary
            if not summary["documents"]:
                message = (
                    f"{source.path}: no document could be read ({rules_text(summary['rules'])}: {summary['first']})"
                )
                if split or len(sources) == 1:
                    raise InputError(f"{message} Give UTF-8 text, JSON lines or Parquet")
                context.emit("note", message=message)
    if sources and not any(summaries[source.name]["documents"] for source in sources):
        raise InputError(f"corpus.sources: none of the {len(sources)} sources holds a document that could be read")

    def count(key: str) -> int:
        return sum(summary[key] for summary in summaries.values())

    return {
        "read": count("documents") + count("quarantined"),
        "documents": count("documents"),
        "quarantined": count("quarantined"),
        "bytes": count("bytes"),
        "bytes_quarantined": count("bytes_quarantined"),
        "sources": summaries,
    }


def collect_source(
    source: SourceConfig,
    split: str,
    documents: DocumentWriter,
    quarantine: DecisionWriter,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """Write one source's records; gives its counts, `bytes` being those of its documents as read."""
    num_documents = num_bytes = num_quarantined = quarantined_bytes = 0
    rules: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    first = ""  # reason of the first record in quarantine: an example for messages
    for record in read_source(source):
        record.split = split
        if isinstance(record, Quarantined):
            quarantine.add(quarantine_row(record))
            rules[record.rule] += 1
            first = first or record.reason
            num_quarantined += 1
            quarantined_bytes += record.bytes_in
        else:
            documents.add(document_row(record), len(record.text.encode()))
            licences[record.licence] += 1
            num_documents += 1
            num_bytes += record.bytes_in
        advance(record.bytes_in)
    return {
        "documents": num_documents,
        "bytes": num_bytes,
        "licence": ", ".join(licence for licence, _ in licences.most_common(3) if licence),
        "path": source.path,
        "split": split,
        "quarantined": num_quarantined,
        "bytes_quarantined": quarantined_bytes,
        "rules": dict(sorted(rules.items())),
        "first": first,
    }


def rules_text(rules: dict[str, int]) -> str:
    """`3 binary, 1 hidden`."""
    return (
        ", ".join(f"{n} {rule.replace('_', ' ')}" for rule, n in sorted(rules.items(), key=lambda kv: -kv[1]))
        or "empty"
    )


COLLECT = Stage(name="collect", version=1, inputs=(), config=collect_config, run=run_collect)
