"""Main text of labelled pages: Seedbed's fast and careful options beside trafilatura and jusText, in one run.

python bench/extraction.py [--data FOLDER] [--pages N]      default: shared/data/crawl/labelled_pages beside the repository

The pages are those of trafilatura's evaluation: each has strings that its main text must hold (`with`) and must not
(`without`). accuracy = (held + not held) / all strings; the pages of even and odd number are also scored apart, because
the bounds of the fast option were chosen on the even ones. Speed: pages per second of one processor's time, each on the
same decoded HTML; `fast, whole` starts from bytes and finds encoding, title, date, licence and signals as well. Result:
bench/results/extraction.json.
"""

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from fastwarc.warc import ArchiveIterator, WarcRecordType

from seedbed.corpus.extract.child import read_page
from seedbed.corpus.extract.encoding import decode, find_encoding
from seedbed.corpus.extract.main_text import careful_text, fast_text
from seedbed.files import write_json
from seedbed.run.machine import describe

WARM_UP = 20


def read_pages(folder: Path, most: int | None) -> list[tuple[bytes, dict[str, list[str]]]]:
    """(HTML, labels) of each page, in the order of the file."""
    labels = {entry["file"]: entry for entry in json.loads((folder / "evaldata.json").read_text()).values()}
    pages = []
    records = ArchiveIterator(str(folder / "trafilatura_eval.warc.gz"), record_types=WarcRecordType.response)
    for record in records:
        entry = labels[record.headers.get("X-Source-File")]
        strings = {key: [text for text in entry.get(key) or [] if text] for key in ("with", "without")}
        pages.append((record.reader.read(), strings))
        if len(pages) == most:
            break
    return pages


def fast(html: str) -> str:
    from resiliparse.parse.html import HTMLTree

    return fast_text(HTMLTree.parse(html))


def resiliparse_alone(html: str) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(html, main_content=True))


def trafilatura_default(html: str) -> str:
    import trafilatura

    return trafilatura.extract(html) or ""


def justext_text(html: str) -> str:
    """jusText with its stop words of the pages' two main languages; with the English ones alone it finds 13% of the strings."""
    import justext

    try:
        words = justext.get_stoplist("English") | justext.get_stoplist("German")
        paragraphs = justext.justext(html.encode(), words, encoding="utf-8")
    except Exception:  # an empty document is an error of lxml
        return ""
    return "\n".join(paragraph.text for paragraph in paragraphs if not paragraph.is_boilerplate)


def score(texts: list[str], labels: list[dict[str, list[str]]]) -> dict[str, float]:
    held = missed = leaked = clean = 0
    for text, strings in zip(texts, labels, strict=True):
        here = sum(wanted in text for wanted in strings["with"])
        held, missed = held + here, missed + len(strings["with"]) - here
        here = sum(unwanted in text for unwanted in strings["without"])
        leaked, clean = leaked + here, clean + len(strings["without"]) - here
    precision, recall = held / max(1, held + leaked), held / max(1, held + missed)
    return {
        "accuracy": round((held + clean) / (held + missed + leaked + clean), 4),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(2 * precision * recall / max(1e-9, precision + recall), 4),
    }


def measure(name: str, work: Callable[[Any], str], inputs: list[Any], labels: list[dict[str, list[str]]]) -> Any:
    for item in inputs[:WARM_UP]:
        work(item)
    start = time.process_time()
    texts = [work(item) for item in inputs]
    rate = len(inputs) / (time.process_time() - start)
    halves = {half: score(texts[n::2], labels[n::2])["accuracy"] for n, half in ((0, "even"), (1, "odd"))}
    row = {"name": name, **score(texts, labels), **{f"accuracy_{half}": value for half, value in halves.items()}}
    row["pages_per_second"] = round(rate, 1)
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "crawl" / "labelled_pages"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--pages", type=int)
    options = parser.parse_args()
    pages = read_pages(options.data, options.pages)
    labels = [strings for _, strings in pages]
    data = [page for page, _ in pages]
    html = [decode(page, find_encoding(page))[0] for page in data]
    rows = [
        measure("seedbed fast", fast, html, labels),
        measure("seedbed fast, whole", lambda page: read_page(page, "fast").text, data, labels),
        measure("resiliparse main_content", resiliparse_alone, html, labels),
        measure("seedbed careful", careful_text, html, labels),
        measure("trafilatura", trafilatura_default, html, labels),
        measure("jusText", justext_text, html, labels),
    ]
    rates = {row["name"]: row["pages_per_second"] for row in rows}
    machine = describe()
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {name: machine[name] for name in ("cpu", "cores", "os", "python")},
        "packages": {name: metadata.version(name) for name in ("resiliparse", "trafilatura", "justext", "lxml")},
        "pages": len(pages),
        "rows": rows,
        "fast_over_trafilatura": round(rates["seedbed fast"] / rates["trafilatura"], 1),
        "fast_whole_over_trafilatura": round(rates["seedbed fast, whole"] / rates["trafilatura"], 1),
    }
    write_json(Path(__file__).parent / "results" / "extraction.json", result)


if __name__ == "__main__":
    main()
