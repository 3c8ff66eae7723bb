"""Power laws of one quantity in others: optima, learning rates, batch sizes. Fitted as a plane in logarithms."""

import math
from dataclasses import dataclass

import numpy as np

from seedbed.laws.forms import Array
from seedbed.laws.law import LEVEL, Ends, ends_of


@dataclass(frozen=True)
class PowerLaw:
    """value = factor x product of quantity^exponent. `spread`: standard deviation of the log of single values, if fitted."""

    value: str
    factor: float
    exponents: dict[str, float]
    source: str
    intervals: dict[str, Ends] | None = None
    spread: float = math.nan

    def __call__(self, **quantities: float) -> float:
        """The value at quantities named as in `exponents`: params, tokens, flops."""
        return self.factor * math.prod(quantities[name] ** power for name, power in self.exponents.items())

    def __str__(self) -> str:
        parts = [f"{self.factor:.4g}", *(f"{name}^{power:.4g}" for name, power in self.exponents.items())]
        return f"{self.value} = {' '.join(parts)}"


def fit_power(
    value: str, values: Array, quantities: dict[str, Array], source: str, bootstraps: int = 1000, seed: int = 0
) -> PowerLaw:
    """Least squares of log `values` [P] on the logs of `quantities`; intervals by residuals drawn anew, enlarged for the fit.

    Quantities are centred, so that factor and exponents come from a well-conditioned system.
    """
    target = np.log(values)
    columns = np.stack([np.log(quantity) for quantity in quantities.values()], -1)
    middle = columns.mean(0)
    design = np.column_stack([np.ones(len(target)), columns - middle])
    solve = np.linalg.pinv(design)
    solution = solve @ target
    residuals = target - design @ solution
    left = len(target) - design.shape[1]
    intervals: dict[str, Ends] | None = None
    if left > 0 and bootstraps:
        enlarged = residuals * math.sqrt(len(target) / left)
        drawn = np.random.default_rng([seed, bootstraps]).integers(0, len(target), (bootstraps, len(target)))
        draws = (design @ solution + enlarged[drawn]) @ solve.T
        factors = np.exp(draws[:, 0] - draws[:, 1:] @ middle)
        intervals = {"factor": ends_of(factors, LEVEL)}
        intervals |= {name: ends_of(draws[:, 1 + i], LEVEL) for i, name in enumerate(quantities)}
    return PowerLaw(
        value,
        float(np.exp(solution[0] - solution[1:] @ middle)),
        {name: float(solution[1 + i]) for i, name in enumerate(quantities)},
        source,
        intervals,
        float(np.sqrt((residuals**2).sum() / left)) if left > 0 else math.nan,
    )
