"""Self-attention with grouped keys and values, RoPE, QK-norm, value embeddings and a KV cache.

Shapes: B rows, T tokens, D width, H query heads, G key and value heads, K head width, S keys in view.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from seedbed.model.block_attention import block_attend, suits_blocks
from seedbed.model.config import TransformerConfig
from seedbed.model.flex import flex_attend, suits_flex
from seedbed.model.rope import rotate

# Encoders on a CPU: below this many keys a plain softmax, which the compiler fuses, beats flash attention, whose backward pass
# was reported at 12% of peak there. The limit itself was not tuned.
PLAIN_ATTENTION_KEYS = 512
# Not cuDNN's, which GPUs of compute capability 9.0 prefer: with a mask and 64 keys beyond a multiple of 128 its backward pass may
# give NaN (pytorch/pytorch#196678, torch 2.11 and later).
MASKED_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


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


@dataclass
class Positions:
    """Where the tokens of one forward pass stand: what every layer's attention is told."""

    cos_TK: Tensor  # RoPE's tables at these positions
    sin_TK: Tensor
    start: int = 0  # tokens already in the cache
    documents_BT: Tensor | None = None  # numbers the documents within each row; -1: padding


class Attention(nn.Module):
    """Multi-head attention; `kv_heads` groups of heads share keys and values (Ainslie et al. 2023)."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.window = config.window(layer)
        queries, keys = config.heads * config.head_width, config.kv_heads * config.head_width
        self.query = nn.Linear(config.width, queries, bias=config.bias or config.qkv_bias)
        self.key = nn.Linear(config.width, keys, bias=config.bias or config.qkv_bias)
        self.value = nn.Linear(config.width, keys, bias=config.bias or config.qkv_bias)
        self.output = nn.Linear(queries, config.width, bias=config.bias)
        if config.qk_norm_weights:
            by_head = config.qk_norm_over == "head"
            self.query_norm = nn.RMSNorm(config.head_width if by_head else queries, eps=config.epsilon)
            self.key_norm = nn.RMSNorm(config.head_width if by_head else keys, eps=config.epsilon)
        self.has_value_embedding = layer in config.value_layers
        if self.has_value_embedding:
            # 2 sigmoid(gate) = 1 at the start; a gate a head, from the first 32 channels (nanochat)
            self.value_gate = nn.Linear(min(32, config.width), config.kv_heads, bias=False)

    def make_cache(self, rows: int, tokens: int, like: Tensor) -> LayerCache:
        return LayerCache(self.config, rows, tokens, like)

    def forward(
        self,
        x_BTD: Tensor,
        positions: Positions,
        value_embedding_BTE: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]. Heads are counted from the weights, of which a rank may hold a share."""
        config = self.config
        B, T, _ = x_BTD.shape
        K = config.head_width
        q, k, v = project(x_BTD, self.query, self.key, self.value)
        if config.qk_norm_weights and config.qk_norm_over == "width":
            q, k = self.query_norm(q), self.key_norm(k)
        q, k, v = q.view(B, T, -1, K), k.view(B, T, -1, K), v.view(B, T, -1, K)
        if config.qk_norm_weights and config.qk_norm_over == "head":
            q, k = self.query_norm(q), self.key_norm(k)
        if self.has_value_embedding:
            assert value_embedding_BTE is not None
            gate = 2 * torch.sigmoid(self.value_gate(x_BTD[..., : self.value_gate.in_features]))
            v = v + gate[..., None] * value_embedding_BTE.view(B, T, -1, K)
        if config.position == "rope":
            cos_TK, sin_TK = positions.cos_TK, positions.sin_TK
            q, k = rotate(q, cos_TK, sin_TK), rotate(k, cos_TK, sin_TK)
        if config.qk_norm and not config.qk_norm_weights:
            # 1.2 a side sharpens the softmax that unit-norm queries and keys leave too flat (nanochat); rotation keeps norms
            sharpness = 1.2 * (config.rope_scaling.sharpness if config.rope_scaling else 1)
            q, k = sharpness * F.rms_norm(q, (K,)), sharpness * F.rms_norm(k, (K,))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if cache is not None:
            k, v = cache.append(k, v, positions.start)
        y = self.mix(q, k, v, positions.documents_BT)
        return self.output(y.transpose(1, 2).reshape(B, T, -1))

    def mix(self, q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, documents_BS: Tensor | None) -> Tensor:
        """What the last T of S tokens take from the keys and values in their view: [B, H, T, K]."""
        return attend(q_BHTK, k_BGSK, v_BGSK, self.config.causal, self.window, documents_BS)


