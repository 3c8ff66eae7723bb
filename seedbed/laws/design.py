"""The next run worth making: the one that narrows the prediction at a target most for its compute.

Bayesian c-optimal design on the bootstrap: across the draws of the parameters, a candidate's log loss f and the target's g vary
together. Seeing the candidate with a single run's noise s leaves of the target's variance

    Var(g | f) = Var(g) - Cov(f, g)^2 / (Var(f) + s^2)

(exact where f and g are jointly normal). No derivative is taken, so an exponent that the points hardly bound does no harm.

Alone, that rule sends one to the smallest runs, where the form's terms are largest, as if the form were true. So each run is also
off the law by a discrepancy d that runs of like compute share, Cov(d, d') = a^2 exp(-|ln C - ln C'| / MEMORY), with a^2 what the
law's widening asks for beyond the bootstrap (Kennedy and O'Hagan 2001 in its simplest form); 0 where its intervals held.
"""

import math
from dataclasses import dataclass

import numpy as np

from seedbed.errors import InputError
from seedbed.laws.forms import Array, make_inputs
from seedbed.laws.law import Law

SIZES, LENGTHS = 40, 40
REACH = 4.0  # how far beyond the sizes, tokens and tokens per parameter of the points a candidate may go
MEMORY = math.log(10.0)  # a decade of compute: an assumption, there are never enough points to fit it
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
    cost = 6 * params * tokens
    missed = discrepancy_variance(law, noise)
    shared = missed * np.exp(-np.abs(np.log(cost / (6 * target_params * target_tokens))) / MEMORY)
    left = variance_left(seen, wanted, noise, missed, shared)
    before = float(wanted.var()) + missed
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


def variance_left(seen: Array, wanted: Array, noise: float, missed: float = 0.0, shared: Array | float = 0.0) -> Array:
    """Of `wanted` [B], after each column of `seen` [B, P] was observed with noise of this variance: [P].

    Both are off by a discrepancy of variance `missed`, of which `shared` [P] is common to them.
    """
    centered = seen - seen.mean(0)
    together = (centered * (wanted - wanted.mean())[:, None]).mean(0) + shared
    left: Array = wanted.var() + missed - together**2 / (centered.var(0) + missed + noise)
    return np.maximum(left, 0.0)


def discrepancy_variance(law: Law, noise: float) -> float:
    """(w^2 - 1) times a prediction's variance at the largest of the points, w the law's widening."""
    assert law.fitted is not None
    params = law.fitted.params[1]
    largest = make_inputs(params, law.fitted.flops[1] / 6 / params)
    return (law.widening**2 - 1) * (float(law.form.log_loss(law.draws, largest).var()) + noise)


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
