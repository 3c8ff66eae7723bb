"""A language model as its users see it: a transformer, and where it has one, the n-gram expert mixed into its prediction."""

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from seedbed.model.ngram import NgramExpert
from seedbed.model.transformer import Cache, Transformer


@dataclass
class Stream:
    """One text being continued: the transformer's cache and all tokens so far."""

    cache: Cache
    tokens: list[int] = field(default_factory=list)


class LanguageModel:
    def __init__(self, transformer: Transformer, expert: NgramExpert | None) -> None:
        self.transformer = transformer.eval()
        self.expert = expert
        self.config = transformer.config

    @property
    def device(self) -> torch.device:
        return self.transformer.head.weight.device

    def prior(self, tokens: NDArray[np.integer]) -> NDArray[np.float32] | None:
        """The expert's log-probability of each token of a text, then its masses [P, order]; None without an expert."""
        if self.expert is None:
            return None
        probabilities, masses = self.expert.probabilities(tokens)
        return np.column_stack((np.log(probabilities), masses))

    @torch.no_grad()
    def losses(self, tokens_BT: Tensor, targets_BS: Tensor, prior_BSP: Tensor | None) -> tuple[Tensor, Tensor]:
        """Nats per target [B, S], of the mixture and of the transformer alone, of the targets of the last S <= T positions.

        `prior_BSP`: rows of `prior` of the targets [B, S, order].
        """
        return self.transformer.losses(tokens_BT, targets_BS, prior_BSP)

    def start(self) -> Stream:
        return Stream(self.transformer.make_cache(1, self.config.context))

    @torch.no_grad()
    def advance(self, stream: Stream, tokens: list[int]) -> Tensor:
        """Read `tokens` (at least one) into the stream; give the log-probabilities [vocab_size] of the token after them.

        When the context is full the last half of it is read anew, and the text goes on.
        """
        stream.tokens += tokens
        if stream.cache.length + len(tokens) > stream.cache.capacity:
            tokens = stream.tokens[-max(1, stream.cache.capacity // 2) :]
            stream.cache = self.transformer.make_cache(1, self.config.context)
        logits, hidden = self.transformer.predict(torch.tensor([tokens], device=self.device), stream.cache)
        own = logits[0, -1].log_softmax(-1)
        if self.expert is None:
            return own
        recent = np.array(stream.tokens[-self.expert.order :])
        probabilities, masses = self.expert.distribution(recent)
        gate = self.transformer.gate(hidden[0, -1], torch.from_numpy(masses).to(self.device))
        other = torch.from_numpy(probabilities).to(self.device).log()
        return torch.logaddexp(F.logsigmoid(gate) + own, F.logsigmoid(-gate) + other)
