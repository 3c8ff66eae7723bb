"""Recipes: what a run should do, as one validated TOML file.

Takes a preset or a user's TOML and the dials of the command line; gives a complete `Recipe` in which every derived value
is filled in. Never looks at data, the clock or the machine: what is measured there is recorded by the `measure` stage.
"""

from seedbed.recipe.layers import preset_names
from seedbed.recipe.resolve import load_recipe, resolve
from seedbed.recipe.schema import Recipe, SourceConfig

__all__ = ["Recipe", "SourceConfig", "load_recipe", "preset_names", "resolve"]
