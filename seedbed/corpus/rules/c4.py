"""C4's rules (Raffel et al. 2020, section 2.2), in the order of datatrove's C4QualityFilter: lines are cut one by one,
and what is left of the document is judged.

A line goes when a word is too long, when it does not end as a sentence does, has too few words, or speaks of JavaScript
or a cookie policy; citations such as [3] are cut out of lines. Words are what white space parts. Not here: the list of
bad words (a rule of its own) and the three-sentence spans that the paper deduplicates by.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.view import TextView
from seedbed.corpus.words import SENTENCE_END, SPOKEN
from seedbed.recipe.curation import C4Rules, CurateConfig

CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
ENDS = (".", "?", "!", '"', "'")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
PHRASES = ("lorem ipsum", "javascript", *POLICY)
# White space that spaCy gives a token of its own, which may begin a sentence: all but single spaces within a line.
# It matters before signs and at a line's end.
OTHER_SPACES = ("  ", *map(chr, (9, 31, 160, 5760, *range(8192, 8203), 8239, 8287, 12288)))
TRICKY = re.compile(r"(?:  |[^\S \n])[^\S\n]*(?:[^\w\s]|_|$)", re.MULTILINE)
SPACES = re.compile(r"\s+")


@dataclass
class Lines:
    """`cuts`: (start, end, why) in order. `kept`: numbers of the kept lines that are as in the text, and the others' text."""

    cuts: list[tuple[int, int, str]]
    kept: list[int]
    changed: list[str]
    lorem_ipsum: int = 0
    curly_brackets: int = 0


class C4:
    def __init__(self, section: C4Rules) -> None:
        self.section = section

    def examine(self, view: TextView, facts: Facts) -> tuple[list[float], list[Span]]:
        lines = self.sort_lines(view)
        sentences = count_sentences(view, lines)
        removed = len(view.lines) - len(lines.kept) - len(lines.changed)
        scores: list[float] = [
            sentences,
            lines.lorem_ipsum,
            lines.curly_brackets,
            removed / len(view.lines) if view.lines else 0.0,
        ]
        return scores, [Span(start, end, why, "") for start, end, why in lines.cuts]

    def explain(self, view: TextView, facts: Facts, rule: str) -> list[Span]:
        signs = {"max_lorem_ipsum": "(?i)lorem ipsum", "max_curly_brackets": r"\{"}
        return [Span(*m.span(), "sign") for m in re.finditer(signs[rule], view.text)] if rule in signs else []

    def sort_lines(self, view: TextView) -> Lines:
        """Which lines stay, and what is cut. Without the cuts the text is its kept lines, stripped and joined."""
        section, text = self.section, view.text
        starts, min_words, longest = view.line_starts, section.min_words_per_line, section.max_word_characters
        citations = section.cut_citations and "[" in text
        bare = CITATION.sub("", text) if citations else text
        lowered = bare.lower()
        # Most documents hold none of these, and their lines need no look.
        suspect = "{" in bare or any(phrase in lowered for phrase in PHRASES)
        irregular = any(map(text.__contains__, OTHER_SPACES)) and TRICKY.search(text) is not None
        out = Lines([], [], [])
        last_end = -1  # where the last kept line ended, its line feed not counted
        last_cut = 0  # number of cuts then
        trim = False

        def cut(start: int, end: int, why: str) -> None:
            if out.cuts and out.cuts[-1][1] == start and out.cuts[-1][2] == why:
                start = out.cuts.pop()[0]
            out.cuts.append((start, end, why))

        for number, (raw, chunks) in enumerate(zip(view.lines, view.line_chunks.tolist(), strict=True)):
            start, after = starts[number], starts[number + 1]
            line = raw.strip()
            reason, found = "", False
            if longest is not None and len(line) > longest and max(map(len, line.split())) > longest:
                reason = "long_word"
            else:
                bare = line
                if citations and "[" in line:
                    bare = CITATION.sub("", line)
                    found = len(bare) < len(line)
                if section.terminal_punctuation and (not bare.endswith(ENDS) or bare.endswith("...")):
                    reason = "no_terminal_punctuation"
                elif min_words is not None and chunks < min_words:
                    reason = "few_words"
                elif suspect:
                    reason = self.judge_phrases(bare, out)
            if reason:
                cut(start, after, reason)
                continue
            if found or (irregular and TRICKY.search(line)):
                out.changed.append(bare)
            else:
                out.kept.append(number)
            at = start + (raw.index(line) if line else 0)
            if at > start:
                cut(start, at, "white_space")
            if found:
                for match in CITATION.finditer(text, at, at + len(line)):
                    cut(*match.span(), "citation")
            trim |= found or not line
            end = at + len(line)
            last_end, last_cut = end, len(out.cuts)
            if start + len(raw) > end:
                cut(end, start + len(raw), "white_space")
        if last_end >= 0 and last_end < len(text):  # nothing follows the last kept line
            tail = [piece for piece in out.cuts[last_cut:] if piece[2] != "white_space"]
            del out.cuts[last_cut:]
            at = tail[0][0] if tail else len(text)
            if at > last_end:
                cut(last_end, at, "white_space")
            out.cuts += tail
        if trim:
            out.cuts = trim_ends(text, out.cuts)
        return out

    def judge_phrases(self, line: str, out: Lines) -> str:
        """Why the line goes, "" if it stays; lorem ipsum and curly brackets count against the document."""
        lowered = line.lower()
        if "lorem ipsum" in lowered:
            out.lorem_ipsum += 1
        if self.section.cut_javascript and "javascript" in lowered:
            return "javascript"
        if "{" in line:
            out.curly_brackets += 1
        if self.section.cut_policy and any(phrase in lowered for phrase in POLICY):
            return "policy"
        return ""


