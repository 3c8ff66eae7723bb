"""batch(step): which tokens a step sees follows from the folder, the recipe and the step number alone.

    row = rows of the batches before step + r
        | mixture.py: the source it comes from, and its number there      (without a mixture: the whole stream, row)
        | packing.py: number -> epoch and place -> the pieces of the stream that make the row
        v
    tokens [context + 1], the stretches of documents in them, the source

Nothing is kept between steps, so there is nothing to restore; any rank or micro-batch asks for its own rows and gets
what the whole batch holds there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seedbed.errors import InputError
from seedbed.tokens.batch_plan import BatchPlan
from seedbed.tokens.mixture import Mixture, SourceRows, Weight, check_names, weight_at
from seedbed.tokens.packing import BestFit, Concatenation, Packing, Piece
from seedbed.tokens.prefetch import Prefetcher
from seedbed.tokens.reader import DocumentSpan, Group, ShardReader

PADDING = -1  # among document numbers and positions: no token of the corpus


@dataclass(frozen=True)
class DataOrder:
    """What of a recipe decides the order of the data beside seed, context and batch. The default is one uniform stream.

    `weights`: of the groups of the shards; none: no mixture. `multiples`: weights are multiples of a group's own size.
    `shuffle_tokens`: tokens that are mixed with one another, None for all.
    """

    packing: str = "concatenate"
    document_masks: bool = False
    shuffle_tokens: int | None = None
    weights: Mapping[str, Weight] = field(default_factory=dict)
    multiples: bool = True
    caps: Mapping[str, float] = field(default_factory=dict)
    max_epochs: float | None = None


class Rows(NamedTuple):
    """Some rows of a batch: int64 tokens [B, context + 1]; int64 documents [B, context + 1], numbered within each row with
    PADDING where there is none, or None without masks and padding; int64 sources [B], or None without a mixture.
    """

    tokens: np.ndarray
    documents: np.ndarray | None
    sources: np.ndarray | None


class Loader:
    """Batches of rows of `context` + 1 tokens, as many as `plan` says. Memory does not grow with the corpus."""

    def __init__(
        self,
        folder: Path | ShardReader,
        context: int,
        plan: BatchPlan | int,
        seed: int,
        order: DataOrder | None = None,
        steps: int | None = None,
        tell: Callable[[str], None] = lambda message: None,
    ) -> None:
        """`steps`: of training, to which a mixture's schedule refers; None where they are not known yet: its start.

        `tell` gets what a reader of the run's log should know.
        """
        order = order or DataOrder()
        self.shards = folder if isinstance(folder, ShardReader) else ShardReader(folder)
        self.steps = steps
        self.plan = BatchPlan(plan) if isinstance(plan, int) else plan
        self.context, self.batch_rows, self.seed, self.order = context, self.plan.rows, seed, order
        self.num_tokens = self.shards.num_tokens
        self.whole = Group(self.shards.folder.name, 0, self.num_tokens, 0, self.shards.num_documents)
        self.masks = order.document_masks
        self.pads = order.packing == "best-fit"
        self.mixture: Mixture | None = None
        if order.weights:
            groups = self.shards.groups
            self.packings = [self._pack(group, f"{group.name}/") for group in groups]
            self.mixture = self._mix([group.name for group in groups], steps)
        else:
            self.packings = [self._pack(self.whole, "")]
        self.num_rows = sum(packing.num_rows for packing in self.packings)  # of an epoch over everything
        self.prefetcher = self._prefetch(tell) if any(place.fetched for place in self.shards.places) else None
        self._targets = lru_cache(maxsize=4)(self._count_targets)

    def batch(self, step: int) -> np.ndarray:
        """int64 [rows of the step, context + 1]: inputs [:, :-1], targets [:, 1:]. Padding is the end-of-text token."""
        return self.rows(step, 0, self.plan.rows_at(step))

    def rows(self, step: int, start: int, stop: int) -> np.ndarray:
        """Tokens of rows [start, stop) of the batch: int64 [stop - start, context + 1]."""
        if self.prefetcher:
            self.prefetcher.at(step, start, stop)
        return self._tokens(self.pieces(step, start, stop))

    def read(self, step: int, start: int, stop: int) -> Rows:
        """Rows [start, stop) of the batch with all that is known of them."""
        if self.prefetcher:
            self.prefetcher.at(step, start, stop)
        sources, pieces = self._locate(step, start, stop)
        documents = self._documents(pieces) if self.masks or self.pads else None
        return Rows(self._tokens(pieces), documents, sources if self.mixture else None)

    def pieces(self, step: int, start: int, stop: int) -> list[list[Piece]]:
        """The pieces of the stream that rows [start, stop) of the batch are made of."""
        return self._locate(step, start, stop)[1]

    def positions(self, step: int, start: int, stop: int) -> np.ndarray:
        """int64 [stop - start, context + 1]: each token's place in the stream, PADDING where there is none."""
        pieces = self.pieces(step, start, stop)
        out = np.full((len(pieces), self.context + 1), PADDING, np.int64)
        for row, parts in zip(out, pieces, strict=True):
            at = 0
            for first, length in parts:
                row[at : at + length] = np.arange(first, first + length)
                at += length
        return out

    def documents(self, step: int, start: int = 0, stop: int | None = None) -> list[list[DocumentSpan]]:
        """For each row the documents its tokens came from, in order, with the tokens taken of each."""
        stop = self.plan.rows_at(step) if stop is None else stop
        return [
            [span for first, length in parts for span in self.shards.spans(first, length)]
            for parts in self.pieces(step, start, stop)
        ]

    def num_targets(self, step: int) -> int:
        """Next tokens that the whole batch asks for: with masks none of another document, and none of padding."""
        return self._targets(step) if self.masks or self.pads else self.plan.rows_at(step) * self.context

    def epochs(self, step: int) -> float:
        """How many times the corpus has been seen before this step, on average over its sources."""
        return self.plan.rows_before(step) / self.num_rows

    def sources(self, step: int) -> list[SourceRows]:
        """What has been taken of each source of a mixture before this step."""
        return self.mixture.taken(self.plan.rows_before(step)) if self.mixture else []

    def _locate(self, step: int, start: int, stop: int) -> tuple[np.ndarray, list[list[Piece]]]:
        first = self.plan.rows_before(step) + start
        if self.mixture is None:
            return np.zeros(stop - start, np.int64), self.packings[0].pieces(np.arange(first, first + stop - start))
        sources, numbers = self.mixture.locate(first, stop - start)
        found: list[list[Piece]] = [[] for _ in range(stop - start)]
        for source in np.unique(sources).tolist():
            here = np.flatnonzero(sources == source)
            for row, parts in zip(here.tolist(), self.packings[source].pieces(numbers[here]), strict=True):
                found[row] = parts
        return sources, found

    def _tokens(self, pieces: list[list[Piece]]) -> np.ndarray:
        out = np.empty((len(pieces), self.context + 1), np.int64)
        for row, parts in zip(out, pieces, strict=True):
            if len(parts) == 1 and parts[0][1] == len(row):
                self.shards.read_into(row, parts[0][0])
                continue
            at = 0
            for first, length in parts:
                self.shards.read_into(row[at : at + length], first)
                at += length
            row[at:] = self.shards.manifest["eos_id"]
        return out

    def _documents(self, pieces: list[list[Piece]]) -> np.ndarray:
        out = np.full((len(pieces), self.context + 1), PADDING, np.int64)
        for row, parts in zip(out, pieces, strict=True):
            begins = np.zeros(self.context + 2, np.int64)
            at = 0
            for first, length in parts:
                begins[at] = 1
                if not self.pads:  # a piece of best-fit lies in one document
                    for ends in self.shards.document_ends(first, first + length):
                        begins[at + ends - first] = 1
                at += length
            row[:at] = np.cumsum(begins[:at]) - 1
        return out

    def _count_targets(self, step: int) -> int:
        pieces = self.pieces(step, 0, self.plan.rows_at(step))
        if not self.masks:
            return sum(sum(length for _, length in parts) - 1 for parts in pieces)
        documents = self._documents(pieces)
        return int(np.count_nonzero((documents[:, 1:] == documents[:, :-1]) & (documents[:, 1:] != PADDING)))

    def _shards_of(self, step: int, start: int, stop: int) -> set[int]:
        """The shards that rows [start, stop) of the batch are in."""
        if step >= (self.steps or step + 1) or start >= (stop := min(stop, self.plan.rows_at(step))):
            return set()
        parts = [piece for pieces in self.pieces(step, start, stop) for piece in pieces]
        ends = [(self.shards.shard_of(first), self.shards.shard_of(first + length - 1)) for first, length in parts]
        return {shard for first, last in ends for shard in range(first, last + 1)}

    def _prefetch(self, tell: Callable[[str], None]) -> Prefetcher:
        """Fetching ahead, within half of the cache. Raises InputError where the cache cannot hold what is read at a time."""
        width, limit = self.shards.dtype.itemsize, self.shards.manifest["cache_bytes"]
        sizes = [shard["num_tokens"] * width for shard in self.shards.shards]
        block = self.order.shuffle_tokens
        at_a_time = 0
        for group in self.shards.groups if self.mixture else [self.whole]:
            window = group.num_tokens if block is None else min(group.num_tokens, block)
            at_a_time += min(group.num_tokens * width, window * width + 2 * max(sizes))
        if 2 * at_a_time > limit and sum(sizes) > limit:
            raise InputError(
                f"tokens.cache_bytes: {limit:,} bytes, and training reads from {at_a_time:,} bytes of shards at a time and "
                f"fetches the next: set it to {2 * at_a_time:,}, or lower tokens.shuffle_tokens"
            )
        with_index = self.masks and not self.pads
        return Prefetcher(
            self._shards_of, lambda shard: self.shards.fetch(shard, with_index), sizes.__getitem__, limit // 2, tell
        )

    def _pack(self, group: Group, prefix: str) -> Packing:
        """The rows of a stretch of the stream; `prefix` names its draws."""
        if group.num_tokens < self.context + 1:
            what = f"{self.shards.folder}: source {group.name!r}" if prefix else f"{self.shards.folder}"
            raise InputError(
                f"{what} holds {group.num_tokens:,} tokens and a window of model.context = {self.context:,} "
                f"needs {self.context + 1:,}: add text or lower model.context"
            )
        shuffle = self.order.shuffle_tokens
        if self.pads:
            return BestFit(self.shards.folder, group, self.context, self.seed, f"{prefix}rows", shuffle)
        return Concatenation(group, self.context, self.seed, f"{prefix}windows", shuffle)

    def _mix(self, names: list[str], steps: int | None) -> Mixture:
        order = self.order
        check_names(list(order.weights), names, "mixture.weights")
        check_names(list(order.caps), names, "mixture.caps")
        missing = [name for name in names if name not in order.weights]
        if missing and not order.multiples:
            raise InputError(
                f"mixture.weights: {', '.join(missing)} has no share: give every source one, 0 to leave it out"
            )
        sizes = [packing.num_rows for packing in self.packings]
        weights: dict[str, Weight] = {}
        for name, size in zip(names, sizes, strict=True):
            weight = order.weights.get(name, 1.0)
            if steps is None:  # how long training is has yet to be measured: it begins like this
                weight = float(weight_at(weight, np.zeros(1))[0])
            weights[name] = scaled(weight, size if order.multiples else 1)
        most = {} if order.max_epochs is None else dict.fromkeys(names, order.max_epochs)
        caps = {} if steps is None else {**most, **order.caps}
        return Mixture(names, sizes, weights, caps, max(1, self.plan.rows_before(steps or 1)), self.context, self.seed)


def scaled(weight: Weight, factor: float) -> Weight:
    return weight * factor if isinstance(weight, (int, float)) else [(x, y * factor) for x, y in weight]
