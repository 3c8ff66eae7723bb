"""Heads, windows and rotary positions in a recipe: what is derived, and combinations that cannot be."""

from typing import Any

from seedbed.errors import InputError
from seedbed.recipe.schema import ModelConfig

LEARNED_POSITIONS = ("gpt2", "bert")
ROPE_FIELDS = ("rope_base", "rope_scaling", "rope_factor", "rope_original_context")


def resolve_attention(model: ModelConfig, width: int, heads: int, context: int) -> dict[str, Any]:
    """The derived fields of attention; raises InputError for what cannot be built."""
    if model.head_width is None and width % heads:
        raise InputError(
            f"model.heads: {heads} does not divide model.width {width}: choose a divisor, or give model.head_width"
        )
    head_width = model.head_width or width // heads
    if head_width % 2:
        raise InputError(
            f"model.heads: {heads} heads of width {head_width} are odd, and RoPE turns pairs of channels: "
            "change model.width, or give an even model.head_width"
        )
    kv_heads = model.kv_heads or heads
    if heads % kv_heads:
        raise InputError(f"model.kv_heads: {kv_heads} does not divide model.heads {heads}: choose a divisor")
    return {
        "kv_heads": kv_heads,
        "head_width": head_width,
        **resolve_windows(model, context),
        **resolve_rope(model, context),
    }


def resolve_windows(model: ModelConfig, context: int) -> dict[str, Any]:
    """A short window is half the context, as in nanochat."""
    if "S" not in model.windows:
        if model.window is not None:
            raise InputError(f"model.window: {model.window}, and no layer has one: set model.windows, such as SSSL")
        return {}
    window = model.window or max(1, context // 2)
    if window >= context:
        raise InputError(f"model.window: {window} is all of model.context {context}: choose less, or model.windows = L")
    return {"window": window}


def resolve_rope(model: ModelConfig, context: int) -> dict[str, Any]:
    """Scaling stretches an original context to this one."""
    if model.architecture in LEARNED_POSITIONS:
        for name in ROPE_FIELDS:
            if getattr(model, name) != ModelConfig.model_fields[name].default:
                raise InputError(
                    f"model.{name}: {model.architecture} learns its positions and has no RoPE: leave it out"
                )
    if model.rope_scaling == "off":
        for name in ("rope_factor", "rope_original_context"):
            if getattr(model, name) is not None:
                raise InputError(f"model.{name}: nothing is scaled: set model.rope_scaling, such as yarn")
        return {}
    if model.rope_factor is None:
        raise InputError(f"model.rope_scaling: {model.rope_scaling} by how much: give model.rope_factor, such as 4")
    original = model.rope_original_context or max(1, round(context / model.rope_factor))
    return {"rope_original_context": original}
