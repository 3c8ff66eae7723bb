"""C4's rules (Raffel et al. 2020, section 2.2), in the order of datatrove's C4QualityFilter: lines are cut one by one,
and what is left of the document is judged.

A line goes when a word is too long, when it does not end as a sentence does, has too few words, or speaks of JavaScript
or a cookie policy; citations such as [3] are cut out of lines. Words are what white space parts. Not here: the list of
bad words (a rule of its own) and the three-sentence spans that the paper deduplicates by.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np

from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.view import TextView
from seedbed.corpus.words import SENTENCE_END, SPACE, SPOKEN, places_of
from seedbed.recipe.curation import C4Rules, CurateConfig

CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
ENDS = (".", "?", "!", '"', "'")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
PHRASES = ("lorem ipsum", "javascript", *POLICY)
# White space that spaCy gives a token of its own, which may begin a sentence: all but single spaces within a line.
# It matters before signs and at a line's end.
TRICKY = re.compile(r"(?:  |[^\S \n])[^\S\n]*(?:[^\w\s]|_|$)", re.MULTILINE)
SINGLE, LINE_FEED = ord(" "), ord("\n")
SPACES = re.compile(r"\s+")


REASONS = ("", "long_word", "no_terminal_punctuation", "few_words", "javascript", "policy")
STAYS = 0
DOT = ord(".")
END_TABLE = np.array([chr(code) in ENDS for code in range(128)])


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
        text, raws, starts = view.text, view.lines, view.line_starts
        out = Lines([], [], [])
        if not raws:
            return out
        line_starts = np.array(starts)
        first, last = stripped(view, line_starts)
        reasons = self.judge_lines(view, first, last)
        cited: dict[int, list[tuple[int, int]]] = {}
        if self.section.cut_citations and "[" in text:
            for match in CITATION.finditer(text):
                cited.setdefault(bisect_right(starts, match.start()) - 1, []).append(match.span())
            for number in cited:
                reasons[number] = self.judge_cited(text[first[number] : last[number]])
        lowered = text.lower() if not cited else CITATION.sub("", text).lower()
        # Most documents hold none of these, and their lines need no look.
        if "{" in lowered or any(phrase in lowered for phrase in PHRASES):
            for number in places_of(reasons == STAYS).tolist():
                line = text[first[number] : last[number]]
                reasons[number] = self.judge_phrases(CITATION.sub("", line) if number in cited else line, out)
        kept = places_of(reasons == STAYS)
        tricky = self.find_tricky(view, first, last, kept)
        out.kept = [number for number in kept.tolist() if number not in tricky and number not in cited]
        for number in sorted(tricky | cited.keys()):
            if reasons[number] == STAYS:
                line = text[first[number] : last[number]]
                out.changed.append(CITATION.sub("", line) if number in cited else line)

        around = np.zeros(len(reasons) + 2, np.int8)
        around[1:-1] = reasons
        change = places_of(around[1:] != around[:-1])
        cuts = [
            (starts[a], starts[b], REASONS[why])
            for a, b, why in zip(change.tolist(), change[1:].tolist(), reasons[change[:-1]].tolist(), strict=False)
            if why != STAYS
        ]
        cuts += spaces_between(line_starts[kept], first[kept])
        cuts += spaces_between(last[kept], (line_starts[:-1] + np.fromiter(map(len, raws), np.int64, len(raws)))[kept])
        cuts += [(*span, "citation") for number in cited if reasons[number] == STAYS for span in cited[number]]
        cuts.sort()
        if len(kept) and last[kept[-1]] < len(text):  # nothing follows the last kept line
            end = int(last[kept[-1]])
            tail = [cut for cut in cuts if cut[0] >= end and cut[2] != "white_space"]
            cuts = [cut for cut in cuts if cut[0] < end]
            at = tail[0][0] if tail else len(text)
            cuts += [*([(end, at, "white_space")] if at > end else []), *tail]
        if any(reasons[number] == STAYS for number in cited) or (first[kept] == last[kept]).any():
            cuts = trim_ends(text, cuts)
        out.cuts = cuts
        return out

    def find_tricky(self, view: TextView, first: np.ndarray, last: np.ndarray, kept: np.ndarray) -> set[int]:
        """Those of the kept lines with white space that counts as a token."""
        places = places_of(view.bits & SPACE)
        spaces, text = view.codes[places], view.text
        other = (spaces != SINGLE) & (spaces != LINE_FEED)
        if "  " in text:
            other[:-1] |= (places[1:] == places[:-1] + 1) & (spaces[1:] == SINGLE)
        if not other.any():
            return set()
        seen = np.zeros(len(first), bool)
        seen[np.searchsorted(view.line_starts, places[other], "right") - 1] = True
        lines = kept[seen[kept]].tolist()
        return {number for number in lines if TRICKY.search(text[first[number] : last[number]])}

    def judge_lines(self, view: TextView, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Why each line goes, a place in REASONS, by its length and its end; int8 [lines]. first, last: of the line stripped."""
        section, codes, chunks = self.section, view.codes, view.line_chunks
        reasons = np.zeros(len(first), np.int8)
        if section.min_words_per_line is not None:
            reasons[chunks < section.min_words_per_line] = REASONS.index("few_words")
        if section.terminal_punctuation:
            open_end = first == last
            filled = places_of(~open_end)
            end = last[filled]
            closed = END_TABLE[np.minimum(codes[end - 1], 127)]
            dots = end - first[filled] > 2
            for back in (1, 2, 3):
                dots &= codes[np.maximum(end - back, 0)] == DOT
            open_end[filled] = ~closed | dots
            reasons[open_end] = REASONS.index("no_terminal_punctuation")
        longest = section.max_word_characters
        if longest is not None and (view.chunks[1] > longest).any():
            long = view.chunks[0][view.chunks[1] > longest]
            reasons[np.searchsorted(view.line_starts, long, "right") - 1] = REASONS.index("long_word")
        return reasons

    def judge_cited(self, line: str) -> int:
        """The same of one line, stripped, that holds citations: they are no part of its end."""
        section, chunks, bare = self.section, line.split(), CITATION.sub("", line)
        if section.max_word_characters is not None and max(map(len, chunks)) > section.max_word_characters:
            return REASONS.index("long_word")
        if section.terminal_punctuation and (not bare.endswith(ENDS) or bare.endswith("...")):
            return REASONS.index("no_terminal_punctuation")
        few = section.min_words_per_line is not None and len(chunks) < section.min_words_per_line
        return REASONS.index("few_words") if few else STAYS

    def judge_phrases(self, line: str, out: Lines) -> int:
        """Why the line goes; lorem ipsum and curly brackets count against the document."""
        lowered = line.lower()
        if "lorem ipsum" in lowered:
            out.lorem_ipsum += 1
        if self.section.cut_javascript and "javascript" in lowered:
            return REASONS.index("javascript")
        if "{" in line:
            out.curly_brackets += 1
        if self.section.cut_policy and any(phrase in lowered for phrase in POLICY):
            return REASONS.index("policy")
        return STAYS


def stripped(view: TextView, line_starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each line begins and ends without the white space around it, int64 [lines]; twice its start where it is empty."""
    starts, lengths = view.chunks
    first_chunk = np.searchsorted(starts, line_starts)
    first, last = line_starts[:-1].copy(), line_starts[:-1].copy()
    filled = first_chunk[1:] > first_chunk[:-1]
    first[filled] = starts[first_chunk[:-1][filled]]
    final = first_chunk[1:][filled] - 1
    last[filled] = starts[final] + lengths[final]
    return first, last


def spaces_between(starts: np.ndarray, ends: np.ndarray) -> list[tuple[int, int, str]]:
    some = ends > starts
    return [(a, b, "white_space") for a, b in zip(starts[some].tolist(), ends[some].tolist(), strict=True)]


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
    heard = places_of(bits)
    end = (bits[heard] & SENTENCE_END) != 0
    before = places_of(end[:-1] & ~end[1:])
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
