"""Sources of a recipe: their names, their files in order, their records, and the fingerprint that tells a change."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.corpus import builtin
from seedbed.corpus.readers import Place, read_file
from seedbed.corpus.records import Quarantined, Record, guess_domain, printable_name, strip_compression
from seedbed.errors import InputError
from seedbed.recipe.schema import CorpusConfig, SourceConfig

NAME_ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet", ".txt", ".text", ".md")
OWN_SOURCE = ": name it as a source of its own to read it"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing met on a walk: a file, or something skipped with a reason."""

    relative: str
    path: Path
    size: int
    mtime_ns: int = 0
    skipped: str = ""  # rule of the quarantine, "" for a file to read
    reason: str = ""


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
    name = strip_compression(Path(path).resolve().name)
    for ending in NAME_ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def read_source(source: SourceConfig) -> Iterator[Record]:
    """The source's records in a fixed order, up to `max_bytes` of text. Memory: one record, one line or one row group.

    Raises InputError when the path does not exist or holds no file.
    """
    source = source if source.name else source.model_copy(update={"name": default_name(source.path)})
    records = builtin.read(source) if source.path.startswith(builtin.PREFIX) else read_path(source)
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


def read_path(source: SourceConfig) -> Iterator[Record]:
    found = False
    for entry in walk(Path(source.path)):
        found = True
        name = printable_name(entry.relative)
        place = Place(
            entry.path, f"{source.name}/{name}" if name else source.name, source, guess_domain(entry.path.name)
        )
        if entry.skipped:
            yield place.quarantine(entry.skipped, entry.reason, entry.size)
        else:
            yield from read_file(place)
    if not found:
        raise InputError(f"{source.path}: the folder holds no file: give a folder with text, JSON lines or Parquet")


def walk(root: Path) -> Iterator[Entry]:
    """Files under `root` in order of name; the hidden, linked and irregular come as skipped. A file is its own root."""
    if not root.exists():
        raise InputError(f"{root}: no such file or folder: check the path of the source")
    if root.is_dir():
        yield from walk_folder(root, "")
    elif root.is_file():
        status = root.stat()
        yield Entry("", root, status.st_size, status.st_mtime_ns)
    else:
        raise InputError(f"{root}: neither a file nor a folder: give a file or a folder of text")


def walk_folder(folder: Path, prefix: str) -> Iterator[Entry]:
    try:
        items = sorted(os.scandir(folder), key=lambda item: item.name)
    except OSError as error:
        yield Entry(prefix.rstrip("/"), folder, 0, 0, "unreadable", f"the folder cannot be listed ({error.strerror})")
        return
    for item in items:
        relative, path = f"{prefix}{item.name}", Path(item.path)
        hidden = item.name.startswith(".")
        if item.is_dir(follow_symlinks=False):
            if hidden:
                sizes = [entry.size for entry in walk_folder(path, "")]
                reason = f"a hidden folder with {len(sizes)} files{OWN_SOURCE}"
                yield Entry(relative, path, sum(sizes), 0, "hidden", reason)
            elif is_run_folder(path):
                yield Entry(relative, path, 0, 0, "run_folder", "a run folder of seedbed, which is no corpus")
            else:
                yield from walk_folder(path, f"{relative}/")
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
    """What a stage key holds of the source: [relative path, bytes, mtime ns] of its files, or a built-in's content."""
    if source.path.startswith(builtin.PREFIX):
        return builtin.fingerprint(source.path)
    entries = walk(Path(source.path))
    return [[printable_name(entry.relative), entry.size, entry.mtime_ns] for entry in entries]


def source_bytes(source: SourceConfig) -> int:
    """Bytes of the source's files, packed ones counted four times (text packs 3 to 5 times): for progress only."""
    if source.path.startswith(builtin.PREFIX):
        total = builtin.text_bytes(source.path)
    else:
        total = sum(
            entry.size * (4 if strip_compression(entry.path.name) != entry.path.name else 1)
            for entry in walk(Path(source.path))
            if not entry.skipped
        )
    return total if source.max_bytes is None else min(total, source.max_bytes)
