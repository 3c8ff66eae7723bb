"""Lines that a site repeats on its pages (menus, notices, footers): counted by host, and cut where they are boilerplate.

A line counts once a page, without the white space around it. It is boilerplate when it occurs on at least `min_pages` pages
of the host and on more than `min_share` of them. Documents without a URL are left alone.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import xxhash

from seedbed.corpus.dedup.tables import range_of_part, slice_of
from seedbed.corpus.rules.group import Span

KIND = "boilerplate"
PART_LINES = 4 << 20  # lines of a part, on average: some 250 MB
LINE = np.dtype([("line", "<u8"), ("host", "<u8"), ("pages", "<u4")])
FOUND = np.dtype([("line", "<u8"), ("pages", "<u4"), ("share", "<f4")])


def host_key(url: str) -> int:
    """64-bit hash of the URL's host without `www.`; 0 where there is none."""
    try:
        host = (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:  # such as an IPv6 address that does not end
        return 0
    return xxhash.xxh3_64_intdigest(host.encode("utf-8", "surrogatepass")) if host else 0


def line_key(line: str, host: int) -> int:
    """64-bit hash of a line on this host."""
    return xxhash.xxh3_64_intdigest(line.strip().encode("utf-8", "surrogatepass"), host)


def count_lines(documents: Iterable[tuple[str, str]], shard: int, folder: Path) -> dict[str, int]:
    """Count the pages of every line of a shard's documents, given as (url, text).

    Writes `lines-N.npy` (LINE, sorted by line) and `hosts-N.npy` u64 [hosts, 2]: key and pages.
    """
    lines: Counter[tuple[int, int]] = Counter()
    hosts: Counter[int] = Counter()
    for url, text in documents:
        if host := host_key(url):
            hosts[host] += 1
            lines.update((line_key(line, host), host) for line in {part.strip() for part in text.split("\n")} - {""})
    table = np.array([(line, host, pages) for (line, host), pages in lines.items()], LINE)
    table.sort(order=["line", "host"])
    np.save(folder / f"lines-{shard:05d}.npy", table)
    np.save(folder / f"hosts-{shard:05d}.npy", np.array(sorted(hosts.items()), np.uint64).reshape(-1, 2))
    return {"lines": len(table), "hosts": len(hosts)}


def num_parts(num_lines: int) -> int:
    return max(1, -(-num_lines // PART_LINES))


def find_boilerplate(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Shard function: boilerplate lines of one part of the key space. Task: `part`, `parts`, `shards`, `min_pages`, `min_share`.

    Writes `boilerplate-N.npy` (FOUND, sorted by line).
    """
    hosts = np.concatenate([np.load(folder / f"hosts-{n:05d}.npy") for n in range(task["shards"])])
    names, where = np.unique(hosts[:, 0], return_inverse=True)
    pages_of_host = np.bincount(where.reshape(-1), weights=hosts[:, 1].astype(float), minlength=len(names))

    low, high = range_of_part(task["part"], task["parts"])
    pieces = [np.empty(0, LINE)]
    for shard in range(task["shards"]):
        table = np.load(folder / f"lines-{shard:05d}.npy", mmap_mode="r")
        pieces.append(np.array(table[slice_of(table["line"], low, high, with_zero=True)]))
    lines = np.concatenate(pieces)
    lines.sort(order=["line", "host"])
    first = np.flatnonzero(np.append(True, lines["line"][1:] != lines["line"][:-1])[: len(lines)])
    pages = np.add.reduceat(lines["pages"].astype(np.int64), first) if len(first) else np.empty(0, np.int64)
    share = pages / pages_of_host[np.searchsorted(names, lines["host"][first])]
    taken = (pages >= task["min_pages"]) & (share > task["min_share"])
    found = np.empty(int(taken.sum()), FOUND)
    found["line"], found["pages"], found["share"] = lines["line"][first][taken], pages[taken], share[taken]
    np.save(folder / f"boilerplate-{task['part']:05d}.npy", found)
    return {"boilerplate": len(found)}


class Boilerplate:
    """The boilerplate lines of a corpus, to be cut from its documents."""

    def __init__(self, folder: Path, parts: int) -> None:
        self.lines = np.concatenate([np.load(folder / f"boilerplate-{part:05d}.npy") for part in range(parts)])

    def spans(self, url: str, text: str) -> list[Span]:
        """Lines to cut, each with the end of the line. `kind` says the pages and the share of the site's."""
        host = host_key(url)
        if not host or not len(self.lines):
            return []
        lines = text.split("\n")
        keys = np.array([line_key(line, host) for line in lines], np.uint64)
        places = np.minimum(np.searchsorted(self.lines["line"], keys), len(self.lines) - 1)
        spans, start = [], 0
        for line, known, found in zip(lines, self.lines["line"][places] == keys, self.lines[places], strict=True):
            end = min(start + len(line) + 1, len(text))
            if known and end > start:
                spans.append(
                    Span(start, end, f"{KIND} on {found['pages']} pages ({found['share']:.0%} of the site)", "")
                )
            start = end
        return spans
