"""What a word is when texts are compared: letters and digits in lower case. Punctuation, markup and spaces count for nothing."""

import re

VERSION = 1  # enters the key of every index
# In scripts without spaces (Thai, Lao, Burmese, Khmer, kana, CJK ideographs) each character stands for a word.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = re.compile(f"[{UNSPACED}]|[^\\W_{UNSPACED}]+")


def words_of(text: str) -> list[str]:
    """The words in order. Lower case is taken word by word where it would change the text's length ("İ")."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return WORD.findall(lowered)
    return [word.lower() for word in WORD.findall(text)]


def places_of(text: str) -> list[tuple[int, int]]:
    """[start, end) of each of `words_of(text)`."""
    lowered = text.lower()
    return [match.span() for match in WORD.finditer(lowered if len(lowered) == len(text) else text)]
