"""The documents a classifier learns from: read once into a file of lines, known by their hashes, drawn by them too."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from seedbed.corpus import builtin
from seedbed.corpus.classifier.text import model_text
from seedbed.corpus.normalise import normalise
from seedbed.corpus.records import Document
from seedbed.corpus.sources import entries_of, read_source
from seedbed.corpus.streams import packing_of
from seedbed.errors import InputError
from seedbed.recipe.schema import SourceConfig

GOOD, BAD, POOL = 0, 1, 2
LABELS = ("good", "bad")


@dataclass
class Examples:
    """Lines of `file`, one a document. Arrays of N documents, in the order read; 33 bytes a document in memory."""

    file: Path
    groups: np.ndarray  # u8: GOOD, BAD or POOL
    hashes: np.ndarray  # u64: of the line; equal lines are one document
    draws: np.ndarray  # float64 in [0, 1): decides about held out or not
    offsets: np.ndarray  # i64: of the line in the file
    lengths: np.ndarray  # i64: bytes of the line

    def __len__(self) -> int:
        return len(self.groups)

    def lines(self, numbers: np.ndarray) -> Iterator[str]:
        """The lines of the documents, in the order of `numbers`."""
        with self.file.open("rb") as file:
            for offset, length in zip(self.offsets[numbers].tolist(), self.lengths[numbers].tolist(), strict=True):
                file.seek(offset)
                yield file.read(length).decode()

    def select(self, mask: np.ndarray) -> "Examples":
        arrays = (self.groups, self.hashes, self.draws, self.offsets, self.lengths)
        return Examples(self.file, *(values[mask] for values in arrays))


def expected_bytes(source: SourceConfig) -> int:
    """Bytes of the source's text as `gather` will hear of them, packed files counted four times: for progress only."""
    if source.path.startswith(builtin.PREFIX):
        total = builtin.text_bytes(source.path)
    else:
        files = (entry for entry in entries_of(source.path) if not entry.skipped)
        total = sum(file.size * (4 if packing_of(file.location) else 1) for file in files)
    return total if source.max_bytes is None else min(total, source.max_bytes)


def gather(groups: Sequence[Sequence[SourceConfig]], seed: int, file: Path, advance: Callable[[int], None]) -> Examples:
    """Read the sources of every group into `file`. `advance` hears of each document's bytes. Raises InputError without any."""
    numbers, hashes, offsets, lengths = array("B"), array("Q"), array("q"), array("q")
    draws = array("d")
    position = 0
    with file.open("wb") as out:
        for group, sources in enumerate(groups):
            for source in sources:
                found = False
                for record in read_source(source):
                    advance(record.bytes_in)
                    line = model_text(normalise(record.text)).encode() if isinstance(record, Document) else b""
                    if not line:
                        continue
                    found = True
                    out.write(line + b"\n")
                    digest = xxhash.xxh3_128_intdigest(line, seed)
                    numbers.append(group)
                    hashes.append(digest & (2**64 - 1))
                    draws.append((digest >> 75) / 2**53)
                    offsets.append(position)
                    lengths.append(len(line))
                    position += len(line) + 1
                if not found:
                    raise InputError(f"{source.path}: no document with text in it: name a source of text")
    return Examples(
        file,
        np.array(numbers, np.uint8),
        np.array(hashes, np.uint64),
        np.array(draws, np.float64),
        np.array(offsets, np.int64),
        np.array(lengths, np.int64),
    )


def distinct(examples: Examples) -> tuple[Examples, int, int]:
    """(documents once each in order of hash, repeats dropped, texts dropped because they are both good and bad).

    The order is as good as random, whatever the order of the sources. The pool is left as it is.
    """
    pool = examples.groups == POOL
    labelled = np.flatnonzero(~pool)
    order = labelled[np.lexsort((examples.groups[labelled], examples.hashes[labelled]))]
    hashes, groups = examples.hashes[order], examples.groups[order]
    same_text = np.append(False, hashes[1:] == hashes[:-1])
    same_group = np.append(False, groups[1:] == groups[:-1])
    disputed = hashes[same_text & ~same_group]
    first = ~same_text & ~np.isin(hashes, disputed)
    keep = np.concatenate([order[first], np.flatnonzero(pool)])
    return examples.select(keep), int((same_text & same_group).sum()), len(disputed)
