"""Causal attention for CPUs: queries a block at a time, each block with the keys it may see and no others.

    keys ->        For each block of queries: scores of the keys up to its end (from its window's reach on), softmax, product
    x              with the values. Each is one batched product or one pass over a block, in the dtype of the operands. The
    x x            probabilities are kept for the backward pass, which is then four products (dV, dP, dQ, dK) and one pass,
    x x x          where a flash kernel needs five and the exponentials again.
    x x x x

On two cores with bfloat16 arithmetic PyTorch's flash kernel for CPUs runs at 46% of the matrix-product rate forward and backward
together, this at 75% (both with all T x T scores counted; docs/experiments/throughput.md). It is one
operator to the compiler. Scores are rounded to the operands' dtype before the softmax, which is float32 inside.

Shapes: B rows, H heads, T tokens, K key width, V value width, N = B H, C queries of a block, S keys in its view.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Queries of a block: a quarter of the row within these bounds. Fewer skip more of the scores that nobody sees, more make
# larger products (docs/experiments/throughput.md).
LEAST_BLOCK, MOST_BLOCK = 128, 256
# Beyond so many keys the probabilities outweigh everything else that a layer keeps, twice over at 7 heads of 64.
MOST_KEYS = 2048


class Block(NamedTuple):
    queries: slice
    keys: slice
    kept: slice  # of the flat tensor of all probabilities

    def shape(self, rows: int) -> tuple[int, int, int]:
        return rows, self.queries.stop - self.queries.start, self.keys.stop - self.keys.start


def blocks_of(T: int, rows: int, window: int) -> Iterator[Block]:
    """The blocks of rows of T tokens; `rows` is N."""
    size = max(LEAST_BLOCK, min(MOST_BLOCK, T // 4))
    kept = 0
    for start in range(0, T, size):
        stop = min(T, start + size)
        first = max(0, start - window + 1) if window else 0
        count = rows * (stop - start) * (stop - first)
        yield Block(slice(start, stop), slice(first, stop), slice(kept, kept + count))
        kept += count


def probabilities_kept(T: int, window: int = 0) -> int:
    """How many probabilities of one row and head are kept for the backward pass."""
    return max(block.kept.stop for block in blocks_of(T, 1, window))


def flat(x_BHTK: Tensor) -> Tensor:
    """[B, H, T, K] -> [N, T, K], contiguous, as the batched products want it."""
    return x_BHTK.reshape(-1, *x_BHTK.shape[2:])


def hiding(block: Block, window: int, documents_BT: Tensor | None, like_NTK: Tensor) -> Tensor:
    """-inf where a query may not see a key, else 0: [C, S], or [N, C, S] with documents."""
    queries = torch.arange(block.queries.start, block.queries.stop)[:, None]
    keys = torch.arange(block.keys.start, block.keys.stop)
    hidden = keys > queries
    if window:
        hidden = hidden | (queries - keys >= window)
    if documents_BT is not None:
        other_BCS = documents_BT[:, block.queries, None] != documents_BT[:, None, block.keys]
        hidden = (hidden | other_BCS).repeat_interleave(len(like_NTK) // len(documents_BT), 0)
    return torch.zeros(hidden.shape, dtype=like_NTK.dtype).masked_fill_(hidden, -math.inf)


def mix(
    q_BHTK: Tensor, k_BHTK: Tensor, v_BHTV: Tensor, window: int, documents_BT: Tensor | None, kept: Tensor | None
) -> Tensor:
    """[B, T, H, V]. The probabilities of every block go to `kept`, if given."""
    B, H, T, K = q_BHTK.shape
    q_NTK, k_NTK, v_NTV = flat(q_BHTK), flat(k_BHTK), flat(v_BHTV)
    y_BTHV = q_BHTK.new_empty(B, T, H, v_BHTV.shape[3])
    for block in blocks_of(T, B * H, window):
        space = q_BHTK.new_empty(block.kept.stop - block.kept.start) if kept is None else kept[block.kept]
        p_NCS = space.view(block.shape(B * H))
        hidden = hiding(block, window, documents_BT, q_NTK)
        torch.baddbmm(hidden, q_NTK[:, block.queries], k_NTK[:, block.keys].mT, alpha=1 / math.sqrt(K), out=p_NCS)
        torch.softmax(p_NCS, -1, out=p_NCS)
        y_NCV = torch.bmm(p_NCS, v_NTV[:, block.keys])
        y_BTHV[:, block.queries] = y_NCV.view(B, H, *y_NCV.shape[1:]).transpose(1, 2)
    return y_BTHV


class KeySums:
    """[N, T, K]: what blocks, the last one first, give the keys that they see, summed in `dtype`."""

    def __init__(self, T: int, dtype: torch.dtype) -> None:
        self.reached, self.dtype = T, dtype  # keys from `reached` on were given something
        self.total_NTK = torch.empty(0)

    def add(self, part_NSK: Tensor, keys: slice) -> None:
        N, S, K = part_NSK.shape
        if not self.total_NTK.numel():
            if self.reached == S:  # every key: nothing to be summed to yet
                self.total_NTK, self.reached = part_NSK.to(self.dtype), 0
                return
            self.total_NTK = part_NSK.new_empty(N, self.reached, K, dtype=self.dtype)
        new = min(self.reached, keys.stop) - keys.start  # of these keys the first ones, which no later block saw
        self.total_NTK[:, keys.start : keys.start + new] = part_NSK[:, :new]
        self.total_NTK[:, keys.start + new : keys.stop] += part_NSK[:, new:]
        self.reached = keys.start


@torch.library.custom_op("seedbed::block_attention", mutates_args=())
def keeping_attention(
    q_BHTK: Tensor, k_BHTK: Tensor, v_BHTV: Tensor, window: int, documents_BT: Tensor | None
) -> tuple[Tensor, Tensor]:
    """[B, T, H, V], and the probabilities of all blocks, flat."""
    B, H, T, _ = q_BHTK.shape
    kept = q_BHTK.new_empty(B * H * probabilities_kept(T, window))
    return mix(q_BHTK, k_BHTK, v_BHTV, window, documents_BT, kept), kept


@torch.library.custom_op("seedbed::block_attention_backward", mutates_args=())
def attention_gradients(
    upstream_BTHV: Tensor, q_BHTK: Tensor, k_BHTK: Tensor, v_BHTV: Tensor, kept: Tensor, window: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v in their shapes; what blocks add to those of keys and values is summed in float32."""
    B, H, T, K = q_BHTK.shape
    scale = 1 / math.sqrt(K)  # of the scores: by it their gradients reach queries and keys
    q_NTK, k_NTK, v_NTV, dy_NTV = flat(q_BHTK), flat(k_BHTK), flat(v_BHTV), flat(upstream_BTHV.transpose(1, 2))
    blocks = list(blocks_of(T, B * H, window))
    wide = kept.dtype if len(blocks) == 1 else torch.promote_types(kept.dtype, torch.float32)
    dq_NTK = torch.empty_like(q_NTK)
    dk, dv = KeySums(T, wide), KeySums(T, wide)
    for block in reversed(blocks):
        p_NCS = kept[block.kept].view(block.shape(B * H))
        dy_NCV = dy_NTV[:, block.queries]
        dp_NCS = torch.bmm(dy_NCV, v_NTV[:, block.keys].mT)
        ds_NCS = torch._softmax_backward_data(dp_NCS, p_NCS, -1, p_NCS.dtype)
        torch.bmm(ds_NCS, k_NTK[:, block.keys], out=dq_NTK[:, block.queries])
        dk.add(torch.bmm(ds_NCS.mT, q_NTK[:, block.queries]), block.keys)
        dv.add(torch.bmm(p_NCS.mT, dy_NCV), block.keys)
    return (
        dq_NTK.mul_(scale).view(B, H, T, K),
        dk.total_NTK.mul_(scale).to(k_NTK.dtype).view(B, H, T, K),
        dv.total_NTK.to(v_NTV.dtype).view(B, H, T, -1),
    )


