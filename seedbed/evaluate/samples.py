"""What the finished model writes: one sample a prompt, nothing picked, with how much of it is copied from training text."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.evaluate.copies import copied_shares
from seedbed.evaluate.held_out import HeldOut
from seedbed.generate.engine import generate_tokens, infill_tokens
from seedbed.model.language_model import LanguageModel
from seedbed.recipe.schema import EvaluateConfig
from seedbed.run.stages import StageContext
from seedbed.tokens.tokenizer import Tokenizer

DEFAULT_PROMPTS = 4
FIRST_WORDS = re.compile(r"\s*\S+(?:[^\S\n]+\S+){0,4}")  # of the first line with any, at most five
MAX_PROMPT_CHARACTERS = 60
GAP_TOKENS = 96  # of a held-out document around and in a gap to be filled
HELD_OUT_TOKENS = 20_000  # of all held-out streams together, for the share that samples are compared with


def default_prompts(streams: list[HeldOut], tokenizer: Tokenizer) -> tuple[str, ...]:
    """The first words of the first held-out document of each of a few streams."""
    prompts = []
    for stream in streams[:DEFAULT_PROMPTS]:
        found = FIRST_WORDS.match(tokenizer.decode(stream.tokens[:200]))
        if found:
            prompts.append(found.group()[:MAX_PROMPT_CHARACTERS].lstrip())
    return tuple(dict.fromkeys(prompts)) or ("",)


def default_gaps(streams: list[HeldOut], tokenizer: Tokenizer, context: int) -> list[tuple[str, str]]:
    """The beginning of each of a few held-out documents as what stands before and after a gap of a fifth of it."""
    gaps = []
    for stream in streams[:DEFAULT_PROMPTS]:
        end = np.flatnonzero(stream.tokens == stream.eos_id)
        length = min(GAP_TOKENS, context // 2, int(end[0]) if len(end) else len(stream.tokens))
        tokens = stream.tokens[:length]
        gaps.append((tokenizer.decode(tokens[: length * 2 // 5]), tokenizer.decode(tokens[length * 3 // 5 :])))
    return gaps


def draw_samples(
    context: StageContext, model: LanguageModel, tokenizer: Tokenizer, streams: list[HeldOut], train_folder: Path
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The samples, and what their copied shares are to be compared with."""
    config: EvaluateConfig = context.recipe.evaluate
    prompts = config.prompts or default_prompts(streams, tokenizer)
    asked: list[tuple[str, str | None]] = [(prompt, None) for prompt in prompts]
    if context.recipe.train.objective in ("fim", "span"):
        asked += default_gaps(streams, tokenizer, model.config.context)
    written = []
    for number, (prompt, suffix) in enumerate(asked):
        context.progress(number, len(asked), "samples")
        settings = config.sample_tokens, config.temperature, config.top_k, context.recipe.seed + number
        if suffix is None:
            tokens = generate_tokens(model, tokenizer, prompt, *settings)
        else:
            tokens = infill_tokens(model, tokenizer, prompt, suffix, *settings)
        written.append(list(tokens))
    each = HELD_OUT_TOKENS // max(1, len(streams))
    texts = [np.array(tokens, np.int64) for tokens in written] + [stream.tokens[:each] for stream in streams]
    shares, searched = copied_shares(texts, train_folder, context.check_stop)
    samples = [
        {
            "prompt": prompt,
            **({} if suffix is None else {"suffix": suffix}),
            "text": tokenizer.decode(tokens),
            "seed": context.recipe.seed + number,
            "temperature": config.temperature,
            "top_k": config.top_k,
            "tokens": len(tokens),
            "copied": rounded(share),
        }
        for number, ((prompt, suffix), tokens, share) in enumerate(zip(asked, written, shares, strict=False))
    ]
    known = [share for share in shares[len(asked) :] if share is not None]
    held_out = rounded(sum(known) / len(known)) if known else None
    return samples, {"searched_tokens": searched, "held_out": held_out}


def rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
