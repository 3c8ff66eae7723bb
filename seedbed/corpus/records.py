"""What a reader gives: a document, or a record that could not be one with the reason why."""

import codecs
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

COMPRESSIONS = (".gz", ".zst", ".xz", ".lz4")
JSON_LINES = (".jsonl", ".ndjson")
WARC = (".warc", ".wet", ".wat")
HTML = (".html", ".htm", ".xhtml")

# Domain by file type. Everything that is not listed is prose.
MARKUP_DOMAINS = {
    "markdown": ".md .markdown .mdx",
    "markup": ".rst .tex .adoc .org",
    "web": ".html .htm .xhtml .warc .wet",
    "data": ".csv .tsv .json .yaml .yml .toml .xml .ini .cfg",
}
CODE_LANGUAGES = {
    "python": ".py .pyi .pyx", "javascript": ".js .mjs .jsx", "typescript": ".ts .tsx", "c": ".c .h", "java": ".java",
    "c++": ".cc .cpp .cxx .hpp .hh", "cuda": ".cu .cuh", "rust": ".rs", "go": ".go", "kotlin": ".kt", "scala": ".scala",
    "c-sharp": ".cs", "f-sharp": ".fs", "ruby": ".rb", "php": ".php", "swift": ".swift", "objective-c": ".m",
    "shell": ".sh .bash .zsh", "powershell": ".ps1", "sql": ".sql", "r": ".r", "julia": ".jl", "lua": ".lua",
    "perl": ".pl", "haskell": ".hs", "ocaml": ".ml", "elixir": ".ex .exs", "erlang": ".erl", "clojure": ".clj",
    "lisp": ".lisp .el", "scheme": ".scm", "fortran": ".f90", "zig": ".zig", "nim": ".nim", "dart": ".dart",
    "verilog": ".v", "css": ".css .scss", "vue": ".vue", "assembly": ".asm .s", "cmake": ".cmake",
}  # fmt: skip
DOMAIN_OF_ENDING = {
    ending: domain
    for domain, endings in [*MARKUP_DOMAINS.items(), *((f"code:{k}", v) for k, v in CODE_LANGUAGES.items())]
    for ending in endings.split()
}
DOMAIN_OF_NAME = {"makefile": "code:make", "dockerfile": "code:docker", "cmakelists.txt": "code:cmake"}

LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Document:
    """One record as read, its text not yet normalised. `bytes_in`: bytes of the record in its file, unpacked."""

    id: str
    text: str
    bytes_in: int
    source: str = ""
    origin: str = ""
    url: str = ""
    title: str = ""
    licence: str = ""
    opt_out: str = ""  # signals against training on it, with spaces between: noai, noindex, tdm, ...
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
    return DOMAIN_OF_NAME.get(path.name) or DOMAIN_OF_ENDING.get(path.suffix, "prose")


def well_formed(text: str) -> str:
    """`text` with lone surrogates, which JSON can write and UTF-8 cannot, replaced by U+FFFD."""
    try:
        text.encode()  # ten times faster than a look at every character, and nearly every text passes
    except UnicodeEncodeError:
        return LONE_SURROGATE.sub("\ufffd", text)
    return text


def printable_path(path: str) -> str:
    """A path as text: what is not UTF-8 in it becomes `\\xNN`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def printable_name(name: str) -> str:
    """A file's relative path as a part of an id: as `printable_path`, with `#` and `%` escaped."""
    return printable_path(name).replace("%", "%25").replace("#", "%23")


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
