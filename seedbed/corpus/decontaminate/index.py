"""The index of evaluation items: word n-grams by hash, in files that every process maps and none copies.

    words.txt       the vocabulary of all items, one word a line; a word's id is its line, from 1 (0: no word of theirs)
    stream.npy      u32 ids of all texts of all items, a 0 after each
    hashes.npy      u64 hashes of the n-grams that decide, rising; entries.npy u32 [G + 1]: where each one's places begin
    places.npy      u32 where in the stream the n-grams stand; lengths.npy u8: their words
    filter_N.npy    u8 bits by hash of the n-grams of N words: most n-grams of an ordinary text end here
    item_*.npy      of each item: where in the stream it starts (u32), its answer starts and ends (u32), number of its set
                    (u16), line in it (u32)
    index.json      sets with their counts, and the n-grams that do not decide

An item of at least n words is looked for by every n-gram of its texts; one with fewer, but at least `short_words`, by all its
words at once; one with fewer still cannot be told from chance. Three kinds of n-gram decide nothing: those in more than
`max_items` items (a template, or a passage that many share), those in a text of `ignore` (a quotation), and plain ones:
fewer than half as many different words of two letters as they have words (counting, tables, formulas). An item none of
whose n-grams decides counts as not searchable.
"""

import os
import shutil
from array import array
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedbed.corpus import normalise
from seedbed.corpus.decontaminate import items, words
from seedbed.corpus.decontaminate.hashes import run_hashes
from seedbed.corpus.decontaminate.items import Item
from seedbed.corpus.decontaminate.sets import read_items, set_files
from seedbed.errors import InputError
from seedbed.files import publish_folder, read_json, sha256_file, sha256_json, write_json

VERSION = 1
FILTER_BITS_EACH = (
    8  # of an n-gram, and no filter below 2^20: few foreign n-grams pass, and a small table stays in the cache
)
CHUNK = 1 << 19  # n-grams looked at together
SHOWN_COMMON = 50


@dataclass(frozen=True)
class IndexConfig:
    """What an index is made of. `sets` and `ignore`: files and folders."""

    sets: tuple[str, ...]
    ngram: int
    short_words: int
    max_items: int
    ignore: tuple[str, ...] = ()


def fingerprint(config: IndexConfig) -> str:
    """A hash of the settings and of every file's bytes."""
    files = {name: file_hash(path) for name, path in set_files(config.sets).items()}
    ignored = [file_hash(Path(path)) for path in config.ignore]
    versions = [VERSION, items.VERSION, words.VERSION, normalise.VERSION]
    settings = {**asdict(config), "sets": files, "ignore": ignored}
    return sha256_json([versions, settings])


