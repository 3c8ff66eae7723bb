"""The model that a recipe describes, before there is a corpus: the vocabulary is the recipe's, or the one its size would get."""

from seedbed.model.config import TransformerConfig
from seedbed.recipe.schema import Recipe
from seedbed.recipe.shape import parse_count


def planned_config(recipe: Recipe) -> TransformerConfig:
    from seedbed.tokens.vocabulary import vocab_for_model
    from seedbed.train.measure import model_config

    return model_config(recipe, recipe.tokenizer.vocab_size or vocab_for_model(parse_count(recipe.model.size)))
