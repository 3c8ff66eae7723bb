"""Writes seedbed/corpus/datatrove_words.json: the tables by which datatrove's filters count words and sentences.

python tools/build_datatrove_words.py      (in an environment with datatrove 0.10 and spaCy 3.8)

Of spaCy's English tokenizer: patterns as regular expressions with their character classes written as ranges, exceptions
as a map from a chunk to its tokens, the sentencizer's ends. Of datatrove: which characters make no word, and which end a
line. seedbed/corpus/english.py reads them; the licences' notices go along.
"""

import json
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import spacy
from datatrove.utils.text import PUNCTUATION, TERMINAL_PUNCTUATION
from spacy.lang import char_classes
from spacy.lang.en.punctuation import TOKENIZER_INFIXES
from spacy.lang.punctuation import TOKENIZER_PREFIXES, TOKENIZER_SUFFIXES
from spacy.lang.tokenizer_exceptions import URL_PATTERN
from spacy.pipeline.sentencizer import Sentencizer
from spacy.symbols import ORTH

CLASSES = ("ALPHA", "ALPHA_LOWER", "ALPHA_UPPER", "ICONS")
NOTICE = (
    "symbols, line_ends: of datatrove, Apache-2.0, the datatrove authors. The rest: tables of spaCy's English tokenizer and "
    "sentencizer. Copyright (C) 2016-2024 ExplosionAI GmbH, 2016 spaCy GmbH, 2015 "
    "Matthew Honnibal; MIT licence: permission is granted, free of charge, to deal in the software without restriction, "
    "provided that this notice is included; it comes without warranty of any kind."
)


def as_ranges(characters: str) -> str:
    """The inside of a character class as ranges in order."""
    pattern = re.compile(f"[{characters}]")
    ranges: list[list[int]] = []
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000 or not pattern.match(chr(code)):
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(escape(first) + ("" if first == last else f"-{escape(last)}") for first, last in ranges)


def escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def compact(pieces: Iterable[str]) -> str:
    """Alternatives joined, with the long classes named: {ALPHA} and so on."""
    pattern = "|".join(piece for piece in pieces if piece.strip())
    for name in CLASSES:
        pattern = pattern.replace(getattr(char_classes, name), "{" + name + "}")
    return pattern


def main() -> None:
    tokenizer = spacy.blank("en").tokenizer
    tables = {
        "notice": NOTICE,
        "version": f"spaCy {spacy.__version__}, datatrove {version('datatrove')}",
        "classes": {name: as_ranges(getattr(char_classes, name)) for name in CLASSES},
        "prefix": compact(TOKENIZER_PREFIXES),
        "suffix": compact(
            f"(?:{piece})$" if "|" in piece else f"{piece}$" for piece in TOKENIZER_SUFFIXES if piece.strip()
        ),
        "infix": compact(TOKENIZER_INFIXES),
        "url": compact([URL_PATTERN]),
        "exceptions": {
            chunk: [token[ORTH] for token in tokens]
            for chunk, tokens in sorted(tokenizer.rules.items())
            if not chunk.isspace()
        },
        "sentence_ends": "".join(sorted(Sentencizer.default_punct_chars)),
        "line_ends": "".join(sorted(TERMINAL_PUNCTUATION)),
        "symbols": "".join(sorted(set(PUNCTUATION))),
    }
    path = Path(__file__).resolve().parents[1] / "seedbed" / "corpus" / "datatrove_words.json"
    path.write_text(json.dumps(tables, ensure_ascii=True, indent=0, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
