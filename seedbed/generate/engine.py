"""Sampling token by token through the KV cache.

Every text starts after an end-of-text token, as every document does in training. The random draws come from a generator of
their own, on the CPU, so a seed gives the same text whatever else the process has drawn.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from seedbed.model.language_model import LanguageModel
from seedbed.tokens.tokenizer import Tokenizer

# A token's matrix-vector products are so small up to this width that threads waiting for each other cost more than they
# bring: 10 times the tokens/s on a busy two-core machine (docs/generation.md).
ONE_THREAD_WIDTH = 1024


def generate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: str,
    max_tokens: int,
    temperature: float = 0.8,
    top_k: int | None = 50,
    seed: int = 1,
    stop_at_eos: bool = True,
) -> Iterator[str]:
    """The text after `prompt`, a piece a token; "" while a character is incomplete.

    `temperature` 0 takes the likeliest token each time; `top_k` None draws from the whole vocabulary.
    """
    decoder = tokenizer.stream_decoder()
    for token in generate_tokens(model, tokenizer, prompt, max_tokens, temperature, top_k, seed, stop_at_eos):
        yield decoder.push([token])
    rest = decoder.finish()
    if rest:
        yield rest


def sample_text(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: str,
    max_tokens: int,
    temperature: float = 0.8,
    top_k: int | None = 50,
    seed: int = 1,
) -> str:
    """The text after `prompt`, whole."""
    return "".join(generate(model, tokenizer, prompt, max_tokens, temperature, top_k, seed))


def generate_tokens(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: str,
    max_tokens: int,
    temperature: float,
    top_k: int | None,
    seed: int,
    stop_at_eos: bool = True,
) -> Iterator[int]:
    """At most `max_tokens` ids after `prompt`; ends before an end-of-text token unless told not to."""
    generator = torch.Generator().manual_seed(seed)
    stream = model.start()
    tokens = [tokenizer.eos_id, *tokenizer.encode(prompt).tolist()]
    for _ in range(max_tokens):
        with few_threads(model.config.width):
            token = choose(model.advance(stream, tokens).cpu(), temperature, top_k, generator)
        if token == tokenizer.eos_id and stop_at_eos:
            return
        yield token
        tokens = [token]


def choose(log_probabilities_V: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    """A token drawn from log-probabilities sharpened by `temperature` and cut to the `top_k` likeliest."""
    if temperature == 0:
        return int(log_probabilities_V.argmax())
    count = len(log_probabilities_V) if top_k is None else min(top_k, len(log_probabilities_V))
    values_K, tokens_K = log_probabilities_V.topk(count)
    drawn = torch.multinomial((values_K / temperature).softmax(-1), 1, generator=generator)
    return int(tokens_K[drawn])


@contextmanager
def few_threads(width: int) -> Iterator[None]:
    """One CPU thread for a small model; the process's own number is back in force afterwards."""
    before = torch.get_num_threads()
    if width <= ONE_THREAD_WIDTH:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
