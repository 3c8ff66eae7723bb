"""Looks at a model in training: bits per byte on held-out text and a few samples, for the eye.

Between two steps, without influence on the weights or on any random state that training reads.
"""

import math
from pathlib import Path
from typing import Any

import torch

from seedbed.evaluate.bits import score_split
from seedbed.evaluate.encoder import masked_objective
from seedbed.evaluate.fill import draw_fills
from seedbed.evaluate.held_out import select
from seedbed.evaluate.masked import MaskedScore, masked_table, score_masked
from seedbed.generate.engine import sample_text
from seedbed.model.language_model import LanguageModel
from seedbed.model.transformer import Transformer
from seedbed.run.stages import StageContext
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.train.history import History
from seedbed.train.store import load_expert

VALIDATION_BYTES_PER_DOMAIN = 16_384  # in training a look costs a second or two; `evaluate` reads far more
SAMPLE_TOKENS = 60


class Looks:
    def __init__(
        self,
        context: StageContext,
        tokenizer: Tokenizer,
        expert_path: Path | None,
        history: History,
    ) -> None:
        assert context.recipe.train.steps
        self.context, self.tokenizer, self.history = context, tokenizer, history
        self.expert_path = expert_path
        self.steps = context.recipe.train.steps
        self.every = max(1, round(context.recipe.train.validate_every_fraction * self.steps))
        self.language_model: LanguageModel | None = None

    def due(self, step: int) -> bool:
        """After `step` steps; not shortly before the end, when `evaluate` looks closely."""
        return step % self.every == 0 and self.steps - step >= self.every / 2

    def take(self, standing: dict[str, Any], model: Transformer) -> None:
        """Validate and sample. `standing`: step, tokens, seconds and flops so far."""
        if self.language_model is None:
            self.language_model = LanguageModel(model, load_expert(self.expert_path) if self.expert_path else None)
        with torch.compiler.set_stance("force_eager"):  # its shapes are not the training's
            self.look(self.language_model, standing)
        model.train()

    def look(self, language_model: LanguageModel, standing: dict[str, Any]) -> None:
        scores = self.validate(language_model)
        if not all(map(math.isfinite, scores.values())):
            return  # the weights diverged: the next step's loss says so
        found = {"bits_per_byte" if language_model.config.causal else "bits_per_masked_token": scores}
        self.history.validations.append({**standing, **found})
        self.context.emit("validation", **{k: v for k, v in standing.items() if k != "flops"}, **found)
        self.sample(language_model, standing["step"])

    def validate(self, language_model: LanguageModel) -> dict[str, float]:
        """Bits per byte of each domain over all held-out splits, and of "all"."""
        scores: dict[str, float] = {}
        bits = num_bytes = 0.0
        folder = self.context.inputs["tokenize"].path
        splits = sorted(p for p in folder.iterdir() if p.is_dir() and p.name != "train")
        if not language_model.config.causal:
            return self.validate_encoder(language_model, splits)
        for split in splits:
            found = score_split(language_model, split, VALIDATION_BYTES_PER_DOMAIN, tokenizer=self.tokenizer)
            for domain, score in found.items():
                scores.setdefault(domain, round(score["model"], 4))
                bits, num_bytes = bits + score["model"] * score["bytes"], num_bytes + score["bytes"]
        return {"all": round(bits / num_bytes, 4), **scores} if num_bytes else scores

    def validate_encoder(self, language_model: LanguageModel, splits: list[Path]) -> dict[str, float]:
        """Bits per masked token of each domain, and of "all"."""
        objective = masked_objective(self.context.recipe, self.tokenizer)
        scores: dict[str, MaskedScore] = {}
        for split in splits:
            for domain, stream in select(split, VALIDATION_BYTES_PER_DOMAIN, self.tokenizer).items():
                scores[domain] = scores.get(domain, MaskedScore()) + score_masked(language_model, stream, objective)
        return {domain: round(entry["model"], 4) for domain, entry in masked_table(scores).items() if entry["asked"]}

    def fill_masks(self, language_model: LanguageModel, step: int) -> None:
        recipe, folder = self.context.recipe, self.context.inputs["tokenize"].path
        split = min(p for p in folder.iterdir() if p.is_dir() and p.name != "train")
        streams = list(select(split, VALIDATION_BYTES_PER_DOMAIN, self.tokenizer).values())[:1]
        objective = masked_objective(recipe, self.tokenizer)
        for found in draw_fills(language_model, self.tokenizer, objective, streams, recipe.evaluate.prompts[:1]):
            text = " \u2192 " + found["text"]
            self.history.samples.append({"step": step, "prompt": found["prompt"], "text": text})
            self.context.emit("sample", step=step, prompt=found["prompt"], text=text)

    def sample(self, language_model: LanguageModel, step: int) -> None:
        if not language_model.config.causal:
            return self.fill_masks(language_model, step)
        recipe = self.context.recipe
        prompt = recipe.evaluate.prompts[0] if recipe.evaluate.prompts else ""
        text = sample_text(
            language_model,
            self.tokenizer,
            prompt,
            SAMPLE_TOKENS,
            temperature=recipe.evaluate.temperature,
            top_k=recipe.evaluate.top_k,
            seed=recipe.seed,
        )
        self.history.samples.append({"step": step, "prompt": prompt, "text": text})
        self.context.emit("sample", step=step, prompt=prompt, text=text)
