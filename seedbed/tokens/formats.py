"""Token files of other projects: nanoGPT's (bare uint16) and llm.c's (a header, then uint16).

Both hold one stream and know nothing of documents; Seedbed's end-of-text tokens mark them.
"""

from pathlib import Path

import numpy as np

from seedbed.errors import InputError
from seedbed.tokens.reader import ShardReader, map_array

# llm.c, dev/data/data_common.py: 256 int32, of which the first three are magic, version and number of tokens
LLM_C_MAGIC = 20240520
LLM_C_VERSION = 1
LLM_C_HEADER_BYTES = 1024
TOKENS = np.dtype("<u2")


def write_nanogpt(shards: ShardReader, path: Path) -> None:
    """The whole stream as one file of uint16, as nanoGPT's `train.bin`."""
    write_stream(shards, path, b"")


def read_nanogpt(path: Path) -> np.ndarray:
    """uint16 tokens of a nanoGPT file, mapped."""
    size = size_of(path)
    if size % 2:
        raise InputError(f"{path}: {size:,} bytes are not a whole number of uint16 tokens: not a nanoGPT file")
    return map_array(path, TOKENS)


def write_llm_c(shards: ShardReader, path: Path) -> None:
    """The whole stream as one llm.c file; its header counts tokens in an int32."""
    if shards.num_tokens >= 2**31:
        raise InputError(
            f"{shards.folder}: {shards.num_tokens:,} tokens are more than the int32 of an llm.c header holds"
        )
    header = np.zeros(LLM_C_HEADER_BYTES // 4, "<i4")
    header[:3] = LLM_C_MAGIC, LLM_C_VERSION, shards.num_tokens
    write_stream(shards, path, header.tobytes())


def read_llm_c(path: Path) -> np.ndarray:
    """uint16 tokens of an llm.c file, mapped."""
    if size_of(path) < LLM_C_HEADER_BYTES:
        raise InputError(f"{path}: shorter than an llm.c header: not an llm.c token file")
    magic, version, num_tokens = np.fromfile(path, "<i4", 3).tolist()
    if (magic, version) != (LLM_C_MAGIC, LLM_C_VERSION):
        raise InputError(
            f"{path}: starts with {magic}, {version} and not {LLM_C_MAGIC}, {LLM_C_VERSION}: not an llm.c token file"
        )
    tokens = map_array(path, TOKENS)[LLM_C_HEADER_BYTES // 2 :]
    if size_of(path) % 2 or len(tokens) != num_tokens:
        raise InputError(
            f"{path}: holds {len(tokens):,} tokens and its header says {num_tokens:,}: the file is cut off or damaged"
        )
    return tokens


def write_stream(shards: ShardReader, path: Path, header: bytes) -> None:
    if shards.dtype != TOKENS:
        vocab_size = shards.manifest["vocab_size"]
        raise InputError(f"{shards.folder}: a vocabulary of {vocab_size:,} does not fit the uint16 of this format")
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(header)
            for tokens in shards.tokens:
                tokens.tofile(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    if not path.is_file():
        raise InputError(f"{path} does not exist: give a file of tokens")
    return path.stat().st_size
