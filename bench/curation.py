"""A whole curation preset, from WARC to kept documents: pages a second, and the memory of the largest process.

    python bench/curation.py [--warc FILE] [--preset fineweb] [--copies 1,10] [--workers 2]

The pages are those of the shared labelled crawl. A copy beyond the first has a share of its words changed by a rule, so
that copies are neither equal nor near-duplicates of each other. Time: from the start of the command `seedbed curate` to its
end, imports and worker processes included. Memory: the largest resident set of any of its processes (getrusage of waited-for
children), the interpreter included. Result: bench/results/curation-PRESET.json.
"""

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import xxhash

from seedbed.files import write_json
from seedbed.run.machine import describe

ROOT = Path(__file__).resolve().parents[1]
WARC = ROOT.parent / "shared/data/crawl/labelled_pages/trafilatura_eval.warc.gz"
WORD = re.compile(rb"\b[a-z]{5,12}\b")
CHANGED_SHARE = 0.25  # of the longer words: five-word shingles that survive are then few


@lru_cache(maxsize=1 << 17)
def changed(word: bytes, copy: int) -> bytes:
    drawn = xxhash.xxh3_64_intdigest(word, copy)
    if drawn % 100 >= 100 * CHANGED_SHARE:
        return word
    letters = b"etaoinshrdlucmfwyp"
    return bytes(letters[(drawn >> (5 * at)) % len(letters)] for at in range(min(len(word), 11)))


def change_words(page: bytes, copy: int) -> bytes:
    """Every fourth longer word outside tags, chosen and replaced by its hash with the copy's number."""

    def change(found: re.Match[bytes]) -> bytes:
        return changed(found[0], copy)

    pieces = re.split(rb"(<[^>]*>)", page)
    return b"".join(piece if piece.startswith(b"<") else WORD.sub(change, piece) for piece in pieces)


def write_copies(source: Path, target: Path, copies: int) -> int:
    """The WARC with every page `copies` times; gives the number of pages."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    pages = 0
    with target.open("wb") as out:
        out.write(source.read_bytes())
        for copy in range(copies):
            with source.open("rb") as file:
                for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=False):
                    pages += 1
                    if copy:
                        head, _, body = record.reader.read().partition(b"\r\n\r\n")
                        block = head + b"\r\n\r\n" + change_words(body, copy)
                        out.write(gzip.compress(record_bytes(dict(record.headers), block, copy), 1))
    return pages


def record_bytes(headers: dict[str, str], block: bytes, copy: int) -> bytes:
    """A WARC record with the copy's number in its address. Digests of the old content are left out."""
    url = headers["WARC-Target-URI"]
    headers |= {"WARC-Target-URI": f"{url}{'&' if '?' in url else '?'}copy={copy}", "Content-Length": str(len(block))}
    lines = [f"{name}: {value}" for name, value in headers.items() if not name.endswith("Digest")]
    return "\r\n".join(["WARC/1.0", *lines, "", ""]).encode() + block + b"\r\n\r\n"


def run_once(warc: Path, preset: str, workers: int, folder: Path) -> dict[str, Any]:
    """One fresh run in a process of its own; its time, memory, and what became of the pages."""
    recipe = folder / "crawl.toml"
    lines = ['name = "crawl"', 'preset = "first-light"', "[corpus]", f"sources = [{json.dumps(str(warc))}]", "[curate]"]
    recipe.write_text("\n".join([*lines, f'preset = "{preset}"', ""]))
    code = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "print(json.dumps([done.returncode, done.stderr[-2000:], resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))"
    )
    out = folder / "run"
    command = [sys.executable, "-m", "seedbed", "curate", str(recipe), "--out", str(out), "--workers", str(workers)]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    status, errors, kilobytes = json.loads(done.stdout)
    if status:
        raise SystemExit(errors)
    index = json.loads((out / "run.json").read_text())["stages"]
    stages = {name: json.loads((out / "stages" / path / "stage.json").read_text()) for name, path in index.items()}
    summary = stages["curate"]["summary"]
    return {
        "seconds": seconds,
        "stage_seconds": {name: record["seconds"] for name, record in stages.items()},
        "largest_process_mib": kilobytes / 1024,
        **{name: summary[name] for name in ("read", "kept", "removed", "merged", "quarantined")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warc", type=Path, default=WARC)
    parser.add_argument("--preset", default="fineweb")
    parser.add_argument("--copies", default="1,10", help="how often every page is there, a run for each number")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    rows = []
    for copies in map(int, arguments.copies.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            warc = folder / "pages.warc.gz"
            pages = write_copies(arguments.warc, warc, copies)
            row = {"copies": copies, "pages": pages, "warc_mb": warc.stat().st_size / 1e6}
            row |= run_once(warc, arguments.preset, arguments.workers, folder)
        row["pages_per_s"] = pages / row["seconds"]
        rows.append(row)
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in row["stage_seconds"].items())
        print(
            f"{pages:,} pages ({row['warc_mb']:.0f} MB): {row['pages_per_s']:,.0f} pages/s, {row['seconds']:.1f} s ({stages}), "
            f"largest process {row['largest_process_mib']:,.0f} MiB; kept {row['kept']:,}, removed {row['removed']:,}, "
            f"merged {row['merged']:,}, quarantined {row['quarantined']:,}",
            flush=True,
        )
    result = {
        "command": f"python bench/curation.py --preset {arguments.preset} --copies {arguments.copies}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(),
        "workers": arguments.workers,
        "rows": rows,
    }
    write_json(ROOT / f"bench/results/curation-{arguments.preset}.json", result)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
