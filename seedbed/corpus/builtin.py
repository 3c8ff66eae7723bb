"""The embedded corpora: packed texts of the package, and the source of the standard library that runs the program.

Licences: builtin/LICENCES.md. Packed files are built by tools/build_builtin_corpus.py.
"""

import difflib
import os
import platform
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from seedbed.corpus.json_lines import read_json_lines
from seedbed.corpus.places import Place
from seedbed.corpus.readers import read_text
from seedbed.corpus.records import Document, Record
from seedbed.errors import InputError
from seedbed.files import sha256_file
from seedbed.recipe.schema import SourceConfig

PREFIX = "builtin:"
PACKED = {"sotu": 12_200_000, "factbook": 6_420_000, "kjv": 4_160_000}  # bytes of text, for progress
STDLIB = "python-stdlib"
CODE = "code:python"  # domain and language, as the language step says it of code
NAMES = (*PACKED, STDLIB)
# Left out of the standard library: other people's packages, tests, and tables that programs wrote.
SKIPPED_FOLDERS = frozenset({
    "site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "encodings", "pydoc_data", "lib2to3",
})  # fmt: skip
SKIPPED_PREFIXES = ("_sysconfigdata",)  # holds this build's paths


def packed_path(name: str) -> Path:
    return Path(str(resources.files("seedbed.corpus") / "builtin" / f"{name}.jsonl.xz"))


def parse_name(path: str) -> str:
    name = path.removeprefix(PREFIX)
    if name not in NAMES:
        nearest = difflib.get_close_matches(name, NAMES, 1)
        hint = f"did you mean {PREFIX}{nearest[0]}?" if nearest else f"there are {', '.join(PREFIX + n for n in NAMES)}"
        raise InputError(f"{path}: no such built-in corpus: {hint}")
    return name


def read(source: SourceConfig) -> Iterator[Record]:
    """The records of a built-in corpus; ids are SOURCE/ID with the text's own id."""
    name = parse_name(source.path)
    if name == STDLIB:
        yield from read_stdlib(source)
        return
    path = packed_path(name)
    for record in read_json_lines(Place(str(path), path.stat().st_size, source.name, source)):
        if isinstance(record, Document):
            record.id = f"{source.name}/{record.metadata.pop('id')}"
            record.language = "en"
        yield record


def read_stdlib(source: SourceConfig) -> Iterator[Record]:
    release = f"python-{platform.python_version()}"
    for relative, path, size in stdlib_files():
        record = read_text(Place(str(path), size, f"{source.name}/{relative}", source, CODE))
        if isinstance(record, Document):
            record.origin, record.licence, record.language = f"{release}/{relative}", "PSF-2.0", CODE
        yield record


@cache
def stdlib_files() -> tuple[tuple[str, Path, int], ...]:
    """(relative path, path, bytes) of the standard library's modules, sorted. Raises InputError where there is none."""
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        for path in (Path(folder, name) for name in names):
            if path.suffix == ".py" and not path.name.startswith(SKIPPED_PREFIXES):
                found.append((path.relative_to(root).as_posix(), path, path.stat().st_size))
    if not found:
        raise InputError(
            f"{PREFIX}{STDLIB}: this Python has no source files in {root}: leave this source out of the recipe"
        )
    return tuple(sorted(found))


def fingerprint(path: str) -> Any:
    name = parse_name(path)
    if name == STDLIB:
        return [platform.python_version(), [[relative, size] for relative, _, size in stdlib_files()]]
    return sha256_file(packed_path(name))


def text_bytes(path: str) -> int:
    name = parse_name(path)
    return PACKED[name] if name != STDLIB else sum(size for _, _, size in stdlib_files())
