"""Mutated WARC records, HTML pages, JSON lines and Parquet files through collect: no crash, no hang, nothing unaccounted for.

python bench/curation_fuzz.py [--data FOLDER] [--count N] [--seed N]     default: shared/data beside the repository, 2,500 of each

Each input starts from a real one and gets one to eight mutations: bytes flipped, cut, repeated, moved, numbers made huge, markup
opened and never closed. WARC records are mutated in files of ten, plain and packed, next to sound ones. A shard is one file; it
passes when collect returns within the limit and its counts are those of the rows it wrote (read = documents + quarantined, in
records and bytes), every id once, all text well-formed. Result: bench/results/curation_fuzz.json.
"""

import argparse
import gzip
import json
import lzma
import random
import re
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import lz4.frame
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from fastwarc.warc import ArchiveIterator

from seedbed.corpus.collect import collect_shard
from seedbed.corpus.decisions import read_batches
from seedbed.corpus.store import read_documents
from seedbed.corpus.tasks import plan_collect
from seedbed.errors import InputError
from seedbed.files import write_json
from seedbed.recipe.schema import CorpusConfig
from seedbed.run.machine import describe

PAGE_SECONDS = 5.0  # corpus.extract.max_seconds
RECORDS = 10  # of a WARC file; lines of a JSON file: ten times as many
PAGES = 50  # of a folder: a shard starts one process for them
MARKUP = (
    b"<div>" * 3000,
    b"<table><tr>" * 500,
    b"<!--",
    b"<script>",
    b"&#1114112;",
    b"<![CDATA[",
    b"</p>" * 99,
    b"\0" * 50,
    b"\xff\xfe",
)
PACKED: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("", bytes),
    (".gz", gzip.compress),
    (".zst", zstandard.ZstdCompressor(write_checksum=True).compress),
    (".lz4", lambda data: lz4.frame.compress(data, content_checksum=True)),
)


