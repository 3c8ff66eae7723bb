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
    drawn: list[tuple[float, bytes, Text]] = []  # those below the fraction: all that must be in memory at once
    fitting: dict[str, tuple[float, bytes, Text]] = {}  # the first of each domain that is not too large
    sizes: dict[str, int] = {}
    ends: list[tuple[float, bytes]] = []
    count = 0
    for text in texts:
        entry = (draw(text.digest, seed), text.digest, text)
        sizes[text.domain] = sizes.get(text.domain, 0) + 1
        count += 1
        if entry[0] < fraction:
            drawn.append(entry)
        if text.num_bytes <= max_bytes and (text.domain not in fitting or entry[:2] < fitting[text.domain][:2]):
            fitting[text.domain] = entry
        ends = [min([*ends, entry[:2]]), max([*ends, entry[:2]])]
    held: set[bytes] = set()
    used: dict[str, int] = {}
    for _, digest, text in sorted(drawn, key=lambda entry: entry[:2]):
        if used.get(text.domain, 0) + text.num_bytes <= max_bytes:
            used[text.domain] = used.get(text.domain, 0) + text.num_bytes
            held.add(digest)
    if fraction > 0:
        few = [domain for domain in fitting if domain not in used and sizes[domain] >= DOMAIN_MINIMUM]
        held |= {fitting[domain][1] for domain in few}
    if count > 1 and not held:
        held.add(ends[0][1])
    if count > 1 and len(held) == count:
        held.discard(ends[1][1])
    return held
