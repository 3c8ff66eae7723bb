"""Where words begin in a row of tokens: two facts about each id, worked out once from the tokenizer.

A word is a run of letters, digits and marks with the space before it; every other character is a word by itself, or with
others of its token. A token continues a word if it begins inside one and the token before it ends inside one.
"""

import unicodedata

import numpy as np
from numpy.typing import NDArray

from seedbed.tokens.tokenizer import Tokenizer

INSIDE = ("L", "N", "M", "Cs")  # Unicode categories of what words are made of; Cs stands for a part of a character


def is_inside(character: str) -> bool:
    """Whether a word goes through this character. Wide ones (Chinese, Japanese, Korean) are words by themselves."""
    return unicodedata.category(character or " ").startswith(INSIDE) and unicodedata.east_asian_width(character) != "W"


class WordTable:
    def __init__(self, tokenizer: Tokenizer) -> None:
        ordinary, texts = tokenizer.is_ordinary(), tokenizer.token_texts()
        self.begins_inside = np.array([is_inside(text[:1]) for text in texts]) & ordinary
        # a space that no merge took along belongs to the word after it
        self.ends_inside = np.array([is_inside(text[-1:]) or text == " " for text in texts]) & ordinary

    def starts(self, tokens_T: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each token begins a word; the first always does."""
        starts_T = np.ones(len(tokens_T), bool)
        starts_T[1:] = ~(self.begins_inside[tokens_T[1:]] & self.ends_inside[tokens_T[:-1]])
        return starts_T
