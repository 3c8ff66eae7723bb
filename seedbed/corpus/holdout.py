"""Which documents are held out: a share of the distinct texts, drawn by hash, so that no text is on both sides.

A text's draw depends on the seed and the text alone: adding documents moves no other document across the line, except
where a domain's cap is reached.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

DOMAIN_MINIMUM = 10  # a domain of at least so many texts holds one out even when none was drawn


@dataclass(frozen=True, slots=True)
class Text:
    """One distinct text: its digest, its domain and its UTF-8 bytes (times the documents that hold it)."""

    digest: bytes
    domain: str
    num_bytes: int


def draw(digest: bytes, seed: int) -> float:
    """A number in [0, 1) from (seed, "held-out", text)."""
    hashed = hashlib.blake2b(digest, digest_size=8, salt=seed.to_bytes(8, "little"), person=b"held-out").digest()
    return int.from_bytes(hashed, "little") / 2**64


def choose_held_out(texts: Iterable[Text], seed: int, fraction: float, max_bytes: int) -> set[bytes]:
    """Digests of the held-out texts: those drawn below `fraction`, in order, while they fit their domain's `max_bytes`.

    Of two texts or more at least one is held out and at least one is not.
    """
    drawn = sorted((draw(text.digest, seed), text.digest, text) for text in texts)
    held: set[bytes] = set()
    used: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for value, digest, text in drawn:
        sizes[text.domain] = sizes.get(text.domain, 0) + 1
        if value < fraction and used.get(text.domain, 0) + text.num_bytes <= max_bytes:
            used[text.domain] = used.get(text.domain, 0) + text.num_bytes
            held.add(digest)
    for _, digest, text in drawn:
        wanted = fraction > 0 and text.domain not in used and sizes[text.domain] >= DOMAIN_MINIMUM
        if wanted and text.num_bytes <= max_bytes:
            used[text.domain] = text.num_bytes
            held.add(digest)
    if len(drawn) > 1 and not held:
        held.add(drawn[0][1])
    if len(drawn) > 1 and len(held) == len(drawn):
        held.discard(drawn[-1][1])
    return held
