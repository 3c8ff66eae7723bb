"""Learning rate and momentum as functions of the step alone."""

import math

from seedbed.recipe.schema import TrainConfig


def lr_fraction(step: int, steps: int, config: TrainConfig) -> float:
    """Share of the peak learning rate at `step` of `steps` (counted from 0)."""
    warmup = max(1, round(config.warmup_fraction * steps))
    rise = min(1.0, (step + 1) / warmup)
    low = config.final_lr_fraction
    if config.schedule == "cosine":
        along = max(0.0, (step - warmup) / max(1, steps - warmup))
        return rise * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, along))))
    left = (steps - step) / max(1.0, config.decay_fraction * steps)
    return rise * max(low, min(1.0, left))


def muon_momentum(step: int, steps: int) -> float:
    """Momentum rises from .85 to .95 over the first 300 steps or tenth of the run (Jordan et al. 2024)."""
    return 0.85 + 0.10 * min(1.0, step / max(1, min(300, steps // 10)))
