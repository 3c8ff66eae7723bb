"""Self-attention with grouped keys and values, RoPE, QK-norm, value embeddings and a KV cache.

Shapes: B rows, T tokens, D width, H query heads, G key and value heads, K head width, S keys in view.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.model.config import TransformerConfig

# Below this many keys a plain softmax, which the compiler fuses, beats the CPU's flash attention, whose backward pass
# was reported at 12% of peak there. The limit itself was not tuned.
PLAIN_ATTENTION_KEYS = 512


class LayerCache:
    """Keys and values of the tokens seen so far, in preallocated [B, G, S, K] tensors."""

    def __init__(self, config: TransformerConfig, rows: int, tokens: int, like: Tensor) -> None:
        shape = (rows, config.kv_heads, tokens, config.head_width)
        self.keys_BGSK, self.values_BGSK = like.new_zeros(shape), like.new_zeros(shape)

    def append(self, keys_BGTK: Tensor, values_BGTK: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Store T new tokens at `start`; return everything up to their end."""
        stop = start + keys_BGTK.shape[2]
        self.keys_BGSK[:, :, start:stop] = keys_BGTK
        self.values_BGSK[:, :, start:stop] = values_BGTK
        return self.keys_BGSK[:, :, :stop], self.values_BGSK[:, :, :stop]


def rope_tables(config: TransformerConfig, tokens: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [tokens, K/2] of the rotation angles (Su et al. 2021, eq. 15), computed in float64."""
    half = config.rotated_width // 2
    frequency = config.rope_base ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(tokens, dtype=torch.float64)[:, None] * frequency
    return angle.cos().float(), angle.sin().float()


def rotate(x_BTHK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Rotate the two halves of each head by its position's angles."""
    first, second = x_BTHK.chunk(2, dim=-1)
    cos, sin = cos_TK[:, None].to(x_BTHK.dtype), sin_TK[:, None].to(x_BTHK.dtype)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Attention(nn.Module):
    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        queries, keys = config.heads * config.head_width, config.kv_heads * config.head_width
        self.query = nn.Linear(config.width, queries, bias=config.bias)
        self.key = nn.Linear(config.width, keys, bias=config.bias)
        self.value = nn.Linear(config.width, keys, bias=config.bias)
        self.output = nn.Linear(queries, config.width, bias=config.bias)
        self.has_value_embedding = layer in config.value_layers
        if self.has_value_embedding:
            # 2 sigmoid(gate) = 1 at the start; a gate a head, from the first 32 channels (nanochat)
            self.value_gate = nn.Linear(min(32, config.width), config.kv_heads, bias=False)

    def forward(
        self,
        x_BTD: Tensor,
        cos_TK: Tensor,
        sin_TK: Tensor,
        value_embedding_BTE: Tensor | None = None,
        cache: LayerCache | None = None,
        start: int = 0,
        documents_BT: Tensor | None = None,
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]. Heads are counted from the weights, of which a rank may hold a share."""
        config = self.config
        B, T, _ = x_BTD.shape
        K = config.head_width
        q = self.query(x_BTD).view(B, T, -1, K)
        k = self.key(x_BTD).view(B, T, -1, K)
        v = self.value(x_BTD).view(B, T, -1, K)
        if self.has_value_embedding:
            assert value_embedding_BTE is not None
            gate = 2 * torch.sigmoid(self.value_gate(x_BTD[..., : self.value_gate.in_features]))
            v = v + gate[..., None] * value_embedding_BTE.view(B, T, -1, K)
        if config.position == "rope":
            q, k = rotate(q, cos_TK, sin_TK), rotate(k, cos_TK, sin_TK)
        if config.qk_norm:
            # 1.2 a side sharpens the softmax that unit-norm queries and keys leave too flat (nanochat)
            q, k = 1.2 * F.rms_norm(q, (K,)), 1.2 * F.rms_norm(k, (K,))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if cache is not None:
            k, v = cache.append(k, v, start)
        y = self.mix(q, k, v, documents_BT)
        return self.output(y.transpose(1, 2).reshape(B, T, -1))

    def mix(self, q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, documents_BS: Tensor | None) -> Tensor:
        """What the last T of S tokens take from the keys and values in their view: [B, H, T, K]."""
        causal = self.config.causal
        blocked = blocked_keys(q_BHTK.shape[2], k_BGSK.shape[2], q_BHTK.device, causal, documents_BS)
        return attend(q_BHTK, k_BGSK, v_BGSK, blocked, is_causal=causal and documents_BS is None)


def blocked_keys(
    T: int, S: int, device: torch.device, causal: bool, documents_BS: Tensor | None = None
) -> Tensor | None:
    """Which of S keys each of the last T of S tokens may not see, [T, S] or [B, 1, T, S]; None: it sees all.

    `documents_BS` numbers the documents in each row: a token sees its own (padding, -1, sees padding, so no row is empty).
    """
    blocked = torch.ones(T, S, dtype=torch.bool, device=device).triu(S - T + 1) if causal else None
    if documents_BS is None:
        return blocked
    other = documents_BS[:, None, S - T :, None] != documents_BS[:, None, None, :]
    return other if blocked is None else other | blocked


def attend(q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, blocked: Tensor | None, is_causal: bool) -> Tensor:
    """Softmax attention of T queries over the S keys that are not blocked: [B, H, T, K].

    `is_causal`: `blocked` is exactly the future, which the device's kernel then knows by itself.
    """
    T, S = q_BHTK.shape[2], k_BGSK.shape[2]
    if q_BHTK.shape[1] != k_BGSK.shape[1]:
        groups = q_BHTK.shape[1] // k_BGSK.shape[1]
        k_BGSK = k_BGSK.repeat_interleave(groups, dim=1)
        v_BGSK = v_BGSK.repeat_interleave(groups, dim=1)
    if q_BHTK.device.type != "cpu" or (S > PLAIN_ATTENTION_KEYS and T == S):
        if is_causal and T == S:
            return F.scaled_dot_product_attention(q_BHTK, k_BGSK, v_BGSK, is_causal=True)
        return F.scaled_dot_product_attention(q_BHTK, k_BGSK, v_BGSK, attn_mask=None if blocked is None else ~blocked)
    scores = q_BHTK @ (k_BGSK * (1 / math.sqrt(q_BHTK.shape[3]))).transpose(2, 3)
    if blocked is not None:
        scores = scores.masked_fill(blocked, -math.inf)
    return scores.softmax(dim=-1) @ v_BGSK
