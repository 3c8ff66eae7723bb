"""Every architecture learns: its gradients and its groups of parameters fit together."""

from dataclasses import replace

import pytest
import torch

from seedbed.model.config import ARCHITECTURES, RopeScaling, TransformerConfig
from seedbed.model.transformer import build_model
from seedbed.recipe.schema import TrainConfig
from seedbed.train.optimizers import Optimizer

BASE = TransformerConfig(vocab_size=40, layers=2, width=32, heads=2, kv_heads=2, mlp_width=64, context=16)
CONFIGS = {name: make(BASE) for name, make in ARCHITECTURES.items()}
CONFIGS["windows, soft cap, yarn"] = replace(
    CONFIGS["qwen3"], windows=(4, 0), kv_heads=1, logit_softcap=15.0, rope_scaling=RopeScaling("yarn", 2.0, 8)
)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_few_rows_are_learned_by_heart(name: str, optimizer: str) -> None:
    config = CONFIGS[name]
    model = build_model(config, seed=1)
    tokens = torch.randint(0, 40, (4, 17), generator=torch.Generator().manual_seed(2))
    inputs, targets = tokens[:, :-1], tokens[:, 1:] if config.causal else tokens[:, :-1]
    chosen = Optimizer(model, TrainConfig(steps=60, optimizer=optimizer, weight_decay=0.0), 60)  # type: ignore[arg-type]
    losses = []
    for step in range(60):
        loss = model.losses(inputs, targets)[0].mean()
        loss.backward()
        chosen.step(step)
        model.zero_grad()
        losses.append(loss.item())
    assert losses[0] > 3.0
    assert losses[-1] < 1.0
