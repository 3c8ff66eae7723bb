"""Words as datatrove's filters count them in English: the tokens of spaCy's rule tokenizer, chunk by chunk.

spaCy's tokens are a function of each chunk between white space: punctuation is taken off both ends, exceptions
("don't", "U.S.", ":-)") are looked up, URLs stay whole, and the rest is parted at infixes. The order of those steps is
spaCy's (spacy/tokenizer.pyx 3.8, `_split_affixes` and `_attach_tokens`); its tables are in datatrove_words.json. One
thing is left out: an exception's tokens that spaCy finds across two chunks can keep it from finding a shorter one
within; bench/curation_rules.py compares the decisions.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

# A suffix is at most 6 characters and looks 2 back; a run of dots is longer, and is then looked for in the whole.
TAIL = 16
# URLs are matched in chunks up to this long: the pattern takes quadratic time, and a longer URL is data.
URL_CHARACTERS = 2_000

# Signs that are always parted from letters beside them.
OPENING = frozenset('([\u201c"')
CLOSING = frozenset(',;:!?)]\u201d"')
LOWER = frozenset("abcdefghijklmnopqrstuvwxyzäöüßéèàáíóúñç")
# Where no pattern need be asked: signs that are affixes alone and part of no longer one, what a point is parted from,
# and letters that end no affix but a unit or 's.
SIGNS = frozenset(",:;!?()[]{}<>_#*&\"'\u201d\u201c`\u2018\u00b4\u2019\u201a\u201e\u00bb\u00ab")
DIGITS = frozenset("0123456789")
BEFORE_POINT = LOWER | DIGITS
LETTERS = LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
APOSTROPHES = frozenset("'\u2019")


@dataclass(frozen=True)
class Tables:
    prefix: re.Pattern[str]
    suffix: re.Pattern[str]
    infix: re.Pattern[str]
    url: re.Pattern[str]
    exceptions: dict[str, tuple[str, ...]]
    longest: int  # characters of the longest exception
    patterns: dict[tuple[str, ...], str]  # exceptions with affixes: their tokens without exceptions -> the exception
    firsts: frozenset[str]  # the first token of each
    widest: int  # tokens of the longest
    sentence_ends: frozenset[str]  # spaCy's sentencizer parts after these
    line_ends: frozenset[str]  # datatrove's TERMINAL_PUNCTUATION
    symbols: frozenset[str]  # datatrove's PUNCTUATION_SET: a word of nothing else does not count


@cache
def tables() -> Tables:
    raw = json.loads((resources.files("seedbed.corpus") / "datatrove_words.json").read_text(encoding="utf-8"))

    def pattern(name: str) -> re.Pattern[str]:
        text = raw[name]
        for key, ranges in raw["classes"].items():
            text = text.replace("{" + key + "}", ranges)
        return re.compile(text)

    exceptions = {chunk: tuple(tokens) for chunk, tokens in raw["exceptions"].items()}
    prefix, suffix, infix, url = (pattern(name) for name in ("prefix", "suffix", "infix", "url"))
    plain = Tables(prefix, suffix, infix, url, {}, 0, {}, frozenset(), 0, frozenset(), frozenset(), frozenset())
    affixed = [chunk for chunk in exceptions if prefix.match(chunk) or suffix.search(chunk) or infix.search(chunk)]
    patterns = {tuple(split_affixes(chunk, plain)): chunk for chunk in affixed}
    return Tables(
        prefix,
        suffix,
        infix,
        url,
        exceptions,
        max(map(len, exceptions)),
        patterns,
        frozenset(tokens[0] for tokens in patterns),
        max(map(len, patterns)),
        frozenset(raw["sentence_ends"]),
        frozenset(raw["line_ends"]),
        frozenset(raw["line_ends"] + raw["symbols"]),
    )


def split_chunk(chunk: str) -> Sequence[str]:
    """The tokens of a chunk without white space. Their concatenation is the chunk."""
    known = tables()
    exceptions = known.exceptions
    if chunk in exceptions:
        return exceptions[chunk]
    if chunk.isalpha():  # no affix is a letter alone: units follow digits
        return (chunk,)
    # Letters with a sign before or after them, or both: most of the rest, and no pattern is needed.
    front, back = chunk[:1] in OPENING, chunk[-1:] in CLOSING or (chunk[-1] == "." and chunk[-2:-1] in LOWER)
    core = chunk[front : len(chunk) - back]
    if core.isalpha() and (not front or chunk[1:] not in exceptions) and (not back or chunk[:-1] not in exceptions):
        return [*chunk[:front], *exceptions.get(core, (core,)), *chunk[len(chunk) - back :]]
    if "-" in core and core.isascii():  # and letters with single hyphens between them, which are infixes
        parts = core.split("-")
        whole = exceptions.keys().isdisjoint((core, chunk[1:], chunk[:-1]))
        if whole and all(map(str.isalpha, parts)):
            return restore_exceptions([*chunk[:front], *re.split("(-)", core), *chunk[len(chunk) - back :]], known)
    return restore_exceptions(split_affixes(chunk, known), known)


def split_affixes(chunk: str, known: Tables) -> list[str]:
    """Tokens before exceptions are looked for among them. Linear in the chunk's length."""
    start, end = 0, len(chunk)
    before: list[str] = []
    after: list[str] = []
    exceptions, longest = known.exceptions, known.longest
    while start < end:
        if end - start <= longest and chunk[start:end] in exceptions:
            break
        front = prefix_length(chunk, start, end, known)
        inner = start + front
        if front and 0 < end - inner <= longest and chunk[inner:end] in exceptions:
            before.append(chunk[start:inner])
            start = inner
            break
        back = suffix_length(chunk, inner, end, known) if inner < end else 0
        if back and 0 < end - back - start <= longest and chunk[start : end - back] in exceptions:
            after.append(chunk[end - back : end])
            end -= back
            break
        if front:
            before.append(chunk[start:inner])
            start = inner
        if back:
            after.append(chunk[end - back : end])
            end -= back
        if not front and not back:
            break
    if start < end:
        before += split_infixes(chunk[start:end], known)
    return before + after[::-1]


