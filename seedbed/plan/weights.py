"""Every weight of a model by name and shape, and how tensor parallelism cuts it: from the configuration alone.

tests/plan/test_weights.py holds it against the modules.
"""

from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Literal

from seedbed.model.config import TransformerConfig

Cut = Literal["rows", "columns", "whole", "experts"]


@dataclass(frozen=True)
class Weight:
    """`layer` -1: before the layers, the number of layers: after them. `shared`: every stage of a pipeline holds it."""

    name: str
    shape: tuple[int, ...]
    layer: int
    cut: Cut = "whole"
    group: Literal["table", "matrix", "head", "scalar"] = "scalar"
    shared: bool = False

    @property
    def size(self) -> int:
        return prod(self.shape)


@cache
def weights(config: TransformerConfig) -> tuple[Weight, ...]:
    V, D, last = config.padded_vocab_size, config.width, config.layers
    found = [Weight("embedding.weight", (V, D), -1, "rows", "head" if config.tied_head else "table")]
    if config.position == "learned":
        found.append(Weight("position_embedding.weight", (config.context, D), -1, group="head"))
    if config.segments:
        found.append(Weight("segment_embedding.weight", (config.segments, D), -1, group="head"))
    if config.ngram_rows:
        found += [Weight(f"ngram_embeddings.{n}.weight", (config.ngram_rows, D), -1, "rows", "table") for n in (2, 3)]
    width = config.kv_heads * config.head_width
    found += [Weight(f"value_embeddings.{i}.weight", (V, width), i, "columns", "table") for i in config.value_layers]
    for layer in range(config.layers):
        found += layer_weights(config, layer)
    if config.residual_scalars:
        found += [Weight(name, (config.layers,), -1, shared=True) for name in ("residual_scale", "input_scale")]
    if config.embedding_norm:
        found += norm_weights(config, "embedding_norm", -1)
    if config.norm_place != "after":
        found += norm_weights(config, "final_norm", last)
    if config.head_transform:
        found += [Weight("head_transform.dense.weight", (D, D), last, group="head")]
        found += [Weight("head_transform.dense.bias", (D,), last), *norm_weights(config, "head_transform.norm", last)]
        found.append(Weight("head.bias", (V,), last, "rows"))
    if not config.tied_head:
        found.append(Weight("head.weight", (V, D), last, "rows", "head"))
    if config.prior_order:
        found += [
            Weight("prior_gate.weight", (1, D + config.prior_order - 1), last),
            Weight("prior_gate.bias", (1,), last),
        ]
    return tuple(found)


def norm_weights(config: TransformerConfig, name: str, layer: int) -> list[Weight]:
    if not config.norm_weights:
        return []
    parts = ("weight", "bias") if config.norm == "layer" else ("weight",)
    return [Weight(f"{name}.{part}", (config.width,), layer) for part in parts]


def layer_weights(config: TransformerConfig, layer: int) -> list[Weight]:
    name = f"layers.{layer}"
    found = norm_weights(config, f"{name}.attention_norm", layer)
    found += latent_weights(config, layer) if config.latent else attention_weights(config, layer)
    found += norm_weights(config, f"{name}.feed_forward_norm", layer)
    if layer in config.expert_layers:
        return found + expert_weights(config, layer)
    return found + feed_forward_weights(config, f"{name}.feed_forward", layer, config.mlp_width)


def linear(name: str, rows: int, columns: int, layer: int, cut: Cut, bias: bool = False) -> list[Weight]:
    """A matrix, and its bias where it has one: that of a matrix cut by columns is whole."""
    found = [Weight(f"{name}.weight", (rows, columns), layer, cut, "matrix")]
    return [*found, Weight(f"{name}.bias", (rows,), layer, "rows" if cut == "rows" else "whole")] if bias else found


def attention_weights(config: TransformerConfig, layer: int) -> list[Weight]:
    name, D, K = f"layers.{layer}.attention", config.width, config.head_width
    queries, keys = config.heads * K, config.kv_heads * K
    bias = config.bias or config.qkv_bias
    found = linear(f"{name}.query", queries, D, layer, "rows", bias)
    found += linear(f"{name}.key", keys, D, layer, "rows", bias) + linear(f"{name}.value", keys, D, layer, "rows", bias)
    found += linear(f"{name}.output", D, queries, layer, "columns", config.bias)
    if config.qk_norm_weights:
        by_head = config.qk_norm_over == "head"
        found.append(Weight(f"{name}.query_norm.weight", (K if by_head else queries,), layer))
        found.append(Weight(f"{name}.key_norm.weight", (K if by_head else keys,), layer))
    if layer in config.value_layers:
        found.append(Weight(f"{name}.value_gate.weight", (config.kv_heads, min(32, D)), layer, "rows"))
    return found


def latent_weights(config: TransformerConfig, layer: int) -> list[Weight]:
    """Latent attention stays whole in tensor parallelism."""
    assert config.latent is not None
    name, D, H, latent = f"layers.{layer}.attention", config.width, config.heads, config.latent
    found: list[Weight] = []
    if latent.query_rank:
        found += linear(f"{name}.query_down", latent.query_rank, D, layer, "whole")
    query = H * (latent.plain_width + latent.rope_width)
    found += linear(f"{name}.query", query, latent.query_rank or D, layer, "whole")
    found += linear(f"{name}.kv_down", latent.kv_rank + latent.rope_width, D, layer, "whole")
    found += linear(f"{name}.kv_up", H * (latent.plain_width + latent.value_width), latent.kv_rank, layer, "whole")
    found += linear(f"{name}.output", D, H * latent.value_width, layer, "whole")
    if config.norm_weights:
        if latent.query_rank:
            found.append(Weight(f"{name}.query_norm.weight", (latent.query_rank,), layer))
        found.append(Weight(f"{name}.kv_norm.weight", (latent.kv_rank,), layer))
    return found


def feed_forward_weights(config: TransformerConfig, name: str, layer: int, width: int) -> list[Weight]:
    inner = ("up", "gate") if config.feed_forward == "swiglu" else ("up",)
    found = [w for part in inner for w in linear(f"{name}.{part}", width, config.width, layer, "rows", config.bias)]
    return found + linear(f"{name}.down", config.width, width, layer, "columns", config.bias)


def expert_weights(config: TransformerConfig, layer: int) -> list[Weight]:
    assert config.experts is not None
    name, D, experts = f"layers.{layer}.feed_forward", config.width, config.experts
    E, M = experts.num_experts, experts.expert_width
    inner = ("up", "gate") if config.feed_forward == "swiglu" else ("up",)
    found = [Weight(f"{name}.router.weight", (E, D), layer, group="head")]
    found += [Weight(f"{name}.experts.{part}", (E, M, D), layer, "experts", "matrix") for part in inner]
    found.append(Weight(f"{name}.experts.down", (E, D, M), layer, "experts", "matrix"))
    if experts.shared_experts:
        found += feed_forward_weights(config, f"{name}.shared", layer, experts.shared_experts * M)
    return found
