"""WARC and WET: every record has one reader and one fate, whatever packing, split or damage lies between."""

import gzip
import random
from collections import Counter
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.corpus.extract import RawPage
from seedbed.corpus.places import Place
from seedbed.corpus.records import Document, Quarantined
from seedbed.corpus.warc import read_warc
from seedbed.corpus.warc_frames import Frame, Gap, Giant, read_frames
from seedbed.recipe.schema import SourceConfig

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "crawl" / "warc_samples"
PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
}
ENDINGS = list(PACK)


def warc(
    number: int, body: bytes, kind: str = "response", http: str = "HTTP/1.1 200 OK\r\nContent-Type: text/html"
) -> bytes:
    content = f"{http}\r\n\r\n".encode() + body if http else body
    media = "application/http; msgtype=response" if http else "text/plain"
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: https://example.org/{number}\r\n"
        f"WARC-Date: 2024-05-18T01:58:{number % 60:02d}Z\r\nContent-Type: {media}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content + b"\r\n\r\n"


def page(number: int) -> bytes:
    words = random.Random(number).choices(
        ("river", "stone", "harbour", "lantern", "<b>copper</b>", "WARC/1.0"), k=40 + number
    )
    return f"<html><body><p>Page {number}: {' '.join(words)}.</p></body></html>".encode()


def some(count: int) -> list[bytes]:
    return [warc(number, page(number)) for number in range(count)]


def write(path: Path, records: list[bytes], ending: str) -> Path:
    path = path / f"crawl.warc{ending}"
    path.write_bytes(b"".join(PACK[ending](record) for record in records))
    return path


def frames(path: Path, start: int = 0, end: int | None = None, limit: int = 1 << 20) -> list[Frame | Giant | Gap]:
    size = path.stat().st_size
    with path.open("rb") as file:
        return list(read_frames(file, str(path), size, start, size if end is None else end, limit))


def read(path: Path, limit: int = 1 << 20) -> list[Document | Quarantined | RawPage]:
    place = Place(str(path), path.stat().st_size, "crawl", SourceConfig(path=str(path), name="crawl"), limit=limit)
    return list(read_warc(place, Counter()))


@pytest.mark.parametrize("ending", ENDINGS)
def test_records_come_with_their_place_address_and_date(tmp_path: Path, ending: str) -> None:
    records = some(30)
    offsets = [sum(len(PACK[ending](record)) for record in records[:n]) for n in range(30)]
    found = read(write(tmp_path, records, ending))
    assert [record.document.id for record in found if isinstance(record, RawPage)] == [f"crawl@{at}" for at in offsets]
    third = found[3]
    assert isinstance(third, RawPage)
    assert (third.data, third.document.url, third.document.date) == (
        page(3), "https://example.org/3", "2024-05-18T01:58:03Z",
    )  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("together", [1, 3, 40])
