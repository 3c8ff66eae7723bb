"""Readers: text becomes a document, anything else is quarantined with its place, and bad data raises nothing."""

import gzip
import io
import json
import lzma
import os
import zlib
from functools import partial
from pathlib import Path

import lz4.frame
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.corpus import streams
from seedbed.corpus.records import Document, Quarantined, guess_domain
from seedbed.corpus.sources import read_source
from seedbed.errors import InputError
from seedbed.recipe.schema import SourceConfig

PACK = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,  # as the zstd command writes
    ".lz4": partial(lz4.frame.compress, content_checksum=True),  # as the lz4 command writes
    "": bytes,
}
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path, limit: int = 1 << 26, **fields: object) -> list[Document | Quarantined]:
    return list(read_source(SourceConfig.model_validate({"path": str(path), **fields}), limit=limit))


def only(path: Path, limit: int = 1 << 26, **fields: object) -> Document | Quarantined:
    records = read(path, limit, **fields)
    assert len(records) == 1
    return records[0]


# Text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_in_the_encodings_with_a_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("naïve café, 東京 🙂\n".encode(encoding))
    record = only(path)
    assert isinstance(record, Document)
    assert record.text == "naïve café, 東京 🙂\n"
    assert record.bytes_in == path.stat().st_size


def test_invalid_utf8_names_its_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"good text \xff here")
    record = only(path)
    assert isinstance(record, Quarantined)
    assert record.rule == "invalid_encoding"
    assert "byte 10" in record.reason


def test_truncated_utf16_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("text".encode("utf-16")[:-1])
    assert isinstance(only(path), Quarantined)


def test_binary_is_told_from_text(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    record = only(path)
    assert isinstance(record, Quarantined) and record.rule == "binary"


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst", ".lz4"])
def test_packed_text_is_one_document(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"book.md{ending}"
    path.write_bytes(PACK[ending](b"# A title\n\ntext\n"))
    record = only(path)
    assert isinstance(record, Document)
    assert (record.text, record.domain) == ("# A title\n\ntext\n", "markdown")


def test_a_text_too_large_for_memory_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(b"x" * 5_000_000))
    record = only(path, limit=1000)
    assert isinstance(record, Quarantined) and record.rule == "too_large"


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("a.py", "code:python"),
        ("a.PY.gz", "code:python"),
        ("README", "prose"),
        ("x.rst", "markup"),
        ("Makefile", "code:make"),
    ],
)
def test_domain_follows_from_the_file_type(name: str, domain: str) -> None:
    assert guess_domain(name) == domain


# JSON lines


@pytest.mark.parametrize("ending", ["", ".gz", ".xz", ".zst", ".lz4"])
def test_json_lines_packed_or_not(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.jsonl{ending}"
    lines = [
        {"text": f"text {i}", "id": i, "url": f"http://x/{i}", "license": "CC0-1.0", "domain": "web"}
        for i in range(500)
    ]
    path.write_bytes(PACK[ending]("".join(json.dumps(line) + "\n" for line in lines).encode()))
    records = read(path)
    assert [r.text for r in records if isinstance(r, Document)] == [f"text {i}" for i in range(500)]
    first = records[0]
    assert isinstance(first, Document)
    assert (first.id, first.origin, first.licence, first.domain, first.metadata) == (
        "a#1", "http://x/0", "CC0-1.0", "web", {"id": 0},
    )  # fmt: skip


def test_broken_lines_are_quarantined_with_their_numbers_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"text": "one"}\r\n'
        b'{"text": "cut\n'
        b"\n"
        b'{"body": "no text"}\n'
        b'{"text": null}\n'
        b'["text"]\n'
        b'{"text": "bad \xff"}\n'
        b'{"text": "lone \\ud800 surrogate", "nan": NaN}\n'
        + b"[" * 100_000 + b"\n"
        b'{"text": "last"}'
    )  # fmt: skip
    records = read(path)
    assert [(r.id, r.rule) for r in records if isinstance(r, Quarantined)] == [
        ("a#2", "broken_json"),
        ("a#4", "missing_text"),
        ("a#5", "missing_text"),
        ("a#6", "broken_json"),
        ("a#7", "invalid_encoding"),
        ("a#9", "broken_json"),
    ]
    assert [r.text for r in records if isinstance(r, Document)] == ["one", "lone \ufffd surrogate", "last"]
    assert all(f"line {r.id.split('#')[1]}" in r.reason for r in records if isinstance(r, Quarantined))


