import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.tokens.megatron import read_megatron, write_megatron
from seedbed.tokens.reader import ShardReader

DOCUMENTS = [[1, 2, 3], [], [4] * 7, [5, 6], [7] * 20, [8]]


def megatron_bytes(sequences: list[list[int]], bounds: list[int], code: int, form: str) -> tuple[bytes, bytes]:
    """A pair of files written field by field, as the format's description has them."""
    data = b"".join(struct.pack(f"<{len(s)}{form}", *s) for s in sequences)
    index = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, len(sequences), len(bounds))
    index += struct.pack(f"<{len(sequences)}i", *map(len, sequences))
    starts = [struct.calcsize(form) * sum(map(len, sequences[:n])) for n in range(len(sequences))]
    index += struct.pack(f"<{len(sequences)}q", *starts) + struct.pack(f"<{len(bounds)}q", *bounds)
    return data, index


@pytest.mark.parametrize(("vocab_size", "code", "form"), [(1000, 8, "H"), (70_000, 4, "i")])
def test_what_is_written_is_the_format_and_reads_back(
    make_shards: Callable[..., Path], tmp_path: Path, vocab_size: int, code: int, form: str
) -> None:
    shards = ShardReader(make_shards(DOCUMENTS, vocab_size=vocab_size, max_shard_tokens=10))
    write_megatron(shards, tmp_path / "corpus.text")
    sequences = [[*document, vocab_size - 1] for document in DOCUMENTS]
    data, index = megatron_bytes(sequences, list(range(len(sequences) + 1)), code, form)
    assert (tmp_path / "corpus.text.bin").read_bytes() == data
    assert (tmp_path / "corpus.text.idx").read_bytes() == index
    assert [document.tolist() for document in read_megatron(tmp_path / "corpus.text").documents()] == sequences


@pytest.mark.parametrize(("code", "form"), [(8, "H"), (4, "i"), (5, "q")])
def test_documents_of_several_sequences_read_as_one(tmp_path: Path, code: int, form: str) -> None:
    data, index = megatron_bytes([[1, 2], [3], [], [4, 5, 6], [7]], [0, 2, 4, 5], code, form)
    (tmp_path / "x.bin").write_bytes(data)
    (tmp_path / "x.idx").write_bytes(index)
    assert [document.tolist() for document in read_megatron(tmp_path / "x").documents()] == [[1, 2, 3], [4, 5, 6], [7]]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damaged_files_are_refused_in_one_line_or_read_as_some_documents(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("megatron")
    files = dict(zip(("bin", "idx"), megatron_bytes([[1, 2, 3], [4], [5, 6]], [0, 1, 3], 8, "H"), strict=True))
    name = data.draw(st.sampled_from(sorted(files)))
    raw = bytearray(files[name])
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for suffix, content in {**files, name: bytes(raw)}.items():
        (folder / f"x.{suffix}").write_bytes(content)
    try:
        found = read_megatron(folder / "x")
    except InputError as error:
        assert len(str(error).splitlines()) == 1
        assert str(folder) in str(error)
    else:  # a bit of a token, or a document's bound moved to another sequence: no reader could tell
        assert int(found.bounds[-1]) == len(found.tokens) == 6
        assert np.all(np.diff(found.bounds) >= 0)


def test_a_missing_half_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"ab")
    with pytest.raises(InputError, match=r"x\.idx does not exist"):
        read_megatron(tmp_path / "x")
