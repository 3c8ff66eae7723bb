"""The presets of published models have their published sizes."""

from dataclasses import replace

import pytest
import torch

from seedbed.model.arithmetic import count_parameters
from seedbed.model.config import RopeScaling, TransformerConfig
from seedbed.model.transformer import Transformer
from seedbed.recipe import load_recipe
from seedbed.train.measure import model_config


def config_of(preset: str, settings: list[str] | None = None) -> TransformerConfig:
    recipe = load_recipe(preset, settings=settings or [])
    assert recipe.tokenizer.vocab_size
    return model_config(recipe, recipe.tokenizer.vocab_size)


# GPT-2's 124M is 124,439,808, as Transformers counts it; Llama 3 8B's card says 8.03B: 8,030,261,248
@pytest.mark.parametrize(("preset", "published"), [("gpt2-124m", 124_439_808), ("llama-8b", 8_030_261_248)])
def test_parameters_are_those_published(preset: str, published: int) -> None:
    config = config_of(preset)
    padding = (config.padded_vocab_size - config.vocab_size) * config.width
    assert count_parameters(config).total - padding == published
    with torch.device("meta"):
        model = Transformer(config)
    model.tie_head()
    assert sum(p.numel() for p in model.parameters()) - padding == published


def test_fields_of_attention_reach_the_model() -> None:
    settings = [
        "model.windows=SSL", "model.window=100", "model.head_width=64", "model.rope_scaling=llama3", "model.rope_factor=8",
        "model.tied_head=true", "model.logit_softcap=15",
    ]  # fmt: skip
    plain, config = config_of("llama-8b"), config_of("llama-8b", settings)
    assert (plain.rope_base, plain.norm_epsilon, plain.head_width, plain.windows) == (500_000.0, 1e-5, 128, ())
    assert config == replace(
        plain,
        windows=(*(100, 100, 0) * 10, 100, 0),
        head_channels=64,
        rope_scaling=RopeScaling("llama3", 8.0, 1024),
        tied_head=True,
        logit_softcap=15.0,
    )
