"""The rate at which so many devices train a model of a given size, for arrays of sizes and devices at once.

The same terms as `layout.step_seconds`, on the usual shape of a size instead of a configuration: products at a share of the peak,
sums of tensor parallelism, gathers of FSDP beyond the products, the pipeline's bubble. For every pair the fastest of all layouts
that fit is taken; `layout.choose` does it exactly for one recipe.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from seedbed.laws import BATCHES
from seedbed.plan.chips import COLLECTIVE_SECONDS, USABLE_FRACTION, Chip
from seedbed.plan.money import goodput_of
from seedbed.plan.served import usual_shape
from seedbed.plan.tables import Tables

Number = Any
CONTEXT = 4096  # tokens of a row; small models have less
TOKENS_PER_PARAMETER = 20  # at which the batch is taken: over-training allows more
STAGES_A_DEVICE = 4  # of an interleaved pipeline (Narayanan et al. 2021, section 2.2); Seedbed's own trainer has one
ACTIVATION_BYTES = 34  # a token and channel of a layer, cut by tp (Korthikanti et al. 2022, equation 4, without scores)
STATE_BYTES = 16  # a parameter: float32 weight, gradient and two moments
PARALLEL = [(tp, pp) for tp in (1, 2, 4, 8) for pp in (1, 2, 4, 8, 16, 32)]


@dataclass(frozen=True)
class Rate:
    """Of pairs of sizes [P, 1] and devices [1, n], arrays [P, n]. Zero tokens a second where nothing fits."""

    tokens_second: Number  # in steps that count: goodput is in
    mfu: Number  # of a step, 6 N_active a token
    goodput: Number
    tp: Number
    pp: Number
    batch_tokens: Number  # [P, 1]


def batch_tokens(active: Number, context: int = CONTEXT) -> Number:
    """A global batch that does not hurt, by Step Law at 20 tokens a parameter, in whole rows."""
    tokens = BATCHES["step"](tokens=TOKENS_PER_PARAMETER * np.asarray(active, dtype=float))  # type: ignore[arg-type]
    return np.maximum(1.0, np.round(tokens / context)) * context


def training_rate(
    active: Number, total: Number, devices: Number, chip: Chip, mfu: float, goodput: float, tables: Tables
) -> Rate:
    """`mfu`: what one device reaches; `goodput`: before faults."""
    active, total, devices = (np.asarray(x, dtype=float) for x in (active, total, devices))
    layers, width = usual_shape(active)
    batch = batch_tokens(active)
    rows = batch / CONTEXT
    best = np.full(np.broadcast_shapes(active.shape, devices.shape), np.inf)
    tps, pps = np.ones_like(best), np.ones_like(best)
    for tp, pp in PARALLEL:
        if tp > chip.devices:
            continue
        seconds = step_seconds(active, total, devices, layers, width, rows, tp, pp, chip, mfu)
        better = seconds < best
        best, tps, pps = np.where(better, seconds, best), np.where(better, tp, tps), np.where(better, pp, pps)
    useful = goodput_of(devices, goodput, tables)
    rate = np.where(np.isfinite(best), batch / best, 0.0)
    reached = 6 * active * rate / (devices * chip.bfloat16_flops)
    return Rate(rate * useful, reached, np.broadcast_to(useful, best.shape), tps, pps, batch)


def step_seconds(
    active: Number,
    total: Number,
    devices: Number,
    layers: Number,
    width: Number,
    rows: Number,
    tp: int,
    pp: int,
    chip: Chip,
    mfu: float,
) -> Number:
    """Of one step in this layout, infinite where it cannot be or does not fit. FSDP takes all devices that tp and pp leave."""
    ways = devices / (tp * pp)
    micro = rows / ways  # micro-batches of one row
    possible = (ways >= 1) & (micro >= np.maximum(1, pp) - 1e-9) & (pp <= layers)
    ways = np.maximum(ways, 1.0)
    micro = np.maximum(micro, 1.0)
    row_bytes = CONTEXT * layers / pp * ACTIVATION_BYTES * width / tp
    kept_bytes = CONTEXT * (layers / pp * 2 + ACTIVATION_BYTES) * width / tp
    in_flight = np.minimum(pp, micro)
    logits = CONTEXT * 10 * 100_000 / tp  # a vocabulary of 100,000: bfloat16, float32, its gradient
    state = STATE_BYTES * total / (tp * pp * ways) + 2 * 3 * total / (tp * layers)
    usable = USABLE_FRACTION * chip.memory_bytes
    fits = state + row_bytes * in_flight + logits <= usable
    fits_twice = state + kept_bytes * in_flight + logits <= usable  # layers run twice
    products = 6 * active * rows * CONTEXT / (devices * chip.bfloat16_flops * mfu)
    exposed = np.zeros_like(products)
    if tp > 1:
        volume = 4 * layers / pp * micro * CONTEXT * width * 2 * 2 * (tp - 1) / tp
        exposed = exposed + volume / chip.link_bytes + 4 * layers / pp * micro * COLLECTIVE_SECONDS
    if pp > 1:
        exposed = exposed + 2 * micro * COLLECTIVE_SECONDS
    link = np.where(tp * ways <= chip.devices, chip.link_bytes, chip.network_bytes)
    hidden = micro * total / (tp * pp) * 8 * (ways - 1) / ways / link + 3 * layers / pp * micro * COLLECTIVE_SECONDS
    hidden = np.where(ways > 1, hidden, 0.0)
    # where weights and gradients of a stage fit whole, only the optimizer's state is cut (ZeRO-1) and they travel once a step
    copied = total / (tp * pp) * 8 * (ways - 1) / ways / link
    whole = (6 + (STATE_BYTES - 6) / ways) * total / (tp * pp) + logits
    hidden_once = np.minimum(hidden, copied)
    layouts = [  # (fits, layers run twice, what hides behind the products)
        (fits, 1.0, hidden),
        (fits_twice, 4 / 3, hidden),
        (whole + row_bytes * in_flight <= usable, 1.0, hidden_once),
        (whole + kept_bytes * in_flight <= usable, 4 / 3, hidden_once),
    ]
    best = np.full(np.broadcast_shapes(products.shape, np.shape(possible)), np.inf)
    bubble = (pp - 1) / micro / np.clip(layers / pp, 1, STAGES_A_DEVICE)
    for fitting, work, behind in layouts:
        seconds = (products * work + exposed) * (1 + bubble) + np.maximum(0.0, behind - products * work)
        best = np.where(possible & fitting, np.minimum(best, seconds), best)
    return best