def prefix_length(chunk: str, start: int, end: int, known: Tables) -> int:
    """Characters of the prefix of chunk[start:end]."""
    first = chunk[start]
    if first in SIGNS:
        return 1
    if first.isalnum() and "$" not in chunk:  # US$ is a prefix
        return 0
    match = known.prefix.match(chunk, start, end)
    return match.end() - start if match else 0


def suffix_length(chunk: str, start: int, end: int, known: Tables) -> int:
    """Characters of the longest suffix of chunk[start:end]. What lies before `start` is not looked back at."""
    last = chunk[end - 1]
    if last in SIGNS or (last == "." and end - start > 1 and chunk[end - 2] in BEFORE_POINT):
        return 1
    if last in DIGITS:
        return 0
    tail = chunk[max(start, end - TAIL) : end]
    if last in LETTERS and DIGITS.isdisjoint(tail) and APOSTROPHES.isdisjoint(tail):  # neither a unit nor 's
        return 0
    match = known.suffix.search(tail)
    if match is None:
        return 0
    if match.start() == 0 and end - TAIL > start:  # a run of dots
        match = known.suffix.search(chunk[start:end])
        assert match is not None
    return match.end() - match.start()


def split_infixes(text: str, known: Tables) -> list[str]:
    if text.isascii() and text.isalnum():
        return list(known.exceptions.get(text, (text,)))
    if text in known.exceptions:
        return list(known.exceptions[text])
    if "." in text and len(text) <= URL_CHARACTERS and known.url.match(text):
        return [text]
    tokens, at = [], 0
    for match in known.infix.finditer(text):
        if match.start() == 0:
            continue
        if match.start() > at:
            tokens.append(text[at : match.start()])
        tokens.append(match.group())
        at = match.end()
    if at < len(text):
        tokens.append(text[at:])
    return tokens


def restore_exceptions(tokens: list[str], known: Tables) -> list[str]:
    """Exceptions whose parts came out as several tokens, put back: the longest first, then the leftmost."""
    if known.firsts.isdisjoint(tokens):
        return tokens
    found = []
    for start, token in enumerate(tokens):
        if token in known.firsts:
            for size in range(1, min(known.widest, len(tokens) - start) + 1):
                if tuple(tokens[start : start + size]) in known.patterns:
                    found.append((-size, start))
    chosen: dict[int, int] = {}
    seen: set[int] = set()
    for negative, start in sorted(found):
        size = -negative
        if start not in seen and start + size - 1 not in seen:
            chosen[start] = size
        seen.update(range(start, start + size))
    out: list[str] = []
    at = 0
    while at < len(tokens):
        size = chosen.get(at, 0)
        out += known.exceptions[known.patterns[tuple(tokens[at : at + size])]] if size else tokens[at : at + 1]
        at += size or 1
    return out