def project(x_BTD: Tensor, *linears: nn.Linear) -> tuple[Tensor, ...]:
    """Each linear of the same input, in one product: x is read once, and its gradient written once. Not for single tokens,
    where putting the weights together costs more than the products.
    """
    first, tokens = linears[0], x_BTD.shape[1]
    if tokens == 1 or type(first) is not nn.Linear or type(first.weight) is not nn.Parameter or first.bias is not None:
        return tuple(linear(x_BTD) for linear in linears)
    weights = [linear.weight for linear in linears]
    return F.linear(x_BTD, torch.cat(weights)).split([len(weight) for weight in weights], dim=-1)


def attend(
    q_BHTK: Tensor,
    k_BGSK: Tensor,
    v_BGSK: Tensor,
    causal: bool,
    window: int = 0,
    documents_BS: Tensor | None = None,
) -> Tensor:
    """Softmax attention of the last T of S tokens over the keys they may see (`blocked_keys`): [B, H, T, K]."""
    T, S = q_BHTK.shape[2], k_BGSK.shape[2]
    if window and causal and T + window <= S:  # a cache holds more than any of these tokens sees
        S = T + window - 1
        k_BGSK, v_BGSK = k_BGSK[:, :, -S:], v_BGSK[:, :, -S:]
        documents_BS = None if documents_BS is None else documents_BS[:, -S:]
    plain = causal and T == S and documents_BS is None and (not window or window >= S)
    if not plain and (window or documents_BS is not None) and suits_flex(q_BHTK, k_BGSK):
        return flex_attend(q_BHTK, k_BGSK, v_BGSK, causal, window, documents_BS)
    kind = q_BHTK.device.type
    if plain and kind != "cpu" and (q_BHTK.dtype != torch.float32 or torch.is_autocast_enabled(kind)):
        # flash attention's and cuDNN's kernels read shared keys and values where they are; those of float32 may not
        shared = q_BHTK.shape[1] != k_BGSK.shape[1]
        return F.scaled_dot_product_attention(q_BHTK, k_BGSK, v_BGSK, is_causal=True, enable_gqa=shared)
    if q_BHTK.shape[1] != k_BGSK.shape[1]:
        groups = q_BHTK.shape[1] // k_BGSK.shape[1]
        k_BGSK = k_BGSK.repeat_interleave(groups, dim=1)
        v_BGSK = v_BGSK.repeat_interleave(groups, dim=1)
    if causal and suits_blocks(q_BHTK, k_BGSK):
        return block_attend(q_BHTK, k_BGSK, v_BGSK, window if window < S else 0, documents_BS)
    if kind != "cpu" or (S > PLAIN_ATTENTION_KEYS and T == S):
        if plain:
            return F.scaled_dot_product_attention(q_BHTK, k_BGSK, v_BGSK, is_causal=True)
        blocked = blocked_keys(T, S, q_BHTK.device, causal, window, documents_BS)
        if blocked is None:
            return F.scaled_dot_product_attention(q_BHTK, k_BGSK, v_BGSK)
        with sdpa_kernel(MASKED_KERNELS):
            return F.scaled_dot_product_attention(q_BHTK, k_BGSK, v_BGSK, ~blocked)
    scores = q_BHTK @ (k_BGSK * (1 / math.sqrt(q_BHTK.shape[3]))).transpose(2, 3)
    blocked = blocked_keys(T, S, q_BHTK.device, causal, window, documents_BS)
    if blocked is not None:
        scores = scores.masked_fill(blocked, -math.inf)
    return scores.softmax(dim=-1) @ v_BGSK


def blocked_keys(
    T: int, S: int, device: torch.device, causal: bool, window: int = 0, documents_BS: Tensor | None = None
) -> Tensor | None:
    """Which of S keys each of the last T of S tokens may not see, [T, S] or [B, 1, T, S]; None: it sees all.

    A `window` of w hides keys w tokens or more away. `documents_BS` numbers the documents in each row: a token sees its own
    only (padding, -1, sees padding, so that no token sees nothing).
    """
    blocked: Tensor | None = None
    if causal:
        blocked = torch.ones(T, S, dtype=torch.bool, device=device).triu(S - T + 1)
    if window and window < S:
        here_T, key_S = torch.arange(S - T, S, device=device), torch.arange(S, device=device)
        distance_TS = here_T[:, None] - key_S
        far = distance_TS.abs() >= window
        blocked = far if blocked is None else blocked | far
    if documents_BS is not None:
        other = documents_BS[:, None, S - T :, None] != documents_BS[:, None, None, :]
        blocked = other if blocked is None else blocked | other
    return blocked
