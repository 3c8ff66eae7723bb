"""The planner's list of weights is that of the modules: name by name, shape by shape, for every part an architecture may have."""

from dataclasses import replace

import pytest
import torch

from seedbed.model.arithmetic import count_parameters
from seedbed.model.config import ARCHITECTURES, ExpertsConfig, LatentConfig, TransformerConfig
from seedbed.model.transformer import Transformer
from seedbed.plan.weights import weights

BASE = TransformerConfig(300, 4, 64, 4, 2, 96, 32)
CONFIGS = {name: make(BASE) for name, make in ARCHITECTURES.items()}
CONFIGS["tables"] = replace(CONFIGS["seedbed"], ngram_rows=64, prior_order=5)
CONFIGS["experts"] = replace(CONFIGS["llama"], experts=ExpertsConfig(4, 2, 32, shared_experts=2, dense_layers=1))
CONFIGS["biased experts"] = replace(CONFIGS["gpt2"], experts=ExpertsConfig(4, 2, 32, shared_experts=1))
CONFIGS["latent"] = replace(CONFIGS["llama"], latent=LatentConfig(16, 8, 8, 8, query_rank=24))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_weight_is_listed_once(name: str) -> None:
    config = CONFIGS[name]
    with torch.device("meta"):
        model = Transformer(config)
    real = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    listed = weights(config)
    assert {weight.name: weight.shape for weight in listed} == real
    assert len({weight.name for weight in listed}) == len(listed)
    assert sum(weight.size for weight in listed) == count_parameters(config).total
