"""Rules: groups of scores with thresholds from the recipe, each in its own module and loaded when a recipe names it.

Takes a normalised text and a document's facts; gives scores, and spans that edit the text. Never decides by itself.
"""

from functools import cache
from importlib import import_module

from seedbed.corpus.rules.group import Group

GROUPS = {
    "url": "seedbed.corpus.rules.url:URL",
    "policy": "seedbed.corpus.rules.policy:POLICY",
    "language": "seedbed.corpus.rules.language:LANGUAGE",
    "toxicity": "seedbed.corpus.rules.toxicity:TOXICITY",
    "classifier": "seedbed.corpus.rules.classifier:CLASSIFIER",
    "basic": "seedbed.corpus.rules.basic:BASIC",
    "gopher_repetition": "seedbed.corpus.rules.gopher:REPETITION",
    "gopher_quality": "seedbed.corpus.rules.gopher:QUALITY",
    "c4": "seedbed.corpus.rules.c4:C4_GROUP",
    "fineweb": "seedbed.corpus.rules.fineweb:FINEWEB",
    "refinedweb_lines": "seedbed.corpus.rules.lines:LINES",
    "code": "seedbed.corpus.rules.code:CODE",
    "decontaminate": "seedbed.corpus.rules.decontaminate:DECONTAMINATE",
    "scrub": "seedbed.corpus.rules.scrub:SCRUB",
}


@cache
def load_group(name: str) -> Group:
    module, _, constant = GROUPS[name].partition(":")
    group = getattr(import_module(module), constant)
    assert isinstance(group, Group)
    return group
