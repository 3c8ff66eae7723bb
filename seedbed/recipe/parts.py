"""Mixtures of experts and latent attention in a recipe: what is derived, and combinations that cannot be."""

import math
from typing import Any

from seedbed.errors import InputError
from seedbed.recipe.schema import ModelConfig

EXPERT_FIELDS = (
    "experts_per_token", "shared_experts", "expert_width", "dense_layers", "expert_gate", "normalise_gates",
    "routed_scale", "expert_groups", "groups_per_token", "balance", "balance_rate", "balance_loss", "router_z_loss",
)  # fmt: skip
LATENT_FIELDS = ("kv_rank", "query_rank", "plain_width", "rope_width", "value_width")


def resolve_experts(model: ModelConfig, layers: int, mlp_width: int, steps: int | None) -> dict[str, Any]:
    """The derived fields of a mixture of experts; none for a dense model. `steps` of the run, where they are known.

    A token's experts together are as wide as the dense part would be, so that `model.size` is what a token uses. The
    balancing bias moves by .001 a step in long runs (DeepSeek-V3, section 4.2) and by .01 below 10,000 steps: after 200
    steps of 1,024 tokens the least used of 8 experts then had .67 of the mean load, and .15 with .001 (bench/experts.py).
    """
    if not model.num_experts:
        refuse_unused(model, EXPERT_FIELDS, "the model has no experts: set model.num_experts as well, or leave it out")
        return {}
    chosen, groups = model.experts_per_token or 2, model.expert_groups
    if model.num_experts == 1:
        raise InputError("model.num_experts: 1 expert is a dense model: give 0, or 2 and more")
    if chosen > model.num_experts:
        raise InputError(f"model.experts_per_token: {chosen} of {model.num_experts} experts: choose at most as many")
    if model.num_experts % groups:
        raise InputError(
            f"model.expert_groups: {groups} does not divide model.num_experts {model.num_experts}: choose a divisor"
        )
    if model.groups_per_token > groups:
        raise InputError(f"model.groups_per_token: {model.groups_per_token} of {groups} groups: choose at most as many")
    open_experts = model.groups_per_token * (model.num_experts // groups)
    if chosen > open_experts:
        raise InputError(
            f"model.experts_per_token: {chosen}, and model.groups_per_token leaves {open_experts} to choose from: "
            "raise the latter"
        )
    if model.dense_layers >= layers:
        raise InputError(
            f"model.dense_layers: {model.dense_layers} of {layers} layers leave none with experts: lower it"
        )
    width = mlp_width / (chosen + model.shared_experts)
    step = 8 if width < 512 else 128  # grouped products want 16-byte strides, and large ones tiles of 128
    return {
        "experts_per_token": chosen,
        "expert_width": model.expert_width or math.ceil(width / step) * step,
        "balance_rate": model.balance_rate or (0.001 if steps and steps >= 10_000 else 0.01),
    }


def resolve_latent(model: ModelConfig, heads: int, head_width: int) -> dict[str, Any]:
    """The derived fields of latent attention, in DeepSeek-V3's proportions (section 4.2: 128, 64, 128; 512 = 4 x 128)."""
    if model.attention == "gqa":
        refuse_unused(model, LATENT_FIELDS, 'only latent attention has it: set model.attention = "mla" as well')
        return {}
    if model.architecture in ("gpt2", "bert"):
        raise InputError(
            f'model.attention: "mla" needs RoPE, and {model.architecture} learns its positions: choose another architecture'
        )
    if model.kv_heads not in (None, heads):
        raise InputError(
            f"model.kv_heads: {model.kv_heads}, and mla makes every head's keys from a latent: leave it out"
        )
    rope_width = model.rope_width or max(2, head_width // 4 * 2)
    if rope_width % 2:
        raise InputError(f"model.rope_width: {rope_width} is odd, and RoPE turns pairs of channels: make it even")
    return {
        "kv_rank": model.kv_rank or 4 * head_width,
        "query_rank": model.query_rank or 0,
        "plain_width": model.plain_width or head_width,
        "rope_width": rope_width,
        "value_width": model.value_width or head_width,
    }


def refuse_unused(model: ModelConfig, fields: tuple[str, ...], remedy: str) -> None:
    for name in fields:
        if getattr(model, name) != ModelConfig.model_fields[name].default:
            raise InputError(f"model.{name}: {getattr(model, name)!r}: {remedy}")
