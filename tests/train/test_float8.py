"""Float8 products against float32 ones, on the CPU's own (slow) float8."""

import pytest
import torch
from torch import nn

from seedbed.model.config import TransformerConfig, llama_config
from seedbed.model.transformer import build_model
from seedbed.train.float8 import BACKWARD, FORWARD, Float8Linear, quantize, use_float8


@pytest.mark.parametrize("dtype", [FORWARD, BACKWARD])
@pytest.mark.parametrize("magnitude", [1e-20, 1e-3, 1.0, 1e6])
def test_a_quantized_tensor_keeps_its_range(dtype: torch.dtype, magnitude: float) -> None:
    x = magnitude * torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    quantized, scale = quantize(x, dtype)
    assert quantized.float().isfinite().all()
    if magnitude > 1e-12:
        steps = {FORWARD: 2**-4, BACKWARD: 2**-3}[dtype]  # half a step of 3 and 2 mantissa bits
        error = (quantized.float() * scale - x).abs()
        assert (error <= steps * x.abs() + x.abs().max() * 2**-14).all()


@pytest.mark.parametrize("rows", [16, 37])
def test_a_linear_layer_in_float8_is_the_float32_one_within_its_precision(rows: int) -> None:
    generator = torch.Generator().manual_seed(1)
    plain = nn.Linear(64, 48, bias=False)
    narrow = nn.Linear(64, 48, bias=False)
    narrow.load_state_dict(plain.state_dict())
    narrow.__class__ = Float8Linear
    x = torch.randn(2, rows, 64, generator=generator)
    upstream = torch.randn(2, rows, 48, generator=generator)
    results = []
    for layer in (plain, narrow):
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=layer is narrow):
            out = layer(leaf)
        (out.float() * upstream).sum().backward()
        results.append((out.float(), leaf.grad, layer.weight.grad))
    for expected, got in zip(*results, strict=True):
        assert expected is not None and got is not None and got.shape == expected.shape
        assert (got - expected).norm() / expected.norm() < 0.07  # roundings of 2^-5 and 2^-4 rms add up


def test_only_the_large_products_of_the_layers_are_swapped_and_training_follows_float32() -> None:
    base = TransformerConfig(vocab_size=50, layers=2, width=32, heads=2, kv_heads=2, mlp_width=64, context=16)
    tokens = torch.randint(0, 50, (8, 17), generator=torch.Generator().manual_seed(0))
    curves = []
    for float8 in (False, True):
        model = build_model(llama_config(base), seed=1)
        if float8:
            assert use_float8(model) == 2 * 7  # q, k, v, output, up, gate, down
            assert type(model.head) is nn.Linear
        optimizer = torch.optim.SGD([p for p in model.parameters()], lr=0.2)
        curve = []
        for _ in range(14):
            with torch.autocast("cpu", torch.bfloat16):
                loss = model.losses(tokens[:, :-1], tokens[:, 1:])[0].mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            curve.append(loss.item())
        curves.append(curve)
    assert curves[0][-1] < curves[0][0] - 0.8
    assert curves[1] == pytest.approx(curves[0], rel=0.1)
