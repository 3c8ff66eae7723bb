"""What differs between two texts, piece by piece: lines, and sentences of long lines."""

import difflib
import re
from dataclasses import dataclass

LINE_CHARACTERS = 160  # longer lines are compared by sentences
MOST_PIECES = 2_000  # compared: difflib takes the square of them at worst
SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")


@dataclass(frozen=True)
class Change:
    """What the kept text has, and what the other has in its place; "" where one has nothing there."""

    kept: str
    here: str


def changes(kept: str, here: str) -> list[Change]:
    """Differences in order. White space at the ends of pieces does not count."""
    a, b = pieces(kept), pieces(here)
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    return [
        Change("\n".join(a[a0:a1]), "\n".join(b[b0:b1]))
        for kind, a0, a1, b0, b1 in matcher.get_opcodes()
        if kind != "equal"
    ]


def pieces(text: str) -> list[str]:
    """At most MOST_PIECES; the rest of a longer text is one more."""
    found: list[str] = []
    rest = text.split("\n")
    for number, line in enumerate(rest):
        if len(found) >= MOST_PIECES:
            return [*found, "\n".join(rest[number:])]
        parts = SENTENCE_END.split(line) if len(line) > LINE_CHARACTERS else [line]
        found += [part.strip() for part in parts if part.strip()]
    return found
