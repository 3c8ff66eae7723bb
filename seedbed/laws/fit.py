"""Fitting a form to points: Huber loss on log loss, many starts, outliers by rule, uncertainty by the bootstrap.

The minimum is found by Levenberg-Marquardt on reweighted least squares, for all starts and all resamples at once in arrays: no
random search, no line search, the same numbers every time. Hoffmann et al. 2022 took the best of 4,500 runs of L-BFGS on the
same objective; here all starts end in one minimum (bench/laws.py).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from seedbed.errors import InputError
from seedbed.laws.forms import Array, Form, Inputs
from seedbed.laws.law import LEVEL, FittedRange, Law
from seedbed.laws.points import Points

Resampling = Literal["auto", "pairs", "residuals"]
DELTA = 1e-3  # Hoffmann et al. 2022, appendix D.3
MAX_STEPS = 400
LEAST_GAIN = 1e-10  # relative decrease of the objective in one step below which a fit has ended
RIDGE = 1e-12
BOOTSTRAPS = 1000
CALIBRATION_BOOTSTRAPS = 200
PAIRS_PER_PARAMETER = 8  # below so many points a parameter a resample of points may leave a parameter unseen


@dataclass(frozen=True)
class Outliers:
    """Which points a fit leaves out, as a rule that is stated: none, or the k with the highest loss."""

    drop_highest: int = 0

    def kept(self, points: Points) -> Points:
        """The points that stay, in their order."""
        if self.drop_highest == 0:
            return points
        return points.take(np.sort(np.argsort(points.loss, kind="stable")[: len(points) - self.drop_highest]))

    def __str__(self) -> str:
        return f"the {self.drop_highest} highest losses left out" if self.drop_highest else "none left out"


def huber_weight(residuals: Array, delta: float) -> Array:
    return delta / np.maximum(np.abs(residuals), delta)


def objective(residuals: Array, weights: Array, delta: float) -> Array:
    """Weighted Huber loss [B] of residuals [B, P]."""
    size = np.abs(residuals)
    return (weights * np.where(size <= delta, 0.5 * size * size, delta * (size - 0.5 * delta))).sum(-1)


def minimise(
    form: Form,
    inputs: Inputs,
    log_loss: Array,
    starts: Array,
    weights: Array | None = None,
    delta: float = DELTA,
    fixed: frozenset[str] = frozenset(),
) -> tuple[Array, Array]:
    """The minimum that each start [B, T] reaches, and the objective there [B].

    `log_loss` [P] or [B, P]; `weights` [B, P], such as how often a resample holds each point. Parameters named in `fixed` stay.
    """
    B, P = len(starts), len(inputs)
    low, high = form.limits(np.atleast_1d(log_loss))
    free = np.array([index for index, name in enumerate(form.parameters) if name not in fixed])
    theta = starts.astype(np.float64)
    theta[:, free] = np.clip(theta, low, high)[:, free]
    targets = np.broadcast_to(log_loss, (B, P))
    weights = np.ones((B, P)) if weights is None else weights
    damping = np.full(B, 1e-3)
    values, gradients = form.evaluate(theta, inputs)
    cost = objective(values - targets, weights, delta)
    active = np.arange(B)
    for _ in range(MAX_STEPS):
        residuals = values[active] - targets[active]
        jacobian = gradients[active][..., free]
        scale = weights[active] * huber_weight(residuals, delta)
        scaled = jacobian * scale[..., None]
        slope = np.einsum("bpt,bp->bt", scaled, residuals)
        curvature = np.matmul(scaled.transpose(0, 2, 1), jacobian)
        diagonal = np.einsum("btt->bt", curvature)
        lift = damping[active, None] * diagonal + RIDGE * diagonal.max(-1, keepdims=True) + 1e-300
        curvature = curvature + lift[:, None, :] * np.eye(len(free))
        trial = theta[active]
        trial[:, free] = np.clip(
            trial[:, free] - np.linalg.solve(curvature, slope[..., None])[..., 0], low[free], high[free]
        )
        found, found_gradients = form.evaluate(trial, inputs)
        after = objective(found - targets[active], weights[active], delta)
        better = after < cost[active]
        gain = np.where(better, (cost[active] - after) / np.maximum(cost[active], 1e-300), 0.0)
        moved = active[better]
        theta[moved], values[moved], gradients[moved] = trial[better], found[better], found_gradients[better]
        cost[moved] = after[better]
        damping[active] = np.where(better, np.maximum(damping[active] * 0.3, 1e-12), damping[active] * 8)
        active = active[np.where(better, gain > LEAST_GAIN, damping[active] < 1e6)]
        if len(active) == 0:
            break
    return theta, cost


def best_fit(
    form: Form, points: Points, delta: float = DELTA, start: Array | None = None, fixed: frozenset[str] = frozenset()
) -> tuple[Array, float, float]:
    """(parameters [T], objective, the share of starts that reached it) over the form's grid of starts and `start`."""
    log_loss = np.log(points.loss)
    starts = form.starts(points.inputs, log_loss)
    if start is not None:
        starts = np.concatenate([start[None], starts])
        held = [index for index, name in enumerate(form.parameters) if name in fixed]
        starts[:, held] = start[held]
    theta, cost = minimise(form, points.inputs, log_loss, starts, delta=delta, fixed=fixed)
    best = int(cost.argmin())
    return theta[best], float(cost[best]), float((cost <= cost[best] * (1 + 1e-3)).mean())


