"""Decoders with experts: Mixtral, Qwen3-MoE and DeepSeek-V3, which has latent attention too.

Published files hold each expert's matrices by themselves, and the model classes of Transformers 5 hold them joined, as a
stack of [gate; up] and a stack of down: both come in, the first goes out.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from seedbed.model.config import ExpertsConfig, LatentConfig, TransformerConfig, llama_config, qwen3_config
from seedbed.model.convert.decoders import (
    IGNORED_NAMES,
    attention_rules,
    norm_rules,
    read_decoder,
    write_decoder,
)
from seedbed.model.convert.rules import Family, Rule, Values, demand, head_rules, named_epsilon, padded, same

PARTS = ("gate", "up", "down")
MIXTRAL_PARTS = {"gate": "w1", "up": "w3", "down": "w2"}  # of one expert
QWEN_PARTS = {part: f"{part}_proj" for part in PARTS}


def spread_stacks(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with joined experts as published files have it."""
    mixtral = any(".block_sparse_moe." in name for name in state)
    spread: dict[str, Tensor] = {}
    for name, value in state.items():
        found = re.fullmatch(r"(.*\.experts)\.(gate_up_proj|down_proj)", name)
        if found is None:
            spread[name] = value
            continue
        prefix, kind = found.groups()
        parts = QWEN_PARTS if not mixtral else MIXTRAL_PARTS
        for expert, matrix in enumerate(value):
            pieces = zip(("gate", "up"), matrix.chunk(2), strict=True) if kind == "gate_up_proj" else [("down", matrix)]
            spread |= {f"{prefix}.{expert}.{parts[part]}.weight": piece for part, piece in pieces}
    return spread


def mixtral_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mixtral's published files say `block_sparse_moe` where its class says `mlp`."""
    return spread_stacks({name.replace(".mlp.", ".block_sparse_moe."): value for name, value in state.items()})


def stacked(ours: str, theirs: list[str]) -> Rule:
    """[E, out, in] here, one matrix an expert there."""
    return Rule((ours,), tuple(theirs), lambda x: [m.contiguous() for m in x[0]], lambda x: [torch.stack(x)])


def expert_rules(config: TransformerConfig, ours: str, theirs: str, parts: Mapping[str, str]) -> Iterator[Rule]:
    assert config.experts is not None
    yield same(f"{ours}.router.weight", f"{theirs}.gate.weight")
    for part, name in parts.items():
        names = [f"{theirs}.experts.{e}.{name}.weight" for e in range(config.experts.num_experts)]
        yield stacked(f"{ours}.experts.{part}", names)


def expert_decoder_rules(config: TransformerConfig) -> Iterator[Rule]:
    mixtral = config.experts is not None and not config.qk_norm_weights and config.latent is None
    yield padded("embedding.weight", "model.embed_tokens.weight", config)
    for i in range(config.layers):
        ours, theirs = f"layers.{i}", f"model.layers.{i}"
        attention = latent_rules if config.latent else attention_rules
        yield from attention(config, f"{ours}.attention", f"{theirs}.self_attn")
        yield from norm_rules(config, ours, theirs)
        if i not in config.expert_layers:
            for part in PARTS:
                yield same(f"{ours}.feed_forward.{part}.weight", f"{theirs}.mlp.{part}_proj.weight")
        elif mixtral:
            yield from expert_rules(config, f"{ours}.feed_forward", f"{theirs}.block_sparse_moe", MIXTRAL_PARTS)
        else:
            yield from expert_rules(config, f"{ours}.feed_forward", f"{theirs}.mlp", QWEN_PARTS)
            if config.latent:
                yield same(f"{ours}.feed_forward.router.bias_E", f"{theirs}.mlp.gate.e_score_correction_bias")
                for part in PARTS:
                    shared = f"{theirs}.mlp.shared_experts.{part}_proj.weight"
                    yield same(f"{ours}.feed_forward.shared.{part}.weight", shared)
    yield same("final_norm.weight", "model.norm.weight")
    yield from head_rules(config)


