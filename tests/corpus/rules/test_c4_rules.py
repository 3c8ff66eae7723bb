"""C4's rules: lines by hand, and the text that is left equal to a plain definition's."""

import itertools
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus import english, words
from seedbed.corpus.chain import apply_spans
from seedbed.corpus.rules.c4 import C4, C4_GROUP
from seedbed.corpus.view import TextView
from seedbed.recipe.curation import C4Rules

PIECES = [
    "a b",
    "c d. ",
    "E f g.",
    "x y z ",
    "\n",
    "\n\n",
    "[12]",
    "[edit]",
    " ",
    "...",
    "{",
    "javascript",
    "java[1]script",
]
PIECES += ["Use cookies ", "lorem ipsum ", "\t", "\u00a0", '"', "!", "?) ", "“Yes.” ", ". . ", "W" * 30 + " ", "e.g. "]
PAGES = st.one_of(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.text(max_size=80))
SECTIONS = st.builds(
    C4Rules,
    terminal_punctuation=st.booleans(),
    min_words_per_line=st.sampled_from([None, 1, 3]),
    max_word_characters=st.sampled_from([None, 20]),
    cut_citations=st.booleans(),
    cut_javascript=st.booleans(),
    cut_policy=st.booleans(),
)


def run(text: str, section: C4Rules | None = None, splitter: str = "datatrove") -> tuple[dict[str, float], str]:
    values, spans = C4(section or C4Rules()).examine(TextView(text, splitter), {})
    return dict(zip([score.name for score in C4_GROUP.scores], values, strict=True)), apply_spans(text, spans)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("One line stays.\nno end here\nTwo words.\nThis one stays too!", "One line stays.\nThis one stays too!"),
        ("It trails off...\nIt does not trail.", "It does not trail."),
        ("A fact was stated.[12] Another[edit] one.", "A fact was stated. Another one."),
        ("Please enable JavaScript now.\nThe text is here.", "The text is here."),
        ("We use cookies on this site.\nThe text is here.", "The text is here."),
        ("The first is this.\n\n\n  The second is that.  \n", "The first is this.\nThe second is that."),
        ("Long " + "x" * 1001 + " word here.\nThe text is here.", "The text is here."),
        ("nothing", ""),
    ],
)
def test_lines_that_stay(text: str, left: str) -> None:
    assert run(text)[1] == left


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("sentences", "One is here. Two is here! Is three here?", 3),
        ("sentences", "Dr. Who is e.g. here.\nHe said: “Go on.” So I did.", 3),
        ("sentences", "This counts once.\nthis does not", 1),
        ("lorem_ipsum", "A lorem ipsum stands here.\nA Lorem Ipsum again here.", 2),
        ("lorem_ipsum", "lorem ipsum without an end", 0),  # the line is cut before it is read
        ("curly_brackets", "A { stands here.\nJavaScript has a { here.", 1),
        ("removed_lines", "This is one line.\nno\nno\nThis is another line.", 0.5),
    ],
)
def test_scores(name: str, text: str, expected: float) -> None:
    assert run(text)[0][name] == expected


def plain_c4(text: str, section: C4Rules, splitter: str) -> tuple[list[int], str]:
    """datatrove 0.10's C4QualityFilter, going on where that one has already removed the document."""
    sentences = lorem = curly = 0
    kept = []
    for line in map(str.strip, text.splitlines()):
        chunks = line.split()
        if section.max_word_characters and any(len(chunk) > section.max_word_characters for chunk in chunks):
            continue
        if section.cut_citations:
            line = re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line)
        if section.terminal_punctuation and (not line.endswith((".", "?", "!", '"', "'")) or line.endswith("...")):
            continue
        if section.min_words_per_line and len(chunks) < section.min_words_per_line:
            continue
        lowered = line.lower()
        lorem += "lorem ipsum" in lowered
        if section.cut_javascript and "javascript" in lowered:
            continue
        curly += "{" in line
        phrases = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
        if section.cut_policy and any(phrase in lowered for phrase in phrases):
            continue
        sentences += plain_sentences(line, splitter)
        kept.append(line)
    return [sentences, lorem, curly], "\n".join(kept).strip()


def plain_sentences(line: str, splitter: str) -> int:
    """spaCy's Sentencizer: a token that is no punctuation begins a sentence if an end came before it."""
    tokens: list[str] = []
    for place, run_ in enumerate("".join(group) for _, group in itertools.groupby(line, str.isspace)):
        if not run_.isspace():
            tokens += TextView(run_, splitter).words
        elif space := run_ if place == 0 else run_.removeprefix(" "):
            tokens.append(space)
    count, ended = 1, False
    for token in tokens:
        if token in english.tables().sentence_ends:
            ended = True
        elif ended and not all(unicodedata.category(sign)[0] == "P" for sign in token):
            count, ended = count + 1, False
    return count


@settings(deadline=None, max_examples=300)
@given(PAGES, SECTIONS, st.sampled_from(["datatrove", "unicode"]))
def test_scores_and_text_are_the_plain_definition(text: str, section: C4Rules, splitter: str) -> None:
    text = "\n".join(text.splitlines())  # as normalise leaves it
    found, left = run(text, section, splitter)
    assert (list(found.values())[:3], left) == plain_c4(text, section, splitter)


@settings(deadline=None)
@given(PAGES, SECTIONS, st.sampled_from(sorted(words.SPLITTERS)))
def test_edits_only_cut(text: str, section: C4Rules, splitter: str) -> None:
    values, spans = C4(section).examine(TextView(text, splitter), {})
    assert all(span.replacement == "" and span.start < span.end for span in spans)
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
    assert all(value >= 0 for value in values)


def test_white_space_words_count_sentences_too() -> None:
    assert run("One is here. Two is here! Is three?", splitter="white-space")[0]["sentences"] == 3


def test_spans_show_where() -> None:
    text = "A { stands here."
    spans = C4(C4Rules()).explain(TextView(text), {}, "max_curly_brackets")
    assert [text[span.start : span.end] for span in spans] == ["{"]