def bootstrap(
    form: Form,
    points: Points,
    theta: Array,
    count: int,
    resampling: Resampling,
    seed: int,
    delta: float = DELTA,
    fixed: frozenset[str] = frozenset(),
) -> Array:
    """[count, T]: fits of resampled points, each begun at the fit of all points.

    pairs: points drawn with replacement. residuals: the fitted curve with residuals drawn with replacement, enlarged by
    sqrt(P / (P - T)) for the parameters that fitted them; right where the points are a design and too few to be drawn from.
    """
    log_loss = np.log(points.loss)
    P = len(points)
    generator = np.random.default_rng([seed, count])
    starts = np.repeat(theta[None], count, 0)
    if resampling == "pairs":
        weights = generator.multinomial(P, np.full(P, 1 / P), count).astype(np.float64)
        return minimise(form, points.inputs, log_loss, starts, weights, delta, fixed)[0]
    fitted = form.log_loss(theta, points.inputs)[0]
    residuals = enlarged_residuals(form, log_loss - fitted, fixed)
    targets = fitted + residuals[generator.integers(0, P, (count, P))]
    return minimise(form, points.inputs, targets, starts, None, delta, fixed)[0]


def enlarged_residuals(form: Form, residuals: Array, fixed: frozenset[str] = frozenset()) -> Array:
    """Residuals as large as a new run's: those of a fit with T parameters are too small by sqrt((P - T) / P)."""
    left = max(1, len(residuals) - len(form.parameters) + len(fixed))
    return residuals * np.sqrt(len(residuals) / left)


def fit_law(
    points: Points,
    form: Form,
    outliers: Outliers | None = None,
    bootstraps: int = BOOTSTRAPS,
    resampling: Resampling = "auto",
    seed: int = 0,
    delta: float = DELTA,
    start: Array | None = None,
    fixed: frozenset[str] = frozenset(),
    calibrate: bool = True,
) -> Law:
    """The law of these points. `start` and `fixed` hold some parameters at known values; `calibrate` widens intervals of losses
    until they would have held for the largest points (`widening_of`).

    Raises InputError where the points are too few or vary too little for the form's parameters.
    """
    outliers = outliers or Outliers()
    kept = outliers.kept(points) if 0 <= outliers.drop_highest < len(points) else None
    if kept is None:
        raise InputError(f"--drop-highest: {outliers.drop_highest} of {len(points)} points: leave some")
    check_enough(kept, form, len(form.parameters) - len(fixed))
    theta, _, _ = best_fit(form, kept, delta, start, fixed)
    if resampling == "auto":
        resampling = "pairs" if len(kept) >= PAIRS_PER_PARAMETER * len(form.parameters) else "residuals"
    draws = np.zeros((0, len(theta)))
    if bootstraps:
        draws = bootstrap(form, kept, theta, bootstraps, resampling, seed, delta, fixed)
    residuals = np.log(kept.loss) - form.log_loss(theta, kept.inputs)[0]
    widening = widening_of(form, kept, theta, resampling, delta, fixed) if bootstraps and calibrate else 1.0
    method = f"Huber on log loss (delta {delta:g}), {bootstraps} resamples ({resampling})"
    if widening > 1:
        method += f"; intervals of losses {widening:.2f} times as wide, as the largest runs asked for"
    return Law(
        form=form,
        theta=theta,
        draws=draws,
        residuals=enlarged_residuals(form, residuals, fixed),
        fitted=FittedRange.of(kept),
        source=f"{len(kept)} points of {points.origin}, {outliers}",
        method=method,
        widening=widening,
    )


def widening_of(
    form: Form, points: Points, theta: Array, resampling: Resampling, delta: float, fixed: frozenset[str]
) -> float:
    """By how much a 90% interval must be widened to hold 90% of the fifth of the points with most compute, told from the rest.

    A bootstrap knows nothing of a form that is wrong: of Chinchilla's largest 48 runs its intervals hold half (bench/laws.py).
    1 where the intervals held, or where the rest is too small to be fitted.
    """
    rest, largest = points.split_largest()
    if len(rest) <= len(theta) - len(fixed):
        return 1.0
    start, _, _ = best_fit(form, rest, delta, theta, fixed)
    draws = bootstrap(form, rest, start, CALIBRATION_BOOTSTRAPS, resampling, 0, delta, fixed)
    residuals = np.log(rest.loss) - form.log_loss(start, rest.inputs)[0]
    law = Law(form, start, draws, enlarged_residuals(form, residuals, fixed), None, "")
    here = form.log_loss(start, largest.inputs)[0]
    low, high = (np.log(ends) for ends in law.ends(largest.inputs, LEVEL))
    error = np.log(largest.loss) - here
    room = np.maximum(np.where(error > 0, high - here, here - low), 1e-12)
    return max(1.0, float(np.quantile(np.abs(error) / room, LEVEL)))


def check_enough(points: Points, form: Form, free: int) -> None:
    """Refuse points that cannot tell the form's parameters apart."""
    if len(points) <= free:
        raise InputError(
            f"{points.origin}: {len(points)} points for the {free} parameters of {form.name!r}: give more runs, or a form with "
            "fewer parameters (--form tied)"
        )
    for name, values in (("sizes", points.inputs.params), ("token counts", points.inputs.tokens)):
        if len(np.unique(np.round(np.log(values), 2))) < 3:
            raise InputError(f"{points.origin}: fewer than 3 different {name}: give runs over a factor of 10, say")
    for name in form.columns:
        points.inputs.column(name)
