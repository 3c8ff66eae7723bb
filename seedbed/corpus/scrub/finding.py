"""What a finder gives: a place in the text."""

from typing import NamedTuple


class Finding(NamedTuple):
    """Characters [start, end). `what`: who issues such a key, where that is known."""

    start: int
    end: int
    what: str = ""
