"""Questions to a finished run: which document is meant, and why it was kept, removed, merged or quarantined."""

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.corpus.decisions import SCORE_PREFIX, find_decision, read_decision_rows
from seedbed.corpus.rules import Check, check_all, number_text
from seedbed.corpus.store import find_document, read_documents
from seedbed.corpus.yields import align, size_text
from seedbed.errors import InputError
from seedbed.recipe.schema import CurateConfig
from seedbed.run.folder import RunFolder

SHOWN_IDS = 8
SIMILAR_AMONG = 50_000  # ids compared for a suggestion: difflib takes about a second for as many
EXCERPT_CHARACTERS = 600


@dataclass(frozen=True)
class Explanation:
    """A decision with every rule's check against the recipe's thresholds and the beginning of the text."""

    decision: dict[str, Any]
    checks: list[Check]
    origin: str
    licence: str
    metadata: dict[str, Any]
    excerpt: str


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
    """Ids of the documents whose origin or own fields (id, title, ...) contain `wanted`."""
    pattern = json.dumps(wanted.lower(), ensure_ascii=False)[1:-1]
    return [
        row["id"]
        for batch in read_documents(collected, ["id", "origin", "metadata"])
        for row in batch.to_pylist()
        if wanted.lower() in row["origin"].lower() or pattern in row["metadata"].lower()
    ]


def explain(run: Path, wanted: str) -> Explanation:
    """Everything known of one document of a finished curate stage."""
    folder = RunFolder.existing(run)
    curated = folder.stage_path("curate")
    table = curated / "decisions.parquet"
    ids = [row["id"] for row in read_decision_rows(table, ["id"])]
    identity = match_id(ids, wanted, lambda: ids_by_metadata(folder.stage_path("collect"), wanted))
    decision = find_decision(table, identity)
    assert decision is not None
    document: dict[str, Any] | None = None
    if decision["verdict"] != "quarantined":
        stage = curated if decision["verdict"] == "kept" else folder.stage_path("collect")
        document = find_document(stage, identity)
    return Explanation(
        decision=decision,
        checks=checks_of(decision, folder.recipe().curate) if document else [],
        origin=document["origin"] if document else "",
        licence=document["licence"] if document else "",
        metadata=json.loads(document["metadata"]) if document else {},
        excerpt=document["text"][:EXCERPT_CHARACTERS] if document else "",
    )


def checks_of(decision: dict[str, Any], config: CurateConfig) -> list[Check]:
    scores = {key.removeprefix(SCORE_PREFIX): v for key, v in decision.items() if key.startswith(SCORE_PREFIX)}
    return check_all(scores, config)


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    decision = {k: v for k, v in explanation.decision.items() if not k.startswith(SCORE_PREFIX)}
    return {
        **decision,
        "origin": explanation.origin,
        "licence": explanation.licence,
        "metadata": explanation.metadata,
        "scores": [
            {
                "rule": check.rule.name,
                "score": None if check.score != check.score else check.score,
                "at_least": finite(check.low),
                "at_most": finite(check.high),
                "passed": check.passed,
            }
            for check in explanation.checks
        ],
        "excerpt": explanation.excerpt,
    }


def finite(bound: float | None) -> float | None:
    return None if bound is None or bound in (float("inf"), float("-inf")) else bound


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
            limits = [number_text(b) if (b := finite(bound)) is not None else "-" for bound in (check.low, check.high)]
            state = "off" if check.low is None else "passes" if check.passed else "FAILS"
            score = "-" if check.score != check.score else number_text(check.score)
            rows.append([check.rule.name, score, *limits, state])
        lines += ["", align(rows)]
    if explanation.excerpt:
        lines += ["", *(f"  | {line}" for line in explanation.excerpt.splitlines()[:12])]
    return "\n".join(lines)
