"""Safetensors files, written tensor by tensor: hashed on the way, never whole in memory.

The safetensors package writes a file from all its tensors at once; a checkpoint's shard is hashed as it goes, and a model merged
from shards may not fit into memory. The layout is the package's own (https://github.com/huggingface/safetensors#format), and it
reads what is written here.
"""

import hashlib
import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

DTYPE_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
DTYPES = {name: dtype for dtype, name in DTYPE_NAMES.items()}
PIECE_BYTES = 2**24  # written and hashed at a time: small enough to be hashed from the processor's cache


@dataclass(frozen=True)
class Announced:
    """A tensor that will be written."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class FileRecord:
    """What a finished file must be found to be."""

    bytes: int
    sha256: str


class TensorFile:
    """A safetensors file whose tensors are announced first and then written in the order of `order`."""

    def __init__(self, path: Path, announced: list[Announced]) -> None:
        # wide types first: then each tensor begins at a multiple of its element's size, which readers map directly
        self.order = sorted(announced, key=lambda entry: -entry.dtype.itemsize)
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        place = 0
        for entry in self.order:
            offsets = [place, place + entry.bytes]
            header[entry.name] = {
                "dtype": DTYPE_NAMES[entry.dtype], "shape": list(entry.shape), "data_offsets": offsets
            }  # fmt: skip
            place = offsets[1]
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._hash = hashlib.sha256()
        self._file = path.open("wb")
        self._left = list(reversed(self.order))
        self._bytes = 0
        self._put(memoryview(struct.pack("<Q", len(text)) + text))

    def write(self, tensor: Tensor) -> None:
        """The next tensor in order, on the CPU."""
        expected = self._left.pop()
        assert (tensor.dtype, tuple(tensor.shape)) == (expected.dtype, expected.shape), expected.name
        if tensor.numel():
            self._put(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().data)

    def _put(self, data: memoryview) -> None:
        for start in range(0, len(data), PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES]
            self._file.write(piece)
            self._hash.update(piece)
        self._bytes += len(data)

    def finish(self) -> FileRecord:
        """Flush to the disk."""
        assert not self._left, f"not written: {[entry.name for entry in self._left]}"
        self._file.flush()
        os.fsync(self._file.fileno())
        return FileRecord(self._bytes, self._hash.hexdigest())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> FileRecord:
    """All of `tensors` (on the CPU) as one file."""
    announced = [Announced(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()]
    with TensorFile(path, announced) as file:
        for entry in file.order:
            file.write(tensors[entry.name])
        return file.finish()
