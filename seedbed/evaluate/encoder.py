"""The evaluation of an encoder: masked scores by domain, and masks it fills in held-out text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from seedbed.evaluate.fill import draw_fills
from seedbed.evaluate.held_out import HeldOut, select
from seedbed.evaluate.masked import MaskedScore, masked_table, score_masked, score_pseudo, unigram_bits
from seedbed.files import write_json
from seedbed.model.language_model import LanguageModel
from seedbed.recipe.schema import Recipe
from seedbed.run.stages import StageContext
from seedbed.tokens.reader import ShardReader
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.train.objectives import Masked, make_objective

UNIGRAM_TOKENS = 5_000_000  # of the training shards, which are in random order


def masked_objective(recipe: Recipe, tokenizer: Tokenizer) -> Masked:
    objective = make_objective(recipe, tokenizer)
    assert isinstance(objective, Masked)
    return objective


def describe_encoder(recipe: Recipe) -> dict[str, Any]:
    """What an encoder's scores depend on beside the text."""
    train = recipe.train
    return {
        "objective": train.objective,
        "context": recipe.model.context,
        "mask_fraction": train.mask_fraction,
        "mask_whole_words": train.mask_whole_words,
    }


def score_streams(
    model: LanguageModel,
    tokenizer: Tokenizer,
    objective: Masked,
    streams: dict[str, HeldOut],
    train_folder: Path,
    on_tokens: Callable[[int], None] = lambda count: None,
) -> dict[str, MaskedScore]:
    """Domain -> its score."""
    shards = ShardReader(train_folder)
    unigram_V = unigram_bits(shards.read(0, min(UNIGRAM_TOKENS, shards.num_tokens)), tokenizer.vocab_size)
    return {
        domain: score_masked(model, stream, objective, unigram_V, on_tokens)
        + score_pseudo(model, stream, objective, tokenizer)
        for domain, stream in streams.items()
    }


def score_encoder(
    model: LanguageModel, tokenizer: Tokenizer, recipe: Recipe, streams: dict[str, HeldOut], train_folder: Path
) -> dict[str, dict[str, Any]]:
    """The table of `streams`, by domain and for all."""
    objective = masked_objective(recipe, tokenizer)
    return masked_table(score_streams(model, tokenizer, objective, streams, train_folder))


def evaluate_encoder(
    context: StageContext, model: LanguageModel, tokenizer: Tokenizer, names: list[str]
) -> dict[str, Any]:
    """evaluation.json and samples.json of an encoder for the splits `names`; gives the stage's summary."""
    recipe, shards = context.recipe, context.inputs["tokenize"].path
    objective = masked_objective(recipe, tokenizer)
    streams = {name: select(shards / name, recipe.evaluate.max_bytes_per_domain, tokenizer) for name in names}
    every_stream = [stream for split in streams.values() for stream in split.values()]
    advance = context.counter(sum(len(stream.tokens) for stream in every_stream), "tokens")
    advance(0)
    splits: dict[str, dict[str, MaskedScore]] = {}
    overall: dict[str, MaskedScore] = {}
    for name, split in streams.items():
        splits[name] = score_streams(model, tokenizer, objective, split, shards / "train", advance)
        for domain, score in splits[name].items():
            overall[domain] = overall.get(domain, MaskedScore()) + score
    samples = draw_fills(model, tokenizer, objective, every_stream, recipe.evaluate.prompts)
    table = masked_table(dict(sorted(overall.items())))
    evaluation = {
        **describe_encoder(recipe),
        "bits_per_masked_token": table,
        "splits": {name: masked_table(scores) for name, scores in splits.items()},
    }
    write_json(context.path / "evaluation.json", evaluation)
    write_json(context.path / "samples.json", samples)
    scores = {domain: entry["model"] for domain, entry in table.items()}
    return {"bits_per_masked_token": scores, "samples": len(samples)}
