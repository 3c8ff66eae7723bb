"""The chunked cross-entropy is the plain one, to the rounding of float64, gradients included."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.model.chunked_loss import chunked_loss
from seedbed.model.head_loss import IGNORED


def draw(N: int, D: int, V: int, seed: int, ignored: bool) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(N, D, generator=generator, dtype=torch.float64)
    weight = torch.randn(V, D, generator=generator, dtype=torch.float64)
    bias = torch.randn(V, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, V, (N,), generator=generator)
    if ignored:
        targets[torch.rand(N, generator=generator) < 0.4] = IGNORED
    upstream = torch.rand(N, generator=generator, dtype=torch.float64)
    return hidden, weight, bias, targets, upstream


def plain(hidden, weight, bias, targets, softcap):  # type: ignore[no-untyped-def]
    logits = F.linear(hidden, weight, bias)
    logits = softcap * torch.tanh(logits / softcap) if softcap else logits
    return F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")


@given(
    N=st.integers(1, 40), chunk=st.integers(1, 50), softcap=st.sampled_from([0.0, 3.0, 15.0]), with_bias=st.booleans(),
    ignored=st.booleans(), seed=st.integers(0, 9),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_losses_and_gradients_equal_the_plain_ones(
    N: int, chunk: int, softcap: float, with_bias: bool, ignored: bool, seed: int
) -> None:
    hidden, weight, bias, targets, upstream = draw(N, 7, 23, seed, ignored)
    results = []
    for chunked in (False, True):
        leaves = [t.clone().requires_grad_() for t in (hidden, weight, bias)]
        used_bias = leaves[2] if with_bias else None
        if chunked:
            losses = chunked_loss(leaves[0], leaves[1], targets, chunk, used_bias, softcap)
        else:
            losses = plain(leaves[0], leaves[1], used_bias, targets, softcap)
        (losses * upstream).sum().backward()
        results.append([losses.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)])
    for expected, got in zip(*results, strict=True):
        assert (expected - got).abs().max() < 1e-10


def test_a_large_vocabulary_with_extreme_logits_stays_finite_and_equal() -> None:
    hidden, weight, _, targets, upstream = draw(64, 16, 50_304, 0, True)
    leaves = [(40 * hidden).requires_grad_(), weight.requires_grad_()]
    (chunked_loss(leaves[0], leaves[1], targets, 10) * upstream).sum().backward()
    got = [leaf.grad.clone() for leaf in leaves]  # type: ignore[union-attr]
    for leaf in leaves:
        leaf.grad = None
    (plain(leaves[0], leaves[1], None, targets, 0.0) * upstream).sum().backward()
    for leaf, gradient in zip(leaves, got, strict=True):
        assert gradient.isfinite().all()
        assert (leaf.grad - gradient).abs().max() < 1e-10


def test_it_follows_autocast() -> None:
    hidden, weight, _, targets, _ = draw(32, 16, 64, 0, False)
    hidden, weight = hidden.float().requires_grad_(), weight.float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        losses = chunked_loss(hidden, weight, targets, 8)
    losses.sum().backward()
    assert losses.dtype == torch.float32 and hidden.grad is not None and hidden.grad.dtype == torch.float32
    assert losses.detach() == pytest.approx(plain(hidden, weight, None, targets, 0.0).detach(), rel=0.05, abs=0.05)
