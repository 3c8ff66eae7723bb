"""From a resolved recipe's fields to the configurations of the model's optional parts."""

from typing import Any

from seedbed.model.config import ExpertsConfig, LatentConfig, RopeScaling, TransformerConfig, window_pattern
from seedbed.recipe.schema import ModelConfig


def experts_config(model: ModelConfig) -> ExpertsConfig | None:
    if not model.num_experts:
        return None
    assert model.experts_per_token and model.expert_width and model.balance_rate
    return ExpertsConfig(
        num_experts=model.num_experts,
        experts_per_token=model.experts_per_token,
        expert_width=model.expert_width,
        shared_experts=model.shared_experts,
        dense_layers=model.dense_layers,
        gate=model.expert_gate,
        normalise_gates=model.normalise_gates,
        routed_scale=model.routed_scale,
        groups=model.expert_groups,
        groups_per_token=model.groups_per_token,
        balance=model.balance,
        bias_rate=model.balance_rate,
        loss_weight=model.balance_loss,
        z_loss_weight=model.router_z_loss,
    )


def latent_config(model: ModelConfig) -> LatentConfig | None:
    if model.attention == "gqa":
        return None
    assert model.kv_rank and model.plain_width and model.rope_width and model.value_width
    return LatentConfig(
        kv_rank=model.kv_rank,
        plain_width=model.plain_width,
        rope_width=model.rope_width,
        value_width=model.value_width,
        query_rank=model.query_rank or 0,
    )


def attention_parts(model: ModelConfig, base: TransformerConfig) -> dict[str, Any]:
    """Heads, windows, rotary positions and the head, where the recipe differs from the architecture's `base`."""
    assert model.head_width
    own_width = model.head_width * base.heads != base.width
    return {
        "head_channels": model.head_width if own_width else 0,
        "windows": window_pattern(model.windows, model.window, base.layers) if model.window else (),
        "rope_base": model.rope_base or base.rope_base,
        "rope_scaling": rope_scaling(model),
        "tied_head": base.tied_head if model.tied_head is None else model.tied_head,
        "logit_softcap": model.logit_softcap,
    }


def rope_scaling(model: ModelConfig) -> RopeScaling | None:
    if model.rope_scaling == "off":
        return None
    assert model.rope_factor and model.rope_original_context
    return RopeScaling(model.rope_scaling, model.rope_factor, model.rope_original_context)
