"""Documents a second through the step `scrub`, and what it finds in web text, code and mathematics.

python bench/scrub.py [--data DIR] [--documents N]

One process; seconds are of the processor, without reading. What is found in code and mathematics is printed with its
surroundings, kind by kind, so that a false positive can be seen. Result: bench/results/scrub.json (counts alone).
"""

import argparse
import json
import lzma
import time
from collections import Counter
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from seedbed.corpus.rules import load_group
from seedbed.corpus.rules.group import Span
from seedbed.corpus.view import TextView
from seedbed.files import write_json
from seedbed.recipe.curation import CurateConfig
from seedbed.run.machine import describe

FILES = (
    "web_usgov_publicdomain", "wikipedia_en_2015_part0", "code_python_permissive", "academic_openlogic_tex",
    "academic_openstax_ccby",
)  # fmt: skip
SHOWN = 8  # findings of a kind


def measure(path: Path, documents: int) -> tuple[dict[str, object], dict[str, list[str]]]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in islice(lines, documents)]
    config = CurateConfig()
    worker = load_group("scrub").start(config.scrub, config)
    found: list[tuple[str, list[Span]]] = []
    start = time.process_time()
    for text in texts:
        found.append((text, list(worker.examine(TextView(text), {})[1])))
    seconds = time.process_time() - start
    examples: dict[str, list[str]] = {}
    for text, spans in found:
        for span in spans:
            shown = f"{text[max(0, span.start - 30) : span.start]}[{text[span.start : span.end]}]{text[span.end : span.end + 15]}"
            examples.setdefault(span.kind, []).append(shown)
    characters = sum(map(len, texts))
    result = {
        "documents": len(texts),
        "characters": characters,
        "documents_per_second": round(len(texts) / seconds),
        "megacharacters_per_second": round(characters / seconds / 1e6, 1),
        "documents_with_any": sum(bool(spans) for _, spans in found),
        "found": dict(sorted(Counter(span.kind for _, spans in found for span in spans).items())),
    }
    return result, examples


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "corpus"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default, help="folder of the .jsonl.xz files")
    parser.add_argument("--documents", type=int, default=10_000, help="of each file")
    options = parser.parse_args()
    results = {}
    for name in FILES:
        results[name], examples = measure(options.data / f"{name}.jsonl.xz", options.documents)
        print(name, json.dumps(results[name]))
        for kind, shown in sorted(examples.items()):
            step = max(1, len(shown) // SHOWN)
            for text in shown[::step][:SHOWN]:
                print(f"    {kind:12} {text!r}")
    machine = describe()
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {name: machine[name] for name in ("cpu", "cores", "os", "python")},
        "results": results,
    }
    write_json(Path(__file__).parent / "results" / "scrub.json", result)


if __name__ == "__main__":
    main()
