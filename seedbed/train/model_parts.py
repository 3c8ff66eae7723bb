"""From a resolved recipe's fields to the configurations of the model's optional parts."""

from seedbed.model.config import ExpertsConfig, LatentConfig
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
