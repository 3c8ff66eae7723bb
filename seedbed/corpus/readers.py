"""Readers of one file each, by its type. Bad data is quarantined, record by record, and never raises."""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import PurePosixPath

from seedbed.corpus.code_files import not_written, refine_domain
from seedbed.corpus.extract.page import RawPage
from seedbed.corpus.json_lines import holds_json_lines, read_json_lines
from seedbed.corpus.licences import licence_of_text, spdx_header
from seedbed.corpus.parquet import read_parquet
from seedbed.corpus.places import Place
from seedbed.corpus.records import HTML, JSON_LINES, WARC, Quarantined, Record, detect_bom, strip_compression
from seedbed.corpus.streams import BrokenStream, open_binary, read_chunks
from seedbed.corpus.warc import read_warc

BINARY_HEAD = 8192  # a NUL byte in this head means binary, as for git and grep


def read_file(place: Place, passed_over: Counter[str]) -> Iterator[Record | RawPage]:
    """The records of one file, by its type. A file that cannot be opened is quarantined.

    `passed_over` counts, by type, records of a WARC file that hold no page.
    """
    try:
        name = strip_compression(file_name(place.location)).lower()
        if name.endswith(".parquet"):
            yield from read_parquet(place)
        elif name.endswith(WARC):
            yield from read_warc(place, passed_over)
        elif name.endswith(JSON_LINES) or (name.endswith(".json") and holds_json_lines(place)):
            yield from read_json_lines(place)
        elif name.endswith(HTML):
            yield from read_page(place)
        else:
            yield read_written(place)
    except OSError as error:
        yield place.quarantine("unreadable", f"the file cannot be read ({error.strerror or error})", 0)


def file_name(location: str) -> str:
    return PurePosixPath(location.partition("?")[0] if "://" in location else location).name


def read_whole(place: Place) -> bytes | Quarantined:
    """All bytes of a file, unpacked, if they are no more than the limit."""
    pieces, size = [], 0
    try:
        for chunk in read_chunks(place.location, place.size):
            pieces.append(chunk)
            size += len(chunk)
            if size > place.limit:
                reason = f"one text of more than {place.limit >> 20} MB: split it into files or JSON lines"
                return place.quarantine("too_large", reason, place.size)
    except BrokenStream as error:
        return place.quarantine("broken_stream", str(error), place.size)
    return b"".join(pieces)


def read_page(place: Place) -> Iterator[Record | RawPage]:
    """An HTML file as one page."""
    data = read_whole(place)
    if isinstance(data, Quarantined):
        yield data
    elif detect_bom(data)[1] == 0 and b"\0" in data[:BINARY_HEAD]:
        yield place.quarantine("binary", "binary, not HTML (a NUL byte in its head)", len(data))
    else:
        yield RawPage(place.document("", len(data)), data)


def read_text(place: Place) -> Record:
    """A whole file as one document. UTF-8, or UTF-16/32 with a byte-order mark."""
    data = read_whole(place)
    if isinstance(data, Quarantined):
        return data
    encoding, mark = detect_bom(data)
    if encoding == "utf-8" and b"\0" in data[:BINARY_HEAD]:
        at = data.index(b"\0")
        return place.quarantine("binary", f"binary, not text (a NUL byte at byte {at})", len(data))
    try:
        return place.document(data[mark:].decode(encoding), len(data))
    except UnicodeDecodeError as error:
        shown = data[mark + error.start : mark + error.end].hex(" ")
        reason = f"invalid {encoding.upper()} at byte {mark + error.start} ({shown}: {error.reason})"
        return place.quarantine("invalid_encoding", reason, len(data))


def read_written(place: Place) -> Record:
    """A text or source file of someone's tree: its language and licence by what it says, files that nobody wrote set aside."""
    document = read_text(place)
    if isinstance(document, Quarantined):
        return document
    name = strip_compression(file_name(place.location))
    domain = refine_domain(name, place.domain, document.text)
    rule, reason = not_written(name, domain, document.text)
    if rule:
        return place.quarantine(rule, reason, document.bytes_in)
    document.domain = place.source.domain or domain
    document.licence = spdx_header(document.text) or file_licence(place) or document.licence
    return document


def file_licence(place: Place) -> str:
    return licence_at(*place.licence_file) if place.licence_file else ""


@lru_cache(maxsize=4096)
def licence_at(location: str, size: int) -> str:
    """The licence that a LICENSE file holds, "" where it is none of the known."""
    try:
        with open_binary(location, size) as file:
            return licence_of_text(file.read(1 << 16).decode(errors="replace"))
    except OSError:
        return ""
