"""An evaluation item: what is asked, what is answered, and whatever other text it has, by the names of its fields."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seedbed.corpus import normalise
from seedbed.corpus.decontaminate.words import words_of
from seedbed.corpus.records import well_formed

VERSION = 2  # enters the key of every index
# Fields by name, in the order in which they stand in a prompt. Any other text of an item is looked for by itself.
QUESTIONS = ("passage", "context", "ctx", "premise", "prompt", "query", "question", "question_stem", "problem", "goal",
             "sentence", "text", "input")  # fmt: skip
QUESTION_CHOICES = ("context_options",)
CHOICES = ("choices", "options", "endings")
ONE_CHOICE = re.compile(r"(?:choice|option|ending|sol|answer)_?([0-9A-E])")  # choice1, option2, ending3, sol1, answerA
CHOSEN = ("gold", "label", "answer_index", "answerKey", "answer")
ANSWERS = ("continuation", "canonical_solution", "chain_of_thought", "solution", "answer", "target", "output")
KNOWN = {*QUESTIONS, *QUESTION_CHOICES}
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


def item_of(number: int, record: Mapping[str, Any]) -> Item | None:
    """The texts of a record by its fields' names; None if it has no text."""
    left = dict(record)
    question = [text for name in QUESTIONS if (text := take_text(left, name))]
    answer: list[str] = []
    others: list[str] = []
    for names, into in ((QUESTION_CHOICES, question), (CHOICES, answer)):
        for name in names:
            sort_options(list_options(left.pop(name, None)), left, into, others)
    separate = [(found[1], name) for name in left if (found := ONE_CHOICE.fullmatch(name))]
    options = [(label, text) for label, name in sorted(separate) if (text := take_text(left, name))]
    sort_options(options, left, answer, others)
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


Options = list[tuple[str, str]]  # label and text, in order


def list_options(value: Any) -> Options:
    """Options by number, or by their labels in {"label": [...], "text": [...]}."""
    if isinstance(value, dict) and isinstance(value.get("text"), list) and isinstance(value.get("label"), list):
        return [
            (str(label), text)
            for label, text in zip(value["label"], value["text"], strict=False)
            if isinstance(text, str)
        ]
    return [(str(number), text) for number, text in enumerate(texts_in(value))]


def sort_options(options: Options, record: dict[str, Any], right: list[str], others: list[str]) -> None:
    """The option that the record says is right goes to `right`, the rest to `others`."""
    places = {name: place_of(record.get(name), options) for name in CHOSEN}
    name, chosen = next(((name, at) for name, at in places.items() if at is not None), ("", None))
    for at, (_, text) in enumerate(options):
        (right if at == chosen else others).append(text)
    if chosen is not None:
        del record[name]  # a label is no text


def place_of(value: Any, options: Options) -> int | None:
    """The place of an option by its label, or by a number from 0, or a letter from A."""
    if isinstance(value, str):
        labels = [label for label, _ in options]
        if value in labels:
            return labels.index(value)
        value = ord(value) - ord("A") if len(value) == 1 and "A" <= value <= "Z" else None
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(options)
    return value if known else None


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
