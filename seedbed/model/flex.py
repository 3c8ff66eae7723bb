"""FlexAttention for windows and documents on a GPU: blocks of 128 x 128 scores in which nothing may be seen are never made.

Only inside a compiled region, where the kernel is generated: uncompiled it would hold all scores. Layers with the same
window ask for the same mask; compiled together for training they share it, compiled one by one each makes its own.
Tested on the CPU without gradients, as the operator computes it there; the kernel generated for a GPU has not been run here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

BLOCK = 128  # FlexAttention's own choice
LEAST_TOKENS = 2 * BLOCK  # in one block there is nothing to leave out
LEAST_HEAD_WIDTH = 16  # of the generated kernel


def suits_flex(q_BHTK: Tensor, k_BGSK: Tensor) -> bool:
    """Whether this call is better made as `flex_attend` than with a mask written out."""
    T, S, K = q_BHTK.shape[2], k_BGSK.shape[2], q_BHTK.shape[3]
    compiled = torch.compiler.is_compiling()
    return q_BHTK.device.type == "cuda" and compiled and T == S and T >= LEAST_TOKENS and K >= LEAST_HEAD_WIDTH


def flex_attend(
    q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, causal: bool, window: int, documents_BT: Tensor | None
) -> Tensor:
    """`attend` for whole rows: [B, H, T, K]."""
    if torch.is_autocast_enabled(q_BHTK.device.type):  # which knows the other attention, not this one
        dtype = torch.get_autocast_dtype(q_BHTK.device.type)
        q_BHTK, k_BGTK, v_BGTK = q_BHTK.to(dtype), k_BGTK.to(dtype), v_BGTK.to(dtype)
    mask = block_mask(q_BHTK.shape[2], q_BHTK.device, causal, window, documents_BT)
    grouped = q_BHTK.shape[1] != k_BGTK.shape[1]
    result = flex_attention(q_BHTK, k_BGTK, v_BGTK, block_mask=mask, enable_gqa=grouped)
    assert isinstance(result, Tensor)
    return result


def block_mask(T: int, device: torch.device, causal: bool, window: int, documents_BT: Tensor | None) -> BlockMask:
    """What `blocked_keys` leaves visible, as blocks.

    As torch's `create_block_mask`, which torch.compile cannot enter in a layer that is recomputed (it changes how indices are
    taken for as long as it runs).
    """

    def visible(b: Tensor, h: Tensor, t: Tensor, s: Tensor) -> Tensor:
        seen = t >= s if causal else t == t
        if window:
            seen = seen & ((t - s).abs() < window)
        if documents_BT is not None:
            seen = seen & (documents_BT[b, t] == documents_BT[b, s])
        return seen

    rows = 1 if documents_BT is None else documents_BT.shape[0]
    here_T = torch.arange(T, device=device)
    row_B11 = torch.arange(rows, device=device)[:, None, None]
    seen_BTS = visible(row_B11, row_B11, here_T[:, None], here_T).expand(rows, T, T)
    missing = -T % BLOCK
    blocks_BQrKs = F.pad(seen_BTS, (0, missing, 0, missing)).unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK))
    count_BQK = blocks_BQrKs.sum((2, 4))
    full_BQK = count_BQK == BLOCK * BLOCK
    part, full = in_order((count_BQK > 0) & ~full_BQK), in_order(full_BQK)
    return BlockMask.from_kv_blocks(*part, *full, BLOCK_SIZE=BLOCK, mask_mod=visible, seq_lengths=(T, T))


def in_order(blocks_BQK: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row of blocks how many are marked, [B, 1, Q], and their numbers before those of the others, [B, 1, Q, K]: int32."""
    marked_BQK = blocks_BQK[:, None].to(torch.int32)
    order = marked_BQK.argsort(dim=-1, descending=True, stable=True)
    return marked_BQK.sum(-1, dtype=torch.int32), order.to(torch.int32)
