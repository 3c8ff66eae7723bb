"""Multi-head latent attention (DeepSeek-V2, section 2.1): keys and values are made from one small latent a token.

    queries   x -> [down -> norm -> up] or one matrix -> per head P plain channels and R rotated ones
    latent    x -> down -> norm -> c                  -> per head P plain key channels and V value channels
    position  x -> down -> R rotated key channels, shared by all heads

Generation keeps only the latent and the rotated key channels. A continuation never expands the latent: each head's matrix is
taken to the query's side (for the scores) and to the output's (for the values), where there are few tokens.
Shapes: B rows, T tokens, S tokens in view, D width, H heads, C channels of the latent, P, R, V as above, K = P + R.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.model.attention import Positions, attend, blocked_keys
from seedbed.model.config import TransformerConfig
from seedbed.model.rope import rotate


class LatentCache:
    """Latents [B, S, C] and rotated key channels [B, S, R] of the tokens seen so far."""

    def __init__(self, config: TransformerConfig, rows: int, tokens: int, like: Tensor) -> None:
        assert config.latent is not None
        self.latents_BSC = like.new_zeros(rows, tokens, config.latent.kv_rank)
        self.keys_BSR = like.new_zeros(rows, tokens, config.latent.rope_width)

    def append(self, latents_BTC: Tensor, keys_BTR: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Store T new tokens at `start`; return everything up to their end."""
        stop = start + latents_BTC.shape[1]
        self.latents_BSC[:, start:stop] = latents_BTC
        self.keys_BSR[:, start:stop] = keys_BTR
        return self.latents_BSC[:, :stop], self.keys_BSR[:, :stop]