def latent_rules(config: TransformerConfig, ours: str, theirs: str) -> Iterator[Rule]:
    latent = config.latent
    assert latent is not None
    if latent.query_rank:
        yield same(f"{ours}.query_down.weight", f"{theirs}.q_a_proj.weight")
        yield same(f"{ours}.query_norm.weight", f"{theirs}.q_a_layernorm.weight")
    turned = latent.rope_width
    query = "q_b_proj" if latent.query_rank else "q_proj"
    yield unpaired(f"{ours}.query.weight", f"{theirs}.{query}.weight", latent.plain_width, turned, config.heads)
    yield unpaired(f"{ours}.kv_down.weight", f"{theirs}.kv_a_proj_with_mqa.weight", latent.kv_rank, turned, 1)
    yield same(f"{ours}.kv_norm.weight", f"{theirs}.kv_a_layernorm.weight")
    yield same(f"{ours}.kv_up.weight", f"{theirs}.kv_b_proj.weight")
    yield same(f"{ours}.output.weight", f"{theirs}.o_proj.weight")


def unpaired(ours: str, theirs: str, plain: int, turned: int, heads: int) -> Rule:
    """RoPE turns channel i with i + R/2 here and 2i with 2i + 1 there: the last `turned` rows of each head move."""
    there = torch.arange(plain + turned)
    there[plain:] = plain + torch.cat((torch.arange(0, turned, 2), torch.arange(1, turned, 2)))
    rows = (torch.arange(heads)[:, None] * (plain + turned) + there).flatten()
    return Rule((ours,), (theirs,), lambda x: [x[0][rows.argsort()]], lambda x: [x[0][rows]])


def read_balance(values: Values) -> dict[str, Any]:
    """What only training reads: Transformers' own coefficient, and two that it passes over."""
    weight = values.get("router_aux_loss_coef") or 0.0
    return {
        "balance": "loss" if weight else "off",
        **({"loss_weight": weight} if weight else {}),
        "z_loss_weight": values.get("router_z_loss_coef", 0.0),
        "bias_rate": values.get("router_bias_rate", ExpertsConfig.bias_rate),
    }


def write_balance(experts: ExpertsConfig) -> dict[str, Any]:
    return {
        "router_aux_loss_coef": experts.loss_weight if experts.balance == "loss" else 0.0,
        "router_z_loss_coef": experts.z_loss_weight,
        "router_bias_rate": experts.bias_rate,
    }


def experts_of(config: TransformerConfig) -> ExpertsConfig:
    if config.experts is None:
        raise ValueError("experts: the model has none")
    return config.experts


def read_mixtral(values: Values) -> TransformerConfig:
    base = llama_config(read_decoder(values))
    experts = ExpertsConfig(
        values["num_local_experts"],
        values["num_experts_per_tok"],
        values["intermediate_size"],
        gate="softmax",
        **read_balance(values),
    )
    return replace(base, experts=experts, norm_epsilon=named_epsilon(base, values["rms_norm_eps"]))


def write_mixtral(config: TransformerConfig) -> dict[str, Any]:
    experts, widths = experts_of(config), set(config.windows)
    if len(widths) > 1:
        raise ValueError("windows: Mixtral has one for all layers")
    return {
        **write_decoder(config, "MixtralForCausalLM"),
        "num_local_experts": experts.num_experts,
        "num_experts_per_tok": experts.experts_per_token,
        "intermediate_size": experts.expert_width,
        "sliding_window": next(iter(widths), None),
        **write_balance(experts),
    }


def read_qwen3_moe(values: Values) -> TransformerConfig:
    base = read_decoder({**values, "sliding_window": None})
    if values.get("use_sliding_window"):
        raise ValueError("use_sliding_window: True is not supported for qwen3_moe")
    if values.get("decoder_sparse_step", 1) != 1:
        raise ValueError("decoder_sparse_step: only 1, experts in every layer, is supported")
    dense = values.get("mlp_only_layers") or []
    if sorted(dense) != list(range(len(dense))):
        raise ValueError(f"mlp_only_layers: {dense} is not supported (only the first layers)")
    experts = ExpertsConfig(
        values.get("num_experts") or values["num_local_experts"],
        values["num_experts_per_tok"],
        values["moe_intermediate_size"],
        dense_layers=len(dense),
        gate="softmax",
        normalise_gates=values["norm_topk_prob"],
        **read_balance(values),
    )
    config = replace(qwen3_config(base), rope_base=base.rope_base, experts=experts)
    return replace(config, norm_epsilon=named_epsilon(config, values["rms_norm_eps"]))


