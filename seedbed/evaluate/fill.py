"""What an encoder puts where tokens are hidden: the likeliest ones with their probabilities, beside what stood there."""

from typing import Any

import numpy as np
import torch

from seedbed.evaluate.held_out import HeldOut
from seedbed.evaluate.masked import HELD_OUT, logits_at
from seedbed.model.language_model import LanguageModel
from seedbed.recipe.objective import MASK
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.train.objectives import Masked, generator

NUM_FILLS = 4  # texts shown
SHOWN_TOKENS = 48
NUM_GUESSES = 5


def draw_fills(
    model: LanguageModel,
    tokenizer: Tokenizer,
    objective: Masked,
    streams: list[HeldOut],
    prompts: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    """The `prompts` that hold a mask, filled; without any, the first tokens of a few held-out streams."""
    name = mask_name(tokenizer)
    asked: list[tuple[np.ndarray, np.ndarray | None]] = [
        (masked_prompt(tokenizer, prompt, name, objective), None) for prompt in prompts if name in prompt
    ]
    if not asked:
        asked = [hide_some(stream, objective, number) for number, stream in enumerate(streams[:NUM_FILLS])]
    return [fill(model, tokenizer, tokens, truth, objective.mask_id) for tokens, truth in asked]


def mask_name(tokenizer: Tokenizer) -> str:
    """How the mask is written in a prompt."""
    return next(name for name in MASK if name in tokenizer.special)


def masked_prompt(tokenizer: Tokenizer, prompt: str, name: str, objective: Masked) -> np.ndarray:
    """A text that spells the mask, as tokens."""
    parts = [tokenizer.encode(part).astype(np.int64) for part in prompt.split(name)]
    tokens = [token for part in parts for token in (*part.tolist(), objective.mask_id)][:-1]
    return np.array(tokens[: objective.context], np.int64)


def hide_some(stream: HeldOut, objective: Masked, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The beginning of a stream with as many masks as training has, and what they hide."""
    tokens = stream.tokens[: min(SHOWN_TOKENS, objective.context)].copy()
    draw = generator(objective.seed, "mask", HELD_OUT, number)
    places = (objective.choose_words if objective.words else objective.choose_tokens)(tokens, draw)
    truth = tokens[places]
    tokens[places] = objective.mask_id
    return tokens, truth


def fill(
    model: LanguageModel, tokenizer: Tokenizer, tokens: np.ndarray, truth: np.ndarray | None, mask_id: int
) -> dict[str, Any]:
    """{"prompt": the text with its masks, "text": it with the likeliest tokens, "fills": the guesses of each mask}."""
    hidden = tokens == mask_id
    tokens_1T = torch.from_numpy(tokens[None]).to(model.device)
    logits_MV = logits_at(model, tokens_1T, torch.from_numpy(hidden[None]).to(model.device))
    probabilities_MK, guesses_MK = (x.cpu() for x in logits_MV.softmax(-1).topk(min(NUM_GUESSES, logits_MV.shape[1])))
    filled = tokens.copy()
    filled[hidden] = guesses_MK[:, 0].numpy()
    shown = mask_name(tokenizer).join(
        tokenizer.decode(part[part != mask_id]) for part in np.split(tokens, np.flatnonzero(hidden))
    )
    fills = [
        {
            "truth": None if truth is None else tokenizer.decode([int(truth[index])]),
            "guesses": [
                [tokenizer.decode([guess]), round(probability, 4)]
                for guess, probability in zip(guesses, probabilities, strict=True)
            ],
        }
        for index, (guesses, probabilities) in enumerate(
            zip(guesses_MK.tolist(), probabilities_MK.tolist(), strict=True)
        )
    ]
    right = None if truth is None else int((filled[hidden] == truth).sum())
    return {"prompt": shown, "text": tokenizer.decode(filled), "fills": fills, "right": right}
