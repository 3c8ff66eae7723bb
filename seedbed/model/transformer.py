"""The transformer, read top to bottom: tables look tokens up, layers mix them, the head predicts the next.

`embed` gathers rows from the tables (whose gradients are sparse) and `mixed_losses` is a few large operations: both stay
outside the compiler, which gets `hidden`, the layers. Shapes: B rows, T tokens, D width, V padded vocabulary.
"""

from collections.abc import Callable, Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.model.attention import Positions
from seedbed.model.chunked_loss import chunked_loss, softcapped
from seedbed.model.config import TransformerConfig
from seedbed.model.experts import MixtureOfExperts, Router, over_mean
from seedbed.model.head_loss import IGNORED, head_loss
from seedbed.model.initialisation import init_weights
from seedbed.model.layer import HeadTransform, Layer, make_norm
from seedbed.model.rope import rope_tables

HASH_MULTIPLIERS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)  # xxHash's 32-bit primes


class Cache:
    """Everything generation keeps of the tokens seen: keys and values by layer, and the last tokens for the n-grams."""

    def __init__(self, layers: Iterable[Layer], rows: int, tokens: int, like: Tensor) -> None:
        self.layers = [layer.attention.make_cache(rows, tokens, like) for layer in layers]
        self.capacity = tokens
        self.length = 0
        self.last_B2 = torch.zeros(rows, 2, dtype=torch.int64, device=like.device)