def test_any_split_gives_every_record_to_one_shard(tmp_path: Path, ending: str, together: int) -> None:
    """`together`: records in a member; 40 is the whole file in one."""
    records = some(40)
    members = [b"".join(records[n : n + together]) for n in range(0, 40, together)]
    path = write(tmp_path, members, ending)
    whole = frames(path)
    assert [frame.content for frame in whole if isinstance(frame, Frame)] == [
        r.split(b"\r\n\r\n", 1)[1][:-4] for r in records
    ]
    size = path.stat().st_size
    for step in (size // 2, size // 7, 97, 33):
        parts = [frame for at in range(0, size, step) for frame in frames(path, at, min(size, at + step))]
        assert parts == whole


@pytest.mark.parametrize("ending", [".gz", ".zst", ".lz4"])
def test_records_that_span_members_have_one_shard_too(tmp_path: Path, ending: str) -> None:
    data = b"".join(some(30))
    path = write(tmp_path, [data[n : n + 700] for n in range(0, len(data), 700)], ending)
    whole = frames(path)
    assert len(whole) == 30 and all(isinstance(frame, Frame) for frame in whole)
    size = path.stat().st_size
    assert [f for at in range(0, size, 211) for f in frames(path, at, min(size, at + 211))] == whole


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_record_larger_than_the_limit_is_passed_over_and_the_next_ones_are_read(tmp_path: Path, ending: str) -> None:
    records = [warc(0, page(0)), warc(1, b"x" * 300_000), warc(2, page(2))]
    first, giant, last = read(write(tmp_path, records, ending), limit=10_000)
    assert isinstance(first, RawPage) and isinstance(last, RawPage)
    assert isinstance(giant, Quarantined) and giant.rule == "too_large"
    assert giant.bytes_in >= 300_000 and f"byte {len(PACK[ending](records[0]))}" in giant.reason


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_length_that_lies_loses_no_other_record(tmp_path: Path, ending: str) -> None:
    for lie in (b"5", b"90000", b"99999999999", b"x", b"-1"):
        records = some(9)
        length = records[4].split(b"Content-Length: ")[1].split(b"\r\n")[0]
        records[4] = records[4].replace(b"Content-Length: " + length, b"Content-Length: " + lie, 1)
        found = read(write(tmp_path, records, ending))
        good = [record.document.url for record in found if isinstance(record, RawPage)]
        assert good == [f"https://example.org/{n}" for n in range(9) if n != 4]
        bad = [record for record in found if isinstance(record, Quarantined)]
        assert bad and {record.rule for record in bad} == {"broken_record"}


@pytest.mark.parametrize("ending", [".gz", ".zst", ".lz4"])
def test_a_giant_length_that_lies_takes_no_later_member(tmp_path: Path, ending: str) -> None:
    """Found by bench/curation_fuzz.py: one shard passed over the member at which the next one began."""
    records = [warc(n, random.Random(n).randbytes(140_000).hex().encode()) for n in range(8)]
    length = records[2].split(b"Content-Length: ")[1].split(b"\r\n")[0]
    records[2] = records[2].replace(b"Content-Length: " + length, b"Content-Length: 99999999999", 1)
    path = write(tmp_path, records, ending)
    whole = frames(path)
    assert [type(frame) for frame in whole] == [Frame, Frame, Gap, Frame, Frame, Frame, Frame, Frame]
    size = path.stat().st_size
    for step in (size // 2, size // 3):
        assert [f for at in range(0, size, step) for f in frames(path, at, min(size, at + step))] == whole


def test_damage_behind_the_last_record_of_a_member_has_a_place_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path, some(3), ".lz4")
    raw = bytearray(path.read_bytes())
    del raw[-1]  # of the checksum behind the last record
    path.write_bytes(bytes(raw))
    found = frames(path)
    assert [type(frame) for frame in found] == [Frame, Frame, Frame, Gap], [str(f)[:90] for f in found]
    assert len({frame.position for frame in found}) == 4


@pytest.mark.parametrize("ending", [".gz", ".zst", ".lz4"])
def test_a_damaged_member_is_named_and_reading_goes_on_behind_it(tmp_path: Path, ending: str) -> None:
    members = [PACK[ending](record) for record in some(9)]
    at = sum(map(len, members[:4]))
    damaged = bytearray(b"".join(members))
    damaged[at + 20 : at + 60] = bytes(40)
    path = tmp_path / f"crawl.warc{ending}"
    path.write_bytes(bytes(damaged))
    found = read(path)
    assert sum(isinstance(record, RawPage) for record in found) == 8
    (broken,) = (record for record in found if isinstance(record, Quarantined))
    assert (broken.id, broken.rule, broken.bytes_in) == (f"crawl@{at}", "broken_record", len(members[4]))


def test_what_is_no_page_has_its_reason(tmp_path: Path) -> None:
    records = [
        warc(0, b"", "warcinfo", ""),
        warc(1, b"GET / HTTP/1.1", "request", ""),
        warc(2, b"gone", http="HTTP/1.1 404 Not Found\r\nContent-Type: text/html"),
        warc(3, b"%PDF-1.4", http="HTTP/1.1 200 OK\r\nContent-Type: application/pdf"),
        warc(4, b"  ", http="HTTP/1.1 200 OK\r\nContent-Type: text/html"),
        warc(5, b"no header"[:0], http="no status line"),
        warc(6, "Grüße aus der Stadt".encode(), "conversion", ""),
        warc(7, b"\xff\xfe bad", "conversion", ""),
        warc(8, page(8), http="HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip"),
        warc(9, gzip.compress(page(9)), http="HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip"),
        warc(10, b"\n<!DOCTYPE html><p>No type", http="HTTP/1.1 200 OK\r\nServer: x"),
        warc(11, page(1), "continuation"),
    ]
    path = write(tmp_path, records, ".gz")
    passed: Counter[str] = Counter()
    found = list(read_warc(Place(str(path), path.stat().st_size, "c", SourceConfig(path="c", name="c")), passed))
    assert passed == {"warcinfo": 1, "request": 1}
    assert [getattr(record, "rule", type(record).__name__) for record in found] == [
        "http_status", "not_html", "no_text", "http_status", "Document", "invalid_encoding", "RawPage", "RawPage", "RawPage",
        "broken_record",
    ]  # fmt: skip
    undone = found[7]
    assert isinstance(undone, RawPage) and undone.data == page(9)


@FUZZ
@given(data=st.data(), ending=st.sampled_from(ENDINGS))
def test_any_damage_leaves_every_byte_accounted_for(tmp_path: Path, data: st.DataObject, ending: str) -> None:
    """Plain: all bytes but line ends between records are in a frame, a giant or a gap. Packed: no record twice, none invented."""
    raw = bytearray(write(tmp_path, some(12), ending).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        what = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if what == "flip":
            raw[at] ^= data.draw(st.integers(1, 255))
        elif what == "cut":
            del raw[at : at + data.draw(st.integers(1, 400))]
        else:
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=60))
        raw = raw or bytearray(b"x")
    path = tmp_path / f"damaged.warc{ending}"
    path.write_bytes(bytes(raw))
    found = frames(path)
    size, step = len(raw), data.draw(st.integers(50, 3000))
    assert [f for at in range(0, size, step) for f in frames(path, at, min(size, at + step))] == found
    assert len({frame.position for frame in found}) == len(found)
    if not ending:
        taken = sum(len(f.header) + len(f.content) if isinstance(f, Frame) else f.num_bytes for f in found)
        line_ends = bytes(raw).count(b"\r") + bytes(raw).count(b"\n")
        assert size - line_ends <= taken <= size
    read(path)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the shared WARC samples are not here")
def test_real_files_have_the_records_that_others_count() -> None:
    from fastwarc.warc import ArchiveIterator

    for path in sorted(SAMPLES.iterdir()):
        expected = [record.stream_pos for record in ArchiveIterator(str(path), parse_http=False)]
        assert [frame.position.offset for frame in frames(path, limit=1 << 26)] == expected, path.name
