"""Repeated passages of 50 words: hashed windows against a suffix array (pydivsufsort), time, memory and what they find.

    python bench/substrings.py --peer DIR [--copies 10]        # DIR: pip install --no-deps --target DIR pydivsufsort

The texts are those of the labelled pages, several times over, with passages put into copies so that there is something to
find. Each method runs in a process of its own, from the texts to the places of first and later occurrences; the suffix array is
of word numbers (32 bits, one word a separator that occurs once), with neighbours' common prefixes by Kasai's algorithm.
Result: bench/results/substrings.json.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from curation import WARC, WORD, changed
from curation_rules import labelled_pages

from seedbed.corpus.dedup.substrings import find_repeats, hash_windows, num_parts, split_words
from seedbed.files import write_json
from seedbed.run.machine import describe

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 50
PLANTED = 200  # passages of 50 to 400 words that are written into other texts


def write_texts(path: Path, copies: int) -> None:
    """The pages' texts, copies with other words, and passages of some in others; a JSON string a line."""
    pages = labelled_pages(WARC)
    texts = [
        WORD.sub(lambda found, copy=copy: changed(found[0], copy), text.encode()).decode() if copy else text
        for copy in range(copies)
        for text in pages
    ]
    rng = random.Random(7)
    long = [n for n, text in enumerate(texts) if len(text) > 4000]
    for _ in range(PLANTED):
        words = split_words(texts[rng.choice(long)])
        start, length = rng.randrange(max(1, len(words) - 50)), rng.randrange(50, 400)
        number = rng.randrange(len(texts))
        texts[number] += "\n\n" + " ".join(words[start : start + length])
    path.write_text("".join(json.dumps(text) + "\n" for text in texts))


def read_texts(path: Path) -> list[str]:
    return [json.loads(line) for line in path.open()]


def by_windows(path: Path, work: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """(words of first occurrences, of later ones) by number of the window's first word."""
    found = hash_windows(enumerate(map(json.loads, path.open())), 0, work, WIDTH)
    parts = num_parts(found["windows"])
    for part in range(parts):
        find_repeats({"part": part, "parts": parts, "starts": [0]}, work)
    firsts, laters = (
        np.sort(np.concatenate([np.load(work / f"{name}-{part:05d}.npy") for part in range(parts)]))
        for name in ("firsts", "laters")
    )
    disk = sum(file.stat().st_size for file in work.iterdir())
    return firsts, laters, {"words": found["words"], "disk_bytes": disk}


def by_suffix_array(path: Path, work: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    from pydivsufsort import divsufsort, kasai

    vocabulary: dict[str, int] = {}
    pieces, places, before = [], [], 0
    for line in path.open():
        words = split_words(json.loads(line))
        ids = np.fromiter((vocabulary.setdefault(word, len(vocabulary)) for word in words), np.int64, len(words))
        pieces.append(ids)
        places.append(np.arange(before, before + len(words)))
        before += len(words)
    first_separator = len(vocabulary)
    stream = np.concatenate([np.append(ids, first_separator + n) for n, ids in enumerate(pieces)]).astype(np.uint32)
    place = np.concatenate([np.append(p, -1) for p in places])
    began = time.perf_counter()
    order = divsufsort(stream)
    sorted_after = time.perf_counter()
    common = kasai(stream, order)  # of each suffix with the next in order
    done = time.perf_counter()
    repeated = common[:-1] >= WIDTH
    group = np.concatenate([[0], np.cumsum(~repeated)])
    starts = np.flatnonzero(np.append(True, ~repeated))
    position = place[order]
    lowest = np.minimum.reduceat(position, starts)
    several = np.diff(np.append(starts, len(order))) > 1
    is_first = position == lowest[group]
    firsts = np.sort(position[several[group] & is_first])
    laters = np.sort(position[several[group] & ~is_first])
    more = {
        "sorting_seconds": sorted_after - began,
        "prefix_seconds": done - sorted_after,
        "longest_words": int(common.max()),
    }
    return firsts, laters, more


METHODS = {"windows": by_windows, "suffix array": by_suffix_array}


def measure(method: str, path: Path, folder: Path, peer: Path) -> dict[str, Any]:
    """One method in this process; its places go to `folder`."""
    sys.path.append(str(peer))
    start = time.perf_counter()
    work = folder / "work"
    work.mkdir()
    firsts, laters, more = METHODS[method](path, work)
    seconds = time.perf_counter() - start
    np.save(folder / "firsts.npy", firsts)
    np.save(folder / "laters.npy", laters)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mib": peak, "firsts": len(firsts), "laters": len(laters), **more}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True, help="folder with pydivsufsort")
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        method, path, folder = arguments.child
        print(json.dumps(measure(method, Path(path), Path(folder), arguments.peer)))
        return
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        texts = Path(name) / "texts.jsonl"
        write_texts(texts, arguments.copies)
        size = sum(len(text.encode()) for text in read_texts(texts))
        for method in METHODS:
            folder = Path(name) / method.replace(" ", "-")
            folder.mkdir()
            command = [
                sys.executable,
                __file__,
                "--peer",
                str(arguments.peer),
                "--child",
                method,
                str(texts),
                str(folder),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows[method] = json.loads(done.stdout)
            print(method, rows[method], flush=True)
        folders = [Path(name) / method.replace(" ", "-") for method in METHODS]
        equal = all(np.array_equal(*(np.load(f / f"{kind}.npy") for f in folders)) for kind in ("firsts", "laters"))
    print(f"{size / 1e6:.1f} MB of text; the same places: {equal}")
    result = {
        "command": f"python bench/substrings.py --peer DIR --copies {arguments.copies}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(),
        "text_bytes": size,
        "same_places": equal,
        "rows": rows,
    }
    write_json(ROOT / "bench/results/substrings.json", result)


if __name__ == "__main__":
    main()
