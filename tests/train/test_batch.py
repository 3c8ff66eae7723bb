"""A target that is not asked costs nothing and moves nothing."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from seedbed.model.config import ARCHITECTURES, TransformerConfig
from seedbed.model.transformer import Transformer, build_model
from seedbed.train.batch import IGNORED

BASE = TransformerConfig(vocab_size=70, layers=2, width=32, heads=4, kv_heads=2, mlp_width=48, context=12)
CONFIGS = {
    "fused head": ARCHITECTURES["seedbed"](BASE),
    "plain head": replace(ARCHITECTURES["seedbed"](BASE), logit_softcap=15.0),
    "an encoder's head": replace(ARCHITECTURES["bert"](BASE), kv_heads=4),
    "tied head": ARCHITECTURES["gpt2"](BASE),
    "with an n-gram expert": replace(ARCHITECTURES["seedbed"](BASE), prior_order=3),
}


def gradients(model: Transformer) -> dict[str, Tensor]:
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: (g.to_dense() if g.is_sparse else g).double() for name, g in found.items()}


def random_rows(config: TransformerConfig) -> tuple[Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, config.vocab_size, (3, 13), generator=generator)
    prior = torch.rand(3, 12, config.prior_order, generator=generator) if config.prior_order else None
    if prior is not None:
        prior[..., 0] = prior[..., 0].log()
    return tokens[:, :-1], tokens[:, 1:].clone(), prior


def plain_losses(model: Transformer, inputs: Tensor, targets: Tensor, prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """Every target's loss in float64, from the logits: of the mixture and of the transformer alone."""
    x, values = model.embed(inputs)
    hidden = model.hidden(x, values)
    logits = model.cap(model.head(hidden))[..., : model.config.vocab_size]
    own = logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    if prior is None:
        return -own, -own
    share = torch.sigmoid(model.prior_gate(torch.cat((hidden, prior[..., 1:].double()), dim=-1))[..., 0])
    return -(share * own.exp() + (1 - share) * prior[..., 0].double().exp()).log(), -own


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_ignored_targets_have_no_loss_and_no_gradient_in_float64_terms(name: str, share: float) -> None:
    config = CONFIGS[name]
    model = build_model(config, seed=2)
    reference = build_model(config, seed=2).double()
    inputs, targets, prior = random_rows(config)
    ignored = torch.rand(targets.shape, generator=torch.Generator().manual_seed(3)) < share
    losses = model.losses(inputs, targets.masked_fill(ignored, IGNORED), prior)
    plain = plain_losses(reference, inputs, targets, prior)
    for found, expected in zip(losses, plain, strict=True):
        torch.testing.assert_close(found.double(), expected.masked_fill(ignored, 0.0), rtol=1e-5, atol=1e-5)
    sum(x.sum() for x in losses).backward()
    sum(x.masked_fill(ignored, 0.0).sum() for x in plain).backward()
    found, expected = gradients(model), gradients(reference)
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient, rtol=1e-4, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")
