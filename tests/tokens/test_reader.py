import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from seedbed.errors import SeedbedError
from seedbed.tokens import reader as reader_module
from seedbed.tokens.loader import Loader
from seedbed.tokens.reader import Group, ShardReader, verify_shards
from seedbed.tokens.shards import ShardWriter

MANY = [[number % 900] * 9 for number in range(300)]  # ten tokens each with the end-of-text


def test_opening_maps_nothing_and_reading_keeps_few_files_open(
    make_shards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 shards read in random order with 8 maps allowed for tokens and 8 for indices."""
    folder = make_shards(MANY, max_shard_tokens=10)
    monkeypatch.setattr(reader_module, "open_files_limit", lambda: 16)
    process = psutil.Process()
    before = process.num_fds()
    shards = ShardReader(folder)
    assert process.num_fds() == before
    assert len(shards.tokens) == 300
    for document in np.random.default_rng(0).permutation(300).tolist():
        assert shards.document_tokens(document).tolist() == [*MANY[document], 999]
    assert 0 < process.num_fds() - before <= 16


def test_an_array_in_use_outlives_its_turn_among_the_open_files(
    make_shards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "open_files_limit", lambda: 4)
    shards = ShardReader(make_shards(MANY, max_shard_tokens=10))
    held = shards.tokens[0]
    for number in range(1, 50):
        assert shards.tokens[number][0] == number
    assert held.tolist() == [*MANY[0], 999]
    assert not held.flags.writeable


def test_too_little_memory_is_no_damage(make_shards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    shards = ShardReader(make_shards(MANY[:3]))
    monkeypatch.setattr(reader_module, "map_array", refuse)
    with pytest.raises(MemoryError):
        shards.document_tokens(0)


def test_sizes_of_ten_thousand_files_come_from_one_listing(
    make_shards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_shards(MANY, max_shard_tokens=10)
    asked: list[str] = []
    stat = Path.stat
    monkeypatch.setattr(Path, "stat", lambda self, **keywords: asked.append(self.name) or stat(self, **keywords))
    ShardReader(folder)
    assert not [name for name in asked if name.endswith((".bin", ".idx"))]


def test_an_index_that_lies_about_its_shard_is_found_when_it_is_first_read(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(MANY[:3], max_shard_tokens=10)
    (folder / "00001.idx").write_bytes(np.array([7], "<u8").tobytes())
    shards = ShardReader(folder)
    assert shards.document_at(3)[0] == 0
    with pytest.raises(SeedbedError, match=r"00001\.idx does not describe its shard"):
        shards.document_at(15)


def test_a_shard_cut_after_opening_is_named_when_it_is_read(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(MANY[:3], max_shard_tokens=10)
    shards = ShardReader(folder)
    os.truncate(folder / "00002.bin", 8)
    with pytest.raises(SeedbedError, match=r"00002\.bin has 8 bytes"):
        shards.read(0, 30)


@pytest.mark.parametrize("name", ["../00000.bin", "a/b", "\\x"])
def test_a_manifest_cannot_name_files_of_other_folders(make_shards: Callable[..., Path], name: str) -> None:
    folder = make_shards(MANY[:2])
    text = (folder / "manifest.json").read_text().replace('"00000.bin"', f'"{name}"'.replace("\\", "\\\\"))
    (folder / "manifest.json").write_text(text)
    with pytest.raises(SeedbedError, match="does not describe its shards"):
        ShardReader(folder)


def test_groups_are_stretches_of_the_stream_in_shards_of_their_own(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, 1000, 999, "0" * 64, 40)
    for name, count in (("web", 7), ("books", 0), ("code", 3)):
        writer.begin_group(name)
        for number in range(count):
            writer.add(np.full(9, number), f"{name}/{number}", name, "prose", 9)
    writer.finish()
    shards = ShardReader(tmp_path)
    assert shards.groups == [Group("web", 0, 70, 0, 7), Group("books", 70, 0, 7, 0), Group("code", 70, 30, 7, 3)]
    assert shards.record(7).id == "code/0"
    assert shards.first_token.tolist() == [0, 40, 70, 100]
    verify_shards(tmp_path)
    text = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(text.replace('"num_tokens": 70', '"num_tokens": 71'))
    with pytest.raises(SeedbedError, match="groups that are not the whole"):
        ShardReader(tmp_path)


def test_documents_that_end_in_a_stretch(make_shards: Callable[..., Path]) -> None:
    """Against a count over all ends, for stretches that begin and end at, before and after a document's end."""
    shards = ShardReader(make_shards([[1] * (n % 5) for n in range(40)], max_shard_tokens=13))
    ends = np.concatenate([first + e for first, e in zip(shards.first_token[:-1], shards.ends, strict=True)])
    for start in range(shards.num_tokens):
        for stop in range(start, min(shards.num_tokens, start + 30) + 1):
            found = [end for part in shards.document_ends(start, stop) for end in part.tolist()]
            assert found == [end for end in ends.tolist() if start < end <= stop]


def test_a_loader_of_many_shards_reads_what_a_loader_of_one_reads(
    make_shards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "open_files_limit", lambda: 8)
    many = Loader(make_shards(MANY, max_shard_tokens=10, name="many"), 33, 16, seed=1)
    one = Loader(make_shards(MANY, name="one"), 33, 16, seed=1)
    for step in (0, 7, 100):
        assert np.array_equal(many.batch(step), one.batch(step))