def file_hash(path: Path) -> str:
    try:
        stat = path.stat()
        return hash_of_state(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise InputError(f"curate.decontaminate: {path} cannot be read ({error.strerror}): name another file") from None


@lru_cache(maxsize=4096)
def hash_of_state(path: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file, computed once a process for each state that it is in."""
    return sha256_file(path)


class Index:
    """An index as it lies in a folder, its arrays mapped."""

    def __init__(self, folder: Path) -> None:
        self.summary: dict[str, Any] = read_json(folder / "index.json")
        self.sets: list[str] = list(self.summary["sets"])
        vocabulary = (folder / "words.txt").read_text(encoding="utf-8").split("\n")[:-1]
        self.ids = {word: number for number, word in enumerate(vocabulary, 1)}
        arrays: dict[str, NDArray[Any]] = {
            path.stem: np.asarray(np.load(path, mmap_mode="r")) for path in folder.glob("*.npy")
        }
        self.stream, self.hashes, self.entries = arrays["stream"], arrays["hashes"], arrays["entries"]
        self.places, self.lengths = arrays["places"], arrays["lengths"]
        self.filters = {length: arrays[f"filter_{length}"] for length in self.summary["run_lengths"]}
        self.item_start, self.answer_start = arrays["item_start"], arrays["item_answer_start"]
        self.answer_end = arrays["item_answer_end"]
        self.item_set, self.item_line = arrays["item_set"], arrays["item_line"]

    def item_name(self, item: int) -> str:
        """`SET:LINE`."""
        return f"{self.sets[self.item_set[item]]}:{self.item_line[item]}"


def open_index(config: IndexConfig) -> Index:
    """The index of these sets, built first if this machine has none yet. Other processes wait for the one that builds."""
    from filelock import FileLock

    from seedbed.run.machine import cache_dir

    folder = cache_dir() / "decontamination" / fingerprint(config)[:24]
    if not (folder / "index.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not (folder / "index.json").is_file():
                partial = folder.with_suffix(f".{os.getpid()}.partial")
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                build_index(config, partial)
                publish_folder(partial, folder)
    return Index(folder)


class Builder:
    """Items gathered as ids; then the arrays."""

    def __init__(self, config: IndexConfig) -> None:
        self.config = config
        self.ids: dict[str, int] = {}
        self.stream = array("I")
        self.runs: tuple[array[int], array[int]] = array("I"), array("B")  # place and words of each n-gram
        self.item_start, self.answer_start, self.answer_end = array("I"), array("I"), array("I")
        self.item_set, self.item_line = array("H"), array("I")

    def add(self, set_number: int, item: Item) -> None:
        ngram = self.config.ngram
        self.item_start.append(len(self.stream))
        self.item_set.append(set_number)
        self.item_line.append(item.number)
        short = self.config.short_words <= len(item.main) < ngram
        taken = len(item.main) >= ngram or short
        self.answer_start.append(len(self.stream) + taken * item.answer_start)
        self.answer_end.append(len(self.stream) + taken * len(item.main))
        for text in (item.main, *item.others):
            start = len(self.stream)
            if len(text) >= ngram:
                places = range(start, start + len(text) - ngram + 1)
                self.runs[0].extend(places)
                self.runs[1].extend([ngram] * len(places))
            elif short and text is item.main:
                self.runs[0].append(start)
                self.runs[1].append(len(text))
            else:
                continue
            self.stream.extend([self.ids.setdefault(word, len(self.ids) + 1) for word in text])
            self.stream.append(0)


def build_index(config: IndexConfig, folder: Path) -> None:
    """Read every set and write the index's files. Memory: some 40 bytes for each word of the items."""
    builder = Builder(config)
    sets: dict[str, dict[str, int]] = {}
    for number, (name, path) in enumerate(set_files(config.sets).items()):
        before = len(builder.item_line)
        for item in read_items(path):
            builder.add(number, item)
        sets[name] = {"items": len(builder.item_line) - before, "searchable": 0}
    stream = np.array(builder.stream, np.uint32)
    item_start = np.array(builder.item_start, np.uint32)
    places, lengths = np.array(builder.runs[0], np.uint32), np.array(builder.runs[1], np.uint8)
    run_lengths = np.unique(lengths).tolist()
    hashes = np.zeros(len(places), np.uint64)
    for length, found in (run_hashes(stream, run_lengths) if run_lengths else {}).items():
        of_length = lengths == length
        hashes[of_length] = found[places[of_length]]
    order = np.argsort(hashes, kind="stable")
    hashes, places, lengths = hashes[order], places[order], lengths[order]
    decides, common = deciding(hashes, places, lengths, item_start, builder)
    hashes, places, lengths = hashes[decides], places[decides], lengths[decides]
    unique, starts = np.unique(hashes, return_index=True)
    item_set = np.array(builder.item_set, np.uint16)
    searchable = np.unique(np.searchsorted(item_start, places, side="right") - 1)
    for number, count in enumerate(np.bincount(item_set[searchable], minlength=len(sets)).tolist()):
        sets[list(sets)[number]]["searchable"] = count
    run_lengths = np.unique(lengths).tolist()
    arrays: dict[str, NDArray[Any]] = {
        "stream": stream, "hashes": unique, "entries": np.append(starts, len(hashes)).astype(np.uint32), "places": places,
        "lengths": lengths, "item_start": item_start,
        "item_answer_start": np.array(builder.answer_start, np.uint32),
        "item_answer_end": np.array(builder.answer_end, np.uint32),
        "item_set": item_set, "item_line": np.array(builder.item_line, np.uint32),
        **{f"filter_{length}": make_filter(hashes[lengths == length]) for length in run_lengths},
    }  # fmt: skip
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    (folder / "words.txt").write_text("".join(f"{word}\n" for word in builder.ids), encoding="utf-8")
    summary = {
        "ngram": config.ngram, "short_words": config.short_words, "run_lengths": run_lengths, "sets": sets,
        "ngrams": len(unique), "words": len(builder.ids), "bytes": sum(values.nbytes for values in arrays.values()), **common,
    }  # fmt: skip
    write_json(folder / "index.json", summary)


def deciding(
    hashes: NDArray[np.uint64],
    places: NDArray[np.uint32],
    lengths: NDArray[np.uint8],
    item_start: NDArray[np.uint32],
    builder: Builder,
) -> tuple[NDArray[np.bool_], dict[str, Any]]:
    """Which of the sorted n-grams decide, and the story of those that do not."""
    if not len(hashes):
        return np.ones(0, np.bool_), {"common": 0, "ignored": 0, "plain": 0, "most_common": []}
    item = np.searchsorted(item_start, places, side="right") - 1
    new_hash = np.append(True, hashes[1:] != hashes[:-1])
    group = np.cumsum(new_hash) - 1
    new_item = new_hash | np.append(True, item[1:] != item[:-1])
    num_items = np.bincount(group, weights=new_item).astype(np.int64)
    is_common = num_items > builder.config.max_items
    quoted = np.isin(hashes[new_hash], ignored_hashes(builder))
    first = np.flatnonzero(new_hash)
    plain = is_plain(places[first], lengths[first], builder)
    names = {number: word for word, number in builder.ids.items()}
    most = np.argsort(-num_items, kind="stable")[:SHOWN_COMMON]
    shown = [
        {
            "text": " ".join(names[number] for number in builder.stream[places[at] : places[at] + int(lengths[at])]),
            "items": int(num_items[g]),
        }
        for g in most.tolist()
        if is_common[g]
        for at in [int(first[g])]
    ]
    counts = {"common": is_common, "ignored": quoted & ~is_common, "plain": plain & ~is_common & ~quoted}
    told = {name: int(chosen.sum()) for name, chosen in counts.items()}
    return ~(is_common | quoted | plain)[group], {**told, "most_common": shown}


def is_plain(places: NDArray[np.uint32], lengths: NDArray[np.uint8], builder: Builder) -> NDArray[np.bool_]:
    """Whether fewer than half of an n-gram's words are different ones with two letters, or signs of an unspaced script."""
    stream = np.array(builder.stream, np.uint32)
    telling = np.array([False, *map(is_telling, builder.ids)])
    stream[~telling[stream]] = 0
    plain = np.zeros(len(places), np.bool_)
    for length in np.unique(lengths).tolist():
        where = np.flatnonzero(lengths == length)
        for start in range(0, len(where), CHUNK):
            chosen = where[start : start + CHUNK]
            runs = np.sort(stream[places[chosen].astype(np.int64)[:, None] + np.arange(length)], axis=1)
            different = 1 + np.count_nonzero(np.diff(runs, axis=1), axis=1) - (runs[:, 0] == 0)
            plain[chosen] = 2 * different < length
    return plain


def is_telling(word: str) -> bool:
    return sum(map(str.isalpha, word)) > 1 or ord(word[0]) >= 0x0E00


def ignored_hashes(builder: Builder) -> NDArray[np.uint64]:
    """Of the n-grams in the texts of `ignore`."""
    found = [np.empty(0, np.uint64)]
    for path in map(Path, builder.config.ignore):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"curate.decontaminate.ignore: {path} is no UTF-8 text ({error}): name another file"
            ) from None
        ids = [builder.ids.get(word, 0) for word in words.words_of(normalise.normalise(text))]
        found.append(run_hashes(np.array(ids, np.uint32), [builder.config.ngram])[builder.config.ngram])
    return np.concatenate(found)


def make_filter(hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Bits, a power of two in number, at least FILTER_BITS_EACH for each hash; set where a hash's low bits point."""
    size = 1 << max(20, (len(hashes) * FILTER_BITS_EACH - 1).bit_length())
    bits = np.zeros(size, np.bool_)
    bits[hashes & np.uint64(size - 1)] = True
    return np.packbits(bits, bitorder="little")
