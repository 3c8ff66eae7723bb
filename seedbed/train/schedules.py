"""Learning rate and momentum as functions of the step alone.

trapezoid      rises, stays, falls in a line (warm-up, stable, decay: Hu et al. 2024, section 4; Hägele et al. 2024).
               The plateau does not depend on the horizon, so a run can be prolonged, or decayed from any kept checkpoint
linear         rises, then falls in a line to the end
cosine         rises, then falls as half a cosine (Loshchilov & Hutter 2017)
inverse_sqrt   rises, then falls with the root of the step (Vaswani et al. 2017, eq. 3), whatever the horizon
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a GPU machine may have torch and NumPy alone (bench/gpu_train.py)
    from seedbed.recipe.schema import TrainConfig


MOMENTUM_START, MOMENTUM = 0.85, 0.95


def lr_fraction(step: int, steps: int, config: TrainConfig) -> float:
    """Share of the peak learning rate at `step` of `steps` (counted from 0)."""
    warmup = max(1, round(config.warmup_fraction * steps))
    rise = 1.0 if config.start_from else min(1.0, (step + 1) / warmup)
    low = config.final_lr_fraction
    if config.schedule == "trapezoid":
        length = config.decay_fraction * steps if config.decay_from_step is None else steps - config.decay_from_step
        return rise * max(low, min(1.0, (steps - step) / max(1.0, length)))
    if config.schedule == "inverse_sqrt":
        return rise * max(low, math.sqrt(warmup / max(warmup, step + 1)))
    along = min(1.0, max(0.0, (step - warmup) / max(1, steps - warmup)))
    if config.schedule == "linear":
        return rise * (low + (1 - low) * (1 - along))
    return rise * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * along)))


def muon_momentum(step: int, steps: int, config: TrainConfig) -> float:
    """Momentum rises from .85 to .95 over the first 300 steps or tenth of the run (Jordan et al. 2024)."""
    if config.start_from:
        return MOMENTUM
    return MOMENTUM_START + (MOMENTUM - MOMENTUM_START) * min(1.0, step / max(1, min(300, steps // 10)))
