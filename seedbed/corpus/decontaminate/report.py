"""Which evaluation items stood in the text that was read, and which still do in the text that was kept.

`contamination.json`, written beside the decisions; the evaluation shows its shares beside scores.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.corpus import normalise
from seedbed.corpus.chain import apply_steps
from seedbed.corpus.decisions import decision_batches
from seedbed.corpus.rules.decontaminate import ANSWER, STEP
from seedbed.corpus.score import read_spans
from seedbed.corpus.store import read_part
from seedbed.corpus.yields import align
from seedbed.errors import InputError
from seedbed.files import read_json
from seedbed.quantities import counted, printable
from seedbed.recipe.curation import CurateConfig
from seedbed.run.folder import RunFolder

FILE = "contamination.json"
MAX_PLACES = 5  # of an item
MAX_EXCERPT = 300  # characters


@dataclass(frozen=True)
class Place:
    """An item (`SET:LINE`) in a document. `kept`: the document was kept, and the words were not cut out of it."""

    item: str
    answered: bool
    document: str
    start: int
    end: int
    text: str
    kept: bool


def contamination_report(places: Iterable[Place], summary: Mapping[str, Any], max_documents: int) -> dict[str, Any]:
    """The report on these places. `summary`: of the index (`index.json`).

    An item in more than `max_documents` documents is widespread: a quotation or a common phrase. It is listed with the
    others and counted apart.
    """
    items: dict[str, dict[str, Any]] = {}
    documents: dict[str, set[str]] = {}
    for place in places:
        name, _, line = place.item.rpartition(":")
        entry = items.setdefault(
            place.item, {"set": name, "item": int(line), "answer": False, "kept": False, "places": []}
        )
        documents.setdefault(place.item, set()).add(place.document)
        entry["answer"] |= place.answered
        entry["kept"] |= place.kept
        if len(entry["places"]) < MAX_PLACES:
            entry["places"].append(
                {
                    "document": place.document,
                    "start": place.start,
                    "end": place.end,
                    "kept": place.kept,
                    "text": place.text,
                }
            )
    for identity, entry in items.items():
        entry["documents"] = len(documents[identity])
        entry["widespread"] = entry["documents"] > max_documents
    sets = {}
    for name, counts in summary["sets"].items():
        found = [entry for entry in items.values() if entry["set"] == name]
        told = [entry for entry in found if not entry["widespread"]]
        left = [entry for entry in told if entry["kept"]]
        sets[name] = {
            **counts,
            "found": len(told),
            "found_share": len(told) / max(1, counts["items"]),
            "answers": sum(entry["answer"] for entry in told),
            "left": len(left),
            "left_share": len(left) / max(1, counts["items"]),
            "widespread": len(found) - len(told),
        }
    order = sorted(items.values(), key=lambda entry: (entry["set"], entry["item"]))
    rest = {name: summary[name] for name in ("ngram", "short_words", "common", "ignored", "plain", "most_common")}
    return {"sets": sets, "items": order, "max_documents": max_documents, **rest}


def places_of_run(score: Path, collected: list[Path], curated: Path, config: CurateConfig) -> Iterator[Place]:
    """What the step noted, with its text: only parts with a hit are read again. Memory: a row group and a shard's spans."""
    for shard, part in enumerate(collected):
        spans = read_spans(score / f"spans-{shard:05d}.parquet")
        marked = {number for number, found in spans.items() if any(step == STEP for step, _ in found)}
        if not marked:
            continue
        verdicts = (
            verdict
            for batch in decision_batches(curated, ["verdict"], shard)
            for verdict in batch.column("verdict").to_pylist()
        )
        rows = (row for batch in read_part(part, ["id", "text"]) for row in batch.to_pylist())
        for number, (row, verdict) in enumerate(zip(rows, verdicts, strict=True)):
            if number not in marked:
                continue
            steps = [step for step, _ in spans[number]]
            before = spans[number][: steps.index(STEP)]
            text = apply_steps(normalise.normalise(row["text"], config.unicode_form), before)
            for step, span in spans[number]:
                if step == STEP and span.replacement is None:
                    yield Place(
                        span.kind.removesuffix(ANSWER),
                        span.kind.endswith(ANSWER),
                        row["id"],
                        span.start,
                        span.end,
                        text[span.start : span.end][:MAX_EXCERPT],
                        verdict == "kept" and not config.decontaminate.cut,
                    )


def read_contamination(run: Path) -> dict[str, Any]:
    """The report of a run. Raises InputError where its recipe has no step `decontaminate`."""
    path = RunFolder.existing(run).stage_path("curate") / FILE
    if not path.is_file():
        raise InputError(
            f"{run}: its recipe compares with no evaluation sets: add decontaminate to curate.steps and name files in "
            "curate.decontaminate.sets"
        )
    return read_json(path)


def contamination_text(report: Mapping[str, Any]) -> str:
    """The sets of which something was found, and the items with their first place."""
    rows = [["set", "items", "searchable", "found", "share", "with answer", "left in text", "widespread"]]
    for name, entry in report["sets"].items():
        if entry["found"] or entry["widespread"]:
            numbers = (entry["items"], entry["searchable"], entry["found"])
            rows.append(
                [name, *map(counted, numbers), f"{entry['found_share']:.2%}"]
                + [counted(entry[key]) for key in ("answers", "left", "widespread")]
            )
    searched = f"{report['ngram']}-grams of words of {len(report['sets'])} sets"
    if len(rows) == 1:
        return f"nothing found: {searched}"
    lines = [align(rows), ""]
    for entry in report["items"]:
        place = entry["places"][0]
        marks = [f"{entry['documents']} documents"] * (entry["documents"] > 1)
        marks += ["answer"] * entry["answer"] + ["widespread"] * entry["widespread"]
        note = f" ({', '.join(marks)})" if marks else ""
        excerpt = " ".join(printable(place["text"]).split())
        lines.append(f"{entry['set']}:{entry['item']} in {place['document']} at {place['start']:,}{note}")
        lines.append(f"    {excerpt[:160]}")
    return "\n".join([*lines, "", searched])
