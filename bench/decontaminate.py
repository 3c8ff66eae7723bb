"""The index of evaluation sets: time, memory and bytes an item; documents a second; what real text holds of them.

python bench/decontaminate.py [--data DIR] [--documents N]

Sets: every task of shared/data/evals (unpacked for the time being), HellaSwag, MMLU's test, GSM8K's test and HumanEval.
Seconds of searching are of the processor, one process, without reading. Result: bench/results/decontaminate.json.
"""

import argparse
import json
import lzma
import os
import resource
import tarfile
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from seedbed.corpus.decontaminate.index import Index, IndexConfig, build_index
from seedbed.corpus.decontaminate.search import Found, search
from seedbed.files import write_json
from seedbed.recipe.curation import DecontaminateConfig
from seedbed.run.machine import describe

FILES = ("web_usgov_publicdomain", "wikipedia_en_2015_part0", "code_python_permissive", "academic_openstax_ccby")
SETS = ("llm-foundry_local_data", "hellaswag", "mmlu/test", "gsm8k/test.jsonl", "humaneval")
SHOWN = 5


def peak_megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def bench_index(folder: Path, sets: tuple[str, ...]) -> tuple[Index, dict[str, Any]]:
    section = DecontaminateConfig()
    config = IndexConfig(sets, section.ngram, section.short_words, section.max_items)
    start = time.perf_counter()
    build_index(config, folder)
    built = time.perf_counter()
    index = Index(folder)
    summary = index.summary
    num_items = sum(entry["items"] for entry in summary["sets"].values())
    result = {
        "sets": len(summary["sets"]),
        "items": num_items,
        "searchable": sum(entry["searchable"] for entry in summary["sets"].values()),
        **{name: summary[name] for name in ("ngrams", "words", "common", "plain", "bytes")},
        "bytes_an_item": round(summary["bytes"] / num_items),
        "seconds_to_build": round(built - start, 1),
        "seconds_to_open": round(time.perf_counter() - built, 2),
        "peak_megabytes_of_building": peak_megabytes(),
    }
    return index, result


def bench_text(path: Path, documents: int, index: Index) -> dict[str, Any]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in islice(lines, documents)]
    start = time.process_time()
    found: list[Found] = [search(text, index) for text in texts]
    seconds = time.process_time() - start
    passages = [(text, passage) for text, result in zip(texts, found, strict=True) for passage in result.passages]
    for text, passage in passages[:: max(1, len(passages) // SHOWN)][:SHOWN]:
        print(f"    {passage.item}{' with answer' * passage.answered}: {text[passage.start : passage.end][:100]!r}")
    characters = sum(map(len, texts))
    items = {passage.item for _, passage in passages}
    return {
        "documents": len(texts),
        "characters": characters,
        "documents_per_second": round(len(texts) / seconds),
        "megacharacters_per_second": round(characters / seconds / 1e6, 1),
        "documents_hit": sum(bool(result.hits) for result in found),
        "items_hit": len(items),
        "items_hit_with_answer": len({passage.item for _, passage in passages if passage.answered}),
        "sets_hit": dict(Counter(item.rpartition(":")[0] for item in items).most_common(8)),
    }


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default, help="folder with corpus/ and evals/")
    parser.add_argument("--documents", type=int, default=2000, help="of each file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(options.data / "evals" / "evals_bundle.tar.xz") as bundle:
            bundle.extractall(Path(scratch) / "sets", filter="data")
        folder = Path(scratch) / "index"
        folder.mkdir()
        root = Path(scratch) / "sets"
        top = root if (root / SETS[0]).exists() else next(path for path in root.iterdir() if (path / SETS[0]).exists())
        index, result = bench_index(folder, tuple(str(top / name) for name in SETS))
        print(json.dumps(result))
        texts = {}
        for name in FILES:
            texts[name] = bench_text(options.data / "corpus" / f"{name}.jsonl.xz", options.documents, index)
            print(name, json.dumps(texts[name]))
    machine = describe()
    written = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {name: machine[name] for name in ("cpu", "cores", "os", "python")},
        "load": round(os.getloadavg()[0], 1),
        "index": result,
        "texts": texts,
    }
    write_json(Path(__file__).parent / "results" / "decontaminate.json", written)


if __name__ == "__main__":
    main()