class Transformer(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.loss_chunk_tokens = 0  # tokens whose logits the loss holds at once; 0: all of them
        V, D = config.padded_vocab_size, config.width
        sparse = not config.tied_head  # a tied table also serves as the head, whose gradient is dense
        self.embedding = nn.Embedding(V, D, sparse=sparse)
        if config.position == "learned":
            self.position_embedding = nn.Embedding(config.context, D)
        if config.segments:
            self.segment_embedding = nn.Embedding(config.segments, D)
        orders = (2, 3) if config.ngram_rows else ()
        self.ngram_embeddings = nn.ModuleDict({str(n): nn.Embedding(config.ngram_rows, D, sparse=True) for n in orders})
        value_width = config.kv_heads * config.head_width
        self.value_embeddings = nn.ModuleDict(
            {str(i): nn.Embedding(V, value_width, sparse=True) for i in config.value_layers}
        )
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.layers))
        self.present = range(config.layers)  # a stage of a pipeline holds fewer
        if config.residual_scalars:
            self.residual_scale = nn.Parameter(torch.ones(config.layers))
            self.input_scale = nn.Parameter(torch.zeros(config.layers))
        self.embedding_norm = make_norm(config) if config.embedding_norm else nn.Identity()
        self.final_norm = nn.Identity() if config.norm_place == "after" else make_norm(config)
        self.head_transform = HeadTransform(config) if config.head_transform else nn.Identity()
        self.head = nn.Linear(D, V, bias=config.head_transform)
        self.tie_head()
        if config.prior_order:
            # share of the transformer's own prediction in the mixture, from the hidden state and the expert's masses
            self.prior_gate = nn.Linear(D + config.prior_order - 1, 1)
        self.register_buffer("cos_TK", torch.empty(0), persistent=False)
        self.register_buffer("sin_TK", torch.empty(0), persistent=False)

    def tie_head(self) -> None:
        """Make a tied head share the embedding's table: needed again after `to_empty`, which copies it."""
        if self.config.tied_head:
            self.head.weight = self.embedding.weight

    def init_weights(self, seed: int) -> None:
        init_weights(self, seed)

    def routers(self) -> dict[int, Router]:
        """The router of each layer with experts that is here."""
        parts = {i: self.layers[i].get_submodule("feed_forward") for i in self.present}
        return {i: part.router for i, part in parts.items() if isinstance(part, MixtureOfExperts)}

    def begin_step(self, num_rows: int) -> None:
        """Before the first micro-batch of a step of `num_rows` rows in all: experts' loads are counted from here."""
        for router in self.routers().values():
            router.begin_step(num_rows)

    def end_step(self, sum_over_ranks: Callable[[Tensor], Tensor]) -> None:
        """After the optimizer's step: loads become those of all ranks, and the balancing biases move against them."""
        routers = list(self.routers().values())
        if routers:
            loads_LE = sum_over_ranks(torch.stack([router.load_E for router in routers]))
            for router, load_E in zip(routers, loads_LE, strict=True):
                router.load_E.copy_(load_E)
                router.move_bias()

    def expert_loads(self) -> dict[int, list[float]]:
        """What each expert of a layer got of the last step's choices, by layer, over the mean: 1 where even, 0 where none."""
        return {i: over_mean(router.load_E) for i, router in self.routers().items()}

    def set_rope_tables(self, tokens: int) -> None:
        cos, sin = rope_tables(self.config.rotated_width, self.config.rope_base, self.config.rope_scaling, tokens)
        device = next(self.parameters()).device
        self.cos_TK, self.sin_TK = cos.to(device), sin.to(device)

    def make_cache(self, rows: int, tokens: int) -> Cache:
        assert self.config.causal, "an encoder reads whole texts"
        return Cache(cast(Iterable[Layer], self.layers), rows, min(tokens, self.config.context), self.head.weight)

    def ngram_rows_of(self, tokens_BT: Tensor, before_B2: Tensor | None) -> dict[str, Tensor]:
        """Row of each n-gram table for the n-gram that ends at each token. Before the first token stands token 0."""
        previous = tokens_BT.new_zeros(tokens_BT.shape[0], 2) if before_B2 is None else before_B2
        padded = torch.cat((previous, tokens_BT), dim=1)
        rows = {}
        for order in self.ngram_embeddings:
            mixed = torch.zeros_like(tokens_BT)
            for back in range(int(order)):
                part = padded[:, 2 - back : padded.shape[1] - back]
                mixed = mixed ^ ((part + 1) * HASH_MULTIPLIERS[back]) & 0xFFFFFFFF
            mixed = (mixed ^ (mixed >> 15)) * 0x2C1B3C6D & 0xFFFFFFFF
            rows[order] = (mixed ^ (mixed >> 13)) % self.config.ngram_rows
        return rows

    def embed(
        self, tokens_BT: Tensor, cache: Cache | None = None, positions_S: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Input vectors [B, T, D], and the value embeddings of each layer that has them.

        `positions_S`: of these positions of the rows only, where a device works on a part of each row.
        """
        here_BS = tokens_BT if positions_S is None else tokens_BT[:, positions_S]
        x_BSD = self.embedding(here_BS)
        if len(self.ngram_embeddings):
            for order, rows_BT in self.ngram_rows_of(tokens_BT, cache.last_B2 if cache else None).items():
                rows_BS = rows_BT if positions_S is None else rows_BT[:, positions_S]
                x_BSD = x_BSD + self.ngram_embeddings[order](rows_BS)
        if self.config.position == "learned":
            start = cache.length if cache else 0
            table = self.position_embedding.weight
            x_BSD = x_BSD + (table[start : start + tokens_BT.shape[1]] if positions_S is None else table[positions_S])
        if self.config.segments:
            x_BSD = x_BSD + self.segment_embedding.weight[0]
        return x_BSD, [table(here_BS) for table in self.value_embeddings.values()]

    def hidden(
        self,
        x_BTD: Tensor,
        value_embeddings: list[Tensor],
        cache: Cache | None = None,
        documents_BT: Tensor | None = None,
    ) -> Tensor:
        """The final hidden states [B, T, D], ready for the head.

        `documents_BT` (int64, -1: padding) numbers the documents in each row, and attention stays within a document.
        """
        values = dict(zip(self.config.value_layers, value_embeddings, strict=True))
        x_BTD = self.enter(x_BTD)
        return self.leave(self.run_layers(x_BTD, x_BTD, values, cache, documents_BT))

    def enter(self, x_BTD: Tensor) -> Tensor:
        """Input vectors as the first layer takes them, in the dtype they have: on a GPU autocast makes norms float32."""
        plain = self.config.zero_output_init
        return (F.rms_norm(x_BTD, (self.config.width,)) if plain else self.embedding_norm(x_BTD)).to(x_BTD.dtype)

    def leave(self, x_BTD: Tensor) -> Tensor:
        """What the last layer gives as the head takes it."""
        return self.head_transform(self.final_norm(x_BTD))

    def run_layers(
        self,
        x_BTD: Tensor,
        x0_BTD: Tensor,
        values: dict[int, Tensor],
        cache: Cache | None = None,
        documents_BT: Tensor | None = None,
        positions_T: Tensor | None = None,
    ) -> Tensor:
        """The layers that are here (`present`), of which x0 is the first one's input; `values` by layer.

        `positions_T`: where in their rows the tokens stand, if not one after another.
        """
        start = cache.length if cache else 0
        here = slice(start, start + x_BTD.shape[1]) if positions_T is None else positions_T
        positions = Positions(self.cos_TK[here], self.sin_TK[here], start, documents_BT)
        x0_BTD = x0_BTD.view_as(x0_BTD)  # a tensor of its own: a layer given one twice would be compiled for that alone
        for i in self.present:
            mixed_in = (self.residual_scale[i], self.input_scale[i], x0_BTD) if self.config.residual_scalars else None
            x_BTD = self.layers[i](x_BTD, positions, values.get(i), cache.layers[i] if cache else None, mixed_in)
        return x_BTD

    def cap(self, logits: Tensor) -> Tensor:
        return softcapped(logits, self.config.logit_softcap)

    def mixed_losses(self, hidden_BTD: Tensor, targets_BT: Tensor, prior_BTP: Tensor | None) -> tuple[Tensor, Tensor]:
        """Negative log-likelihoods [B, T] in nats of each target: of the prediction, and of the transformer alone.

        `prior_BTP` holds the n-gram expert's log-probability of the target, then its masses; without an expert it is None
        and the two results are one. Targets that are IGNORED have loss 0.
        """
        own_BT = self.own_losses(hidden_BTD, targets_BT)
        if prior_BTP is None:
            return own_BT, own_BT
        gate_BT = self.gate(hidden_BTD, prior_BTP[..., 1:])
        mixed_BT = torch.logaddexp(F.logsigmoid(gate_BT) - own_BT, F.logsigmoid(-gate_BT) + prior_BTP[..., 0])
        return (-mixed_BT).masked_fill(targets_BT == IGNORED, 0.0), own_BT

    def own_losses(self, hidden_BTD: Tensor, targets_BT: Tensor) -> Tensor:
        """Negative log-likelihood [B, T] in nats of each target under the transformer alone, 0 where it is IGNORED."""
        hidden_ND, targets_N = hidden_BTD.flatten(0, 1), targets_BT.flatten()
        # the head works on asked rows alone; a GPU has to wait for their number, which pays where most are not asked
        if hidden_ND.device.type == "cpu" or not self.config.causal:
            asked_N = targets_N != IGNORED
            if not bool(asked_N.all()):
                index_M = asked_N.nonzero()[:, 0]
                losses_M = self.head_losses(hidden_ND.index_select(0, index_M), targets_N.index_select(0, index_M))
                return losses_M.new_zeros(len(targets_N)).index_copy(0, index_M, losses_M).view_as(targets_BT)
        return self.head_losses(hidden_ND, targets_N).view_as(targets_BT)

    def head_losses(self, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        """`own_losses` [N] of rows in one line, by the way that suits device and size."""
        V, softcap = self.config.vocab_size, self.config.logit_softcap
        bias_V = None if self.head.bias is None else self.head.bias[:V]
        if self.loss_chunk_tokens and len(hidden_ND) > self.loss_chunk_tokens:
            size, weight_VD = self.loss_chunk_tokens, self.head.weight[:V]
            return chunked_loss(hidden_ND, weight_VD, targets_N, size, bias_V, softcap)
        if hidden_ND.device.type == "cpu" and hidden_ND.dtype == torch.float32 and not softcap and bias_V is None:
            return head_loss(hidden_ND, self.head.weight[:V], targets_N)
        logits_NV = self.cap(self.head(hidden_ND).float())[:, :V]
        return F.cross_entropy(logits_NV, targets_N, ignore_index=IGNORED, reduction="none")

    def gate(self, hidden_BTD: Tensor, masses_BTM: Tensor) -> Tensor:
        """Log-odds [B, T] of the transformer against the n-gram expert."""
        return self.prior_gate(torch.cat((hidden_BTD.float(), masses_BTM), dim=-1)).squeeze(-1)

    def losses(self, tokens_BT: Tensor, targets_BT: Tensor, prior_BTP: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`mixed_losses` from tokens. Targets, and the prior with them, may be those of the last positions only."""
        x_BTD, values = self.embed(tokens_BT)
        return self.mixed_losses(self.hidden(x_BTD, values)[:, -targets_BT.shape[1] :], targets_BT, prior_BTP)

    def predict(self, tokens_BT: Tensor, cache: Cache | None = None) -> tuple[Tensor, Tensor]:
        """Logits [B, T, vocab_size] in float32 and hidden states. With a cache the tokens continue what it holds."""
        x_BTD, values = self.embed(tokens_BT, cache)
        hidden_BTD = self.hidden(x_BTD, values, cache)
        if cache is not None:
            cache.length += tokens_BT.shape[1]
            cache.last_B2 = torch.cat((cache.last_B2, tokens_BT), dim=1)[:, -2:]
        return self.cap(self.head(hidden_BTD).float())[..., : self.config.vocab_size], hidden_BTD

    def forward(self, tokens_BT: Tensor, cache: Cache | None = None) -> Tensor:
        """Logits of the transformer alone, without the n-gram expert."""
        return self.predict(tokens_BT, cache)[0]


def build_model(config: TransformerConfig, seed: int, device: str = "cpu") -> Transformer:
    """A freshly initialised model, made on the meta device first so that nothing is drawn twice."""
    with torch.device("meta"):
        model = Transformer(config)
    model.to_empty(device=device)
    model.tie_head()
    model.init_weights(seed)
    return model
