"""datatrove's filters on the documents of a JSONL file: decisions, tokens and processor seconds, as JSON on stdout.

Run by bench/curation_rules.py with the Python of an environment that has datatrove[processing], spacy and nltk.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.text import split_into_parts, split_into_words

FILTERS = {
    "gopher_repetition": GopherRepetitionFilter,
    "gopher_quality": GopherQualityFilter,
    "c4": C4QualityFilter,
    "fineweb": FineWebQualityFilter,
}


def judge(filters: list, text: str) -> list:
    """[kept, filter that removed it, reason]; what the kept document's text has become is kept in the document."""
    document = Document(text=text, id="")
    for name, step in filters:
        try:
            result = step.filter(document)
        except ZeroDivisionError:
            return [False, name, "division by zero", document.text]
        if result is not True:
            return [False, name, result[1] if isinstance(result, tuple) else "", document.text]
    return [True, "", "", document.text]


def main() -> None:
    with Path(sys.argv[1]).open(encoding="utf-8") as file:
        texts = [json.loads(line) for line in file]
    split_into_words("Loads the tables.")
    result: dict = {"versions": {name: version(name) for name in ("datatrove", "spacy")}, "filters": {}}
    filters = [(name, make()) for name, make in FILTERS.items()]
    for name, steps in [*((name, [(name, step)]) for name, step in filters), ("chain", filters)]:
        split_into_parts.cache_clear()
        start = time.process_time()
        decisions = [judge(steps, text) for text in texts]
        result["filters"][name] = {"seconds": time.process_time() - start, "decisions": decisions}
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
