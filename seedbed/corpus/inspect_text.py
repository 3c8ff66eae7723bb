"""What `seedbed why` says: the verdict first, then the scores against the thresholds, the passages, and the text."""

import math
from dataclasses import asdict
from typing import Any

from seedbed.corpus.chain import SCORE_PREFIX
from seedbed.corpus.inspect import Explanation, Partner, Place
from seedbed.corpus.rules.group import Check, number_text, numeric
from seedbed.corpus.yields import align, size_text
from seedbed.quantities import printable

PLACES_SHOWN = 12
PASSAGE_CHARACTERS = 90
CHANGES_SHOWN = 8
CHANGE_CHARACTERS = 110


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    decision = {k: v for k, v in explanation.decision.items() if not k.startswith(SCORE_PREFIX)}
    return {
        **decision,
        **explanation.facts,
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
        "partner": asdict(explanation.partner) if explanation.partner else None,
        "merged": {"ids": explanation.merged[0], "documents": explanation.merged[1]},
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
    names = [str(explanation.metadata["id"])] if "id" in explanation.metadata else []
    names += [explanation.facts["title"]] if explanation.facts["title"] else []
    lines = [
        "  ".join([decision["id"], *names]),
        f"  {verdict}" + (f" by {decision['rule']}: {decision['reason']}" if decision["rule"] else ""),
    ]
    own = explanation.facts
    facts = [decision["domain"], decision["language"], own["licence"], own["opt_out"], own["url"], own["origin"]]
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
    if explanation.partner:
        lines += ["", *partner_lines(explanation.partner)]
    ids, count = explanation.merged
    if count:
        more = f", and {count - len(ids):,} more" if count > len(ids) else ""
        lines += ["", f"  merged into it: {', '.join(ids)}{more}"]
    if explanation.excerpt:
        lines += ["", *(f"  | {line}" for line in explanation.excerpt.splitlines()[:12])]
    return printable("\n".join(lines))


def partner_lines(partner: Partner) -> list[str]:
    """What the kept document has (-) and what this one has instead (+)."""
    lines = [f"  beside {partner.id}: Jaccard similarity {partner.similarity:.3f} of word n-grams"]
    if not partner.changes:
        return [*lines, "  the texts are equal"]
    for change in partner.changes[:CHANGES_SHOWN]:
        pairs = (("-", change.kept), ("+", change.here))
        lines += [f"    {sign} {shortened(text, CHANGE_CHARACTERS)}" for sign, text in pairs if text]
    if len(partner.changes) > CHANGES_SHOWN:
        lines.append(f"    and {len(partner.changes) - CHANGES_SHOWN:,} more differences")
    return lines


def shortened(text: str, characters: int) -> str:
    short = text if len(text) <= characters else f"{text[: characters // 2]} ... {text[-characters // 2 :]}"
    return short.strip().replace("\n", " / ")


def place_lines(places: list[Place]) -> list[str]:
    """Passages, the decisive ones first: what stood there in [brackets], and what became of it."""
    ordered = sorted(places, key=lambda place: not place.decisive)
    lines = []
    for place in ordered[:PLACES_SHOWN]:
        text = shortened(place.text, PASSAGE_CHARACTERS)
        became = {None: "", "": " cut"}.get(place.replacement, f" -> {place.replacement}")
        shown = f"{place.before}[{text}]{place.after}".replace("\n", " / ")
        lines.append(f"  {place.step}: {place.kind} at {place.start:,}{became}: {shown}")
    if len(ordered) > PLACES_SHOWN:
        lines.append(f"  and {len(ordered) - PLACES_SHOWN:,} more passages")
    return lines
