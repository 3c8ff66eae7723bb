"""The rules of Gopher, C4 and FineWeb beside datatrove's filters: the same decisions, and documents a second.

python bench/curation_rules.py --peer-python PATH [--data DIR] [--others N]

Documents: the text (resiliparse) of the labelled pages and the first N of the corpus in turns (default 1,000). Each
filter alone on all of them, then the four in a row. datatrove stops at the first filter that removes a document; ours
scores every document with every rule, and has met no chunk before. Seconds of processor time: the best of three
rounds for ours, one for datatrove. Every difference in a decision is listed. Result: bench/results/curation_rules.json.
"""

import argparse
import json
import lzma
import os
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from seedbed.corpus import words
from seedbed.corpus.chain import Chain, Judgement, judgements, score_columns
from seedbed.corpus.normalise import normalise
from seedbed.files import write_json
from seedbed.recipe.curation import CurateConfig
from seedbed.run.machine import describe

STEPS = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
OTHERS = (
    "wikipedia_en_2015_part0",
    "web_usgov_publicdomain",
    "academic_openstax_ccby",
    "docs_python_rst",
    "books_standardebooks",
)
ROUNDS = 3


def labelled_pages(path: Path) -> list[str]:
    texts = []
    with path.open("rb") as file:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response):
            body = record.reader.read()
            html = bytes_to_str(body, detect_encoding(body))
            texts.append(normalise(extract_plain_text(html, main_content=True)))
    return texts


def corpus_texts(folder: Path, number: int) -> list[str]:
    texts = []
    for name in OTHERS:
        with lzma.open(folder / f"{name}.jsonl.xz", "rt", encoding="utf-8") as file:
            texts += [normalise(json.loads(line)["text"]) for line in islice(file, number // len(OTHERS))]
    return texts


def decide(rules: list[Judgement], scores: list[Any], columns: list[str]) -> list[Any]:
    """[kept, group, the rule's reason] by the first rule that removes the document."""
    by_column = dict(zip(columns, scores, strict=True))
    for rule in rules:
        check = rule.check(by_column[rule.column])
        if not check.passed:
            return [False, rule.group.name, f"{rule.rule.name}: {check.reason}"]
    return [True, "", ""]


def run_ours(texts: list[str], steps: tuple[str, ...], splitter: str) -> tuple[float, list[list[Any]]]:
    """Processor seconds, and what `compare` wants of each document: kept, group, reason, text."""
    config = CurateConfig(steps=steps, words=splitter)
    best, decisions = float("inf"), []
    columns, rules = [name for name, _ in score_columns(config)], judgements(config)
    facts = {"domain": "web"}
    for _ in range(ROUNDS):
        words.INNER.clear()
        chain = Chain(config)
        start = time.process_time()
        examined = [chain.examine(text, facts) for text in texts]
        best = min(best, time.process_time() - start)
    for text, found in zip(texts, examined, strict=True):
        verdict = decide(rules, found.scores, columns) if text else [False, "", "empty"]
        decisions.append([*verdict, found.text])
    return best, decisions


def run_peer(python: Path, texts: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.jsonl"
        path.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
        script = Path(__file__).with_name("datatrove_peer.py")
        done = subprocess.run([python, script, path], capture_output=True, check=True, timeout=3600)
    return json.loads(done.stdout)


def compare(ours: list[list[Any]], theirs: list[list[Any]], names: list[str]) -> dict[str, Any]:
    """How many decisions are the same, and each that is not with both reasons; kept documents' texts as well."""
    differences, other_texts = [], []
    for name, mine, other in zip(names, ours, theirs, strict=True):
        if mine[0] != other[0]:
            differences.append({"document": name, "seedbed": mine[:3], "datatrove": other[:3]})
        elif mine[0] and mine[3] != other[3]:
            other_texts.append(name)
    return {
        "documents": len(ours),
        "kept": sum(other[0] for other in theirs),
        "same_decision": round(1 - len(differences) / len(ours), 5),
        "differences": differences,
        "kept_with_other_text": other_texts,
    }


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", type=Path, required=True, help="Python of an environment with datatrove")
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--others", type=int, default=1000, help="documents of the corpus")
    parser.add_argument("--pages", type=int, default=None, help="only the first pages")
    options = parser.parse_args()
    load_before = round(os.getloadavg()[0], 2)
    pages = labelled_pages(options.data / "crawl" / "labelled_pages" / "trafilatura_eval.warc.gz")[: options.pages]
    texts = [*pages, *corpus_texts(options.data / "corpus", options.others)]
    names = [f"page {n}" if n < len(pages) else f"corpus {n - len(pages)}" for n in range(len(texts))]
    peer = run_peer(options.peer_python, texts)

    machine = describe()
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {name: machine[name] for name in ("cpu", "cores", "os", "python")},
        "peer": peer["versions"],
        "load_before": load_before,
        "documents": len(texts),
        "pages": len(pages),
        "megabytes": round(sum(len(text.encode()) for text in texts) / 1e6, 1),
        "speed": {},
        "pages_same": {},
        "corpus_same": {},
    }
    for name in (*STEPS, "chain"):
        steps = STEPS if name == "chain" else (name,)
        seconds, ours = run_ours(texts, steps, "datatrove")
        plain_seconds, _ = run_ours(texts, steps, "unicode")
        theirs = peer["filters"][name]
        result["speed"][name] = {
            "datatrove_documents_per_s": round(len(texts) / theirs["seconds"], 1),
            "seedbed_documents_per_s": round(len(texts) / seconds, 1),
            "seedbed_documents_per_s_unicode_words": round(len(texts) / plain_seconds, 1),
            "times": round(theirs["seconds"] / seconds, 1),
            "times_unicode_words": round(theirs["seconds"] / plain_seconds, 1),
        }
        split = len(pages)
        result["pages_same"][name] = compare(ours[:split], theirs["decisions"][:split], names[:split])
        result["corpus_same"][name] = compare(ours[split:], theirs["decisions"][split:], names[split:])
        print(name, json.dumps(result["speed"][name]))
        for part in ("pages_same", "corpus_same"):
            print("  ", part, json.dumps(result[part][name])[:2000])
    path = Path(__file__).with_name("results") / "curation_rules.json"
    write_json(path, result)
    print(path)


if __name__ == "__main__":
    main()
