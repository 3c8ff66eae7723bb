"""What `seedbed laws fit` finds, as one value, and as text."""

import math
from typing import Any

from seedbed.errors import InputError
from seedbed.laws.compare import Held, held_out_errors, spread_at, suited_forms
from seedbed.laws.fit import Outliers, fit_law
from seedbed.laws.law import Ends, Law
from seedbed.laws.points import Points
from seedbed.laws.text import held_text, law_json, law_text, optima_text

TIMES = (1.0, 10.0, 100.0)  # the most fitted compute, at which the best split is shown
GENERAL = ("chinchilla", "tied", "kaplan")


def fit_report(
    law: Law, points: Points, outliers: Outliers, budgets: list[float] | None, hold_out: str
) -> dict[str, Any]:
    """{"law", "optima", "assumed", "held_out": {"runs", "from_flops", "forms", "at_flops", "spread"} or None}."""
    if hold_out not in ("largest", "none"):
        raise InputError(f"--hold-out: {hold_out!r}: give largest or none")
    budgets = budgets or [times * float(points.flops.max()) for times in TIMES]
    found: dict[str, Any] = {"law": law_json(law), "optima": [law.optimum(b, **assumed(law, points)) for b in budgets]}
    found["assumed"] = assumed(law, points)
    found["held_out"] = held_out_of(points, outliers, budgets[-1]) if hold_out == "largest" else None
    return found


def assumed(law: Law, points: Points) -> dict[str, float]:
    """What an optimum needs besides compute: unique tokens, experts or the active fraction, the most that the points have."""
    return {name: float(points.inputs.column(name).max()) for name in law.form.columns}


def held_out_of(points: Points, outliers: Outliers, flops: float) -> dict[str, Any] | None:
    forms = [form for form in suited_forms(points) if form.name in GENERAL]
    held: list[Held] = held_out_errors(points, forms, outliers)
    if not held:
        return None
    _, largest = points.split_largest()
    whole = [fit_law(points, form, outliers, bootstraps=0) for form in forms if form.name in {h.form for h in held}]
    spread: Ends = spread_at(whole, flops)
    return {"from_flops": float(largest.flops.min()), "forms": held, "at_flops": flops, "spread": spread}


def report_text(report: dict[str, Any], law: Law) -> str:
    given = "".join(f", {name.replace('_', ' ')} {value:.3g}" for name, value in report["assumed"].items())
    blocks = [law_text(law), f"compute-optimal, C = 6 N D{given}:\n" + optima_text(report["optima"])]
    if held := report["held_out"]:
        blocks.append(held_text(held["forms"], held["spread"], held["at_flops"], held["from_flops"]))
    at_limit = [
        name for name, (low, high) in law.intervals().items() if not math.isnan(low) and high > 50 * max(low, 1e-300)
    ]
    if at_limit:
        blocks.append(
            f"warning: these points hardly bound {', '.join(at_limit)}: predict, but do not read the constants"
        )
    return "\n\n".join(blocks)
