"""The next run worth making: the one that narrows the prediction at a target most for its compute.

Bayesian c-optimal design on the bootstrap: across the draws of the parameters, a candidate's log loss f and the target's g vary
together. Seeing the candidate with a single run's noise s leaves of the target's variance

    Var(g | f) = Var(g) - Cov(f, g)^2 / (Var(f) + s^2)

(exact where f and g are jointly normal). No derivative is taken, so an exponent that the points hardly bound does no harm.
"""

import math
from dataclasses import dataclass

import numpy as np

from seedbed.errors import InputError
from seedbed.laws.forms import Array, make_inputs
from seedbed.laws.law import Law

SIZES, LENGTHS = 40, 40
REACH = 4.0  # how far beyond the sizes, tokens and tokens per parameter of the points a candidate may go
ENOUGH = 0.5  # of the narrowing that the whole budget can buy: among such candidates the best per FLOP is proposed


@dataclass(frozen=True)
class Candidate:
    """A run, what it costs, and the target's relative standard deviation after it."""

    params: float
    tokens: float
    flops: float
    loss: float
    after: float


@dataclass(frozen=True)
class Proposal:
    """`before`: the target's relative standard deviation now; `best`: the proposed run; `most`: the one that narrows most."""

    target_params: float
    target_tokens: float
    target_loss: float
    before: float
    best: Candidate
    most: Candidate


def next_run(law: Law, budget: float, target_params: float, target_tokens: float) -> Proposal:
    """The run within `budget` FLOPs to make next for a prediction at the target."""
    if len(law.draws) < 2 or law.fitted is None:
        raise InputError("next: needs a law fitted to points with a bootstrap: give --bootstrap 100 or more")
    params, tokens = candidates(law, budget)
    inputs = make_inputs(params, tokens)
    seen = law.form.log_loss(law.draws, inputs)
    wanted = law.form.log_loss(law.draws, make_inputs(target_params, target_tokens))[:, 0]
    noise = float(np.mean(law.residuals**2))
    left = variance_left(seen, wanted, noise)
    before = float(wanted.var())
    cost = 6 * params * tokens
    gain = before - left
    most = int(gain.argmax())
    enough = gain >= ENOUGH * gain[most]
    best = int(np.where(enough, gain / cost, -1).argmax())
    loss = law.loss(params, tokens)

    def candidate(row: int) -> Candidate:
        return Candidate(
            float(params[row]), float(tokens[row]), float(cost[row]), float(loss[row]), math.sqrt(float(left[row]))
        )

    target_loss = law.loss(target_params, target_tokens)
    return Proposal(target_params, target_tokens, target_loss, math.sqrt(before), candidate(best), candidate(most))


def variance_left(seen: Array, wanted: Array, noise: float) -> Array:
    """Of `wanted` [B], after each column of `seen` [B, P] was observed with noise of this variance: [P]."""
    centered = seen - seen.mean(0)
    shared = (centered * (wanted - wanted.mean())[:, None]).mean(0)
    left: Array = wanted.var() - shared**2 / (centered.var(0) + noise)
    return np.maximum(left, 0.0)


def candidates(law: Law, budget: float) -> tuple[Array, Array]:
    """A grid of sizes and tokens about the points, within the budget."""
    fitted = law.fitted
    assert fitted is not None
    sizes = np.geomspace(fitted.params[0], fitted.params[1] * REACH, SIZES)
    lengths = np.geomspace(fitted.tokens[0], fitted.tokens[1] * REACH, LENGTHS)
    params, tokens = (x.reshape(-1) for x in np.meshgrid(sizes, lengths))
    ratio = tokens / params
    low, high = fitted.tokens_per_param
    allowed = (6 * params * tokens <= budget) & (ratio >= low / REACH) & (ratio <= high * REACH)
    if not allowed.any():
        raise InputError(
            f"--budget: {budget:.3g} FLOPs buy no run as large as the smallest of the points ({fitted.flops[0]:.3g}): give more"
        )
    return params[allowed], tokens[allowed]
