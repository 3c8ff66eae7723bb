"""Sampling token by token through the KV cache.

Every text starts after an end-of-text token, as every document does in training. The random draws come from a generator of
their own, on the CPU, so a seed gives the same text whatever else the process has drawn.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from seedbed.errors import InputError
from seedbed.model.language_model import LanguageModel
from seedbed.recipe.objective import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, sentinel
from seedbed.tokens.tokenizer import Tokenizer

# A token's matrix-vector products are so small up to this width that threads waiting for each other cost more than they
# bring: 10 times the tokens/s on a busy two-core machine (docs/generation.md).
ONE_THREAD_WIDTH = 1024
# Log-probabilities over a lower temperature leave float32's range, where the likeliest token has all the probability anyway.
COLDEST = 1e-30


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
    tokens = [tokenizer.eos_id, *tokenizer.encode(prompt).tolist()]
    stops = {tokenizer.eos_id} if stop_at_eos else set()
    yield from continue_tokens(model, tokens, stops, max_tokens, temperature, top_k, seed)


def infill_tokens(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prefix: str,
    suffix: str,
    max_tokens: int,
    temperature: float,
    top_k: int | None,
    seed: int,
) -> Iterator[int]:
    """At most `max_tokens` ids to stand between `prefix` and `suffix`, of a model trained to fill in."""
    tokens, stops = infill_prompt(tokenizer, prefix, suffix)
    if len(tokens) >= model.config.context:
        raise InputError(
            f"prompt and suffix are {len(tokens):,} tokens and leave no room in the context of {model.config.context:,}: "
            "shorten them"
        )
    room = min(max_tokens, model.config.context - len(tokens))
    yield from continue_tokens(model, tokens, stops, room, temperature, top_k, seed)


def infill_prompt(tokenizer: Tokenizer, prefix: str, suffix: str) -> tuple[list[int], set[int]]:
    """The tokens after which the middle comes, and those that end it, as the objective fim or span wrote them."""
    before, after = tokenizer.encode(prefix).tolist(), tokenizer.encode(suffix).tolist()
    eos_id = tokenizer.eos_id
    if any(name in tokenizer.special for name in FIM_PREFIX):
        first, second, third = (tokenizer.special_id(names) for names in (FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE))
        return [eos_id, first, *before, second, *after, third], {eos_id}
    if any(name in tokenizer.special for name in sentinel(0)):
        mark = tokenizer.special_id(sentinel(0))
        ends = {tokenizer.special[name] for name in sentinel(1) if name in tokenizer.special}
        return [eos_id, *before, mark, *after, mark], {eos_id, *ends}
    raise InputError("this model was not trained to fill in: train one with train.objective = 'fim' or 'span'")


def continue_tokens(
    model: LanguageModel,
    tokens: list[int],
    stops: set[int],
    max_tokens: int,
    temperature: float,
    top_k: int | None,
    seed: int,
) -> Iterator[int]:
    """At most `max_tokens` ids after `tokens`; ends before one of `stops`."""
    generator = torch.Generator().manual_seed(seed)
    stream = model.start()
    for _ in range(max_tokens):
        with few_threads(model.config.width):
            token = choose(model.advance(stream, tokens).cpu(), temperature, top_k, generator)
        if token in stops:
            return
        yield token
        tokens = [token]


def choose(log_probabilities_V: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    """A token drawn from log-probabilities sharpened by `temperature` and cut to the `top_k` likeliest."""
    if temperature < COLDEST:
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
