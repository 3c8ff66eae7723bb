"""StarCoder's rules for files of code (Li et al. 2023, section 3; bigcode-dataset, preprocessing/filtering.py).

A document's language is its domain after "code:". A score that its language has no use for is NaN and fails no rule:
comments are judged in Python, Java and JavaScript, text in HTML, size in JSON and YAML, characters per token in the three
languages the thresholds were published for, and only when the recipe names a tokenizer.
"""

import math
import re
from pathlib import Path
from typing import Any

from seedbed.corpus.rules.comments import LANGUAGES, find_comments, visible_text
from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.view import TextView
from seedbed.errors import InputError
from seedbed.files import sha256_file
from seedbed.recipe.curation import CodeRules, CurateConfig

DATA = ("json", "yaml")
XML_SIGN, XML_WITHIN = "<?xml version=", 100


class Code:
    def __init__(self, section: CodeRules) -> None:
        self.encode = load_tokenizer(section.tokenizer) if section.tokenizer else None

    def examine(self, view: TextView, facts: Facts) -> tuple[list[float], list[Span]]:
        text, language = view.text, facts["domain"].removeprefix("code:")
        lengths = list(map(len, view.lines))
        page = visible_text(text) if language == "html" else ""
        comments = (
            sum(end - start for start, end in find_comments(text, language)) / len(text)
            if language in LANGUAGES and text
            else math.nan
        )
        per_token = len(text) / max(1, self.encode(text)) if self.encode and language in LANGUAGES else math.nan
        return [
            max(lengths, default=0),
            sum(lengths) / len(lengths) if lengths else math.nan,
            alphanumeric(view) / len(text) if text else math.nan,
            comments,
            float(XML_SIGN in text[:XML_WITHIN]),
            len(page) / len(text) if language == "html" and text else math.nan,
            len(page) if language == "html" else math.nan,
            len(text) if language in DATA else math.nan,
            *(per_token if language == name else math.nan for name in LANGUAGES),
        ], []

    def explain(self, view: TextView, facts: Facts, rule: str) -> list[Span]:
        language = facts["domain"].removeprefix("code:")
        if rule == "comments" and language in LANGUAGES:
            return [Span(start, end, "comment") for start, end in find_comments(view.text, language)]
        if rule == "max_longest_line":
            number = max(range(len(view.lines)), key=lambda n: len(view.lines[n]))
            start = view.line_starts[number]
            return [Span(start, start + len(view.lines[number]), "longest line")]
        if rule == "max_xml":
            return [Span(*match.span(), "sign") for match in re.finditer(re.escape(XML_SIGN), view.text[:XML_WITHIN])]
        return []


def alphanumeric(view: TextView) -> int:
    if view.text.isascii():
        return view.classes["L"] + view.classes["N"]
    return sum(map(str.isalnum, view.text))


def tokenizer_path(path: str) -> Path:
    if not Path(path).is_file():
        raise InputError(f"curate.code.tokenizer: no file {path}: name a tokenizer.json, or leave it out")
    return Path(path)


def load_tokenizer(path: str) -> Any:
    """A function from a text to its number of tokens."""
    from seedbed.tokens.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(tokenizer_path(path))
    return lambda text: len(tokenizer.encode(text))


def reads(section: CodeRules) -> str | None:
    """The tokenizer's file takes part in the scores."""
    return sha256_file(tokenizer_path(section.tokenizer)) if section.tokenizer else None


def start(section: Any, config: CurateConfig) -> Code:
    return Code(section)


CODE = Group(
    name="code",
    version=1,
    scores=(
        Score("longest_line", "number of characters in the longest line"),
        Score("mean_line", "mean number of characters in a line"),
        Score("alphanumeric", "share of letters and digits among characters"),
        Score("comments", "share of characters in comments"),
        Score("xml", "number of XML declarations at the beginning"),
        Score("html_text", "share of visible text among the page's characters"),
        Score("html_characters", "number of characters of visible text"),
        Score("data_characters", "number of characters of data"),
        *(Score(f"{name}_characters_per_token", "number of characters per token") for name in LANGUAGES),
    ),
    rules=(
        Rule("max_longest_line", "longest_line", "at most"),
        Rule("max_mean_line", "mean_line", "at most"),
        Rule("min_alphanumeric", "alphanumeric", "at least"),
        Rule("comments", "comments", "between"),
        Rule("max_xml", "xml", "at most"),
        Rule("min_html_text", "html_text", "at least"),
        Rule("min_html_characters", "html_characters", "at least"),
        Rule("data_characters", "data_characters", "between"),
        *(Rule(f"min_{name}_characters_per_token", f"{name}_characters_per_token", "at least") for name in LANGUAGES),
    ),
    start=start,
    applies="code",
    reads=reads,
)
