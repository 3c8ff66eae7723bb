"""Weights and configurations between Seedbed's names and those of Hugging Face Transformers, in both directions.

Takes a Transformers `config.json` as a dict and a state dict, or a `TransformerConfig` and its weights; gives the other.
Never imports Transformers, and never drops a weight silently: what it cannot say exactly is a ValueError that names it.
"""

from seedbed.model.convert.families import FAMILIES, export_model, find_family, import_model
from seedbed.model.convert.rules import Family, Rule

__all__ = ["FAMILIES", "Family", "Rule", "export_model", "find_family", "import_model"]
