"""The two engines behind `Tokenizer.encode`: gigatoken where it gives what `tokenizers` gives, `tokenizers` for the
rest.

Both read the same tokenizer.json with its special tokens taken out, so that documents never produce one.
"""

import json
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from seedbed.tokens.hf_format import is_standard, without_special_tokens

# gigatoken remembers every pre-token it has met and forgets none: about 9 bytes of memory for each byte of random
# letters, far less for prose. A fresh engine after this many characters bounds it at some 0.6 GB (docs/tokens.md).
CHARACTERS_PER_ENGINE = 64_000_000

# Text on which an unfamiliar tokenizer.json must encode alike in both libraries before gigatoken is used for it.
PROBES = (
    "Hello world, it's 12345 o'clock; WE'LL see… don'T\n\n\n  indented\tcode = {'a': [1, 2.5e-3]}  \r\n\r\n x",
    "naïve café ÀÉÎ Straße ﬁ ﬂ Å Å e\u0301 ǅ ĳ ½ Ⅷ ² ٣٤٥ १२३ 一二三 漢字かな交じり文 한국어 ไทย עברית العربية",
    "👩‍👩‍👧‍👦 🇩🇪 \u00a0\u2003\u3000\u200b\ufeff\u2028 \x00\x07\x1b\x7f \ud7ff\ue000\uffff\U0010ffff",
    "https://example.org/a/b?c=d&e=f#g //// ---- ==== .... \\\\ $$x^2$$ <|im_start|> <s> </s> [INST] </think>",
    "    def f(self, *args, **kwargs):\n        return self._x[0]  # CamelCaseWord HTMLParser iPhone ABCdef\n" * 3,
    " ",
    "   \n \n\n",
)


class Encoder(Protocol):
    def encode(self, text: str) -> np.ndarray: ...
    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]: ...


class HuggingFaceEncoder:
    """`tokenizers`: every kind of tokenizer.json, at 2 to 6 MB/s and core."""

    def __init__(self, document: dict[str, Any]) -> None:
        import tokenizers

        self.tokenizer = tokenizers.Tokenizer.from_str(json.dumps(without_special_tokens(document)))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def encode(self, text: str) -> np.ndarray:
        return np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, np.uint32)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        encodings = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, np.uint32) for encoding in encodings]


class GigatokenEncoder:
    """gigatoken: byte-level BPE with a split pattern it knows, at 70 to 250 MB/s and core; it refuses others."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._json = json.dumps(without_special_tokens(document))
        self._renew()

    def _renew(self) -> None:
        import gigatoken

        self._engine = gigatoken.Tokenizer.from_json(self._json)
        self._characters = 0

    def encode(self, text: str) -> np.ndarray:
        if self._characters > CHARACTERS_PER_ENGINE:
            self._renew()
        self._characters += len(text)
        return self._engine.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        # Document by document: gigatoken's own batch gives an awkward array, whose import costs more than 20 MB of
        # encoding.
        return [self.encode(text) for text in texts]


def choose_encoder(document: dict[str, Any]) -> Encoder:
    """gigatoken if it takes this file and, where the form is not one of ours, agrees with `tokenizers` on PROBES."""
    try:
        fast = GigatokenEncoder(document)
    except Exception:  # whatever gigatoken raises, `tokenizers` has the last word on a file
        return HuggingFaceEncoder(document)
    if is_standard(document):
        return fast
    reference = HuggingFaceEncoder(document)
    added = [token["content"] for token in document.get("added_tokens") or []]
    probes = [*PROBES, *(f"a{text}b {text} \n{text}{text}" for text in added)]
    agree = all(np.array_equal(fast.encode(text), reference.encode(text)) for text in probes)
    return fast if agree else reference
