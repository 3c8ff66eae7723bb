"""JSON lines: a document a line. A broken line is quarantined by number, a giant one passed over, and reading goes on."""

import json
from collections.abc import Iterator
from typing import Any

from seedbed.corpus.places import Place
from seedbed.corpus.records import Document, Record, well_formed
from seedbed.corpus.streams import BrokenStream, read_chunks, split_lines, to_utf8

# Fields of a JSON or Parquet record with a column of their own; the first with a value wins. Others become metadata.
URL_FIELDS = ("url",)
ORIGIN_FIELDS = ("origin",)
TITLE_FIELDS = ("title",)
LICENCE_FIELDS = ("licence", "license")
LANGUAGE_FIELDS = ("language", "lang")


def holds_json_lines(place: Place) -> bool:
    """Whether a .json file is JSON lines: its first line is a whole object with the text field."""
    try:
        for _, line in split_lines(to_utf8(read_chunks(place.location, place.size)), place.limit):
            return isinstance(line, bytes) and place.source.text_field in parse_object(line)
    except (BrokenStream, ValueError, RecursionError):
        pass
    return False


def parse_object(line: bytes) -> dict[str, Any]:
    """The JSON object in `line`. Raises ValueError (UnicodeDecodeError and JSONDecodeError are) or RecursionError."""
    value = json.loads(line.decode(), parse_constant=str)  # NaN and Infinity are no JSON: kept as words
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, not an object")
    return value


def read_json_lines(place: Place) -> Iterator[Record]:
    """One document per line. A broken line, or one without text, is quarantined by number; blank lines are skipped."""
    number = 0
    found = False
    try:
        for offset, line in split_lines(to_utf8(read_chunks(place.location, place.size)), place.limit):
            number += 1
            if isinstance(line, int):
                reason = f"line {number}: {line:,} bytes from byte {offset} on, more than {place.limit:,}"
                yield place.quarantine("too_large", reason, line, f"#{number}")
            elif not line or line.isspace():
                continue
            else:
                yield read_json_line(place, number, offset, line)
            found = True
    except BrokenStream as error:
        reason = f"unread from line {number + 1} on: {error}"
        yield place.quarantine("broken_stream", reason, error.remaining, f"#{number + 1}")
        return
    if not found:
        yield place.quarantine("empty", "the file holds no record", place.size)


def read_json_line(place: Place, number: int, offset: int, line: bytes) -> Record:
    try:
        fields = parse_object(line)
    except UnicodeDecodeError as error:
        reason = f"line {number}: invalid UTF-8 at byte {offset + error.start} ({error.reason})"
        return place.quarantine("invalid_encoding", reason, len(line), f"#{number}")
    except json.JSONDecodeError as error:
        reason = f"line {number}: not valid JSON at column {error.colno} ({error.msg})"
        return place.quarantine("broken_json", reason, len(line), f"#{number}")
    except (ValueError, RecursionError) as error:
        return place.quarantine("broken_json", f"line {number}: {error}", len(line), f"#{number}")
    name = place.source.text_field
    text = fields.pop(name, None)
    if not isinstance(text, str):
        found = f"is {type(text).__name__}, not text" if text is not None else "is missing"
        present = ", ".join(list(fields)[:8])
        reason = f"line {number}: the field {name!r} {found} (fields there: {present or 'none'})"
        return place.quarantine("missing_text", reason, len(line), f"#{number}")
    return document_of_fields(place, number, text, len(line), fields)


def document_of_fields(place: Place, number: int, text: str, bytes_in: int, fields: dict[str, Any]) -> Document:
    """A document whose columns come from the record's own fields where it has them. Uses up `fields`."""

    def take(names: tuple[str, ...], default: str) -> str:
        for name in names:
            if isinstance(fields.get(name), str) and fields[name]:
                return well_formed(str(fields.pop(name)))
        return default

    document = place.document(well_formed(text), bytes_in, f"#{number}")
    document.url = take(URL_FIELDS, "")
    document.origin = take(ORIGIN_FIELDS, document.url or document.origin)
    document.title = take(TITLE_FIELDS, "")
    document.licence = take(LICENCE_FIELDS, document.licence)
    document.date = take(("date",), "")
    document.language = take(LANGUAGE_FIELDS, "")
    domain = take(("domain",), document.domain)
    document.domain = place.source.domain or domain
    document.metadata = fields
    return document