def write_qwen3_moe(config: TransformerConfig) -> dict[str, Any]:
    experts = experts_of(config)
    return {
        **write_decoder(config, "Qwen3MoeForCausalLM"),
        "num_experts": experts.num_experts,
        "num_experts_per_tok": experts.experts_per_token,
        "moe_intermediate_size": experts.expert_width,
        "mlp_only_layers": list(range(experts.dense_layers)),
        "norm_topk_prob": experts.normalise_gates,
        **write_balance(experts),
    }


def read_deepseek(values: Values) -> TransformerConfig:
    demand(values, rope_interleave=True, scoring_func="sigmoid", topk_method="noaux_tc", moe_layer_freq=1)
    rope, yarn_scale = read_yarn_scale(values)
    base = llama_config(read_decoder({**values, **rope, "head_dim": None, "num_key_value_heads": None}))
    experts = ExpertsConfig(
        values["n_routed_experts"],
        values["num_experts_per_tok"],
        values["moe_intermediate_size"],
        shared_experts=values["n_shared_experts"],
        dense_layers=values["first_k_dense_replace"],
        normalise_gates=values["norm_topk_prob"],
        routed_scale=values["routed_scaling_factor"],
        groups=values["n_group"],
        groups_per_token=values["topk_group"],
        **{**read_balance(values), "balance": "bias"},
    )
    latent = LatentConfig(
        kv_rank=values["kv_lora_rank"],
        plain_width=values["qk_nope_head_dim"],
        rope_width=values["qk_rope_head_dim"],
        value_width=values["v_head_dim"],
        query_rank=values.get("q_lora_rank") or 0,
        yarn_scale=yarn_scale,
    )
    epsilon = named_epsilon(base, values["rms_norm_eps"])
    return replace(base, experts=experts, latent=latent, norm_epsilon=epsilon)


def read_yarn_scale(values: Values) -> tuple[dict[str, Any], float]:
    """RoPE's fields as other decoders have them, and the yarn_scale that DeepSeek adds."""
    given = dict(values.get("rope_parameters") or values.get("rope_scaling") or {})
    scale, all_channels = (float(given.pop(name, None) or 0.0) for name in ("mscale", "mscale_all_dim"))
    if scale != all_channels:  # their quotient would be a factor on the turned channels alone
        raise ValueError(f"mscale: {scale} is not supported (only mscale_all_dim, {all_channels})")
    if scale:
        given["attention_factor"] = 1.0
    return {"rope_parameters": given, "rope_scaling": None}, scale


def write_deepseek(config: TransformerConfig) -> dict[str, Any]:
    experts, latent = experts_of(config), config.latent
    if latent is None or not experts.shared_experts:
        raise ValueError("DeepSeek-V3 has latent attention and shared experts")
    values = write_decoder(config, "DeepseekV3ForCausalLM")
    if latent.yarn_scale:
        rope = values.get("rope_scaling", {})
        if rope.pop("attention_factor", 0.0) != 1:
            raise ValueError("yarn_scale: DeepSeek-V3 has it with an attention_factor of 1 only")
        rope |= {"mscale": latent.yarn_scale, "mscale_all_dim": latent.yarn_scale}
    return {
        **values,
        "head_dim": latent.rope_width,
        "n_routed_experts": experts.num_experts,
        "num_experts_per_tok": experts.experts_per_token,
        "moe_intermediate_size": experts.expert_width,
        "n_shared_experts": experts.shared_experts,
        "first_k_dense_replace": experts.dense_layers,
        "norm_topk_prob": experts.normalise_gates,
        "routed_scaling_factor": experts.routed_scale,
        "n_group": experts.groups,
        "topk_group": experts.groups_per_token,
        "kv_lora_rank": latent.kv_rank,
        "q_lora_rank": latent.query_rank or None,
        "qk_nope_head_dim": latent.plain_width,
        "qk_rope_head_dim": latent.rope_width,
        "v_head_dim": latent.value_width,
        "rope_interleave": True,
        **write_balance(experts),
    }


# Files of DeepSeek-V3 hold a module that predicts two tokens ahead as one more layer: it is left out.
MIXTRAL = Family("mixtral", read_mixtral, write_mixtral, expert_decoder_rules, IGNORED_NAMES, spread=mixtral_names)
QWEN3_MOE = Family(
    "qwen3_moe", read_qwen3_moe, write_qwen3_moe, expert_decoder_rules, IGNORED_NAMES, spread=spread_stacks
)
DEEPSEEK_V3 = Family(
    "deepseek_v3", read_deepseek, write_deepseek, expert_decoder_rules, IGNORED_NAMES, spread=spread_stacks
)