def trim_ends(text: str, cuts: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """`cuts`, and white space that they leave at the ends of the text."""
    gaps, at = [], 0  # what the cuts leave
    for start, end, _ in [*cuts, (len(text), len(text), "")]:
        if start > at:
            gaps.append((at, start))
        at = end
    more: list[tuple[int, int, str]] = []
    for start, end in gaps:
        left = text[start:end].lstrip()
        if len(left) < end - start:
            more.append((start, end - len(left), "white_space"))
        if left:
            break
    done = more[-1][1] if more else 0
    for start, end in reversed(gaps):
        right = text[max(start, done) : end].rstrip()
        if len(right) < end - max(start, done):
            more.append((max(start, done) + len(right), end, "white_space"))
        if right or start < done:
            break
    return sorted([*cuts, *more])


def count_sentences(view: TextView, lines: Lines) -> int:
    """Sentences of the kept lines: one a line, and one more wherever a word follows an end, closing punctuation between."""
    splitter = "unicode" if view.splitter == "white-space" else view.splitter
    total = len(lines.kept) + len(lines.changed)
    if lines.kept:
        view = view if view.splitter == splitter else TextView(view.text, splitter)
        follows = starts_within(view)
        total += int(np.bincount(follows, minlength=len(view.lines))[lines.kept].sum()) if len(follows) else 0
    plain = [line for line in lines.changed if not TRICKY.search(line)]
    if plain:
        total += len(starts_within(TextView("\n".join(plain), splitter)))
    return total + sum(sentences_of_line(t, splitter) - 1 for t in lines.changed if TRICKY.search(t))


def starts_within(view: TextView) -> np.ndarray:
    """Of each sentence that begins within a line, the line's number."""
    bits = sounds(view)
    heard = np.flatnonzero(bits)
    end = (bits[heard] & SENTENCE_END) != 0
    before = np.flatnonzero(end[:-1] & ~end[1:])
    line = np.searchsorted(view.line_starts, view.word_starts[heard], "right") - 1
    return line[before[line[before] == line[before + 1]]]


def sounds(view: TextView) -> np.ndarray:
    """Of each word whether it ends a sentence or is more than punctuation, uint16 [words]; 0 is neither."""
    return view.word_bits & np.where(view.word_lengths == 1, SENTENCE_END | SPOKEN, SPOKEN).astype(np.uint16)


def sentences_of_line(line: str, splitter: str) -> int:
    """The same of one line, white space between its words included."""
    view = TextView(line, splitter)
    tokens = [*zip(view.word_starts.tolist(), sounds(view).tolist(), strict=True)]
    tokens += [(found.start(), SPOKEN) for found in SPACES.finditer(line) if found[0] != " " or not found.start()]
    count, ended = 1, False
    for _, bit in sorted(tokens):
        if bit & SENTENCE_END:
            ended = True
        elif ended and bit:
            count, ended = count + 1, False
    return count


def start(section: Any, config: CurateConfig) -> C4:
    return C4(section)


C4_GROUP = Group(
    name="c4",
    version=1,
    scores=(
        Score("sentences", "number of sentences in the lines that stay"),
        Score("lorem_ipsum", "number of lines with lorem ipsum"),
        Score("curly_brackets", "number of lines with a curly bracket"),
        Score("removed_lines", "share of lines removed"),
    ),
    rules=(
        Rule("min_sentences", "sentences", "at least"),
        Rule("max_lorem_ipsum", "lorem_ipsum", "at most"),
        Rule("max_curly_brackets", "curly_brackets", "at most"),
    ),
    start=start,
    applies="prose",
)
