"""Block lists: files of hosts and addresses, read once and held as sorted 64-bit hashes.

Formats, told line by line: a host, a host with a path, a whole URL (UT1's `domains` and `urls` files), a hosts file
(`0.0.0.0 host host`) and AdBlock's `||host^`. Comments (#, !) and AdBlock rules that name no host are counted, not used.
Memory: 9 bytes an entry once loaded, some 25 while loading; a million lines take about two seconds (bench/judges.py).
"""

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import xxhash

from seedbed.corpus.records import strip_compression
from seedbed.corpus.streams import BrokenStream, read_chunks, split_lines
from seedbed.errors import InputError

MAX_LISTS = 255  # a byte tells which list an entry is of
MAX_LINE = 1 << 16  # bytes: more than any address
MAX_URL = 8192  # characters: what follows says nothing that a list holds
MAX_HOST = 253  # octets of a host name (RFC 1035, section 2.3.4)
PLAIN_HOST = re.compile(r"(?!-)[a-z0-9_-]+(?:\.[a-z0-9_-]+)+")  # what most lines of most lists are
ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
HOSTS_LINE = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}|::1?|fe80::1%lo0)\s+(\S.*)")
LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost", "0.0.0.0"})
ADBLOCK_HOST = re.compile(r"\|\|([^\s^$|/*]+)\^?(?:\$(?:all|document|important|popup|,)*)?")
ADBLOCK_OTHER = re.compile(r"@@|\|\||.*(?:##|#@#|#\?#|\$|\^|\*)")
LABEL_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")  # full stops that browsers take for dots (UTS #46, section 2.3)


class Address(NamedTuple):
    """A URL as lists compare it: `host` without port, user, trailing dot or capitals; `path` with query, from "/" on."""

    host: str
    path: str


def parse_url(url: str) -> Address:
    """The address of a URL with or without a scheme; ("", "") when there is no host in it. Never raises."""
    text = url[:MAX_URL].strip()
    if "://" not in text[:32] and not text.startswith("//"):
        text = f"//{text}"
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:  # a bracket without its pair, a port out of range
        return Address("", "")
    host = normal_host(host)
    if not host:
        return Address("", "")
    path = parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "")
    return Address(host, path)


def normal_host(host: str) -> str:
    """Lower case, ASCII (IDNA), no trailing dot; "" for what is no host name."""
    host = host.strip().translate(LABEL_DOTS).rstrip(".").lower()
    if not host.isascii():
        if len(host) > MAX_HOST:
            return ""
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return ""
    if not host or len(host) > MAX_HOST or ".." in host or any(c.isspace() or c in "/?#@\\" for c in host):
        return ""
    return host


def suffixes(host: str) -> list[str]:
    """The host and every domain above it but the last label: a.b.example.com, b.example.com, example.com."""
    if ADDRESS.fullmatch(host) or ":" in host:
        return [host]
    labels = host.split(".")
    return [host, *(".".join(labels[i:]) for i in range(1, len(labels) - 1))]


def path_prefixes(address: Address) -> list[str]:
    """HOST/PATH cut after every part of the path, the longest first, `www.` being no difference."""
    found = []
    host = address.host.removeprefix("www.")
    path, _, query = address.path.partition("?")
    if query:
        found.append(f"{host}{path}?{query}")
    while path:
        found.append(host + path)
        path = path.rpartition("/")[0]
    return found


def parse_line(line: str) -> tuple[list[str], list[str]] | None:
    """(hosts, addresses with a path) of one line; None for a rule that names no host. A comment is ([], [])."""
    line = line.strip()
    if PLAIN_HOST.fullmatch(line):
        return [line], []
    if not line or line[0] in "#!;" or (line[0] == "[" and line.lower().startswith("[adblock")):
        return [], []
    if hosts := HOSTS_LINE.fullmatch(line):
        names = [normal_host(name) for name in hosts[1].partition("#")[0].split()]
        return [name for name in names if name and name not in LOCAL_NAMES], []
    if adblock := ADBLOCK_HOST.fullmatch(line):
        host = normal_host(adblock[1].partition(":")[0])
        return ([host], []) if host else None
    text = line.partition(" #")[0].strip()
    text = text.lstrip("*.") if text.startswith(("*.", ".")) else text
    if ADBLOCK_OTHER.match(text) and "://" not in text:
        return None
    if any(c.isspace() for c in text):
        return None
    address = parse_url(text)
    if not address.host or ("." not in address.host and ":" not in address.host):
        return None
    if address.path:
        return [], [address.host.removeprefix("www.") + address.path]
    return [address.host], []