def test_invalid_utf8_in_a_line_names_its_byte_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    data = b'{"text": "one"}\n{"text": "bad \xff"}\n'
    path.write_bytes(data)
    record = read(path)[1]
    assert isinstance(record, Quarantined)
    assert f"byte {data.index(0xFF)}" in record.reason


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst", ".lz4"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "garbage"])
def test_a_damaged_packed_file_gives_its_sound_lines_and_says_where_it_breaks(
    tmp_path: Path, ending: str, damage: str
) -> None:
    path = tmp_path / f"a.jsonl{ending}"
    blocks = [b"".join(b'{"text": "%s"}\n' % os.urandom(30).hex().encode() for _ in range(2000)) for _ in range(2)]
    whole = b"".join(PACK[ending](block) for block in blocks)
    cut = len(PACK[ending](blocks[0])) + 50
    broken = {
        "truncated": whole[:cut],
        "flipped": whole[:cut] + bytes(500) + whole[cut + 500 :],
        "garbage": whole + b"!" * 99,
    }
    path.write_bytes(broken[damage])
    *documents, last = read(path)
    assert isinstance(last, Quarantined) and last.rule == "broken_stream"
    sound = blocks[0].decode().splitlines()
    assert [d.text for d in documents[:1990] if isinstance(d, Document)] == [
        json.loads(line)["text"] for line in sound[:1990]
    ]
    assert f"line {last.id.split('#')[1]} " in last.reason


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst", ".lz4"])
def test_concatenated_streams_and_padding_are_one_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(PACK[ending](b'{"text": "o') + PACK[ending](b'ne"}\n') + bytes(8))
    record = only(path)
    assert isinstance(record, Document) and record.text == "one"


def test_zstd_frames_without_a_size_and_skippable_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    out = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(out, closefd=False) as writer:
        writer.write(b'{"text": "one"}\n' * 1000)
    path.write_bytes(skippable + out.getvalue() + skippable)
    assert len([r for r in read(path) if isinstance(r, Document)]) == 1000


def test_json_lines_in_utf16(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"text": "naïve"}\n{"text": "two"}\n'.encode("utf-16"))
    assert [r.text for r in read(path) if isinstance(r, Document)] == ["naïve", "two"]


def test_a_json_file_is_read_by_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "lines.json").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "tree.json").write_text('{\n "text": "a field of a tree"\n}\n')
    records = read(tmp_path, name="s")
    assert [r.id for r in records] == ["s/lines.json#1", "s/lines.json#2", "s/tree.json"]


def test_a_line_too_long_for_memory_is_quarantined_and_the_next_one_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one"}\n' + b"x" * 3_000_000 + b'\n{"text": "three"}\n')
    first, giant, third = read(path, limit=1000)
    assert isinstance(first, Document) and isinstance(third, Document)
    assert isinstance(giant, Quarantined)
    assert (giant.id, giant.rule, giant.bytes_in, third.id) == ("a#2", "too_large", 3_000_000, "a#3")
    assert "byte 16" in giant.reason


@pytest.mark.parametrize("limit", [2, 100])
def test_lines_are_split_the_same_in_any_chunks(limit: int) -> None:
    data = b"one\n\ntwo\nthree"
    expected = [(0, b"one"), (4, b""), (5, b"two"), (9, b"three")]
    expected_long = [(offset, line if len(line) <= limit else len(line)) for offset, line in expected]
    for size in range(1, len(data) + 1):
        chunks = [data[i : i + size] for i in range(0, len(data), size)]
        assert list(streams.split_lines(iter(chunks), limit)) == expected_long


# Parquet


def write_parquet(path: Path, **columns: object) -> None:
    pq.write_table(pa.table(columns), path)


