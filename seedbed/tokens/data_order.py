"""The loader that a recipe describes, for whoever asks what training reads: trainer, lineage, plans."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from seedbed.corpus.sources import name_sources
from seedbed.recipe.objective import window_tokens
from seedbed.recipe.schema import Recipe
from seedbed.tokens.batch_plan import BatchPlan
from seedbed.tokens.loader import DataOrder, Loader
from seedbed.tokens.mixture import check_names
from seedbed.tokens.places import is_remote

# half a gigabyte of uint16: of a source, what the cache must hold at a time, and the next
FETCHED_SHUFFLE_TOKENS = 1 << 28


def data_order(recipe: Recipe) -> DataOrder:
    tokens, mixture = recipe.tokens, recipe.mixture
    shuffle = tokens.shuffle_tokens
    if shuffle is None and any(is_remote(shards.path) for shards in tokens.shards):
        shuffle = FETCHED_SHUFFLE_TOKENS
    return DataOrder(
        packing=tokens.packing,
        document_masks=tokens.document_masks,
        shuffle_tokens=shuffle,
        weights=mixture.weights,
        multiples=mixture.relative_to == "size",
        caps=mixture.caps,
        max_epochs=mixture.max_epochs,
    )


def open_loader(folder: Path, recipe: Recipe, tell: Callable[[str], None] = lambda message: None) -> Loader:
    """The loader of a resolved recipe over its training shards; `tell` gets what the run's log should say."""
    plan, order = BatchPlan.of(recipe), data_order(recipe)
    return Loader(folder, window_tokens(recipe), plan, recipe.seed, order, recipe.train.steps, tell)


def check_mixture(recipe: Recipe) -> None:
    """Refuse names of a mixture that are no sources of the recipe. Domains are known when documents are read."""
    if recipe.mixture.by == "source" and recipe.corpus.sources:
        known = [source.name for source in name_sources(recipe.corpus)[1]]
        check_names(list(recipe.mixture.weights), known, "mixture.weights")
        check_names(list(recipe.mixture.caps), known, "mixture.caps")


def data_key(recipe: Recipe) -> dict[str, Any]:
    """What of `tokens` and `mixture` weights and losses depend on; empty for the default stream."""
    tokens = recipe.tokens.model_dump(include={"packing", "document_masks", "shuffle_tokens"}, exclude_defaults=True)
    mixture = recipe.mixture.model_dump(mode="json") if recipe.mixture.weights else {}
    return {name: fields for name, fields in (("tokens", tokens), ("mixture", mixture)) if fields}
