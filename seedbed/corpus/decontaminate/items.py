"""Evaluation sets as items: what is asked, what is answered, and whatever other text an item has.

Read are JSON lines (plain, .gz, .xz, .zst) and CSV of MMLU's six columns (question, four choices, letter). A set's name is
its file's name without endings, with the folder's where two are the same.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.corpus import normalise
from seedbed.corpus.decontaminate.words import words_of
from seedbed.corpus.records import strip_compression, well_formed
from seedbed.corpus.streams import BrokenStream, read_chunks, split_lines, to_utf8
from seedbed.errors import InputError

MAX_LINE = 16 << 20  # bytes of an item
VERSION = 1  # enters the key of every index
ENDINGS = (".jsonl", ".ndjson", ".csv")
# Fields by name, in the order in which they stand in a prompt. Any other text of an item is looked for by itself.
QUESTIONS = ("passage", "context", "ctx", "prompt", "query", "question", "problem", "goal", "input")
QUESTION_CHOICES = ("context_options",)
CHOICES = ("choices", "options", "endings")
CHOSEN = ("gold", "label", "answer_index")
ANSWERS = ("continuation", "canonical_solution", "chain_of_thought", "solution", "answer", "target", "output")
# The template of a prompt, which no text on the web shares: "Question: ...", "Answer:" at the start of a line.
LABEL = re.compile(
    r"^[ \t]*(?:question|passage|context|q|a|answer|choices|sentence|input|output|statement|problem|solution)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True)
class Item:
    """`main`: question and answer as words, the answer from `answer_start` on. `others`: other texts, each by itself."""

    number: int  # its line in the file, from 1
    main: list[str]
    answer_start: int
    others: list[list[str]]


def set_files(paths: tuple[str, ...]) -> dict[str, Path]:
    """Name -> file of every set in these files and folders. Raises InputError where there is none."""
    files: list[Path] = []
    for path in map(Path, paths):
        found = sorted(p for p in path.rglob("*") if is_set(p)) if path.is_dir() else [path]
        if not path.exists() or not found:
            what = "holds no .jsonl or .csv file" if path.exists() else "does not exist"
            raise InputError(
                f"curate.decontaminate: {path} {what}: name a file of evaluation items, or a folder of them"
            )
        files += found
    names: dict[str, Path] = {}
    stems = [strip_compression(path.name).rsplit(".", 1)[0] for path in files]
    for path, stem in zip(files, stems, strict=True):
        name = stem if stems.count(stem) == 1 else f"{path.parent.name}/{stem}"
        if name in names and names[name] != path:
            raise InputError(f"curate.decontaminate.sets: {names[name]} and {path} have one name: rename one of them")
        names[name] = path
    return names


def is_set(path: Path) -> bool:
    return path.is_file() and strip_compression(path.name.lower()).endswith(ENDINGS)


def read_items(path: Path) -> Iterator[Item]:
    """The items of one file. Raises InputError with the line where one cannot be read."""
    for number, record in read_records(path):
        item = item_of(number, record)
        if item is not None:
            yield item


def read_records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(number, record) of every line that is not blank, or of every row of CSV; both count from 1."""
    number = 0
    try:
        lines = read_lines(path)
        if strip_compression(path.name.lower()).endswith(".csv"):
            for number, row in enumerate(csv.reader(line.decode() + "\n" for line in lines), 1):
                yield number, mmlu_record(row)
            return
        for number, line in enumerate(lines, 1):
            if line.strip():
                record = json.loads(line.decode())
                if not isinstance(record, dict):
                    raise ValueError("expected a JSON object")
                yield number, record
    except (ValueError, RecursionError, csv.Error, BrokenStream, OSError) as error:
        detail = str(error) or type(error).__name__
        raise InputError(f"{path}: line {max(1, number)}: {detail}: give JSON lines, or CSV as MMLU has it") from None


def read_lines(path: Path) -> Iterator[bytes]:
    for _, line in split_lines(to_utf8(read_chunks(str(path), path.stat().st_size)), MAX_LINE):
        if isinstance(line, int):
            raise ValueError(f"{line:,} bytes, above {MAX_LINE:,}")
        yield line


def mmlu_record(row: list[str]) -> dict[str, Any]:
    """MMLU's files have no header: question, four choices, letter."""
    if len(row) != 6 or row[5].strip() not in ("A", "B", "C", "D"):
        raise ValueError(f"{len(row)} columns, expected question, four choices and a letter from A to D")
    return {"question": row[0], "choices": row[1:5], "gold": "ABCD".index(row[5].strip())}


def item_of(number: int, record: Mapping[str, Any]) -> Item | None:
    """The texts of a record by its fields' names; None if it has no text."""
    left = dict(record)
    chosen = next((left[name] for name in CHOSEN if is_index(left.get(name))), None)
    question = [text for name in QUESTIONS if (text := take_text(left, name))]
    answer: list[str] = []
    others: list[str] = []
    for names, into in ((QUESTION_CHOICES, question), (CHOICES, answer)):
        for name in names:
            options = texts_in(left.pop(name, None))
            if chosen is not None and chosen < len(options):
                into.append(options.pop(chosen))
            others += options
    answer += [text for name in ANSWERS if (text := take_text(left, name))]
    others += texts_in(list(left.values()))
    if not question and not answer:
        if not others:
            return None
        longest = max(others, key=len)
        others.remove(longest)
        question = [longest]
    asked, answered = item_words(question), item_words(answer)
    return Item(number, asked + answered, len(asked), [item_words([text]) for text in others])


def is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def take_text(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    return record.pop(name) if isinstance(value, str) else ""


def texts_in(value: Any) -> list[str]:
    """The strings in a value, lists within it included; those in objects too."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, dict):
        value = list(value.values())
    return [text for part in value for text in texts_in(part)] if isinstance(value, list) else []


def item_words(texts: list[str]) -> list[str]:
    return [word for text in texts for word in words_of(LABEL.sub("", normalise.normalise(well_formed(text))))]
