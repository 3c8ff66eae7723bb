"""Memory of one device of a layout, by part. Weights, gradients and optimizer state are counted; the rest is estimated.

Weights are float32 and sharded; matrix products run in bfloat16 under autocast. The estimates have not been compared with a GPU.
"""

from dataclasses import asdict, dataclass
from functools import cache
from math import ceil, prod

from seedbed.model.config import TransformerConfig
from seedbed.plan.weights import Weight, weights
from seedbed.recipe.layout import Layout, split_layers


@dataclass(frozen=True)
class Memory:
    """Bytes on the fullest device."""

    weights: float
    gradients: float
    optimizer: float
    gathered: float  # weights that FSDP has together while a layer runs, and their gradients
    activations: float  # kept from forward to backward
    logits: float

    @property
    def total(self) -> float:
        return sum(asdict(self).values())


@dataclass(frozen=True)
class Work:
    """What a device does at once: rows of a micro-batch, and micro-batches of a step. `recompute`: layers run twice."""

    micro_rows: int
    micro_batches: int
    recompute: bool = False
    optimizer: str = "muon"


@cache
def stage_weights(config: TransformerConfig, stages: int, stage: int) -> list[Weight]:
    """The weights of a stage of the pipeline."""
    layers = split_layers(config.layers, stages)[stage]
    first, last = stage == 0, stage == stages - 1

    def here(weight: Weight) -> bool:
        if weight.shared or weight.layer in layers:
            return True
        if weight.name == "embedding.weight":
            return first or (last and config.tied_head)
        return (first and weight.layer < 0) or (last and weight.layer == config.layers)

    return [weight for weight in weights(config) if here(weight)]


def cut_shape(weight: Weight, layout: Layout) -> tuple[int, ...]:
    """What tensor and expert parallelism leave of a weight."""
    shape = list(weight.shape)
    if weight.cut == "rows":
        shape[0] = ceil(shape[0] / layout.tp)
    elif weight.cut == "columns":
        shape[1] = ceil(shape[1] / layout.tp)
    elif weight.cut == "experts":
        shape[0] = ceil(shape[0] / layout.ep)
    return tuple(shape)


def local_shape(weight: Weight, layout: Layout) -> tuple[int, ...]:
    """What the first device holds; others hold as much or less. FSDP cuts the first dimension; ranks of cp share as well."""
    rows, *rest = cut_shape(weight, layout)
    shards = layout.fsdp * layout.cp if layout.fsdp > 1 else 1
    if weight.cut == "experts":
        shards //= layout.ep if layout.fsdp > 1 else 1
    return (ceil(rows / shards), *rest)


def weight_bytes(config: TransformerConfig, layout: Layout, stage: int) -> int:
    return sum(4 * prod(local_shape(weight, layout)) for weight in stage_weights(config, layout.pp, stage))


def state_bytes(weight: Weight, layout: Layout, optimizer: str) -> int:
    """Of the optimizer: Muon keeps a momentum, AdamW two moments, tables a second moment and a count a row. All float32."""
    local = prod(local_shape(weight, layout))
    if weight.group == "table":
        return 4 * (local + local_shape(weight, layout)[0])
    return 4 * local * (1 if weight.group == "matrix" and optimizer == "muon" else 2)


def layer_activation_bytes(config: TransformerConfig, layout: Layout) -> float:
    """Kept for the backward pass by one layer, for one token: after Korthikanti et al. 2022, section 4.1, for our parts.

    float32 residual stream before each of two norms, bfloat16 norms and inputs of products, attention by a kernel that keeps no
    scores. What lies between the cut matrices is cut as well.
    """
    D, M, K = config.width, config.mlp_width, config.head_width
    attention = 2 * config.heads * K + 2 * config.kv_heads * K
    if config.latent:
        attention = config.heads * (
            2 * (config.latent.plain_width + config.latent.rope_width) + 2 * config.latent.value_width
        )
    if config.experts and config.expert_layers:
        chosen = config.experts.experts_per_token + config.experts.shared_experts
        M = max(M if config.experts.dense_layers else 0, chosen * config.experts.expert_width)
        D = D + chosen * D // 2  # the rows that travel to the experts and back
    inner = 4 * M if config.feed_forward == "swiglu" else 2 * M
    return 2 * (4 * D + 2 * D) + 2 * (attention + inner) / layout.tp


def estimate(config: TransformerConfig, layout: Layout, work: Work) -> Memory:
    """Of the fullest stage."""
    return max((stage_memory(config, layout, work, stage) for stage in range(layout.pp)), key=lambda m: m.total)


def stage_memory(config: TransformerConfig, layout: Layout, work: Work, stage: int) -> Memory:
    held = stage_weights(config, layout.pp, stage)
    layers = split_layers(config.layers, layout.pp)[stage]
    local = weight_bytes(config, layout, stage)
    gathered = 0.0
    if layout.fsdp > 1:
        by_layer = [
            sum(prod(cut_shape(w, layout)) for w in held if w.layer == i and w.group != "table") for i in layers
        ]
        # the layer at work and the next, in bfloat16, and the gradient of one; the root's weights and gradients in float32
        root = sum(prod(cut_shape(w, layout)) for w in held if w.layer not in layers)
        gathered = 3 * 2 * max(by_layer, default=0) + 2 * 4 * root
    tokens = work.micro_rows * config.context / layout.cp
    in_flight = min(layout.pp - stage, work.micro_batches)
    each = layer_activation_bytes(config, layout)
    kept = 4 * config.width if work.recompute else each
    activations = tokens * (len(layers) * kept * in_flight + (each if work.recompute else 0))
    last = stage == layout.pp - 1
    # bfloat16 logits, the same in float32, and their gradient
    logits = tokens * config.padded_vocab_size / layout.tp * (2 + 4 + 4) if last else 0.0
    optimizer = sum(state_bytes(weight, layout, work.optimizer) for weight in held)
    return Memory(local, local, optimizer, gathered, activations, logits)