@keeping_attention.register_fake
def _(
    q_BHTK: Tensor, k_BHTK: Tensor, v_BHTV: Tensor, window: int, documents_BT: Tensor | None
) -> tuple[Tensor, Tensor]:
    B, H, T, _ = q_BHTK.shape
    return q_BHTK.new_empty(B, T, H, v_BHTV.shape[3]), q_BHTK.new_empty(B * H * probabilities_kept(T, window))


@attention_gradients.register_fake
def _(
    upstream_BTHV: Tensor, q_BHTK: Tensor, k_BHTK: Tensor, v_BHTV: Tensor, kept: Tensor, window: int
) -> tuple[Tensor, Tensor, Tensor]:
    return q_BHTK.new_empty(q_BHTK.shape), k_BHTK.new_empty(k_BHTK.shape), v_BHTV.new_empty(v_BHTV.shape)


def remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q_BHTK, k_BHTK, v_BHTV, ctx.window, _ = inputs
    ctx.save_for_backward(q_BHTK, k_BHTK, v_BHTV, output[1])
    ctx.set_materialize_grads(False)  # nobody asks for a gradient by the probabilities


def backward(ctx: Any, upstream_BTHV: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    return *attention_gradients(upstream_BTHV, *ctx.saved_tensors, ctx.window), None, None


keeping_attention.register_autograd(backward, setup_context=remember)


def suits_blocks(q_BHTK: Tensor, k_BHSK: Tensor) -> bool:
    """Whether a causal call is made here: whole rows, not a token beside a cache, on a CPU."""
    T = q_BHTK.shape[2]
    return q_BHTK.device.type == "cpu" and k_BHSK.shape[2] == T and T <= MOST_KEYS


def block_attend(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTV: Tensor, window: int, documents_BT: Tensor | None) -> Tensor:
    """Softmax attention over the keys before each token and its own: [B, H, T, V], in an autocast region's dtype.

    `window` (0: none) and `documents_BT` hide keys as in `blocked_keys`.
    """
    if torch.is_autocast_enabled("cpu"):
        narrow = torch.get_autocast_dtype("cpu")
        q_BHTK, k_BHTK, v_BHTV = q_BHTK.to(narrow), k_BHTK.to(narrow), v_BHTV.to(narrow)
    # here, where a compiler makes the copy part of what computes them, and once for both passes
    q_BHTK, k_BHTK, v_BHTV = q_BHTK.contiguous(), k_BHTK.contiguous(), v_BHTV.contiguous()
    if torch.is_grad_enabled() and q_BHTK.requires_grad:
        return keeping_attention(q_BHTK, k_BHTK, v_BHTV, window, documents_BT)[0].transpose(1, 2)
    with torch.autocast("cpu", enabled=False):
        return mix(q_BHTK, k_BHTK, v_BHTV, window, documents_BT, None).transpose(1, 2)
