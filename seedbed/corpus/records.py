"""What a reader gives: a document, or a record that could not be one with the reason why."""

import codecs
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

COMPRESSIONS = (".gz", ".zst", ".xz")
JSON_LINES = (".jsonl", ".ndjson")

# Domain by file type. Everything that is not listed is prose.
MARKUP_DOMAINS = {
    ".md": "markdown", ".markdown": "markdown", ".mdx": "markdown", ".rst": "markup", ".tex": "markup", ".adoc": "markup",
    ".org": "markup", ".html": "web", ".htm": "web", ".xhtml": "web", ".csv": "data", ".tsv": "data", ".json": "data",
    ".yaml": "data", ".yml": "data", ".toml": "data", ".xml": "data", ".ini": "data", ".cfg": "data",
}  # fmt: skip
CODE_LANGUAGES = {
    ".py": "python", ".pyi": "python", ".pyx": "python", ".js": "javascript", ".mjs": "javascript", ".jsx": "javascript",
    ".ts": "typescript", ".tsx": "typescript", ".c": "c", ".h": "c", ".cc": "c++", ".cpp": "c++", ".cxx": "c++",
    ".hpp": "c++", ".hh": "c++", ".cu": "cuda", ".cuh": "cuda", ".rs": "rust", ".go": "go", ".java": "java", ".kt": "kotlin",
    ".scala": "scala", ".cs": "c-sharp", ".fs": "f-sharp", ".rb": "ruby", ".php": "php", ".swift": "swift",
    ".m": "objective-c", ".sh": "shell", ".bash": "shell", ".zsh": "shell", ".ps1": "powershell", ".sql": "sql", ".r": "r",
    ".jl": "julia", ".lua": "lua", ".pl": "perl", ".hs": "haskell", ".ml": "ocaml", ".ex": "elixir", ".exs": "elixir",
    ".erl": "erlang", ".clj": "clojure", ".lisp": "lisp", ".el": "lisp", ".scm": "scheme", ".f90": "fortran",
    ".zig": "zig", ".nim": "nim", ".dart": "dart", ".v": "verilog", ".css": "css", ".scss": "css", ".vue": "vue",
    ".asm": "assembly", ".s": "assembly", ".cmake": "cmake",
}  # fmt: skip
CODE_NAMES = {"makefile": "make", "dockerfile": "docker", "cmakelists.txt": "cmake"}

LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Document:
    """One record as read, its text not yet normalised. `bytes_in`: bytes of the record in its file, unpacked."""

    id: str
    text: str
    bytes_in: int
    source: str = ""
    origin: str = ""
    licence: str = ""
    date: str = ""
    language: str = ""
    domain: str = ""
    split: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Quarantined:
    """A record that is no document: `rule` is a short name that yields sum by, `reason` a sentence with the place."""

    id: str
    rule: str
    reason: str
    bytes_in: int
    source: str = ""
    domain: str = ""
    split: str = ""


Record = Document | Quarantined


def strip_compression(name: str) -> str:
    """`part-1.jsonl.gz` -> `part-1.jsonl`."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in COMPRESSIONS else name


def guess_domain(name: str) -> str:
    """Domain tag from a file's name: `code:LANGUAGE`, `markdown`, `markup`, `web`, `data` or `prose`."""
    path = PurePosixPath(strip_compression(name).lower())
    language = CODE_LANGUAGES.get(path.suffix) or CODE_NAMES.get(path.name)
    if language:
        return f"code:{language}"
    return MARKUP_DOMAINS.get(path.suffix, "prose")


def well_formed(text: str) -> str:
    """`text` with lone surrogates, which JSON can write and UTF-8 cannot, replaced by U+FFFD."""
    return LONE_SURROGATE.sub("\ufffd", text)


def printable_name(name: str) -> str:
    """A file's relative path as a part of an id: what is not UTF-8 becomes `\\xNN`; `#` and `%` are escaped."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return text.replace("%", "%25").replace("#", "%23")


def detect_bom(head: bytes) -> tuple[str, int]:
    """Encoding by the byte-order mark that `head` starts with, and the mark's length; UTF-8 and 0 without one."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with that of UTF-16-LE
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if head.startswith(mark):
            return encoding, len(mark)
    return "utf-8", 0
