"""Whether a step fits this machine's memory, by arithmetic: a CPU says nothing until the process is killed."""

from seedbed.errors import InputError
from seedbed.model.block_attention import MOST_KEYS, probabilities_kept
from seedbed.model.config import TransformerConfig
from seedbed.plan.memory import Work, estimate
from seedbed.recipe.layout import Layout

USABLE_FRACTION = (
    0.8  # of the memory that is free; what the estimate leaves out, and other programs, have the rest. Assumed
)
FLOAT32_OVER_PLANNED = 2.0  # the planner counts activations in bfloat16


def fitting_rows(config: TransformerConfig, rows: int, optimizer: str, recompute: bool, free_bytes: int) -> int:
    """The micro-batch, from `rows` by halves, whose step fits `free_bytes`. InputError when not even one row does."""
    usable = USABLE_FRACTION * free_bytes
    while True:
        memory = estimate(config, Layout(), Work(rows, 1, recompute, optimizer))
        held = memory.weights + memory.gradients + memory.optimizer
        activations = memory.activations + rows * attention_bytes(config, recompute)
        needed = held + FLOAT32_OVER_PLANNED * (activations + memory.logits)
        if needed <= usable:
            return rows
        if rows % 2:
            raise InputError(
                f"model.size: a step needs about {needed / 1e9:.1f} GB (weights, gradients and optimizer {held / 1e9:.1f}) and "
                f"{free_bytes / 1e9:.1f} GB are free: choose a smaller size or context, or train.recompute=full"
            )
        rows //= 2


def attention_bytes(config: TransformerConfig, recompute: bool) -> int:
    """Probabilities that attention on a CPU keeps for one row, in bfloat16: the planner's kernels keep none."""
    if not config.causal or config.context > MOST_KEYS:
        return 0
    layers = range(1 if recompute else config.layers)
    return sum(2 * config.heads * probabilities_kept(config.context, config.window(layer)) for layer in layers)
