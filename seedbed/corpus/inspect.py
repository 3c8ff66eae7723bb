"""Questions to a finished run: which document is meant, and why it was kept, removed, merged or quarantined."""

import difflib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seedbed.corpus import normalise
from seedbed.corpus.chain import SCORE_PREFIX, Chain, apply_spans, judgements
from seedbed.corpus.decisions import find_decision, read_decision_rows
from seedbed.corpus.rules.group import Check, Span, number_text, numeric
from seedbed.corpus.store import find_document, read_documents
from seedbed.corpus.view import TextView
from seedbed.corpus.yields import align, size_text
from seedbed.errors import InputError
from seedbed.recipe.schema import CurateConfig
from seedbed.run.folder import RunFolder

SHOWN_IDS = 8
SIMILAR_AMONG = 50_000  # ids compared for a suggestion: difflib takes about a second for as many
EXCERPT_CHARACTERS = 600
CONTEXT_CHARACTERS = 30  # shown on either side of a passage
PLACES_SHOWN = 12
PASSAGE_CHARACTERS = 90


@dataclass(frozen=True)
class Place:
    """A passage that a step marked, cut or replaced in the text as it was then, with what stands around it."""

    step: str
    kind: str
    start: int
    before: str
    text: str
    after: str
    replacement: str | None
    decisive: bool  # it made the rule fire that decided


@dataclass(frozen=True)
class Explanation:
    """A decision with every rule's check against the recipe's thresholds and the beginning of the text."""

    decision: dict[str, Any]
    checks: list[Check]
    origin: str
    licence: str
    metadata: dict[str, Any]
    excerpt: str
    places: list[Place]


