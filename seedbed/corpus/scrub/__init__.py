"""Personal data and secrets in a text: where they stand and of which kind. Takes a string, gives places in it.

Patterns propose, checks decide (checksums, issuers, address ranges, what stands beside). It never changes the text:
`corpus/rules/scrub.py` makes the places into edits.
"""

from seedbed.corpus.scrub.finders import KINDS, Finding, find

__all__ = ["KINDS", "Finding", "find"]
