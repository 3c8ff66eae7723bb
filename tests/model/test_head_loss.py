"""Head and loss in one step are the plain cross-entropy: to float32's rounding, and within bfloat16's under autocast."""

import pytest
import torch
import torch.nn.functional as F

from seedbed.model.head_loss import head_loss


@pytest.mark.parametrize(("narrow", "tolerance"), [(False, 2e-6), (True, 2e-2)])
def test_losses_and_gradients_are_the_plain_ones(narrow: bool, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(96, 32, generator=generator), torch.randn(301, 32, generator=generator) / 4
    targets = torch.randint(0, 301, (96,), generator=generator)
    upstream = torch.rand(96, generator=generator)
    exact = [t.double().requires_grad_() for t in (hidden, weight)]
    expected = F.cross_entropy(exact[0] @ exact[1].t(), targets, reduction="none")
    (expected * upstream).sum().backward()
    leaves = [t.clone().requires_grad_() for t in (hidden, weight)]
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        losses = head_loss(leaves[0], leaves[1], targets)
    (losses * upstream).sum().backward()
    assert losses.dtype == torch.float32
    for plain, got in [(expected, losses), *((e.grad, leaf.grad) for e, leaf in zip(exact, leaves, strict=True))]:
        assert plain is not None and got is not None and got.dtype == torch.float32
        assert (got - plain).norm() / plain.norm() < tolerance
