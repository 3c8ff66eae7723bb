"""What an encoder scores on held-out text: bits per masked token, and a pseudo-log-likelihood on a part of it.

    masked    the training objective on windows of held-out text, every draw from the recipe's seed: the mean bits of a token
              that was asked, and how often the likeliest token was the right one
    pseudo    each token of a few windows masked alone and scored with all others in sight, added up (Salazar et al. 2020,
              equation 1), over the bytes of these tokens

Neither is the probability of a text: both see what comes after a token. They compare encoders with the same tokenizer and
the same share of masks, and never with a causal model's bits per byte.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seedbed.evaluate.held_out import ALL, HeldOut
from seedbed.model.language_model import LanguageModel
from seedbed.tokens.loader import PADDING
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.train.batch import IGNORED
from seedbed.train.objectives import Masked

BATCH_BYTES = 32_000_000  # of the largest activation of a batch in float32
PSEUDO_TOKENS = 256  # of a domain: each costs a pass over its whole window
HELD_OUT = -1  # stands for the step in the draws: no step of training has it
DIGITS = 5


@dataclass
class MaskedScore:
    """Counts of a text and sums over it; scores of domains and splits add up."""

    bytes: int = 0
    documents: int = 0
    tokens: int = 0
    asked: int = 0
    right: int = 0
    bits: float = 0.0
    unigram_bits: float = 0.0
    pseudo_tokens: int = 0
    pseudo_bytes: int = 0
    pseudo_bits: float = 0.0

    def __add__(self, other: "MaskedScore") -> "MaskedScore":
        return MaskedScore(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def to_json(self) -> dict[str, Any]:
        asked, pseudo_bytes = max(1, self.asked), max(1, self.pseudo_bytes)
        return {
            "bytes": self.bytes,
            "documents": self.documents,
            "tokens": self.tokens,
            "asked": self.asked,
            "model": round(self.bits / asked, DIGITS),
            "unigram": round(self.unigram_bits / asked, DIGITS),
            "accuracy": round(self.right / asked, DIGITS),
            "pseudo_tokens": self.pseudo_tokens,
            "pseudo_bits_per_byte": round(self.pseudo_bits / pseudo_bytes, DIGITS),
        }


def unigram_bits(training_tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    """Bits [vocab_size] of each token by its count in training text plus one: what knowing no context costs."""
    counts = np.bincount(training_tokens, minlength=vocab_size) + 1.0
    return np.log2(counts.sum()) - np.log2(counts)


def windows_of(tokens: np.ndarray, context: int, eos_id: int) -> tuple[np.ndarray, np.ndarray | None]:
    """A stream cut into windows [n, context]; one that is not full is left out, or padded where it is the only one."""
    count = len(tokens) // context
    if count:
        return tokens[: count * context].reshape(count, context), None
    window = np.full((1, context), eos_id, np.int64)
    window[0, : len(tokens)] = tokens
    return window, np.where(np.arange(context) < len(tokens), 0, PADDING)[None]


def rows_per_batch(model: LanguageModel) -> int:
    config = model.config
    return max(1, BATCH_BYTES // (4 * config.context * max(config.mlp_width, config.heads * config.context)))


@torch.no_grad()
def logits_at(model: LanguageModel, tokens_BT: Tensor, asked_BT: Tensor, documents_BT: Tensor | None = None) -> Tensor:
    """Logits [M, vocab_size] at the positions where `asked_BT` is true, in reading order."""
    transformer = model.transformer
    hidden_BTD = transformer.hidden(*transformer.embed(tokens_BT), documents_BT=documents_BT)
    return transformer.cap(transformer.head(hidden_BTD[asked_BT]).float())[:, : model.config.vocab_size]


def score_masked(
    model: LanguageModel,
    stream: HeldOut,
    objective: Masked,
    unigram_V: np.ndarray | None = None,
    on_tokens: Callable[[int], None] = lambda count: None,
) -> MaskedScore:
    """A stream's score without its pseudo-log-likelihood. Leaves the transformer in the mode it found it in."""
    windows, documents = windows_of(stream.tokens, objective.context, stream.eos_id)
    score = MaskedScore(stream.num_bytes, len(stream.ids), len(stream.tokens))
    was_training = model.transformer.training
    model.transformer.eval()
    try:
        for start in range(0, len(windows), rows_per_batch(model)):
            part = windows[start : start + rows_per_batch(model)]
            asked = objective.rows(part, HELD_OUT, start, documents)
            targets_BT = torch.from_numpy(asked.targets_BT).to(model.device)
            numbers_BT = None if documents is None else torch.from_numpy(documents).to(model.device)
            asked_BT = targets_BT != IGNORED
            logits_MV = logits_at(model, torch.from_numpy(asked.inputs_BT).to(model.device), asked_BT, numbers_BT)
            targets_M = targets_BT[asked_BT]
            score.asked += len(targets_M)
            score.right += int((logits_MV.argmax(-1) == targets_M).sum())
            nats_M = -logits_MV.log_softmax(-1).gather(-1, targets_M[:, None])
            score.bits += nats_M.double().sum().item() / math.log(2)
            if unigram_V is not None:
                score.unigram_bits += float(unigram_V[targets_M.cpu().numpy()].sum())
            on_tokens(part.size)
    finally:
        model.transformer.train(was_training)
    return score


def score_pseudo(
    model: LanguageModel, stream: HeldOut, objective: Masked, tokenizer: Tokenizer, max_tokens: int = PSEUDO_TOKENS
) -> MaskedScore:
    """The pseudo-log-likelihood of a stream's first tokens: only its three fields are filled."""
    score = MaskedScore()
    tokens = stream.tokens[:max_tokens]
    for start in range(0, len(tokens), objective.context):
        window = torch.from_numpy(tokens[start : start + objective.context].copy()).to(model.device)
        count = len(window)
        for first in range(0, count, rows_per_batch(model)):
            places = torch.arange(first, min(count, first + rows_per_batch(model)), device=model.device)
            asked_BT = places[:, None] == torch.arange(count, device=model.device)
            rows_BT = window.expand(len(places), count).masked_fill(asked_BT, objective.mask_id)
            logits_BV = logits_at(model, rows_BT, asked_BT)
            nats_B = -logits_BV.log_softmax(-1).gather(-1, window[places][:, None])
            score.pseudo_bits += nats_B.double().sum().item() / math.log(2)
    score.pseudo_tokens = len(tokens)
    score.pseudo_bytes = len(tokenizer.decode_bytes(tokens))
    return score


def masked_table(scores: dict[str, MaskedScore]) -> dict[str, dict[str, Any]]:
    """{"all": ..., DOMAIN: ...}; every asked token of "all" weighs the same."""
    return {ALL: total(scores.values()).to_json(), **{domain: score.to_json() for domain, score in scores.items()}}


def total(scores: Iterable[MaskedScore]) -> MaskedScore:
    summed = MaskedScore()
    for score in scores:
        summed = summed + score
    return summed