def mutate(data: bytes, rng: random.Random, extra: tuple[bytes, ...] = ()) -> bytes:
    raw = bytearray(data or b"x")
    for _ in range(rng.randint(1, 8)):
        at, size = rng.randrange(len(raw)), min(len(raw), 1 << rng.randrange(12))
        kind = rng.randrange(7 if extra else 6)
        if kind == 0:
            raw[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del raw[at : at + size]
        elif kind == 2:
            raw[at:at] = raw[at : at + size] * rng.randint(1, 4)
        elif kind == 3:
            raw[at : at + size] = rng.randbytes(min(size, 64))
        elif kind == 4:
            other = rng.randrange(len(raw))
            raw[at : at + size], raw[other : other + size] = raw[other : other + size], raw[at : at + size]
        elif kind == 5:
            numbers = list(re.finditer(rb"\d+", raw))
            if numbers:
                chosen = rng.choice(numbers[:40])
                raw[chosen.start() : chosen.end()] = rng.choice((b"0", b"-1", b"99999999999", b"4294967296", b"7"))
        else:
            raw[at:at] = rng.choice(extra)
        raw = raw or bytearray(b"x")
    return bytes(raw)


def warc_files(samples: Path, pages: Path, count: int, rng: random.Random) -> Iterator[tuple[dict[str, bytes], int]]:
    records = []
    for path in [*sorted(samples.glob("*.warc*")), pages]:
        with path.open("rb") as file:
            for record in islice(ArchiveIterator(file, parse_http=False), 60):
                body = record.reader.read()
                lines = "".join(f"{name}: {value}\r\n" for name, value in record.headers.items())
                records.append(f"WARC/1.0\r\n{lines}\r\n".encode(errors="replace") + body + b"\r\n\r\n")
    for number in range(0, count, RECORDS // 2):
        chosen = rng.sample(records, RECORDS)
        ending, pack = PACKED[number // 5 % len(PACKED)]
        members = [mutate(r, rng, MARKUP) if n % 2 else r for n, r in enumerate(chosen)]
        members = [pack(member) for member in members]
        if rng.random() < 0.3:
            members[rng.randrange(RECORDS)] = mutate(rng.choice(members), rng)
        yield {f"a.warc{ending}": b"".join(members)}, RECORDS // 2


def html_files(pages: Path, count: int, rng: random.Random) -> Iterator[tuple[dict[str, bytes], int]]:
    with pages.open("rb") as file:
        found = [record.reader.read() for record in islice(ArchiveIterator(file), 1, 300)]
    for number in range(0, count, PAGES):
        names = [f"{n}.html" for n in range(number, min(count, number + PAGES))]
        yield {name: mutate(rng.choice(found), rng, MARKUP) for name in names}, len(names)


def json_files(corpus: Path, count: int, rng: random.Random) -> Iterator[tuple[dict[str, bytes], int]]:
    with lzma.open(corpus / "academic_openstax_ccby.jsonl.xz") as file:
        lines = [line.rstrip(b"\n") for line in islice(file, 200)]
    for number in range(0, count, 10 * RECORDS):
        ending, pack = PACKED[number // 100 % len(PACKED)]
        chosen = [mutate(rng.choice(lines), rng) for _ in range(10 * RECORDS)]
        yield {f"a.jsonl{ending}": pack(b"\n".join(chosen))}, len(chosen)


def parquet_files(corpus: Path, count: int, rng: random.Random) -> Iterator[tuple[dict[str, bytes], int]]:
    with lzma.open(corpus / "academic_openstax_ccby.jsonl.xz") as file:
        rows = [json.loads(line) for line in islice(file, 60)]
    for number in range(count):
        sink = pa.BufferOutputStream()
        chosen = rng.sample(rows, 20)
        table = pa.table({"text": [row["text"][:2000] for row in chosen], "n": list(range(20))})
        pq.write_table(table, sink, row_group_size=7, compression=("none", "zstd", "snappy")[number % 3])
        yield {"a.parquet": mutate(sink.getvalue().to_pybytes(), rng)}, 1


def check(files: dict[str, bytes], limit: int) -> Counter[str]:
    """Collect the files and hold the counts against what was written; gives them with the rules of the quarantine."""
    with tempfile.TemporaryDirectory() as scratch:
        source, folder = Path(scratch) / "source", Path(scratch) / "out"
        source.mkdir()
        folder.mkdir()
        for name, data in files.items():
            (source / name).write_bytes(data)
        values = {"sources": [str(source)], "extract": {"max_seconds": PAGE_SECONDS}, "max_record_bytes": limit}
        half = max(1, max(map(len, files.values())) // 2)
        counts: Counter[str] = Counter()
        for task in plan_collect(CorpusConfig.model_validate(values), half):
            result = collect_shard(task, folder)
            for key in ("documents", "quarantined", "bytes", "bytes_quarantined"):
                counts[key] += result[key]
            counts.update({f"rule {rule}": number for rule, number in result["rules"].items()})
        rows: list[dict[str, Any]] = [r for batch in read_documents(folder) for r in batch.to_pylist()]
        bad = [r for p in sorted(folder.glob("quarantine-*")) for b in read_batches(p) for r in b.to_pylist()]
    written = (len(rows), len(bad), sum(r["bytes_in"] for r in rows), sum(r["bytes_in"] for r in bad))
    assert written == tuple(counts[k] for k in ("documents", "quarantined", "bytes", "bytes_quarantined")), written
    ids = [row["id"] for row in (*rows, *bad)]
    assert len(set(ids)) == len(ids), "an id twice"
    assert all(row["reason"] and row["rule"] for row in bad), "a quarantine without a reason"
    assert ids or any(".warc" in name for name in files), "a file without a trace"
    return counts


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--count", type=int, default=2500, help="mutated inputs of each kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    pages = options.data / "crawl" / "labelled_pages" / "trafilatura_eval.warc.gz"
    samples, corpus = options.data / "crawl" / "warc_samples", options.data / "corpus"
    kinds: dict[str, Any] = {
        "warc": lambda rng: warc_files(samples, pages, options.count, rng),
        "html": lambda rng: html_files(pages, options.count, rng),
        "jsonl": lambda rng: json_files(corpus, options.count, rng),
        "parquet": lambda rng: parquet_files(corpus, options.count, rng),
    }
    results = {}
    for kind, files in kinds.items():
        counts: Counter[str] = Counter()
        slowest, start = 0.0, time.perf_counter()
        for batch, inputs in files(random.Random(f"{options.seed} {kind}")):
            before = time.perf_counter()
            try:
                counts.update(check(batch, 1 << 20))
            except InputError as error:  # a mutated Parquet file may have lost the name of its column
                assert "text_field" in str(error), error
                counts["refused for its columns"] += 1
            except BaseException:
                kept = Path(tempfile.mkdtemp(prefix="fuzz-"))
                for name, data in batch.items():
                    (kept / name).write_bytes(data)
                print(f"kept in {kept}")
                raise
            counts["inputs"] += inputs
            slowest = max(slowest, time.perf_counter() - before)
        seconds = round(time.perf_counter() - start, 1)
        results[kind] = {**dict(sorted(counts.items())), "seconds": seconds, "slowest_file_seconds": round(slowest, 2)}
        print(json.dumps({kind: results[kind]}), flush=True)
    machine = describe()
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {name: machine[name] for name in ("cpu", "cores", "os", "python")},
        "seed": options.seed,
        "mutated_inputs": sum(found["inputs"] for found in results.values()),
        "crashes": 0,
        "page_limit_seconds": PAGE_SECONDS,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "kinds": results,
    }
    write_json(Path(__file__).parent / "results" / "curation_fuzz.json", result)


if __name__ == "__main__":
    main()
