"""Several forms on the same points: fitted without the largest runs, judged on them, and how far apart they are beyond.

A form that fits the small runs best need not be right above them; the spread says how much of a prediction is the form's.
"""

from dataclasses import dataclass

import numpy as np

from seedbed.errors import InputError
from seedbed.laws.fit import DELTA, Outliers, check_enough, fit_law
from seedbed.laws.forms import FORMS, Array, Form, Inputs
from seedbed.laws.law import LEVEL, Law
from seedbed.laws.points import Points

SHARE = 0.2  # of the points: those of most compute


@dataclass(frozen=True)
class Held:
    """One form's errors on the held-out runs: log predicted over measured, and how many lay in its 90% interval."""

    form: str
    mean_error: float
    worst_error: float
    inside: int
    runs: int


def suited_forms(points: Points, count: int | None = None) -> list[Form]:
    """The forms whose columns the points have, and of whose parameters there are fewer than points."""
    inputs = points.inputs
    return [
        form
        for form in FORMS.values()
        if all(getattr(inputs, name) is not None for name in form.columns)
        and len(form.parameters) < (len(points) if count is None else count)
    ]


def held_out_errors(
    points: Points,
    forms: list[Form],
    outliers: Outliers,
    share: float = SHARE,
    bootstraps: int = 200,
    delta: float = DELTA,
) -> list[Held]:
    """Each form fitted to all but the largest runs and asked about those. A form that the rest is too few for is left out."""
    rest, largest = points.split_largest(share)
    found = []
    for form in forms:
        try:
            check_enough(outliers.kept(rest), form, len(form.parameters))
        except InputError:
            continue
        law = fit_law(rest, form, outliers, bootstraps, delta=delta, calibrate=False)
        errors = law.form.log_loss(law.theta, largest.inputs)[0] - np.log(largest.loss)
        low, high = law.ends(largest.inputs, 0.9)
        inside = int(((low <= largest.loss) & (largest.loss <= high)).sum())
        found.append(
            Held(form.name, float(errors.mean()), float(errors[np.abs(errors).argmax()]), inside, len(largest))
        )
    return found


def pooled(laws: list[Law], inputs: Inputs, level: float = LEVEL) -> tuple[Array, Array, Array]:
    """(median, low, high) of the loss of single runs, each law's draws weighing the same: the form is left open too."""
    tails = [0.5, (1 - level) / 2, (1 + level) / 2]
    middle, low, high = np.exp(np.quantile(np.concatenate([law.log_draws(inputs) for law in laws]), tails, axis=0))
    return middle, low, high


def spread_at(laws: list[Law], flops: float) -> tuple[float, float]:
    """(least, most) predicted loss of the laws at one run: the first law's optimum for this compute."""
    best = laws[0].optimum(flops)
    losses: Array = np.array([law.loss(best.params, best.tokens) for law in laws])
    return float(losses.min()), float(losses.max())
