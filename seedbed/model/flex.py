"""FlexAttention for windows and documents on a GPU: blocks of 128 x 128 scores in which nothing may be seen are never made.

Only inside a compiled region, where the kernel is generated: uncompiled it would hold all scores. Layers with the same
window ask for the same mask; compiled together for training they share it, compiled one by one each makes its own.
Tested on the CPU without gradients, as the operator computes it there; the kernel generated for a GPU has not been run here.
"""

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

LEAST_TOKENS = 256  # two blocks: in one there is nothing to leave out
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
    """What `blocked_keys` leaves visible, as blocks."""

    def visible(b: Tensor, h: Tensor, t: Tensor, s: Tensor) -> Tensor:
        seen = t >= s if causal else t == t
        if window:
            seen = seen & ((t - s).abs() < window)
        if documents_BT is not None:
            seen = seen & (documents_BT[b, t] == documents_BT[b, s])
        return seen

    rows = None if documents_BT is None else documents_BT.shape[0]
    return create_block_mask(visible, rows, None, T, T, device=device)
