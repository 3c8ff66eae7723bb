"""The page's part on evaluation sets: how many items stood in the text, how many still do, and where the first ones are."""

from collections.abc import Mapping
from typing import Any

from seedbed.quantities import counted, printable
from seedbed.report.html import esc, table

ITEMS_SHOWN = 12
EXCERPT_CHARACTERS = 160


def contamination_part(report: Mapping[str, Any] | None) -> str:
    """`report`: what `corpus/decontaminate/report.py` wrote, None where the recipe compares with no sets."""
    if report is None:
        return ""
    sets = report["sets"]
    searched = sum(entry["searchable"] for entry in sets.values())
    lead = (
        f"{counted(searched)} items of {counted(len(sets))} sets were looked for, by {report['ngram']} words in a row."
    )
    if not report["items"]:
        return f"<h3>Evaluation items in the text</h3><p>{lead} None was found.</p>"
    rows = [
        [esc(name), *(counted(entry[key]) for key in ("items", "searchable", "found", "answers", "left", "widespread"))]
        for name, entry in sets.items()
        if entry["found"] or entry["widespread"]
    ]
    header = ["set", "items", "searchable", "found", "with answer", "left in the kept text", "in many documents"]
    return f"<h3>Evaluation items in the text</h3><p>{lead}</p>" + table(header, rows, numeric=6) + item_table(report)


def item_table(report: Mapping[str, Any]) -> str:
    """Items whose text is left first."""
    items = sorted(report["items"], key=lambda item: (not item["kept"], item["set"], item["item"]))
    rows = []
    for item in items[:ITEMS_SHOWN]:
        place = item["places"][0]
        excerpt = " ".join(printable(place["text"]).split())[:EXCERPT_CHARACTERS]
        name = f"{esc(item['set'])}:{item['item']}<small>{esc(excerpt)}</small>"
        rows.append([name, "left" if item["kept"] else "gone", esc(place["document"]), counted(item["documents"])])
    note = f'<p class="lead">and {counted(len(items) - ITEMS_SHOWN)} more</p>' if len(items) > ITEMS_SHOWN else ""
    return table(["item", "in the kept text", "first found in", "documents"], rows, numeric=1) + note
