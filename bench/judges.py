"""Languages, block lists, toxicity and a classifier on real text: accuracy where there is truth, and speed a core.

python bench/judges.py [--data DIR]

Pages: the labelled pages' WARC, extracted by resiliparse. Language: every way of sampling a page against the `lang` of its
HTML and against the whole text, and how many pages FineWeb's rule (English, 0.65) judges otherwise than by the whole text.
Block lists: 300,000 made hosts. Toxicity: 200 documents a source. Classifier: textbook sections against raw English pages.
Result: bench/results/judges.json.
"""

import argparse
import json
import lzma
import os
import random
import re
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.corpus.classifier.train import Training, train_classifier
from seedbed.corpus.fasttext_models import FastText, language_model_path
from seedbed.corpus.rules import language as language_rules
from seedbed.corpus.rules.blocklists import load_lists, parse_url
from seedbed.corpus.rules.language import Language, lower_capitals, sample
from seedbed.corpus.rules.policy import licence_label
from seedbed.corpus.rules.toxicity import Toxicity
from seedbed.corpus.rules.url import word_match
from seedbed.corpus.view import TextView
from seedbed.files import write_json
from seedbed.recipe.schema import SourceConfig
from seedbed.run.machine import describe

LANG = re.compile(r"<html[^>]*?\slang\s*=\s*[\"']?([A-Za-z]{2})", re.IGNORECASE)
MIN_CHARACTERS = 200  # shorter pages say too little to be measured by
SOURCES = (
    "academic_openstax_ccby",
    "wikipedia_en_2015_part0",
    "books_standardebooks",
    "web_usgov_publicdomain",
    "docs_python_rst",
    "code_python_permissive",
)


def read_pages(data: Path) -> list[dict[str, str]]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import detect_encoding

    pages = []
    with (data / "crawl" / "labelled_pages" / "trafilatura_eval.warc.gz").open("rb") as file:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True):
            body = record.reader.read()
            html = body.decode(record.http_charset or detect_encoding(body) or "utf-8", "replace")
            said = LANG.search(html[:20_000])
            pages.append(
                {
                    "url": record.headers.get("WARC-Target-URI") or "",
                    "lang": said[1].lower() if said else "",
                    "main": extract_plain_text(html, main_content=True),
                    "raw": extract_plain_text(html, main_content=False),
                }
            )
    return pages


def read_texts(data: Path, name: str, count: int) -> list[str]:
    with lzma.open(data / "corpus" / f"{name}.jsonl.xz", "rt", encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in islice(file, count)]


def timed(function: Callable[[Any], Any], items: list[Any]) -> tuple[list[Any], float]:
    """(results, items a processor second)."""
    start = time.process_time()
    found = [function(item) for item in items]
    return found, len(items) / (time.process_time() - start)


def sampled(text: str, characters: int | None, places: int) -> str:
    if characters is None or places == language_rules.PLACES:
        return sample(text, characters)
    return lower_capitals(text[:characters])


def bench_language(pages: list[dict[str, str]]) -> list[dict[str, Any]]:
    model = FastText(language_model_path())
    pages = [page for page in pages if len(page["main"]) >= MIN_CHARACTERS]
    rows: list[dict[str, Any]] = []
    whole: list[tuple[str, float]] = []
    for characters, places in [(None, 1), (80, 1), (500, 1), (1000, 1), (500, 8), (1000, 8), (2000, 8), (4000, 8)]:

        def detect(
            page: dict[str, str], characters: int | None = characters, places: int = places
        ) -> tuple[str, float]:
            return (model.predict(sampled(page["main"], characters, places)) or [("", 0.0)])[0]

        found, rate = timed(detect, pages)
        whole = whole or found
        known = [(page["lang"], label) for page, (label, _) in zip(pages, found, strict=True) if page["lang"]]
        rows.append(
            {
                "characters": characters,
                "places": places,
                "pages": len(pages),
                "as_html_says": round(np.mean([said == label for said, label in known]), 4),
                "other_than_whole_text": sum(a[0] != b[0] for a, b in zip(found, whole, strict=True)),
                "other_by_fineweb_rule": sum(english(a) != english(b) for a, b in zip(found, whole, strict=True)),
                "pages_per_s": round(rate),
            }
        )
    return rows


