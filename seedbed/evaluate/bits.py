"""Bits per byte of held-out text: every token scored once, with at least half a context before it.

A domain's documents form one stream of N tokens, each closed by the end-of-text token, which is predicted like any other:
its bits count, its bytes (it has none) do not. One end-of-text token stands before the first.

    stream    t0 t1 t2 ...                                     context T, slide S = T // 2
    window 0  [scored T            ]
    window 1        [read T - S     | scored S]
    window 2                  [read T - S     | scored S]
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from seedbed.evaluate.held_out import ALL, HeldOut, select
from seedbed.model.language_model import LanguageModel
from seedbed.tokens.tokenizer import Tokenizer

LOGITS_BYTES = 8_000_000  # of one batch, in float32: larger ones leave a CPU's cache (docs/evaluation.md)


def slide_of(context: int) -> int:
    """Tokens between the starts of two windows."""
    return max(1, context // 2)


def score_split(
    model: LanguageModel,
    shard_folder: Path,
    max_bytes_per_domain: int,
    batch_rows: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> dict[str, dict[str, Any]]:
    """Bits per byte of a split by domain: {"bytes", "tokens", "documents", "model", "transformer"}.

    `model` is the whole prediction, `transformer` the transformer's alone: the same without an n-gram expert. Without a
    `tokenizer` a domain's last document is scored whole, with it cut to `max_bytes_per_domain`.
    """
    scores = {}
    for domain, stream in select(shard_folder, max_bytes_per_domain, tokenizer).items():
        model_bits, transformer_bits = score_stream(model, stream, batch_rows)
        scores[domain] = {
            "bytes": stream.num_bytes,
            "tokens": len(stream.tokens),
            "documents": len(stream.ids),
            "model": model_bits / stream.num_bytes,
            "transformer": transformer_bits / stream.num_bytes,
        }
    return scores


def bits_per_byte(scores: dict[str, dict[str, Any]], of: str = "model") -> dict[str, float]:
    """Bits per byte of "all" and of each domain, from what `score_split` gives; "all" weighs every byte the same."""
    total = sum(entry["bytes"] for entry in scores.values())
    overall = sum(entry[of] * entry["bytes"] for entry in scores.values()) / total if total else math.nan
    return {ALL: overall, **{domain: entry[of] for domain, entry in scores.items()}}


def score_stream(
    model: LanguageModel,
    stream: HeldOut,
    batch_rows: int | None = None,
    on_tokens: Callable[[int], None] = lambda count: None,
) -> tuple[float, float]:
    """Bits of all tokens of a stream: of the model, and of its transformer alone.

    `on_tokens` is told how many tokens each batch scored. Leaves the transformer in the mode it found it in.
    """
    context, num_tokens = model.config.context, len(stream.tokens)
    slide = slide_of(context)
    num_windows = 1 + math.ceil(max(0, num_tokens - context) / slide)
    length = (num_windows - 1) * slide + context
    history = np.concatenate(([stream.eos_id], stream.tokens))
    padded = np.full(length + 1, stream.eos_id, np.int64)  # no scored token sees the padding, which comes after all
    padded[: num_tokens + 1] = history
    windows = sliding_window_view(padded, context + 1)[::slide]
    prior = model.prior(history)
    if prior is not None:
        prior = np.concatenate((prior[1:], np.zeros((length - num_tokens, prior.shape[1]), np.float32)))
    rows = batch_rows or max(1, LOGITS_BYTES // (4 * slide * model.config.padded_vocab_size))
    nats = np.zeros(2)
    was_training = model.transformer.training
    model.transformer.eval()
    try:
        start, stop, done = 0, 1, 0  # the first window is a batch of its own: all its targets count
        while start < num_windows:
            scored = context if start == 0 else slide
            tokens_BT = torch.from_numpy(windows[start:stop].copy()).to(model.device)
            end = (stop - 1) * slide + context
            prior_BSP = None
            if prior is not None:
                part = prior[done:end].reshape(stop - start, scored, -1)
                prior_BSP = torch.from_numpy(part).to(model.device)
            losses = model.losses(tokens_BT[:, :-1], tokens_BT[:, -scored:], prior_BSP)
            real = min(end, num_tokens) - done
            nats += [part_BS.flatten()[:real].double().sum().item() for part_BS in losses]
            on_tokens(real)
            start, stop, done = stop, min(stop + rows, num_windows), end
    finally:
        model.transformer.train(was_training)
    model_bits, transformer_bits = (nats / math.log(2)).tolist()
    return model_bits, transformer_bits
