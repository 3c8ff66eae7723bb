import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import InputError, SeedbedError
from seedbed.tokens import formats
from seedbed.tokens.document_sorter import DocumentSorter, Entry
from seedbed.tokens.reader import DocumentSpan, ShardReader, verify_shards
from seedbed.tokens.shards import ShardWriter

DOCUMENTS = [[1, 2, 3], [], [4] * 7, [5, 6], [7] * 20, [8]]
EOS = 999


def stream(documents: list[list[int]]) -> list[int]:
    return [token for document in documents for token in [*document, EOS]]


@pytest.mark.parametrize(("vocab_size", "dtype"), [(1000, "uint16"), (65_536, "uint16"), (65_537, "uint32")])
def test_the_files_are_what_the_format_says(tmp_path: Path, vocab_size: int, dtype: str) -> None:
    writer = ShardWriter(tmp_path, vocab_size, vocab_size - 1, "ab" * 32)
    writer.add(np.array([1, 2], np.uint32), "s/a", "s", "prose", 5)
    writer.add(np.array([vocab_size - 2], np.uint32), "s/b", "s", "code", 3)
    manifest = writer.finish()
    tokens = np.fromfile(tmp_path / "00000.bin", "<u2" if dtype == "uint16" else "<u4")
    assert tokens.tolist() == [1, 2, vocab_size - 1, vocab_size - 2, vocab_size - 1]
    assert np.fromfile(tmp_path / "00000.idx", "<u8").tolist() == [3, 5]
    assert manifest == json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["format"], manifest["dtype"], manifest["num_tokens"], manifest["num_bytes"]) == (1, dtype, 5, 8)
    assert ShardReader(tmp_path).record(1) == (1, "s/b", "s", "code", 2, 3)


def test_a_document_lies_in_one_shard_and_the_stream_does_not_show_it(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(DOCUMENTS, max_shard_tokens=10)
    reader = ShardReader(folder)
    assert len(reader.tokens) > 2
    assert reader.read(0, reader.num_tokens).tolist() == stream(DOCUMENTS)
    assert [reader.document_tokens(n).tolist() for n in range(len(DOCUMENTS))] == [[*d, EOS] for d in DOCUMENTS]
    verify_shards(folder)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(0, 998), max_size=9), min_size=1, max_size=12), st.integers(1, 12), st.data())
def test_any_stretch_reads_back_with_its_documents(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], shard_tokens: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    writer = ShardWriter(folder, 1000, EOS, "", shard_tokens)
    for number, document in enumerate(documents):
        writer.add(np.array(document, np.uint32), str(number), "s", "d", 0)
    writer.finish()
    reader = ShardReader(folder)
    start = data.draw(st.integers(0, reader.num_tokens - 1))
    length = data.draw(st.integers(1, 2 * reader.num_tokens))  # past the end it goes on at the start
    expected = (stream(documents) * 3)[start : start + length]
    out = np.empty(length, np.int64)
    reader.read_into(out, start)
    assert out.tolist() == expected
    spans = reader.spans(start, length)
    joined = [token for span in spans for token in [*documents[span.document], EOS][span.start : span.stop]]
    assert joined == expected
    assert all(span.id == str(span.document) and span.start < span.stop for span in spans)


def test_spans_name_document_and_place(make_shards: Callable[..., Path]) -> None:
    reader = ShardReader(make_shards([[1, 2, 3], [4, 5]]))
    assert reader.spans(2, 4) == [DocumentSpan(0, "test/0", 2, 4), DocumentSpan(1, "test/1", 0, 2)]


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["00001.bin", "00001.idx", "documents.parquet"])
def test_one_flipped_bit_is_found_and_its_file_named(make_shards: Callable[..., Path], name: str) -> None:
    folder = make_shards(DOCUMENTS, max_shard_tokens=10)
    flip(folder / name, 3)
    with pytest.raises(SeedbedError, match=f"{name} .*corrupted.*delete the folder .* and run"):
        verify_shards(folder)


