"""What others make of the same bytes: gzip, xz, and a byte n-gram model counted on training text.

gzip and xz see only the held-out text itself and learn as they go. The n-gram model has seen up to NGRAM_TRAINING_BYTES of
the training text and learns nothing from the held-out text, like the model it stands beside.
"""

import gzip
import lzma
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seedbed.model.ngram import NgramExpert, build_table, group_starts
from seedbed.tokens.reader import ShardReader
from seedbed.tokens.tokenizer import Tokenizer

NGRAM_TRAINING_BYTES = 20_000_000
CHUNK_BYTES = 4_000_000  # n-grams sorted at a time: bounds the memory, of 8 bytes each
DECODED_TOKENS = 1_000_000
BYTE_BITS = 8


def gzip_bits(text: bytes) -> int:
    """Bits of `gzip -9`, header and checksum included."""
    return 8 * len(gzip.compress(text, 9, mtime=0))


def xz_bits(text: bytes) -> int:
    """Bits of `xz -9e`. The dictionary is no larger than the text: the same output, without 674 MB of memory."""
    preset = 9 | lzma.PRESET_EXTREME
    dictionary = min(max(4096, len(text)), 64 << 20)  # xz's least, and the size of preset 9
    filters = [{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": dictionary}]
    return 8 * len(lzma.compress(text, filters=filters))


def training_text(folder: Path, tokenizer: Tokenizer, max_bytes: int = NGRAM_TRAINING_BYTES) -> bytes:
    """The first bytes of the training shards, as the tokenizer decodes them; of each group its share of them.

    Within a group documents lie in random order.
    """
    shards = ShardReader(folder)
    text = []
    for group in shards.groups:
        room = -(-max_bytes * group.num_tokens // shards.num_tokens)
        pieces, size, stop = [], 0, group.first_token + group.num_tokens
        for start in range(group.first_token, stop, DECODED_TOKENS):
            piece = tokenizer.decode_bytes(shards.read(start, min(start + DECODED_TOKENS, stop)))
            pieces.append(piece)
            size += len(piece)
            if size >= room:
                break
        text.append(b"".join(pieces)[:room])
    return b"".join(text)[:max_bytes]


def count_bytes(text: bytes, order: int) -> NgramExpert:
    """Interpolated modified Kneser-Ney over bytes (Chen & Goodman 1999, section 4) of `order` 1 to 8, counted on `text`.

    Only the highest order looks at the text; each lower one counts in how many distinct n-grams its own are suffixes.
    """
    order = max(1, min(order, len(text)))
    keys, counts = distinct_ngrams(np.frombuffer(text, np.uint8), order)
    tables = []
    for n in range(order, 1, -1):
        tables.append(build_table(n, keys, counts, BYTE_BITS))
        suffixes = np.sort(keys & np.uint64((1 << BYTE_BITS * (n - 1)) - 1))
        keys, counts = count_sorted(suffixes)
    unigram = np.full(256, 0.5)  # half a count for bytes that were never seen
    unigram[keys.astype(np.int64)] += counts
    return NgramExpert(tables[::-1], (unigram / unigram.sum()).astype(np.float32), BYTE_BITS)


def distinct_ngrams(data: NDArray[np.uint8], order: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Sorted keys of the distinct n-grams, their bytes from the highest to the lowest, and how often each occurs."""
    parts = []
    for start in range(0, max(1, len(data) - order + 1), CHUNK_BYTES):
        part = data[start : start + CHUNK_BYTES + order - 1]
        keys = np.zeros(max(0, len(part) - order + 1), np.uint64)
        for i in range(order):
            keys <<= np.uint64(BYTE_BITS)
            keys |= part[i : i + len(keys)]
        keys.sort()
        parts.append(count_sorted(keys))
    keys, counts = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    by_key = np.argsort(keys, kind="stable")
    starts = group_starts(keys[by_key])[: len(keys)]  # of no keys it gives one start
    return keys[by_key][starts], np.add.reduceat(counts[by_key], starts, dtype=np.uint32)


def count_sorted(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    starts = group_starts(keys)[: len(keys)]
    return keys[starts], np.diff(np.append(starts, len(keys))).astype(np.uint32)


def ngram_bits(expert: NgramExpert, text: bytes) -> float:
    """Bits of `text`, each byte predicted from those before it."""
    if not text:
        return 0.0
    probabilities, _ = expert.probabilities(np.frombuffer(text, np.uint8))
    return float(-np.log(probabilities.astype(np.float64)).sum() / math.log(2))