def match_id(ids: list[str], wanted: str, elsewhere: Callable[[], list[str]] = list) -> str:
    """The one id that equals, begins with or contains `wanted`, or the one that `elsewhere` finds where none does.

    Raises InputError with the nearest ids when there is none or more than one.
    """
    for find in (
        lambda: [i for i in ids if i == wanted],
        lambda: [i for i in ids if i.startswith(wanted)],
        lambda: [i for i in ids if wanted.lower() in i.lower()],
        elsewhere,
    ):
        matches = find()
        if len(matches) == 1:
            return matches[0]
        if matches:
            shown = ", ".join(matches[:SHOWN_IDS])
            more = f", and {len(matches) - SHOWN_IDS:,} more" if len(matches) > SHOWN_IDS else ""
            raise InputError(f"{wanted!r} fits {len(matches):,} documents: name one of {shown}{more}")
    near = difflib.get_close_matches(wanted, ids[:SIMILAR_AMONG], 3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"ids look like {', '.join(ids[:2])}"
    raise InputError(f"no document {wanted!r} among the {len(ids):,} that were read: {hint}")


def ids_by_metadata(collected: Path, wanted: str) -> list[str]:
    """Ids of the documents whose origin, address, title or own fields (id, ...) contain `wanted`."""
    pattern = json.dumps(wanted.lower(), ensure_ascii=False)[1:-1]
    return [
        row["id"]
        for batch in read_documents(collected, ["id", "origin", "url", "title", "metadata"])
        for row in batch.to_pylist()
        if any(wanted.lower() in row[name].lower() for name in ("origin", "url", "title"))
        or pattern in row["metadata"].lower()
    ]


def explain(run: Path, wanted: str) -> Explanation:
    """Everything known of one document of a finished curate stage."""
    folder = RunFolder.existing(run)
    curated = folder.stage_path("curate")
    ids = [row["id"] for row in read_decision_rows(curated, ["id"])]
    identity = match_id(ids, wanted, lambda: ids_by_metadata(folder.stage_path("collect"), wanted))
    decision = find_decision(curated, identity)
    assert decision is not None
    document: dict[str, Any] | None = None
    if decision["verdict"] != "quarantined":
        stage = curated if decision["verdict"] == "kept" else folder.stage_path("collect")
        document = find_document(stage, identity)
    title = {"title": document["title"]} if document and document["title"] else {}
    return Explanation(
        decision=decision,
        checks=checks_of(decision, folder.recipe().curate) if document else [],
        origin=document["origin"] if document else "",
        licence=document["licence"] if document else "",
        metadata=json.loads(document["metadata"]) | title if document else {},
        excerpt=document["text"][:EXCERPT_CHARACTERS] if document else "",
        places=find_places(folder, identity, decision["rule"]) if document else [],
    )


def find_places(folder: RunFolder, identity: str, rule: str) -> list[Place]:
    """The passages concerned, found by examining the document again as it was read."""
    document = find_document(folder.stage_path("collect"), identity)
    assert document is not None
    config = folder.recipe().curate
    chain = Chain(config)
    step, _, threshold = rule.partition(".")
    text, places = normalise.normalise(document["text"], config.unicode_form), []
    for group, worker in zip(chain.groups, chain.workers, strict=True):
        if not group.suits(document["domain"]):
            continue
        view = TextView(text, config.words)
        if group.name == step and hasattr(worker, "explain"):
            places += [make_place(step, text, span, True) for span in worker.explain(view, document, threshold)]
        _, spans = worker.examine(view, document)
        places += [make_place(group.name, text, span, False) for span in spans]
        text = apply_spans(text, spans)
    return places


def make_place(step: str, text: str, span: Span, decisive: bool) -> Place:
    before, after = text[max(0, span.start - CONTEXT_CHARACTERS) : span.start], text[span.end :][:CONTEXT_CHARACTERS]
    return Place(step, span.kind, span.start, before, text[span.start : span.end], after, span.replacement, decisive)


def checks_of(decision: dict[str, Any], config: CurateConfig) -> list[Check]:
    return [judgement.check(decision[judgement.column]) for judgement in judgements(config)]


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    decision = {k: v for k, v in explanation.decision.items() if not k.startswith(SCORE_PREFIX)}
    return {
        **decision,
        "origin": explanation.origin,
        "licence": explanation.licence,
        "metadata": explanation.metadata,
        "scores": [
            {
                "rule": check.name,
                "score": None if check.score != check.score else check.score,
                **limits(check),
                "passed": check.passed,
            }
            for check in explanation.checks
        ],
        "places": [asdict(place) for place in explanation.places],
        "excerpt": explanation.excerpt,
    }


def limits(check: Check) -> dict[str, Any]:
    """The threshold as the answer shows it: bounds, or the labels of a rule that asks for one."""
    if check.threshold is None:
        return {"at_least": None, "at_most": None}
    if check.rule.side in ("one of", "none of"):
        return {check.rule.side.replace(" ", "_"): list(check.threshold)}
    low, high = numeric(check.threshold)
    return {"at_least": low if math.isfinite(low) else None, "at_most": high if math.isfinite(high) else None}


def limit_texts(check: Check) -> list[str]:
    """The threshold in the table's two columns."""
    found = limits(check)
    if "at_least" in found:
        return ["-" if bound is None else number_text(bound) for bound in (found["at_least"], found["at_most"])]
    [(side, labels)] = found.items()
    shown = ", ".join(labels[:4]) + (", ..." if len(labels) > 4 else "")
    return ["-", f"{side.replace('_', ' ')} {shown}"]


def score_text(score: float | str | None) -> str:
    if score is None or score == "" or score != score:
        return "-"
    return score if isinstance(score, str) else number_text(score)


def explanation_text(explanation: Explanation) -> str:
    """The answer for people: the verdict first, then the scores against the thresholds, then the text."""
    decision = explanation.decision
    verdict = decision["verdict"] + (f" in {decision['split']}" if decision["verdict"] == "kept" else "")
    names = [str(explanation.metadata[key]) for key in ("id", "title") if key in explanation.metadata]
    lines = [
        "  ".join([decision["id"], *names]),
        f"  {verdict}" + (f" by {decision['rule']}: {decision['reason']}" if decision["rule"] else ""),
    ]
    facts = [decision["domain"], explanation.licence, explanation.origin]
    facts.append(f"{size_text(decision['bytes_in'])} read, {size_text(decision['bytes_out'])} kept")
    lines.append("  " + " | ".join(fact for fact in facts if fact))
    if explanation.checks:
        rows = [["rule", "score", "at least", "at most", ""]]
        for check in explanation.checks:
            state = "off" if check.threshold is None else "passes" if check.passed else "FAILS"
            rows.append([check.name, score_text(check.score), *limit_texts(check), state])
        lines += ["", align(rows)]
    if explanation.places:
        lines += ["", *place_lines(explanation.places)]
    if explanation.excerpt:
        lines += ["", *(f"  | {line}" for line in explanation.excerpt.splitlines()[:12])]
    return "\n".join(lines)


def place_lines(places: list[Place]) -> list[str]:
    """Passages, the decisive ones first: what stood there in [brackets], and what became of it."""
    ordered = sorted(places, key=lambda place: not place.decisive)
    lines = []
    for place in ordered[:PLACES_SHOWN]:
        text = place.text
        if len(text) > PASSAGE_CHARACTERS:
            text = f"{text[: PASSAGE_CHARACTERS // 2]} ... {text[-PASSAGE_CHARACTERS // 2 :]}"
        became = {None: "", "": " cut"}.get(place.replacement, f" -> {place.replacement}")
        shown = f"{place.before}[{text}]{place.after}".replace("\n", " / ")
        lines.append(f"  {place.step}: {place.kind} at {place.start:,}{became}: {shown}")
    if len(ordered) > PLACES_SHOWN:
        lines.append(f"  and {len(ordered) - PLACES_SHOWN:,} more passages")
    return lines