def hash_name(name: str) -> int:
    return xxhash.xxh3_64_intdigest(name.encode())


@dataclass
class Entries:
    """64-bit hashes of what the lines of a list name, and how many lines named neither host nor address."""

    hosts: "array[int]" = field(default_factory=lambda: array("Q"))
    urls: "array[int]" = field(default_factory=lambda: array("Q"))
    unused: int = 0

    def add(self, lines: Iterable[str | None]) -> None:
        """Take in lines; None stands for one too long to be read."""
        for line in lines:
            found = None if line is None else parse_line(line)
            if found is None:
                self.unused += 1
            else:
                self.hosts.extend(map(hash_name, found[0]))
                self.urls.extend(map(hash_name, found[1]))


def read_list(path: Path, entries: Entries) -> None:
    """Add a file, plain or packed (.gz, .xz, .zst). Raises InputError when it cannot be read or nothing is in it."""
    before = len(entries.hosts) + len(entries.urls)
    try:
        lines = split_lines(read_chunks(str(path), path.stat().st_size), MAX_LINE)
        entries.add(line.decode("utf-8", "replace") if isinstance(line, bytes) else None for _, line in lines)
    except (OSError, BrokenStream) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"curate.url.lists: {path}: cannot be read ({reason}): name a file of hosts or URLs") from None
    if len(entries.hosts) + len(entries.urls) == before:
        raise InputError(f"curate.url.lists: {path}: no host or URL in it: one a line, a hosts file or ||host^")


def list_files(path: str) -> list[tuple[str, Path]]:
    """(name, file) of a list: a file by its own name, a folder of UT1's kind (domains, urls) by the folder's."""
    root = Path(path)
    if root.is_dir():
        files = sorted(p for p in root.rglob("*") if strip_compression(p.name) in ("domains", "urls") and p.is_file())
        if not files:
            raise InputError(f"curate.url.lists: {path}: the folder has no file `domains` or `urls`: name files")
        return [(file.parent.name, file) for file in files]
    if not root.is_file():
        raise InputError(f"curate.url.lists: {path}: no such file or folder: check the path")
    name = strip_compression(root.name)
    return [(root.parent.name if name in ("domains", "urls") else Path(name).stem, root)]


class BlockLists:
    """Entries of several lists, asked by address. Two strings of one 64-bit hash would be taken for one another: with
    ten million entries, once in 1.8e12 questions."""

    def __init__(self, names: Sequence[str], entries: Sequence[Entries]) -> None:
        if len(names) > MAX_LISTS:
            raise InputError(f"curate.url.lists: {len(names)} lists, at most {MAX_LISTS}: join some files")
        self.names = tuple(names)
        self._hosts = sorted_hashes([found.hosts for found in entries])
        self._urls = sorted_hashes([found.urls for found in entries])

    def __len__(self) -> int:
        return len(self._hosts[0]) + len(self._urls[0])

    @property
    def num_bytes(self) -> int:
        return sum(array.nbytes for table in (self._hosts, self._urls) for array in table)

    def find(self, address: Address) -> tuple[str, str] | None:
        """(list, entry) that covers the address: its longest listed domain, else its longest listed path."""
        if not address.host:
            return None
        found = self._look(self._hosts, suffixes(address.host))
        return found or (self._look(self._urls, path_prefixes(address)) if address.path else None)

    def _look(self, table: tuple[np.ndarray, np.ndarray], names: list[str]) -> tuple[str, str] | None:
        hashes, lists = table
        if not len(hashes):
            return None
        wanted = np.array([hash_name(name) for name in names], dtype=np.uint64)
        at = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
        hits = np.flatnonzero(hashes[at] == wanted)
        if not len(hits):
            return None
        return self.names[lists[at[hits[0]]]], names[hits[0]]


def sorted_hashes(groups: Sequence["array[int]"]) -> tuple[np.ndarray, np.ndarray]:
    """(u64 [N] sorted hashes, u8 [N] number of the first list that holds each)."""
    hashes = np.concatenate([np.empty(0, np.uint64), *(np.array(group, dtype=np.uint64) for group in groups)])
    lists = np.repeat(np.arange(len(groups), dtype=np.uint8), [len(group) for group in groups])
    hashes, first = np.unique(hashes, return_index=True)
    return hashes, lists[first]


def load_lists(paths: Sequence[str]) -> BlockLists:
    """The lists of a recipe. Lists of one name are joined. Raises InputError as read_list does."""
    by_name: dict[str, Entries] = {}
    for path in paths:
        for name, file in list_files(path):
            read_list(file, by_name.setdefault(name, Entries()))
    return BlockLists(list(by_name), list(by_name.values()))
