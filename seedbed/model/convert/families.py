"""The model types of Transformers that Seedbed's parts can say exactly, and the way in and out for a whole model."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from seedbed.model.config import TransformerConfig
from seedbed.model.convert.bert import BERT
from seedbed.model.convert.decoders import LLAMA, OLMO2, QWEN2, QWEN3
from seedbed.model.convert.experts import DEEPSEEK_V3, MIXTRAL, QWEN3_MOE
from seedbed.model.convert.gpt2 import GPT2
from seedbed.model.convert.rules import Family

KNOWN = (GPT2, LLAMA, QWEN2, QWEN3, OLMO2, BERT, MIXTRAL, QWEN3_MOE, DEEPSEEK_V3)
FAMILIES: dict[str, Family] = {family.model_type: family for family in KNOWN}


def import_model(values: Mapping[str, Any], state: Mapping[str, Tensor]) -> tuple[TransformerConfig, dict[str, Tensor]]:
    """Configuration and weights from a Transformers `config.json` and state dict."""
    family = FAMILIES.get(values.get("model_type", ""))
    if family is None:
        raise ValueError(f"model_type: {values.get('model_type')!r} is not one of {', '.join(FAMILIES)}")
    config = family.read(values)
    return config, family.import_weights(state, config)


def find_family(config: TransformerConfig) -> Family:
    """The first family that can say all of `config`."""
    for family in FAMILIES.values():
        if family.holds(config):
            return family
    raise ValueError(f"no model type of Transformers has all of this model's parts (tried: {', '.join(FAMILIES)})")


def export_model(config: TransformerConfig, weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A Transformers `config.json` and state dict of a model whose parts a family has."""
    family = find_family(config)
    return {"model_type": family.model_type, **family.write(config)}, family.export_weights(weights, config)
