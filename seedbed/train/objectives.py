"""Objectives: how windows of text become inputs and targets. Nothing else of training knows which one is at work.

    causal   targets are the inputs, one token later
    masked   15% of the tokens are hidden and asked where they stood; attention sees both ways   (Devlin et al. 2018)
    span     short spans move to the row's end, a sentinel in their place; next tokens are asked  (Raffel et al. 2020,
             in the decoder's form of Aghajanyan et al. 2022 and Fried et al. 2022)
    fim      documents are turned to prefix, suffix, middle; next tokens are asked                (Bavarian et al. 2022)

Every draw comes from a generator of (seed, purpose, step, row): a row is the same in any micro-batch and on any rank.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from seedbed.model.head_loss import IGNORED
from seedbed.recipe.objective import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, MASK, SpanShape, sentinel, span_shape
from seedbed.recipe.schema import Recipe
from seedbed.tokens.loader import PADDING
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.tokens.words import WordTable

Tokens = NDArray[np.int64]

MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1  # of the asked tokens; the rest stays as it is (Devlin et al. 2018, section 3.1)
MAX_WORD_BYTES = 64  # a longer word (encoded data) is cut between its tokens


class Asked(NamedTuple):
    """int64 [B, T] each: inputs, targets, and the numbers of the documents, None where the windows came without them."""

    inputs_BT: Tokens
    targets_BT: Tokens
    documents_BT: Tokens | None = None


class Objective(Protocol):
    @property
    def targets_per_row(self) -> int | None:
        """Targets of every row without padding or masks; None where rows differ and have to be counted."""

    def rows(self, windows_BW: Tokens, step: int, first_row: int, documents_BW: Tokens | None = None) -> Asked:
        """What rows `first_row` and on of the global batch of `step` ask. `documents_BW`: as in `tokens.loader.Rows`."""


def next_tokens(rows_BW: Tokens, documents_BW: Tokens | None, masks: bool) -> Asked:
    """Each token asked at the one before it, none of padding and, with `masks`, none of another document."""
    inputs_BT, targets_BT = np.ascontiguousarray(rows_BW[:, :-1]), np.ascontiguousarray(rows_BW[:, 1:])
    if documents_BW is None:
        return Asked(inputs_BT, targets_BT)
    before_BT, after_BT = documents_BW[:, :-1], documents_BW[:, 1:]
    unasked_BT = (after_BT == PADDING) | ((before_BT != after_BT) & masks)
    return Asked(inputs_BT, np.where(unasked_BT, IGNORED, targets_BT), np.ascontiguousarray(before_BT))


def generator(seed: int, purpose: str, step: int, row: int) -> np.random.Generator:
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}/{row}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


@dataclass(frozen=True)
class Causal:
    context: int
    masks: bool = False  # targets stay within a document

    @property
    def targets_per_row(self) -> int:
        return self.context

    def rows(self, windows_BW: Tokens, step: int, first_row: int, documents_BW: Tokens | None = None) -> Asked:
        return next_tokens(windows_BW, documents_BW, self.masks)


@dataclass(frozen=True)
class Masked:
    """Of a row's T tokens exactly round(`fraction` T) are asked, or with `words` as many whole words as fit into that.

    Padding does not count. Of the asked tokens 80% become the mask, 10% a random token and 10% stay. `is_ordinary_V`:
    which ids are no special token; these alone are drawn as random ones, and asked unless there are too few of them.
    """

    context: int
    seed: int
    fraction: float
    mask_id: int
    is_ordinary_V: NDArray[np.bool_]
    words: WordTable | None = None

    @cached_property
    def ordinary(self) -> Tokens:
        return np.flatnonzero(self.is_ordinary_V)

    def num_asked(self, tokens: int) -> int:
        """Of so many tokens."""
        return max(1, int(self.fraction * tokens + 0.5))

    @property
    def targets_per_row(self) -> int | None:
        return None if self.words else self.num_asked(self.context)

    def rows(self, windows_BW: Tokens, step: int, first_row: int, documents_BW: Tokens | None = None) -> Asked:
        inputs_BT = windows_BW[:, : self.context].copy()
        targets_BT = np.full_like(inputs_BT, IGNORED)
        documents_BT = None if documents_BW is None else np.ascontiguousarray(documents_BW[:, : self.context])
        for row, (inputs_T, targets_T) in enumerate(zip(inputs_BT, targets_BT, strict=True)):
            draw = generator(self.seed, "mask", step, first_row + row)
            real = self.context if documents_BT is None else int(np.count_nonzero(documents_BT[row] != PADDING))
            choose = self.choose_words if self.words else self.choose_tokens
            asked = choose(inputs_T[:real], draw)  # padding comes last
            targets_T[asked] = inputs_T[asked]
            inputs_T[asked] = self.hide(inputs_T[asked], draw)
        return Asked(inputs_BT, targets_BT, documents_BT)

    def choose_tokens(self, tokens_T: Tokens, draw: np.random.Generator) -> Tokens:
        order, count = draw.random(len(tokens_T)) + ~self.is_ordinary_V[tokens_T], self.num_asked(len(tokens_T))
        return np.sort(np.argpartition(order, count - 1)[:count])  # special tokens have the largest

    def choose_words(self, tokens_T: Tokens, draw: np.random.Generator) -> Tokens:
        """Words in random order, each taken that still fits."""
        assert self.words
        starts = np.flatnonzero(self.words.starts(tokens_T))
        lengths = np.diff(starts, append=len(tokens_T))
        order = draw.permutation(np.flatnonzero(self.is_ordinary_V[tokens_T[starts]]))
        room, taken_W = self.num_asked(len(tokens_T)), np.zeros(len(starts), bool)
        while room and len(order):
            order = order[lengths[order] <= room]
            fits = np.cumsum(lengths[order]) <= room
            count = int(fits.argmin()) if not fits.all() else len(fits)
            taken_W[order[:count]] = True
            room, order = room - int(lengths[order[:count]].sum()), order[count:]
        return np.flatnonzero(np.repeat(taken_W, lengths))

    def hide(self, asked_M: Tokens, draw: np.random.Generator) -> Tokens:
        fate = draw.random(len(asked_M))
        random = self.ordinary[draw.integers(len(self.ordinary), size=len(asked_M))]
        hidden = np.where(fate < MASKED_SHARE + RANDOM_SHARE, random, asked_M)
        return np.where(fate < MASKED_SHARE, self.mask_id, hidden)


@dataclass(frozen=True)
class SpanCorruption:
    """Text of `shape` with a sentinel for each span, then sentinel and span in turn, then the end-of-text token.

    The whole row is asked but the places of the spans, which nothing foretells: the sentinels in the text and the first
    sentinel after it. The later ones are asked, for they end the span before them.
    """

    seed: int
    shape: SpanShape
    sentinels: Tokens
    eos_id: int

    @property
    def targets_per_row(self) -> int:
        return self.shape.text + self.shape.spans - 1

    def rows(self, windows_BW: Tokens, step: int, first_row: int, documents_BW: Tokens | None = None) -> Asked:
        assert documents_BW is None, "resolve refuses packing and masks with spans"
        text, noise, spans = self.shape.text, self.shape.noise, self.shape.spans
        rows_BW = np.empty((len(windows_BW), text + 2 * spans + 1), np.int64)
        unasked_BW = np.zeros(rows_BW.shape, bool)
        for row, window in enumerate(windows_BW):
            starts, lengths = self.place_spans(generator(self.seed, "span", step, first_row + row))
            hidden_L = np.zeros(text, bool)
            for start, length in zip(starts, lengths, strict=True):
                hidden_L[start : start + length] = True
            left = np.insert(window[:text], starts, self.sentinels)
            keep = ~np.insert(hidden_L, starts, False)
            spans_at = np.concatenate(([0], np.cumsum(lengths)[:-1]))
            moved = np.insert(window[:text][hidden_L], spans_at, self.sentinels)
            rows_BW[row] = np.concatenate((left[keep], moved, [self.eos_id]))
            source = text - noise + spans
            unasked_BW[row, :source] = np.insert(np.zeros(text, bool), starts, True)[keep]
            unasked_BW[row, source] = True
        return Asked(rows_BW[:, :-1].copy(), np.where(unasked_BW, IGNORED, rows_BW)[:, 1:].copy())

    def place_spans(self, draw: np.random.Generator) -> tuple[Tokens, Tokens]:
        """Start and length of each span, every placement as likely: no span first, none touching another."""
        text, noise, spans = self.shape.text, self.shape.noise, self.shape.spans
        lengths = composition(noise, spans, draw)
        gaps = composition(text - noise + 1, spans + 1, draw)[:-1]  # the last gap may be empty: it has one token lent
        return np.cumsum(gaps) + np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths


def composition(total: int, parts: int, draw: np.random.Generator) -> Tokens:
    """`total` as a sum of `parts` positive numbers in order, every such sum as likely."""
    cuts = np.sort(draw.choice(total - 1, parts - 1, replace=False)) + 1
    return np.diff(cuts, prepend=0, append=total)


@dataclass(frozen=True)
class FillInMiddle:
    """Each document's part of a window is rearranged with probability `fraction`, of these `spm_fraction` suffix first.

        PSM  <prefix> prefix <suffix> suffix <middle> middle <end of text>
        SPM  <prefix> <suffix> suffix <middle> prefix middle <end of text>    (the paper's variant that shares PSM's form)

    What follows a rearranged part in the window moves back by the tokens added; what no longer fits is not read. The text
    is cut at characters where there is a tokenizer for it, words that a cut goes through being encoded anew: a prefix
    that a user types ends anywhere. Without one it is cut between tokens.
    """

    context: int
    seed: int
    fraction: float
    spm_fraction: float
    prefix_id: int
    suffix_id: int
    middle_id: int
    eos_id: int
    cutter: "Cutter"
    masks: bool = False  # targets stay within a document

    @property
    def targets_per_row(self) -> int:
        return self.context

    def rows(self, windows_BW: Tokens, step: int, first_row: int, documents_BW: Tokens | None = None) -> Asked:
        rows_BW = np.full_like(windows_BW, self.eos_id)
        numbers_BW = np.full_like(windows_BW, PADDING)
        for row, window in enumerate(windows_BW):
            draw = generator(self.seed, "fim", step, first_row + row)
            if documents_BW is None:
                parts = np.split(window, np.flatnonzero(window[:-1] == self.eos_id) + 1)
            else:
                numbers = documents_BW[row][documents_BW[row] != PADDING]
                parts = np.split(window[: len(numbers)], np.flatnonzero(np.diff(numbers)) + 1)
            at = 0
            for number, part in enumerate(self.rearrange_parts(parts, len(window), draw)):
                rows_BW[row, at : at + len(part)] = part
                numbers_BW[row, at : at + len(part)] = number
                at += len(part)
        return next_tokens(rows_BW, None if documents_BW is None else numbers_BW, self.masks)

    def rearrange_parts(self, parts: list[Tokens], room: int, draw: np.random.Generator) -> Iterator[Tokens]:
        """The parts of a window, as many as go into `room` tokens; one that is rearranged is cut before, not after."""
        for part in parts:
            body = (part[:-1] if part[-1] == self.eos_id else part)[: room - 4]
            if draw.random() < self.fraction and room > 4 and len(body):
                part = self.rearrange(body, draw)
            yield part[:room]
            room -= len(part[:room])
            if not room:
                return

    def rearrange(self, body: Tokens, draw: np.random.Generator) -> Tokens:
        """`body` in a new order with four tokens more, or a few less where its end had to go."""
        prefix, middle, suffix = self.cutter.cut(body, draw)
        if draw.random() < self.spm_fraction:
            order = [[self.prefix_id, self.suffix_id], suffix, [self.middle_id], prefix, middle, [self.eos_id]]
        else:
            order = [[self.prefix_id], prefix, [self.suffix_id], suffix, [self.middle_id], middle, [self.eos_id]]
        return np.concatenate([np.asarray(part, np.int64) for part in order])


class Cutter(Protocol):
    def cut(self, body: Tokens, draw: np.random.Generator) -> tuple[Tokens, Tokens, Tokens]:
        """`body` as prefix, middle and suffix of no more tokens together."""


class TokenCutter:
    """Cuts between tokens, two places drawn evenly; any part may be empty."""

    def cut(self, body: Tokens, draw: np.random.Generator) -> tuple[Tokens, Tokens, Tokens]:
        first, second = np.sort(draw.integers(0, len(body) + 1, size=2))
        return body[:first], body[first:second], body[second:]


class CharacterCutter:
    """Cuts between characters, two places drawn evenly over the bytes; the word at a cut is encoded anew on each side.

    Where that takes more tokens than before, the text's last ones are dropped.
    """

    def __init__(self, tokenizer: Tokenizer, words: WordTable) -> None:
        self.tokenizer, self.words = tokenizer, words
        data = [tokenizer.decode_bytes([number]) for number in range(tokenizer.vocab_size)]
        self.num_bytes = np.array([len(part) for part in data], np.int64)
        self.continues = np.array([part[:1] >= b"\x80" and part[:1] < b"\xc0" for part in data])  # within a character

    def cut(self, body: Tokens, draw: np.random.Generator) -> tuple[Tokens, Tokens, Tokens]:
        ends = np.cumsum(self.num_bytes[body])
        first, second = np.sort(draw.integers(0, ends[-1] + 1, size=2))
        left, right = self.split(body, ends, int(second))
        prefix, middle = self.split(left, np.cumsum(self.num_bytes[left]), int(first))
        parts, extra = [prefix, middle, right], len(prefix) + len(middle) + len(right) - len(body)
        for index in (2, 1, 0):
            dropped = min(max(0, extra), len(parts[index]))
            parts[index], extra = parts[index][: len(parts[index]) - dropped], extra - dropped
        return parts[0], parts[1], parts[2]

    def split(self, body: Tokens, ends: Tokens, at: int) -> tuple[Tokens, Tokens]:
        """The tokens of the text before byte `at` and of the rest; a character is never split."""
        token = int(np.searchsorted(ends, at, side="right"))
        start_of_token = int(ends[token - 1]) if token else 0
        if token == len(body) or (start_of_token == at and not self.continues[body[token]]):
            return body[:token], body[token:]
        starts = np.flatnonzero(self.words.starts(body))
        word = int(np.searchsorted(starts, token, side="right")) - 1
        start, stop = int(starts[word]), int(starts[word + 1]) if word + 1 < len(starts) else len(body)
        data = self.tokenizer.decode_bytes(body[start:stop])
        if len(data) > MAX_WORD_BYTES:
            while token and self.continues[body[token]]:
                token -= 1
            return body[:token], body[token:]
        inside = at - (int(ends[start - 1]) if start else 0)
        while inside and data[inside] & 0xC0 == 0x80:
            inside -= 1
        left, right = (self.tokenizer.encode_bytes(part).astype(np.int64) for part in (data[:inside], data[inside:]))
        return np.concatenate((body[:start], left)), np.concatenate((right, body[stop:]))


def make_objective(recipe: Recipe, tokenizer: Tokenizer) -> Objective:
    """The objective of a resolved recipe. Raises InputError where the tokenizer lacks a token it needs."""
    train, context, masks = recipe.train, recipe.model.context, recipe.tokens.document_masks
    assert context
    if train.objective == "masked":
        mask_id = tokenizer.special_id(MASK)
        words = WordTable(tokenizer) if train.mask_whole_words else None
        return Masked(context, recipe.seed, train.mask_fraction, mask_id, tokenizer.is_ordinary(), words)
    if train.objective == "span":
        shape = span_shape(context, train.span_fraction, train.span_tokens)
        sentinels = np.array([tokenizer.special_id(sentinel(number)) for number in range(shape.spans)])
        return SpanCorruption(recipe.seed, shape, sentinels, tokenizer.eos_id)
    if train.objective == "fim":
        prefix, suffix, middle = (tokenizer.special_id(names) for names in (FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE))
        cutter = CharacterCutter(tokenizer, WordTable(tokenizer)) if tokenizer.exact else TokenCutter()
        shares = train.fim_fraction, train.fim_spm_fraction
        return FillInMiddle(context, recipe.seed, *shares, prefix, suffix, middle, tokenizer.eos_id, cutter, masks)
    return Causal(context, masks)