def english(found: tuple[str, float]) -> bool:
    return found[0] == "en" and found[1] >= 0.65


def bench_url(pages: list[dict[str, str]], folder: Path) -> dict[str, Any]:
    draw = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    hosts = [
        "".join(draw.choices(letters, k=draw.randint(4, 18))) + draw.choice((".com", ".net", ".co.uk"))
        for _ in range(300_000)
    ]
    (folder / "hosts.txt").write_text("\n".join(hosts))
    start = time.process_time()
    lists = load_lists([str(folder / "hosts.txt")])
    loading = time.process_time() - start
    addresses, parsed = timed(parse_url, [page["url"] for page in pages])
    _, found = timed(lists.find, addresses)
    matches, words = timed(word_match, addresses)
    _, licences = timed(licence_label, ["CC BY-SA 4.0", "", "MIT OR Apache-2.0", "All rights reserved"] * 500)
    return {
        "lines_loaded_per_s": round(len(hosts) / loading),
        "bytes_per_entry": lists.num_bytes / len(lists),
        "urls_parsed_per_s": round(parsed),
        "urls_looked_up_per_s": round(found),
        "urls_by_words_per_s": round(words),
        "labelled_pages_refused_by_words": sum(map(bool, matches)),
        "licences_per_s": round(licences),
    }


def bench_toxicity(data: Path, pages: list[dict[str, str]]) -> dict[str, Any]:
    worker = Toxicity(Language(1000))
    rows = {}
    for name in (*SOURCES, "labelled pages"):
        texts = [page["main"] for page in pages] if name == "labelled pages" else read_texts(data, name, 200)
        found, rate = timed(lambda text: worker.examine(TextView(text), {})[0], texts)
        shares = np.array([share for share, _ in found if share == share])
        rows[name] = {
            "documents": len(texts),
            "english": len(shares),
            "mean_share": round(float(shares.mean()), 4),
            "highest_share": round(float(shares.max()), 3),
            "removed_at_0.3": int((shares > 0.3).sum()),
            "mb_per_s": round(sum(map(len, texts)) * rate / len(texts) / 1e6, 1),
        }
    return rows


def bench_classifier(data: Path, pages: list[dict[str, str]], folder: Path) -> dict[str, Any]:
    language = Language(1000)
    with (folder / "pages.jsonl").open("w") as file:
        for page in pages:
            if language.detect(page["raw"])[0] == "en":
                file.write(json.dumps({"text": page["raw"]}) + "\n")
    good = SourceConfig(path=str(data / "corpus" / "academic_openstax_ccby.jsonl.xz"), max_bytes=6_000_000)
    start = time.process_time()
    card = train_classifier(
        [good], [SourceConfig(path=str(folder / "pages.jsonl"))], folder / "model", Training(held_out=0.3)
    )
    return {
        "seconds": round(time.process_time() - start, 1),
        "model_mb": round((folder / "model" / "model.bin").stat().st_size / 1e6, 1),
        "documents": card["documents"],
        "held_out": card["held_out"],
        "chosen": card["chosen"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    pages = read_pages(options.data)
    machine = describe()
    with tempfile.TemporaryDirectory() as folder:
        result = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": {name: machine[name] for name in ("cpu", "cores", "os", "python")},
            "load_before": round(load_before, 2),
            "language": bench_language(pages),
            "url_and_policy": bench_url(pages, Path(folder)),
            "toxicity": bench_toxicity(options.data, pages),
            "classifier": bench_classifier(options.data, pages, Path(folder)),
        }
    write_json(Path(__file__).parent / "results" / "judges.json", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
