"""Write the 30 MB mix that the trainer benchmarks share: encyclopedia, books and Python code, 16:8:7, 0.4 MB of each held out.

    python bench/prepare_mix30.py --data ../shared/data/corpus --out /tmp/mix30

Documents are taken in an order drawn from a hash of their text, held-out ones first, so the choice depends on nothing else.
"""

import argparse
import hashlib
import json
import lzma
from pathlib import Path

MEGABYTES = {"encyclopedia": 16, "books": 8, "python": 7}
FILES = {
    "encyclopedia": "wikipedia_en_2015_part0.jsonl.xz",
    "books": "books_standardebooks.jsonl.xz",
    "python": "code_python_permissive.jsonl.xz",
}
HELD_OUT_BYTES = 400_000


def ordered_documents(path: Path) -> list[dict[str, str]]:
    seen: dict[str, dict[str, str]] = {}
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            seen.setdefault(hashlib.sha256(document["text"].encode()).hexdigest(), document)
    return [seen[digest] for digest in sorted(seen)]


def take(documents: list[dict[str, str]], limit: int, domain: str, path: Path) -> int:
    """Write whole documents from the front until the next would pass `limit` bytes; the last is cut to fit."""
    size = 0
    with path.open("w", encoding="utf-8") as out:
        while documents and size < limit:
            document = documents.pop(0)
            text = document["text"].encode()[: limit - size].decode(errors="ignore")
            size += len(text.encode())
            out.write(json.dumps({"id": document["id"], "text": text, "domain": domain}) + "\n")
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data/corpus")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for domain, file in FILES.items():
        documents = ordered_documents(arguments.data / file)
        held_out = take(documents, HELD_OUT_BYTES, domain, arguments.out / f"held-out-{domain}.jsonl")
        # the proportions 16:8:7 of 30 MB in all
        train = take(documents, MEGABYTES[domain] * 30_000_000 // 31, domain, arguments.out / f"train-{domain}.jsonl")
        print(f"{domain}: {train / 1e6:.2f} MB to train on, {held_out / 1e6:.2f} MB held out")


if __name__ == "__main__":
    main()