@pytest.mark.parametrize("name", ["00000.bin", "00001.idx"])
@pytest.mark.parametrize("damage", ["shorter", "longer", "gone"])
def test_files_of_another_size_are_refused_when_opened(
    make_shards: Callable[..., Path], name: str, damage: str
) -> None:
    folder = make_shards(DOCUMENTS, max_shard_tokens=10)
    path = folder / name
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "shorter" else data + b"\0")
    with pytest.raises(SeedbedError, match=name) as caught:
        ShardReader(folder)
    assert "delete the folder" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 2}, "format 1"),
        ({"shards": []}, "not the sums"),
        ({"dtype": "int8"}, "does not describe its shards"),
        ({"num_tokens": 1}, "not the sums"),
        ("[]", "format 1"),
        ("{", "not valid JSON"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(make_shards: Callable[..., Path], change: object, complaint: str) -> None:
    path = make_shards(DOCUMENTS) / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(change if isinstance(change, str) else json.dumps({**manifest, **change}))  # type: ignore[dict-item]
    with pytest.raises(SeedbedError, match=complaint):
        ShardReader(path.parent)


JSON = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@settings(deadline=None, max_examples=60)
@given(st.data(), JSON)
def test_a_damaged_manifest_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, value: object
) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    writer = ShardWriter(folder, 1000, EOS, "")
    writer.add(np.array([1, 2], np.uint32), "a", "s", "d", 2)
    manifest = writer.finish()
    place = data.draw(st.sampled_from([manifest, manifest["shards"], manifest["shards"][0]]))
    key = data.draw(st.sampled_from(sorted(place))) if isinstance(place, dict) else 0
    before, place[key] = place[key], value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    used = {"format", "dtype", "num_tokens", "num_documents", "shards", "file", "index", 0}
    if key in used and value != before:
        with pytest.raises(SeedbedError) as caught:
            ShardReader(folder)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("field", ["dtype", "eos_id", "shards", "num_documents"])
def test_a_manifest_that_lacks_a_field_is_refused(make_shards: Callable[..., Path], field: str) -> None:
    path = make_shards(DOCUMENTS) / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[field]
    path.write_text(json.dumps(manifest))
    with pytest.raises(SeedbedError, match=f"lacks fields .*{field}"):
        ShardReader(path.parent)


def test_the_sidecar_reads_across_row_groups(make_shards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed.tokens.shards.ROWS_PER_GROUP", 4)
    reader = ShardReader(make_shards([[n] for n in range(11)]))
    assert [reader.record(n).id for n in (0, 3, 4, 10, 2)] == ["test/0", "test/3", "test/4", "test/10", "test/2"]


def entry(key: int) -> Entry:
    return Entry(key.to_bytes(4, "big"), f"id{key}", "s", "d", key, np.arange(key % 17, dtype=np.uint32))


@settings(deadline=None, max_examples=40)
@given(st.sets(st.integers(0, 10**6), max_size=60), st.integers(1, 20_000), st.randoms())
def test_sorting_with_runs_on_disk_equals_sorting_in_memory(
    tmp_path_factory: pytest.TempPathFactory, keys: set[int], memory: int, random: object
) -> None:
    folder = tmp_path_factory.mktemp("sort") / "runs"
    sorter = DocumentSorter(folder, memory)
    shuffled = list(keys)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for key in shuffled:
        sorter.add(entry(key))
    found = list(sorter.drain())
    assert [(*e[:5], e.tokens.tolist()) for e in found] == [
        (*e[:5], e.tokens.tolist()) for e in map(entry, sorted(keys))
    ]
    assert not folder.exists()


def test_nanogpt_and_llm_c_files_read_back(make_shards: Callable[..., Path], tmp_path: Path) -> None:
    reader = ShardReader(make_shards(DOCUMENTS, max_shard_tokens=10))
    formats.write_nanogpt(reader, tmp_path / "train.bin")
    assert np.fromfile(tmp_path / "train.bin", "<u2").tolist() == stream(DOCUMENTS)
    assert formats.read_nanogpt(tmp_path / "train.bin").tolist() == stream(DOCUMENTS)
    formats.write_llm_c(reader, tmp_path / "c.bin")
    assert np.fromfile(tmp_path / "c.bin", "<i4", 4).tolist() == [20240520, 1, len(stream(DOCUMENTS)), 0]
    assert formats.read_llm_c(tmp_path / "c.bin").tolist() == stream(DOCUMENTS)


def test_files_that_are_not_in_the_format_are_refused(make_shards: Callable[..., Path], tmp_path: Path) -> None:
    reader = ShardReader(make_shards(DOCUMENTS))
    formats.write_llm_c(reader, tmp_path / "c.bin")
    (tmp_path / "cut.bin").write_bytes((tmp_path / "c.bin").read_bytes()[:-2])
    (tmp_path / "odd.bin").write_bytes(b"abc")
    (tmp_path / "zero.bin").write_bytes(bytes(2000))
    for read, name in (
        (formats.read_llm_c, "cut"),
        (formats.read_llm_c, "odd"),
        (formats.read_llm_c, "zero"),
        (formats.read_nanogpt, "odd"),
        (formats.read_nanogpt, "none"),
    ):
        with pytest.raises(InputError, match=f"{name}.bin"):
            read(tmp_path / f"{name}.bin")
    with pytest.raises(InputError, match="does not fit the uint16"):
        formats.write_nanogpt(ShardReader(make_shards([[1]], vocab_size=70_000, name="wide")), tmp_path / "wide.bin")
