"""IsoFLOP analysis: a parabola through the losses of each budget, and the power law of the minima.

Approach 2 of Hoffmann et al. 2022. The loss is no parabola in log tokens: where its two sides fall unlike, the fitted minimum is
off even without noise, the more so the wider the points lie (arXiv 2603.22339). `bias` measures that on these points: the same
parabolas through the noise-free losses of a law that was fitted to them, beside that law's true optima.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seedbed.errors import InputError
from seedbed.laws.fit import Outliers, fit_law
from seedbed.laws.forms import CHINCHILLA
from seedbed.laws.law import Law
from seedbed.laws.points import Points
from seedbed.laws.power import PowerLaw, fit_power

SAME_BUDGET = 0.05  # budgets whose logarithms differ by less are one
LEAST_POINTS = 4  # a parabola through three has no residual
LEAST_BUDGETS = 3
LEAST_SIZES = 4
BEYOND = 100.0


@dataclass(frozen=True)
class Minimum:
    """Where one budget's parabola has its least loss. `inside`: between the tokens of the budget's points."""

    flops: float
    tokens: float
    params: float
    loss: float
    points: int
    inside: bool


@dataclass(frozen=True)
class Bias:
    """What parabolas make of noise-free losses on these points: the exponent of tokens, and the tokens found over the true
    ones at the largest budget and at 100 times it."""

    exponent: float
    true_exponent: float
    at_largest: float
    beyond: float


@dataclass(frozen=True)
class IsoFlop:
    minima: tuple[Minimum, ...]
    tokens: PowerLaw
    params: PowerLaw
    bias: Bias
    law: Law
    skipped: tuple[str, ...]


def budgets_of(points: Points) -> list[tuple[float, NDArray[np.int64]]]:
    """(budget, its rows), from the flops column where there is one, else from 6 N D."""
    flops = points.extra.get("flops", points.flops)
    order = np.argsort(flops, kind="stable")
    cuts = np.flatnonzero(np.diff(np.log(flops[order])) > SAME_BUDGET) + 1
    groups = np.split(order.astype(np.int64), cuts)
    return [(float(np.exp(np.log(flops[rows]).mean())), rows) for rows in groups]


def minimum_of(flops: float, points: Points) -> Minimum | None:
    """The vertex of the least-squares parabola in log tokens; None where it opens downwards."""
    log_d = np.log(points.inputs.tokens)
    middle = log_d.mean()
    bend, slope, level = np.polyfit(log_d - middle, points.loss, 2)
    if bend <= 0:
        return None
    at = -slope / (2 * bend)
    tokens = float(np.exp(middle + at))
    inside = bool(log_d.min() <= middle + at <= log_d.max())
    # N D of these points stands for the budget, which papers count with embeddings or attention
    product = float(np.exp(np.log(points.inputs.params * points.inputs.tokens).mean()))
    return Minimum(flops, tokens, product / tokens, float(level + slope * at / 2), len(points), inside)


def minima_of(points: Points) -> tuple[tuple[Minimum, ...], tuple[str, ...]]:
    found, skipped = [], []
    for flops, rows in budgets_of(points):
        if len(rows) < LEAST_POINTS:
            skipped.append(f"{flops:.3g} FLOPs: {len(rows)} points, fewer than {LEAST_POINTS}")
            continue
        sizes = len(np.unique(np.round(np.log(points.inputs.tokens[rows]), 6)))
        if sizes < LEAST_SIZES:
            skipped.append(f"{flops:.3g} FLOPs: {sizes} different numbers of tokens, fewer than {LEAST_SIZES}")
            continue
        minimum = minimum_of(flops, points.take(rows))
        if minimum is None:
            skipped.append(f"{flops:.3g} FLOPs: no minimum, the parabola opens downwards")
        else:
            found.append(minimum)
    if len(found) < LEAST_BUDGETS:
        raise InputError(
            f"{points.origin}: {len(found)} budgets with {LEAST_POINTS} points and a minimum, fewer than {LEAST_BUDGETS}: give "
            "runs of equal compute (a column flops or budget), several sizes each"
        )
    return tuple(found), tuple(skipped)


def power_of(minima: tuple[Minimum, ...], value: str, origin: str) -> PowerLaw:
    values = np.array([getattr(minimum, value) for minimum in minima])
    flops = np.array([minimum.flops for minimum in minima])
    return fit_power(value, values, {"flops": flops}, f"{len(minima)} parabolas of {origin}")


def analyse(points: Points, outliers: Outliers | None = None) -> IsoFlop:
    """Minima, their power laws, and the method's bias on these points."""
    minima, skipped = minima_of(points)
    law = fit_law(points, CHINCHILLA, outliers, bootstraps=0)
    tokens = power_of(minima, "tokens", points.origin)
    return IsoFlop(minima, tokens, power_of(minima, "params", points.origin), bias_of(points, law), law, skipped)


def bias_of(points: Points, law: Law) -> Bias:
    """The same parabolas through the law's own losses at these sizes and tokens."""
    loss = law.loss(points.inputs.params, points.inputs.tokens)
    minima, _ = minima_of(replace(points, loss=loss))
    found = power_of(minima, "tokens", points.origin)
    values = law.parameters
    exponent = values["alpha"] / (values["alpha"] + values["beta"])

    def ratio(flops: float) -> float:
        """Tokens by the parabolas over the law's, at a compute of 6 N D."""
        return found(flops=flops * scale) / law.optimum(flops).tokens

    product = np.log(6 * points.inputs.params * points.inputs.tokens)
    scale = math.exp(float(np.mean(np.log(points.extra.get("flops", points.flops)) - product)))
    largest = max(minimum.flops for minimum in minima) / scale
    return Bias(found.exponents["flops"], exponent, ratio(largest), ratio(BEYOND * largest))
