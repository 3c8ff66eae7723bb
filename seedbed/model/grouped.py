"""Grouped matrix products: rows sorted by expert, each expert's rows times its own matrix, in one call.

Two ways to the same result. On CUDA in bfloat16 `torch.nn.functional.grouped_mm` (compute capability 8.0 and up) takes all
groups in one kernel and reads the group ends on the device. Elsewhere a loop over the experts that have rows writes into one
output. Both are one operator to autograd and to the compiler, which sees fixed shapes. The CUDA way was run on a CPU, where
the same function exists; it has not been run on a GPU here.

Shapes: S rows (sorted by expert), E experts, I channels in, O channels out.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ALIGNMENT = (
    8  # channels: grouped_mm wants strides of a multiple of 16 bytes (its check in torch/_meta_registrations.py)
)


def has_grouped_kernel(x_SI: Tensor, weight_EOI: Tensor) -> bool:
    """Whether the device's grouped kernel takes these operands. A rank of expert parallelism may be sent no rows."""
    if not x_SI.is_cuda or x_SI.dtype != torch.bfloat16 or not len(x_SI):
        return False
    aligned = all(size % ALIGNMENT == 0 for size in weight_EOI.shape[1:])
    return aligned and torch.cuda.get_device_capability(x_SI.device) >= (8, 0)


def kernel_forward(x_SI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    return F.grouped_mm(x_SI, weight_EOI.mT, offs=ends_E)


def kernel_backward(grad_SO: Tensor, x_SI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> tuple[Tensor, Tensor]:
    grad_x_SI = F.grouped_mm(grad_SO, weight_EOI, offs=ends_E)
    grad_weight_EOI = F.grouped_mm(grad_SO.mT, x_SI, offs=ends_E)
    # groups without rows come back with arbitrary values on some GPUs (pytorch/pytorch#172439)
    counts_E = ends_E.diff(prepend=ends_E.new_zeros(1))
    return grad_x_SI, grad_weight_EOI.masked_fill_((counts_E == 0)[:, None, None], 0)


def loop_forward(x_SI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    y_SO = x_SI.new_empty(x_SI.shape[0], weight_EOI.shape[1])
    start = 0
    for expert, end in enumerate(ends_E.tolist()):
        if end > start:
            torch.mm(x_SI[start:end], weight_EOI[expert].t(), out=y_SO[start:end])
        start = end
    return y_SO


def loop_backward(grad_SO: Tensor, x_SI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> tuple[Tensor, Tensor]:
    grad_x_SI, grad_weight_EOI = torch.empty_like(x_SI), torch.empty_like(weight_EOI)
    start = 0
    for expert, end in enumerate(ends_E.tolist()):
        if end > start:
            torch.mm(grad_SO[start:end], weight_EOI[expert], out=grad_x_SI[start:end])
            torch.mm(grad_SO[start:end].t(), x_SI[start:end], out=grad_weight_EOI[expert])
        else:
            grad_weight_EOI[expert].zero_()
        start = end
    return grad_x_SI, grad_weight_EOI


@torch.library.custom_op("seedbed::grouped_product", mutates_args=())
def product(x_SI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    way = kernel_forward if has_grouped_kernel(x_SI, weight_EOI) else loop_forward
    return way(x_SI, weight_EOI, ends_E)


@product.register_fake
def _(x_SI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    return x_SI.new_empty(x_SI.shape[0], weight_EOI.shape[1])


@torch.library.custom_op("seedbed::grouped_product_backward", mutates_args=())
def product_backward(grad_SO: Tensor, x_SI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> tuple[Tensor, Tensor]:
    way = kernel_backward if has_grouped_kernel(x_SI, weight_EOI) else loop_backward
    return way(grad_SO.contiguous(), x_SI, weight_EOI, ends_E)


@product_backward.register_fake
def _(grad_SO: Tensor, x_SI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x_SI), torch.empty_like(weight_EOI)


def keep_operands(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def differentiate(ctx: Any, grad_SO: Tensor) -> tuple[Tensor, Tensor, None]:
    return *product_backward(grad_SO, *ctx.saved_tensors), None


product.register_autograd(differentiate, setup_context=keep_operands)


def grouped_product(x_SI: Tensor, weight_EOI: Tensor, counts_E: Tensor) -> Tensor:
    """[S, O]: the first `counts_E[0]` rows of x times `weight_EOI[0].T`, the next `counts_E[1]` times the second, and so on.

    The counts must sum to S. Under autocast both operands take its dtype, as in a linear layer.
    """
    dtype, kind = x_SI.dtype, x_SI.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
    ends_E = counts_E.cumsum(0, dtype=torch.int32)
    return product(x_SI.to(dtype).contiguous(), weight_EOI.to(dtype).contiguous(), ends_E)
