"""Token files of Megatron-LM: PREFIX.bin, the tokens; PREFIX.idx, where each sequence and each document lies.

    idx   "MMIDIDX\\0\\0", u64 version 1, u8 code of the dtype, u64 number of sequences, u64 number of document bounds
          i32 tokens of each sequence, i64 byte of the bin file where it begins, i64 number of the sequence with which each
          document begins (the first is 0), and last the number of sequences
          (Megatron-LM, megatron/core/datasets/indexed_dataset.py)

A document of Seedbed becomes one sequence, its end-of-text token included. Of Megatron's codes the unsigned 16-bit one and
the signed 32-bit one hold tokens.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seedbed.errors import InputError
from seedbed.tokens.formats import size_of
from seedbed.tokens.reader import ShardReader, map_array

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
HEADER = np.dtype([("magic", "S9"), ("version", "<u8"), ("dtype", "u1"), ("sequences", "<u8"), ("bounds", "<u8")])
DTYPES: dict[int, np.dtype[Any]] = {8: np.dtype("<u2"), 4: np.dtype("<i4"), 5: np.dtype("<i8")}


class MegatronFile(NamedTuple):
    """A file's tokens in order, mapped, and its documents: int64 first token of each and, last, the number of tokens."""

    tokens: np.ndarray
    bounds: np.ndarray

    def documents(self) -> Iterator[np.ndarray]:
        for start, stop in zip(self.bounds[:-1].tolist(), self.bounds[1:].tolist(), strict=True):
            yield self.tokens[start:stop]


def write_megatron(shards: ShardReader, prefix: Path) -> None:
    """The whole stream as PREFIX.bin and PREFIX.idx."""
    code = 8 if shards.dtype == DTYPES[8] else 4
    sizes = np.concatenate([np.diff(ends.astype(np.int64), prepend=0) for ends in shards.ends])
    if len(sizes) and sizes.max() >= 2**31:
        raise InputError(f"{shards.folder}: a document of {sizes.max():,} tokens is more than Megatron's index holds")
    starts = (np.cumsum(sizes) - sizes) * DTYPES[code].itemsize
    header = np.array([(MAGIC, VERSION, code, len(sizes), len(sizes) + 1)], HEADER)
    paths = [prefix.with_name(prefix.name + suffix) for suffix in (".bin", ".idx")]
    partials = [path.with_name(f".{path.name}.partial") for path in paths]
    try:
        with partials[0].open("wb") as file:
            for tokens in shards.tokens:
                tokens.astype(DTYPES[code]).tofile(file)
        with partials[1].open("wb") as file:
            file.write(header.tobytes())
            file.write(sizes.astype("<i4").tobytes())
            file.write(starts.astype("<i8").tobytes())
            file.write(np.arange(len(sizes) + 1, dtype="<i8").tobytes())
        for partial, path in zip(partials, paths, strict=True):
            partial.replace(path)
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)


def read_megatron(prefix: Path) -> MegatronFile:
    """The tokens and documents of PREFIX.bin and PREFIX.idx. Raises InputError for files that are not a sound pair."""
    bin_path, idx_path = (prefix.with_name(prefix.name + suffix) for suffix in (".bin", ".idx"))
    size_of(bin_path)
    if size_of(idx_path) < HEADER.itemsize:
        raise InputError(f"{idx_path}: shorter than a Megatron index's header: not a Megatron index")
    data = map_array(idx_path, np.dtype("u1"))
    header = data[: HEADER.itemsize].view(HEADER)[0]
    # NumPy drops the zero bytes at the end of a string
    if header["magic"] != MAGIC.rstrip(b"\0") or int(header["version"]) != VERSION:
        raise InputError(
            f"{idx_path}: does not start as a Megatron index of version {VERSION}: give PREFIX.bin and PREFIX.idx"
        )
    dtype = DTYPES.get(int(header["dtype"]))
    if dtype is None:
        raise InputError(
            f"{idx_path}: its tokens have code {header['dtype']}, and 4, 5 and 8 are read: write them anew"
        )
    count, num_bounds = int(header["sequences"]), int(header["bounds"])
    expected = HEADER.itemsize + 12 * count + 8 * num_bounds
    if len(data) != expected:
        raise InputError(
            f"{idx_path}: has {len(data):,} bytes where its header says {expected:,}: it is cut off or damaged"
        )
    at = HEADER.itemsize
    sizes = data[at : at + 4 * count].view("<i4").astype(np.int64)
    starts = data[at + 4 * count : at + 12 * count].view("<i8")
    bounds = data[at + 12 * count :].view("<i8")
    if size_of(bin_path) != int(sizes.sum()) * dtype.itemsize:
        raise InputError(
            f"{bin_path}: has {size_of(bin_path):,} bytes where its index says {int(sizes.sum()) * dtype.itemsize:,}: it is "
            "cut off, or the index is another's"
        )
    ends = np.cumsum(sizes)
    in_order = bool(np.array_equal(starts, (ends - sizes) * dtype.itemsize)) and bool((sizes >= 0).all())
    whole = num_bounds > 0 and int(bounds[0]) == 0 and int(bounds[-1]) == count and bool((np.diff(bounds) >= 0).all())
    if not in_order or not whole:
        raise InputError(f"{idx_path}: its sequences or documents do not follow one another: it is damaged")
    return MegatronFile(map_array(bin_path, dtype), np.concatenate(([0], ends))[bounds])
