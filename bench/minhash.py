"""MinHash signatures, their recall and the LSH join, beside datasketch and rensa.

python bench/minhash.py [--pages WARC] [--pairs N] [--documents N]

Signatures: documents per processor second on the texts of the labelled pages, from text to band keys and from shingles alone,
the best of three rounds; peers get word 5-grams made the plain way. datasketch and rensa are measured where they are installed.
Recall: pairs of texts planted at Jaccard .7, .8 and .9 that share a band, beside 1 - (1 - s^8)^14. Join: candidate pairs, and
merges of all of them, from tables of documents of which a tenth are near-duplicates. Result: bench/results/minhash.json.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from seedbed.corpus.dedup.candidates import find_candidates, num_parts
from seedbed.corpus.dedup.clusters import merge_documents
from seedbed.corpus.dedup.signature import (
    BANDS,
    NGRAM,
    ROWS,
    MinHasher,
    jaccard,
    match_probability,
    plain_words,
)
from seedbed.corpus.dedup.tables import write_bands
from seedbed.files import write_json
from seedbed.run.machine import describe

ROUNDS = 3
PERMUTATIONS = BANDS * ROWS


def labelled_pages(path: Path) -> list[str]:
    texts = []
    with path.open("rb") as file:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response):
            body = record.reader.read()
            text = extract_plain_text(bytes_to_str(body, detect_encoding(body)), main_content=True)
            if plain_words(text):
                texts.append(text)
    return texts


def rate(work: Callable[[], Any], documents: int) -> int:
    """Documents per processor second, the best round."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return round(documents / best)


def ngrams(text: str) -> list[str]:
    """Word n-grams as strings, the way one writes it in Python. Words are made as plainly for all peers."""
    words = text.lower().split()
    return [" ".join(words[at : at + NGRAM]) for at in range(max(1, len(words) - NGRAM + 1))]


def bench_signatures(texts: list[str]) -> dict[str, dict[str, int]]:
    hasher = MinHasher()
    hasher.bands(texts[0])  # tables of characters are made at the first call
    shingles = [hasher.shingles(text) for text in texts]
    number = len(texts)
    found = {
        "seedbed": {
            "from_text": rate(lambda: [hasher.bands(text) for text in texts], number),
            "from_shingles": rate(lambda: [hasher.keys(hasher.minima(item)) for item in shingles], number),
        }
    }
    if version("rensa"):
        from rensa import RMinHash

        offsets = np.cumsum([0, *map(len, shingles)]).astype(np.uint64)
        flat = np.concatenate(shingles)
        found["rensa"] = {
            "from_text": rate(
                lambda: RMinHash.digest_matrix_from_token_sets([ngrams(t) for t in texts], PERMUTATIONS, 1), number
            ),
            "from_shingles": rate(
                lambda: RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, PERMUTATIONS, 1), number
            ),
        }
    if version("datasketch"):
        from datasketch import MinHash

        def sketch(grams: list[bytes]) -> None:
            MinHash(num_perm=PERMUTATIONS).update_batch(grams)

        encoded = [[gram.encode() for gram in ngrams(text)] for text in texts]
        found["datasketch"] = {
            "from_text": rate(lambda: [sketch([gram.encode() for gram in ngrams(t)]) for t in texts], number),
            "from_shingles": rate(lambda: [sketch(grams) for grams in encoded], number),
        }
    return found


def planted_pair(similarity: float, draw: random.Random, words: int = 300) -> tuple[str, str]:
    """Two texts with a common beginning, so long that the sets of their 5-grams have about this similarity."""
    shared = round(2 * (words - NGRAM + 1) * similarity / (1 + similarity)) + NGRAM - 1
    start, *ends = ([f"w{draw.getrandbits(40)}" for _ in range(n)] for n in (shared, words - shared, words - shared))
    return " ".join(start + ends[0]), " ".join(start + ends[1])


def bench_recall(pairs: int) -> dict[str, dict[str, float]]:
    hasher, draw = MinHasher(), random.Random(1)
    found = {}
    for similarity in (0.7, 0.8, 0.9):
        hits, theory, true = 0, 0.0, 0.0
        for _ in range(pairs):
            a, b = planted_pair(similarity, draw)
            hits += bool((hasher.bands(a) == hasher.bands(b)).any())
            exact = jaccard(hasher.shingles(a), hasher.shingles(b))
            true, theory = true + exact, theory + match_probability(exact)
        found[str(similarity)] = {
            "mean_jaccard": round(true / pairs, 4),
            "recall": round(hits / pairs, 4),
            "theory": round(theory / pairs, 4),
        }
    return found


def bench_join(documents: int) -> dict[str, float]:
    """Band tables to candidate pairs, and those to merges as if all were verified."""
    draw = np.random.Generator(np.random.PCG64(1))
    keys = draw.integers(1, 1 << 63, (documents, BANDS), dtype=np.uint64)
    near = draw.choice(documents, documents // 10, replace=False)
    like = draw.integers(0, documents, len(near))
    shared = draw.random((len(near), BANDS)) < 0.3
    keys[near] = np.where(shared, keys[like], keys[near])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        start = time.process_time()
        write_bands(folder, 0, keys)
        ranks, parts = np.arange(documents), num_parts(documents)
        np.save(folder / "ranks.npy", ranks)
        task = {"tables": [[str(folder), 0]], "starts": [0], "parts": parts, "ranks": str(folder / "ranks.npy")}
        for part in range(parts):
            find_candidates(task | {"part": part, "first_known": documents}, folder)
        joined = time.process_time() - start
        pairs = np.concatenate([np.load(folder / f"pairs-{part:05d}.npy") for part in range(parts)])
        start = time.process_time()
        merges = merge_documents(ranks, pairs, np.ones(len(pairs)), np.ones(documents, bool), ranks, 0.7)
        merged = time.process_time() - start
    return {
        "documents": documents,
        "pairs": len(pairs),
        "documents_per_s_to_pairs": round(documents / joined),
        "documents_per_s_to_merges": round(documents / (joined + merged)),
        "merged": int(np.sum(merges.into >= 0)),
    }


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def main() -> None:
    pages = Path(__file__).resolve().parents[2] / "shared/data/crawl/labelled_pages/trafilatura_eval.warc.gz"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=Path, default=pages, help="WARC of the labelled pages")
    parser.add_argument("--pairs", type=int, default=4000, help="planted pairs at each similarity")
    parser.add_argument("--documents", type=int, default=1_000_000, help="of the join")
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    texts = labelled_pages(options.pages)
    machine = describe()
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {name: machine[name] for name in ("cpu", "cores", "os", "python")},
        "load_before": round(load_before, 2),
        "packages": {name: version(name) for name in ("numpy", "xxhash", "scipy", "rensa", "datasketch")},
        "texts": len(texts),
        "mean_words": round(sum(len(plain_words(text)) for text in texts) / len(texts)),
        "permutations": PERMUTATIONS,
        "documents_per_core_second": bench_signatures(texts),
        "recall": bench_recall(options.pairs),
        "join": bench_join(options.documents),
    }
    write_json(Path(__file__).parent / "results" / "minhash.json", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