def test_parquet_rows_become_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(
        path, content=["one", None, "three"], url=["u1", "u2", None], score=[1.0, 2.0, 3.0], tags=[["x"], [], []]
    )
    first, missing, third = read(path, text_field="content")
    assert isinstance(first, Document) and isinstance(third, Document)
    assert (first.id, first.text, first.origin, first.metadata) == ("a#1", "one", "u1", {"score": 1.0})
    assert third.origin.endswith("a.parquet:3")
    assert isinstance(missing, Quarantined) and missing.rule == "missing_text"


def test_parquet_string_types(tmp_path: Path) -> None:
    for kind in (pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({"text": pa.array(["one", "two"]).cast(kind)}), path)
        assert [r.text for r in read(path) if isinstance(r, Document)] == ["one", "two"]


def test_parquet_invalid_utf8_is_quarantined_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    text = pa.array([b"one", b"tw\xff", b"three"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": text}), path)
    first, second, third = read(path)
    assert isinstance(first, Document) and isinstance(third, Document)
    assert isinstance(second, Quarantined) and "byte 2" in second.reason


def test_parquet_without_the_column_is_an_error_that_names_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, content=["one"], length=[3])
    with pytest.raises(InputError, match="content, length"):
        read(path)
    with pytest.raises(InputError, match="not text"):
        read(path, text_field="length")


def test_damaged_parquet_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, text=[os.urandom(50).hex() for _ in range(5000)])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    record = only(path)
    assert isinstance(record, Quarantined) and record.rule == "broken_stream"


# Anything at all


ENDINGS = [".txt", ".jsonl", ".json", ".parquet", ".md"]


@FUZZ
@given(
    data=st.binary(max_size=300),
    ending=st.sampled_from(ENDINGS),
    packing=st.sampled_from(sorted(PACK)),
    packed=st.booleans(),
)
def test_no_bytes_in_any_format_raise(tmp_path: Path, data: bytes, ending: str, packing: str, packed: bool) -> None:
    path = tmp_path / f"a{ending}{packing}"
    path.write_bytes(PACK[packing](data) if packed else data)
    for record in read(path):
        assert isinstance(record, Document | Quarantined)
        if isinstance(record, Document):
            record.text.encode()
    path.unlink()


@FUZZ
@given(position=st.integers(0, 10**6), value=st.integers(0, 255), ending=st.sampled_from(sorted(PACK)))
def test_one_wrong_byte_loses_no_line_unseen(tmp_path: Path, position: int, value: int, ending: str) -> None:
    lines = [json.dumps({"text": f"line {i} " + "word " * (i % 7)}) for i in range(200)]
    data = bytearray(PACK[ending]("\n".join(lines).encode()))
    data[position % len(data)] = value
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(bytes(data))
    records = read(path)
    documents = [r for r in records if isinstance(r, Document)]
    if len(documents) < len(lines):
        assert any(isinstance(r, Quarantined) for r in records)


@FUZZ
@given(position=st.integers(0, 10**6), value=st.integers(0, 255))
def test_one_wrong_byte_in_parquet_raises_nothing_but_input_errors(tmp_path: Path, position: int, value: int) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, text=[f"text {i}" for i in range(300)], n=list(range(300)))
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(bytes(data))
    try:
        read(path)
    except InputError as error:
        assert "column" in str(error)


@FUZZ
@given(
    st.dictionaries(
        st.text(max_size=8), st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5)
    )
)
def test_any_json_object_is_a_document_or_quarantined(tmp_path: Path, fields: dict[str, object]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({**fields, "text": "some text"}) + "\n" + json.dumps(fields) + "\n")
    first, second = read(path)
    assert isinstance(first, Document) and first.text == "some text"
    json.dumps(first.metadata)
    assert isinstance(second, Document) == isinstance(fields.get("text"), str)


def test_members_are_found_where_they_begin() -> None:
    first, second = zlib.compress(b"one" * 50, wbits=31), zlib.compress(b"two" * 50, wbits=31)
    data = first + bytes(5) + second
    found = list(streams.unpack(io.BytesIO(data), streams.PACKINGS[".gz"], len(data)))
    assert found == [(0, b"one" * 50), (len(first) + 5, b"two" * 50)]
