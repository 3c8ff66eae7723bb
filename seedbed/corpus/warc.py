"""WARC and WET files: responses become raw pages, conversions documents; everything else has a reason or is counted.

response, resource (HTML, status 200) -> RawPage       conversion (WET: text) -> Document
warcinfo, request, metadata, revisit  -> passed over, counted by type: they hold no page of their own
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from seedbed.corpus.extract.page import RawPage
from seedbed.corpus.places import Place, first_line
from seedbed.corpus.records import Document, Record, well_formed
from seedbed.corpus.streams import open_binary
from seedbed.corpus.warc_frames import Frame, Gap, Giant, read_frames

HTML_TYPES = ("text/html", "application/xhtml+xml")
PASSED_OVER = ("warcinfo", "request", "metadata", "revisit")
MARKUP = re.compile(rb"\s*(?:<!--.{0,400}?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
HEADER_TYPE = re.compile(rb"\nwarc-type[ \t]*:[ \t]*([a-z]+)", re.IGNORECASE)
CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)


class NoPage(Exception):
    """Why a record is no page: the quarantine's rule and the reason."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


def read_warc(place: Place, passed_over: Counter[str]) -> Iterator[Record | RawPage]:
    """The pages of the records that begin in the place's range. `passed_over` counts records without a page, by type."""
    empty = True
    with open_binary(place.location, place.size) as file:
        frames = read_frames(file, place.location, place.size, place.start, place.end, place.limit)
        for framed in frames:
            empty = False
            if isinstance(framed, Gap):
                reason = f"not a sound WARC record at byte {framed.position} ({framed.reason})"
                yield place.quarantine("broken_record", reason, framed.num_bytes, f"@{framed.position}")
                continue
            kind = record_type(framed.header)
            if kind in PASSED_OVER:
                passed_over[kind] += 1
            elif isinstance(framed, Giant):
                reason = f"a record of {framed.num_bytes:,} bytes at byte {framed.position}"
                yield place.quarantine("too_large", reason, framed.num_bytes, f"@{framed.position}")
            else:
                yield read_record(place, framed, kind)
    if empty and not place.start:
        yield place.quarantine("empty", "the file holds no record", place.size)


def record_type(header: bytes) -> str:
    match = HEADER_TYPE.search(header)
    return match[1].decode().lower() if match else ""


def read_record(place: Place, frame: Frame, kind: str) -> Record | RawPage:
    """One record as a page, a document, or what keeps it from being one."""
    from fastwarc.warc import WarcRecord

    data = frame.header + frame.content
    suffix = f"@{frame.position}"
    document = place.document("", len(data), suffix)
    try:
        record = WarcRecord.from_bytes(data)
        document.url = well_formed((record.headers.get("WARC-Target-URI") or "").strip("<> "))
        document.date = well_formed(record.headers.get("WARC-Date") or "")
        document.metadata = {"crawled": document.date}
        document.domain = place.source.domain or "web"
        if record.headers.get("WARC-Segment-Number"):
            raise NoPage("segmented", "one of several segments of a record")
        if kind == "conversion":
            return read_conversion(document, frame.content, record.headers)
        if kind not in ("response", "resource"):
            raise NoPage("broken_record", f"a record of the type {kind or 'none'}")
        if record.is_http:
            return read_response(document, record, data, place.limit)
        return check_page(RawPage(document, frame.content), record.headers.get("Content-Type") or "")
    except NoPage as why:
        return place.quarantine(why.rule, str(why), len(data), suffix)
    except (OSError, ValueError, RuntimeError) as error:
        reason = f"at byte {frame.position}: {first_line(error)}"
        return place.quarantine("broken_record", reason, len(data), suffix)


def read_conversion(document: Document, content: bytes, headers: Any) -> Document:
    """Text that someone else extracted."""
    try:
        document.text = content.decode()
    except UnicodeDecodeError as error:
        raise NoPage("invalid_encoding", f"invalid UTF-8 at byte {error.start} of the content") from None
    languages = headers.get("WARC-Identified-Content-Language")
    if languages:
        document.metadata["languages"] = well_formed(languages)
    return document


def read_response(document: Document, record: Any, data: bytes, limit: int) -> RawPage:
    """`record`: the fastwarc record of `data`, unread."""
    body, headers = read_http(record, data, limit)
    if headers.status_code != 200:
        raise NoPage("http_status", f"HTTP status {headers.status_code or 'none'}")
    if len(body) > limit:
        raise NoPage("too_large", f"a page of more than {limit:,} bytes when it is unpacked")
    robots, tdm = "\n".join(headers.get_multiple("X-Robots-Tag")), headers.get("TDM-Reservation") or ""
    page = RawPage(document, body, robots=robots, tdm=tdm)
    return check_page(page, headers.get("Content-Type") or "")


def check_page(page: RawPage, content_type: str) -> RawPage:
    """The page with the encoding that its content type names. Raises NoPage for what is not HTML."""
    media, _, parameters = content_type.partition(";")
    media = media.strip().lower()
    if not page.data.strip():
        raise NoPage("no_text", "an empty page")
    if media not in HTML_TYPES and (media or not MARKUP.match(page.data[:2048])):
        raise NoPage("not_html", f"{media[:80] or 'no content type'}, not HTML")
    if b"\0" in page.data[:64] and not page.data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NoPage("binary", "binary, though its header says HTML")
    found = CHARSET.search(parameters)
    page.charset = found[1] if found else ""
    return page


def read_http(record: Any, data: bytes, limit: int) -> tuple[bytes, Any]:
    """(body, headers) of an HTTP response, of the body no more than `limit` bytes and one.

    Its encodings are undone where that works: crawlers leave headers behind that say gzip of what they unpacked.
    """
    from fastwarc.warc import WarcRecord

    for decoding in ("all", "transfer", "none"):
        record = record or WarcRecord.from_bytes(data)
        try:
            record.parse_http(auto_decode=decoding, quirks_mode=True)
            return read_up_to(record.reader, limit + 1, len(data)), record.http_headers
        except OSError:
            if decoding == "none":
                raise
            record = None
    raise AssertionError("unreachable")


def read_up_to(reader: Any, size: int, step: int) -> bytes:
    """At most `size` bytes, `step` of them at a time: the reader sets as many aside as it is asked for."""
    pieces, left = [], size
    while left and (piece := reader.read(min(left, step))):
        pieces.append(piece)
        left -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
