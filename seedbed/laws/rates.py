"""Laws of the learning rate and the batch: from sweeps of one's own, beside the published ones.

A sweep is three or more runs of one size and length that differ in the rate (or batch). A parabola in its logarithm gives the
best, and the bests of several sweeps a power law in parameters and tokens, the form of Step Law (Li et al. 2025, equation 1).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from seedbed.errors import InputError
from seedbed.laws.points import Points
from seedbed.laws.power import PowerLaw, fit_power
from seedbed.laws.published import BATCHES, LEARNING_RATES

LEAST_SWEEP = 3
PUBLISHED_RATES = {"learning_rate": LEARNING_RATES, "batch_tokens": BATCHES}


@dataclass(frozen=True)
class Best:
    """The best value of one sweep; `inside`: between the values tried, and so no more than a guess where it is not."""

    params: float
    tokens: float
    value: float
    inside: bool


def bests_of(points: Points, column: str) -> list[Best]:
    """The best `column` of each sweep in the points. A best beyond what was tried is put at the nearest value tried."""
    if column not in points.extra:
        raise InputError(f"{points.origin}: no column {column}: sweeps of it are needed to fit its law")
    keys = np.round(np.log(np.stack([points.inputs.params, points.inputs.tokens], -1)), 2)
    found = []
    for key in np.unique(keys, axis=0):
        rows = np.flatnonzero((keys == key).all(-1))
        values = np.log(points.extra[column][rows])
        if len(np.unique(values)) < LEAST_SWEEP:
            continue
        middle = values.mean()
        bend, slope, _ = np.polyfit(values - middle, points.loss[rows], 2)
        tried = values[points.loss[rows].argmin()]
        at = middle - slope / (2 * bend) if bend > 0 else tried
        inside = bool(bend > 0 and values.min() <= at <= values.max())
        best = float(np.exp(np.clip(at, values.min(), values.max())))
        row = rows[0]
        found.append(Best(float(points.inputs.params[row]), float(points.inputs.tokens[row]), best, inside))
    return found


def fit_rates(points: Points, column: str) -> tuple[list[Best], PowerLaw]:
    """The bests and their power law: in params and tokens where both vary, else in the one that does."""
    bests = bests_of(points, column)
    known = {name: np.array([getattr(best, name) for best in bests]) for name in ("params", "tokens")}
    varied = {name: values for name, values in known.items() if len(bests) and np.ptp(np.log(values)) > 0.1}
    if len(varied) == 2 and abs(np.corrcoef(*(np.log(v) for v in varied.values()))[0, 1]) > 0.99:
        varied = {"flops": 6 * known["params"] * known["tokens"]}
    if not varied or len(bests) < len(varied) + 2:  # one more than its constants, for an interval
        raise InputError(
            f"{points.origin}: {len(bests)} sweeps of {column} with {LEAST_SWEEP} values or more: sweep at more sizes or lengths"
        )
    values = np.array([best.value for best in bests])
    return bests, fit_power(column, values, varied, f"{len(bests)} sweeps of {points.origin}")


def rates_report(points: Points) -> dict[str, Any]:
    """{column: {"bests", "law", "published": {name: PowerLaw}}} for each of learning_rate and batch_tokens that was swept."""
    swept = {name: published for name, published in PUBLISHED_RATES.items() if name in points.extra}
    if not swept:
        raise InputError(f"{points.origin}: neither learning_rate nor batch_tokens is a column: add what was swept")
    found = {}
    for name, published in swept.items():
        if len(np.unique(points.extra[name])) == 1 and len(swept) > 1:
            continue
        bests, law = fit_rates(points, name)
        found[name] = {"bests": bests, "law": law, "published": published}
    return found
