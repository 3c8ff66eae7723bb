"""Sources of a recipe: their names, their files in order, their records, and the fingerprint that tells a change."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.corpus import builtin
from seedbed.corpus.code_files import VENDORED
from seedbed.corpus.extract import RawPage, extract_pages
from seedbed.corpus.licences import is_licence_file
from seedbed.corpus.places import Place
from seedbed.corpus.readers import file_name, read_file
from seedbed.corpus.records import WARC, Quarantined, Record, guess_domain, printable_name, strip_compression
from seedbed.corpus.streams import MAX_RECORD_BYTES
from seedbed.errors import InputError
from seedbed.recipe.extraction import ExtractConfig
from seedbed.recipe.schema import CorpusConfig, SourceConfig
from seedbed.remote import has_ranges, is_url, list_files

NAME_ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet", ".warc", ".wet", ".html", ".htm", ".txt", ".text", ".md")
SHARD_BYTES = 64 << 20  # of a Parquet file: seconds of work, which is what a kill may cost
PAGE_SHARD_BYTES = 8 << 20  # of a WARC file: some 300 to 500 pages, a second or two of work
NO_END = 1 << 62
OWN_SOURCE = ": name it as a source of its own to read it"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing met on a walk: a file, or something skipped with a reason."""

    relative: str
    location: str  # a local path or a URL
    size: int
    stamp: int | str = 0  # nanoseconds of the last change, or what a store has instead
    skipped: str = ""  # rule of the quarantine, "" for a file to read
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, or the part of it whose records begin in the bytes [start, end). JSON goes in and out as a list."""

    relative: str
    location: str
    size: int
    start: int = 0
    end: int = NO_END
    skipped: str = ""
    reason: str = ""
    licence_file: tuple[str, int] | None = None


def name_sources(corpus: CorpusConfig) -> tuple[tuple[SourceConfig, ...], tuple[SourceConfig, ...]]:
    """(validation, sources) with a unique name each, fit for a file name: "text", "text-2", ..."""
    taken = Counter({"train": 1})  # the split of everything that is not validation: no validation file may take it
    groups = []
    for group in (corpus.validation, corpus.sources):
        named = []
        for source in group:
            base = re.sub(r"[^\w.-]+", "-", source.name or default_name(source.path)).strip("-.") or "source"
            name = base
            while taken[name.lower()]:  # some file systems do not tell A from a
                taken[base.lower()] += 1
                name = f"{base}-{taken[base.lower()]}"
            taken[name.lower()] += 1
            named.append(source.model_copy(update={"name": name}))
        groups.append(tuple(named))
        if group is corpus.validation:
            taken["train"] = 0
    return groups[0], groups[1]


def default_name(path: str) -> str:
    """The path's last part without the endings of text files; a built-in's own name."""
    if path.startswith(builtin.PREFIX):
        return path.removeprefix(builtin.PREFIX)
    name = file_name(path.rstrip("/")) if is_url(path) else Path(path).resolve().name
    name = strip_compression(name)
    for ending in NAME_ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def read_source(
    source: SourceConfig, extract: ExtractConfig | None = None, limit: int = MAX_RECORD_BYTES
) -> Iterator[Record]:
    """The source's records in a fixed order, up to `max_bytes` of text. Memory: a batch of pages, one line or some rows.

    Raises InputError when the path does not exist or holds no file.
    """
    source = source if source.name else source.model_copy(update={"name": default_name(source.path)})
    pieces = [] if source.path.startswith(builtin.PREFIX) else source_pieces(source)
    return read_pieces(source, pieces, extract or ExtractConfig(), Counter(), limit)


def read_pieces(
    source: SourceConfig,
    pieces: Iterable[Piece],
    extract: ExtractConfig,
    passed_over: Counter[str],
    limit: int = MAX_RECORD_BYTES,
) -> Iterator[Record]:
    """The records of some pieces of a source (of a built-in: all), pages extracted, up to `max_bytes` of text."""
    if source.path.startswith(builtin.PREFIX):
        raw: Iterator[Record | RawPage] = builtin.read(source)
    else:
        raw = (record for piece in pieces for record in read_piece(source, piece, limit, passed_over))
    records = extract_pages(raw, extract)
    if source.max_bytes is None:
        yield from records
        return
    read = 0
    for record in records:
        size = 0 if isinstance(record, Quarantined) else len(record.text.encode())
        if read and read + size > source.max_bytes:
            return
        read += size
        yield record


def read_piece(source: SourceConfig, piece: Piece, limit: int, passed_over: Counter[str]) -> Iterator[Record | RawPage]:
    name = printable_name(piece.relative)
    place = Place(
        location=piece.location,
        size=piece.size,
        id=f"{source.name}/{name}" if name else source.name,
        source=source,
        domain=guess_domain(file_name(piece.location)),
        start=piece.start,
        end=piece.end,
        limit=limit,
        licence_file=piece.licence_file,
    )
    if piece.skipped:
        yield place.quarantine(piece.skipped, piece.reason, piece.size)
    else:
        yield from read_file(place, passed_over)


def source_pieces(source: SourceConfig, shard_bytes: int = SHARD_BYTES) -> list[Piece]:
    """The files of a source in order, the large ones that can be entered anywhere in ranges of `shard_bytes`.

    Raises InputError when the path does not exist or holds no file.
    """
    entries = list(entries_of(source.path))
    if not entries:
        raise InputError(f"{source.path}: the folder holds no file: give a folder with text, JSON lines or Parquet")
    licences = nearest_licences(entries)
    pieces = []
    for entry in entries:
        is_warc = strip_compression(file_name(entry.location)).lower().endswith(WARC)
        limit = min(shard_bytes, PAGE_SHARD_BYTES) if is_warc else shard_bytes
        step = limit if entry.size > limit and can_be_split(entry) else max(1, entry.size)
        for start in range(0, max(1, entry.size), step):
            end = NO_END if start + step >= entry.size else start + step
            near = licences.get(entry.relative)
            pieces.append(
                Piece(entry.relative, entry.location, entry.size, start, end, entry.skipped, entry.reason, near)
            )
    return pieces


def can_be_split(entry: Entry) -> bool:
    """Parquet, and WARC files plain or in members, where a range can be asked for."""
    name = file_name(entry.location).lower()
    if entry.skipped or not (name.endswith(".parquet") or strip_compression(name).endswith(WARC)):
        return False
    if name.endswith(".xz"):
        return False
    return not is_url(entry.location) or has_ranges(entry.location, entry.size)


def nearest_licences(entries: list[Entry]) -> dict[str, tuple[str, int]]:
    """relative path -> (location, bytes) of the LICENSE file in its folder or the nearest one above it in the source."""
    found: dict[str, tuple[str, int]] = {}
    for entry in entries:
        folder, _, name = entry.relative.rpartition("/")
        if is_licence_file(name) and not entry.skipped:
            found.setdefault(folder, (entry.location, entry.size))
    near = {}
    for entry in entries if found else ():
        folder = entry.relative.rpartition("/")[0]
        while folder and folder not in found:
            folder = folder.rpartition("/")[0]
        if folder in found:
            near[entry.relative] = found[folder]
    return near


def entries_of(path: str) -> Iterator[Entry]:
    """Everything met under a path or URL, in order of name, the skipped too."""
    if not is_url(path):
        yield from walk(Path(path))
        return
    for entry in list_files(path):
        parts = entry.relative.split("/")
        hidden = any(part.startswith(".") for part in parts)
        skipped, reason = ("hidden", f"a hidden file{OWN_SOURCE}") if hidden else ("", "")
        if entry.size is None:
            skipped, reason = "unreadable", "its server does not say how large it is"
        yield Entry(entry.relative, entry.url, entry.size or 0, entry.stamp, skipped, reason)


def walk(root: Path) -> Iterator[Entry]:
    """Files under `root` in order of name; the hidden, linked and irregular come as skipped. A file is its own root."""
    if not root.exists():
        raise InputError(f"{root}: no such file or folder: check the path of the source")
    if root.is_dir():
        yield from walk_folder(root, "")
    elif root.is_file():
        status = root.stat()
        yield Entry("", str(root), status.st_size, status.st_mtime_ns)
    else:
        raise InputError(f"{root}: neither a file nor a folder: give a file or a folder of text")


def walk_folder(folder: Path, prefix: str) -> Iterator[Entry]:
    try:
        items = sorted(os.scandir(folder), key=lambda item: item.name)
    except OSError as error:
        yield Entry(
            prefix.rstrip("/"), str(folder), 0, 0, "unreadable", f"the folder cannot be listed ({error.strerror})"
        )
        return
    for item in items:
        relative, path = f"{prefix}{item.name}", item.path
        hidden = item.name.startswith(".")
        if item.is_dir(follow_symlinks=False):
            if hidden:
                sizes = [entry.size for entry in walk_folder(Path(path), "")]
                reason = f"a hidden folder with {len(sizes)} files{OWN_SOURCE}"
                yield Entry(relative, path, sum(sizes), 0, "hidden", reason)
            elif item.name in VENDORED:
                sizes = [entry.size for entry in walk_folder(Path(path), "")]
                reason = f"other people's packages, {len(sizes)} files{OWN_SOURCE}"
                yield Entry(relative, path, sum(sizes), 0, "vendored", reason)
            elif is_run_folder(Path(path)):
                yield Entry(relative, path, 0, 0, "run_folder", "a run folder of seedbed, which is no corpus")
            else:
                yield from walk_folder(Path(path), f"{relative}/")
            continue
        try:
            status = item.stat()
        except OSError as error:
            yield Entry(relative, path, 0, 0, "unreadable", f"the file cannot be read ({error.strerror})")
            continue
        if stat.S_ISDIR(status.st_mode):
            yield Entry(relative, path, 0, 0, "link", f"a link to a folder{OWN_SOURCE}")
        elif not stat.S_ISREG(status.st_mode):
            yield Entry(relative, path, 0, 0, "unreadable", "not a regular file")
        elif hidden:
            yield Entry(relative, path, status.st_size, 0, "hidden", f"a hidden file{OWN_SOURCE}")
        else:
            yield Entry(relative, path, status.st_size, status.st_mtime_ns)


def is_run_folder(path: Path) -> bool:
    """Whether a folder is a run's own: reading it would feed the run its output and change its key each time."""
    return (path / "stages").is_dir() and ((path / "recipe.toml").is_file() or (path / "lock").is_file())


def source_fingerprint(source: SourceConfig) -> Any:
    """What a stage key holds of the source: [relative path, bytes, stamp] of its files, or a built-in's content."""
    if source.path.startswith(builtin.PREFIX):
        return builtin.fingerprint(source.path)
    return [[printable_name(entry.relative), entry.size, entry.stamp] for entry in entries_of(source.path)]
