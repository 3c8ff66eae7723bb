"""Products in float8: the layers' large matrices, on GPUs that have it (compute capability 8.9 and up).

Each product scales its two operands by their largest magnitude and runs through `torch._scaled_mm`; weights and activations
are e4m3, gradients e5m2 (Micikevicius et al. 2022, "FP8 formats for deep learning"). Weights, optimizer, norms, attention,
tables and the head stay as they are. Scaling is dynamic, per tensor. Under compile the casts fuse with what is around them;
eager it is slow. The CPU has the operation without its speed, so tests hold it against float32 there. Not run on a GPU here.
"""

from typing import Any

import torch
from torch import Tensor, nn

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
MULTIPLE = 16  # torch._scaled_mm wants both inner and outer sizes in sixteens


def quantize(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x / scale in `dtype`, and the scale, a float32 scalar that maps the largest magnitude onto the format's largest number."""
    scale = x.abs().amax().float().clamp_min(1e-12) / torch.finfo(dtype).max
    return (x.float() / scale).to(dtype), scale


def product(
    a_RC: Tensor, a_scale: Tensor, b_KC: Tensor, b_scale: Tensor, out_dtype: torch.dtype, fast: bool = False
) -> Tensor:
    """a b^T in `out_dtype`, of row-major float8 operands: the layout the hardware takes.

    `fast`: sums stay in the tensor cores, which keep fewer bits of them (about 14 on Hopper: DeepSeek-V3, section 3.3.2).
    """
    return torch._scaled_mm(a_RC, b_KC.t(), scale_a=a_scale, scale_b=b_scale, out_dtype=out_dtype, use_fast_accum=fast)


class Float8Product(torch.autograd.Function):
    """x [N, C] and weight [R, C] -> x weight^T [N, R]. Three float8 products in all: forward, and one for each gradient."""

    @staticmethod
    def forward(ctx: Any, x_NC: Tensor, weight_RC: Tensor) -> Tensor:
        x8_NC, x_scale = quantize(x_NC, FORWARD)
        w8_RC, w_scale = quantize(weight_RC, FORWARD)
        ctx.save_for_backward(x8_NC, x_scale, w8_RC, w_scale)
        ctx.weight_dtype = weight_RC.dtype
        return product(
            x8_NC, x_scale, w8_RC, w_scale, x_NC.dtype, fast=True
        )  # gradients keep all bits, as torchao's do

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor]:
        x8_NC, x_scale, w8_RC, w_scale = ctx.saved_tensors
        g8_NR, g_scale = quantize(upstream[0], BACKWARD)
        dtype = upstream[0].dtype
        x_gradient_NC = product(g8_NR, g_scale, w8_RC.t().contiguous(), w_scale, dtype)
        weight_gradient_RC = product(g8_NR.t().contiguous(), g_scale, x8_NC.t().contiguous(), x_scale, dtype)
        return x_gradient_NC, weight_gradient_RC.to(ctx.weight_dtype)


class Float8Linear(nn.Linear):
    """A linear layer without bias whose product runs in float8. Rows are completed to a multiple of 16."""

    def forward(self, x: Tensor) -> Tensor:
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        rows_NC = x.flatten(0, -2).to(dtype)
        missing = -len(rows_NC) % MULTIPLE
        if missing:
            rows_NC = nn.functional.pad(rows_NC, (0, 0, 0, missing))
        with torch.autocast(kind, enabled=False):
            out_NR = Float8Product.apply(rows_NC, self.weight)
        return out_NR[: len(out_NR) - missing].unflatten(0, x.shape[:-1])


def has_float8(device: str) -> bool:
    """Whether float8 products are fast here."""
    return device == "cuda" and torch.cuda.get_device_capability() >= (8, 9)


def use_float8(model: nn.Module) -> int:
    """Run the layers' linear products in float8, those with sizes in sixteens and no bias; the number of products."""
    swapped = 0
    for name, module in model.named_modules():
        whole = (
            not (module.weight.shape[0] % MULTIPLE or module.weight.shape[1] % MULTIPLE)
            if type(module) is nn.Linear
            else False
        )
        if whole and module.bias is None and name.startswith("layers.") and not name.endswith(("router", "value_gate")):
            module.__class__ = Float8Linear
            swapped += 1
    return swapped