class LatentAttention(nn.Module):
    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        assert config.latent is not None
        self.window = config.window(layer)
        self.config, self.latent = config, config.latent
        D, H, C, rank = config.width, config.heads, self.latent.kv_rank, self.latent.query_rank
        P, R, V = self.latent.plain_width, self.latent.rope_width, self.latent.value_width
        factor = config.rope_scaling.factor if config.rope_scaling else 1.0
        self.sharpness = (0.1 * self.latent.yarn_scale * math.log(factor) + 1) ** 2
        if rank:
            self.query_down = nn.Linear(D, rank, bias=False)
            self.query_norm = nn.RMSNorm(rank, eps=1e-6, elementwise_affine=config.norm_weights)
        self.query = nn.Linear(rank or D, H * (P + R), bias=False)
        self.kv_down = nn.Linear(D, C + R, bias=False)
        self.kv_norm = nn.RMSNorm(C, eps=1e-6, elementwise_affine=config.norm_weights)
        self.kv_up = nn.Linear(C, H * (P + V), bias=False)
        self.output = nn.Linear(H * V, D, bias=False)

    def make_cache(self, rows: int, tokens: int, like: Tensor) -> LatentCache:
        return LatentCache(self.config, rows, tokens, like)

    def input_projections(self) -> list[nn.Linear]:
        """All matrices but the output's, for the initialisation."""
        return [*([self.query_down] if self.latent.query_rank else []), self.query, self.kv_down, self.kv_up]

    def forward(
        self,
        x_BTD: Tensor,
        positions: Positions,
        value_embedding_BTE: Tensor | None = None,
        cache: LatentCache | None = None,
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]. The tables turn R channels. There are no value embeddings: a cache could not hold them."""
        latent, (B, T, _) = self.latent, x_BTD.shape
        narrow_BTD = self.query_norm(self.query_down(x_BTD)) if latent.query_rank else x_BTD
        query_BTHK = self.query(narrow_BTD).view(B, T, -1, latent.plain_width + latent.rope_width)
        if self.sharpness != 1:
            query_BTHK = query_BTHK * self.sharpness
        plain_BTHP, turned_BTHR = query_BTHK.split((latent.plain_width, latent.rope_width), dim=-1)
        cos_TR, sin_TR = positions.cos_TK, positions.sin_TK
        turned_BTHR = rotate(turned_BTHR, cos_TR, sin_TR)
        latents_BSC, keys_BSR = self.kv_down(x_BTD).split((latent.kv_rank, latent.rope_width), dim=-1)
        latents_BSC = self.kv_norm(latents_BSC)
        keys_BSR = rotate(keys_BSR[:, :, None], cos_TR, sin_TR)[:, :, 0]
        if cache is not None:
            latents_BSC, keys_BSR = cache.append(latents_BSC, keys_BSR, positions.start)
        if latents_BSC.shape[1] > T:
            y_BTHV = self.absorbed(plain_BTHP, turned_BTHR, latents_BSC, keys_BSR)
        else:
            y_BTHV = self.expanded(plain_BTHP, turned_BTHR, latents_BSC, keys_BSR, positions.documents_BT)
        return self.output(y_BTHV.reshape(B, T, -1))

    def expanded(
        self,
        plain_BTHP: Tensor,
        turned_BTHR: Tensor,
        latents_BTC: Tensor,
        keys_BTR: Tensor,
        documents_BT: Tensor | None,
    ) -> Tensor:
        """Whole rows: every head's keys and values are written out, and attention is the usual one."""
        P, V = self.latent.plain_width, self.latent.value_width
        B, T, H, _ = plain_BTHP.shape
        keys_BTHP, values_BTHV = self.kv_up(latents_BTC).view(B, T, H, P + V).split((P, V), dim=-1)
        keys_BTHR = keys_BTR[:, :, None].expand(B, T, H, -1)
        q_BHTK = torch.cat((plain_BTHP, turned_BTHR), dim=-1).transpose(1, 2)
        k_BHTK = torch.cat((keys_BTHP, keys_BTHR.to(keys_BTHP.dtype)), dim=-1).transpose(1, 2)
        return self.mix(q_BHTK, k_BHTK, values_BTHV.transpose(1, 2), documents_BT).transpose(1, 2)

    def mix(self, q_BHTK: Tensor, k_BHSK: Tensor, v_BHSV: Tensor, documents_BS: Tensor | None) -> Tensor:
        """As `Attention.mix`, which a device that holds a part of each row replaces: [B, H, T, V]."""
        return attend(q_BHTK, k_BHSK, v_BHSV, self.config.causal, self.window, documents_BS)

    def absorbed(self, plain_BTHP: Tensor, turned_BTHR: Tensor, latents_BSC: Tensor, keys_BSR: Tensor) -> Tensor:
        """The last T of S tokens: q . (W_k c) = (W_k^T q) . c, and sum_s p_s W_v c_s = W_v sum_s p_s c_s."""
        P, V = self.latent.plain_width, self.latent.value_width
        T, S = plain_BTHP.shape[1], latents_BSC.shape[1]
        key_HPC, value_HVC = self.kv_up.weight.view(-1, P + V, latents_BSC.shape[2]).split((P, V), dim=1)
        seen_BTHC = torch.einsum("bthp,hpc->bthc", plain_BTHP, key_HPC)
        scores_BHTS = torch.einsum("bthc,bsc->bhts", seen_BTHC, latents_BSC)
        scores_BHTS = scores_BHTS + torch.einsum("bthr,bsr->bhts", turned_BTHR, keys_BSR)
        blocked = blocked_keys(T, S, plain_BTHP.device, self.config.causal, self.window)
        scores_BHTS = scores_BHTS / math.sqrt(P + turned_BTHR.shape[3])
        if blocked is not None:
            scores_BHTS = scores_BHTS.masked_fill(blocked, -math.inf)
        mixed_BTHC = torch.einsum("bhts,bsc->bthc", F.softmax(scores_BHTS, dim=-1), latents_BSC)
        return torch.einsum("bthc,hvc->bthv", mixed_BTHC, value_HVC)
