"""Mixtures: which source each row of training comes from.

    weights over training (points, straight lines between)  ->  share of each source in each block of rows
    a source that would be repeated beyond its cap            ->  its weight scaled down over all of training, the others'
                                                                up in proportion
    shares  ->  whole rows of each source in each block, what is rounded now made up later
    block   ->  an order of its rows in which no source is ever a row ahead of its share, or behind

So row -> (source, the source's own row number) is a pure function of (recipe, seed, row), and the rows that each source
has given before a step are one line of a table: nothing is logged.
"""

import difflib
import hashlib
import heapq
import math
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from seedbed.errors import InputError

# Muennighoff et al. 2023, "Scaling Data-Constrained Language Models", equation 5; the constant from appendix A
REPETITION_DECAY = 15.387756
NOTICED_EPOCHS = 4.0  # up to here repeated data is about as good as new (same paper, abstract)
CONSTANT_BLOCK_ROWS = 4096
SCHEDULE_BLOCKS = 4096
MOST_BLOCKS = 16_384
LEAST_BLOCK_ROWS = 8
BALANCE_ROUNDS = 1000
BALANCED = 1e-9

Weight = float | Sequence[tuple[float, float]]


class SourceRows(NamedTuple):
    """What training takes of a source, up to some step. `effective_tokens`: new tokens that are worth as much."""

    name: str
    rows: int
    tokens: int
    unique_tokens: int
    epochs: float
    effective_tokens: float


def effective_tokens(unique: float, tokens: float) -> float:
    """U + U R* (1 - e^(-R / R*)) with R = D / U - 1 repetitions: the new tokens that D tokens of U distinct ones equal."""
    if tokens <= unique:
        return tokens
    repetitions = tokens / unique - 1
    return unique + unique * REPETITION_DECAY * (1 - math.exp(-repetitions / REPETITION_DECAY))


def weight_at(weight: Weight, fractions: np.ndarray) -> np.ndarray:
    """A weight over training at `fractions` of it. Points at one fraction are a step: from it on the last one holds."""
    if isinstance(weight, (int, float)):
        return np.full(len(fractions), float(weight))
    x, y = np.array(weight, np.float64).T
    after = np.searchsorted(x, fractions, side="right")
    left, right = np.clip(after - 1, 0, len(x) - 1), np.clip(after, 0, len(x) - 1)
    width = x[right] - x[left]
    along = np.where(width > 0, (fractions - x[left]) / np.where(width > 0, width, 1), 0.0)
    return y[left] + np.clip(along, 0, 1) * (y[right] - y[left])


def check_names(given: Sequence[str], known: Sequence[str], field: str) -> None:
    """Refuse a name that is no source, naming the nearest that is."""
    for name in given:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(map(repr, known))}"
            raise InputError(f"{field}: no source is called {name!r}: {hint}")


class Mixture:
    """The sources of a run's rows. `num_rows`: rows of training, to which the fractions of a schedule refer."""

    def __init__(
        self,
        names: Sequence[str],
        epoch_rows: Sequence[int],
        weights: Mapping[str, Weight],
        caps: Mapping[str, float],
        num_rows: int,
        context: int,
        seed: int,
    ) -> None:
        """`epoch_rows`: rows that each source has; `weights`: shares, in any unit; `caps`: most epochs of a source."""
        self.names, self.epoch_rows, self.context, self.seed = tuple(names), np.array(epoch_rows), context, seed
        self.num_rows = num_rows
        constant = all(isinstance(weights[name], (int, float)) for name in names)
        self.block_rows = block_rows(num_rows, constant)
        count = -(-num_rows // self.block_rows)
        middles = (np.arange(count) + 0.5) * self.block_rows / num_rows
        shares = np.stack([weight_at(weights[name], np.minimum(middles, 1.0)) for name in names], axis=1)
        empty = np.flatnonzero(shares.sum(axis=1) == 0)
        if len(empty):
            raise InputError(
                f"mixture.weights: all are 0 at {middles[empty[0]]:.3f} of training: give one source a weight"
            )
        shares = shares / shares.sum(axis=1, keepdims=True)
        rows = np.full(count, self.block_rows, np.float64)
        rows[-1] = num_rows - (count - 1) * self.block_rows
        self.limits = np.array([caps.get(name, math.inf) for name in names]) * self.epoch_rows
        self.wanted_rows = rows @ shares
        self.shares = within_limits(shares, rows, self.limits, self.names)
        self.first_rows = apportion(self.shares * self.block_rows)
        self._order = lru_cache(maxsize=64)(self._order_of)

    def locate(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """int64 [count] source of each row from row `first` of the run on, and the row's number within its source."""
        sources, numbers = np.empty(count, np.int64), np.empty(count, np.int64)
        done = 0
        while done < count:
            block, offset = divmod(first + done, self.block_rows)
            taken = min(count - done, self.block_rows - offset)
            order, rank = self._order(min(block, len(self.shares) - 1))
            part = order[offset : offset + taken]
            sources[done : done + taken] = part
            numbers[done : done + taken] = self._before(block)[part] + rank[offset : offset + taken]
            done += taken
        return sources, numbers

    def counts(self, row: int) -> np.ndarray:
        """int64 [sources]: rows of each source before row `row` of the run."""
        block, offset = divmod(row, self.block_rows)
        order, _ = self._order(min(block, len(self.shares) - 1))
        return self._before(block) + np.bincount(order[:offset], minlength=len(self.names))

    def taken(self, row: int) -> list[SourceRows]:
        """What training has taken of each source before row `row` of the run."""
        found = []
        for name, rows, own in zip(self.names, self.counts(row).tolist(), self.epoch_rows.tolist(), strict=True):
            tokens, unique = rows * self.context, own * self.context
            found.append(SourceRows(name, rows, tokens, unique, rows / own, effective_tokens(unique, tokens)))
        return found

    @cached_property
    def notes(self) -> list[str]:
        """What the caps changed, and which sources are repeated so often that it costs: a line each."""
        lines = []
        for source, wanted, limit in zip(
            self.taken(self.num_rows), self.wanted_rows.tolist(), self.limits.tolist(), strict=True
        ):
            if wanted > limit:
                own = source.unique_tokens / self.context
                lines.append(
                    f"mixture: {source.name} would be read {wanted / own:.1f} times and its cap is {limit / own:.1f}: "
                    f"it fills {source.rows / wanted:.2f} of what its weight asked, and the other sources share the rest"
                )
            if source.epochs > NOTICED_EPOCHS:
                lines.append(
                    f"mixture: {source.name} is read {source.epochs:.1f} times: its {source.tokens:,} tokens are worth "
                    f"about {round(source.effective_tokens):,} new ones (Muennighoff et al. 2023)"
                )
        return lines

    def _before(self, block: int) -> np.ndarray:
        """Rows of each source before a block; training that goes on past its end goes on as the last block did."""
        beyond = max(0, block - len(self.shares))
        last = self.first_rows[-1] - self.first_rows[-2]
        return self.first_rows[min(block, len(self.shares))] + beyond * last

    def _order_of(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """The source of each row of a block, and how many rows of that source the block has before it."""
        quotas = (self.first_rows[block + 1] - self.first_rows[block]).tolist()
        digest = hashlib.blake2b(f"{self.seed}/mixture/{block}".encode(), digest_size=8).digest()
        ties = np.random.default_rng(int.from_bytes(digest, "little")).permutation(len(quotas)).tolist()
        order = np.array(interleave(quotas, ties), np.int64)
        rank = np.empty(len(order), np.int64)
        for source, quota in enumerate(quotas):
            rank[order == source] = np.arange(quota)
        return order, rank


def block_rows(num_rows: int, constant: bool) -> int:
    """Rows of a block. Under constant weights it does not depend on how long training is, so that a longer run begins as
    the shorter one did (up to 67M rows); under a schedule the shares change from block to block.
    """
    if constant:
        return max(CONSTANT_BLOCK_ROWS, -(-num_rows // MOST_BLOCKS))
    return max(LEAST_BLOCK_ROWS, -(-num_rows // SCHEDULE_BLOCKS))


def within_limits(shares: np.ndarray, rows: np.ndarray, limits: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Shares [blocks, sources] such that no source gives more than `limits` rows over blocks of `rows` rows.

    Each source's share is scaled by one number at most 1 for the whole of training, then each block's to a sum of 1.
    """
    if limits[np.any(shares > 0, axis=0)].sum() < rows.sum():
        asked = round(float(rows.sum()))
        raise InputError(
            f"mixture.caps: the sources give at most {round(float(limits[np.any(shares > 0, axis=0)].sum())):,} rows and "
            f"training reads {asked:,}: raise mixture.max_epochs or mixture.caps, or train less"
        )
    scale = np.ones(shares.shape[1])
    scaled = shares
    for _ in range(BALANCE_ROUNDS):
        totals = rows @ scaled
        over = totals > limits * (1 + BALANCED)
        if not over.any():
            return scaled
        scale[over] *= limits[over] / totals[over]
        weighted = shares * scale
        sums = weighted.sum(axis=1, keepdims=True)
        if not sums.all():
            break
        scaled = weighted / sums
    capped = ", ".join(name for name, too_much in zip(names, over, strict=True) if too_much)
    raise InputError(
        f"mixture.caps: at some point of training only {capped} has a weight, and its cap allows less: "
        "give another source a weight there, or raise the cap"
    )


def apportion(shares: np.ndarray) -> np.ndarray:
    """Whole rows out of fractional ones: [blocks, sources] that sum to an integer in each block -> int64 cumulative
    [blocks + 1, sources]. What a source was rounded by is made up in the next block.
    """
    given = np.zeros((len(shares) + 1, shares.shape[1]), np.int64)
    total = np.zeros(shares.shape[1], np.int64)
    due_in_all = np.cumsum(shares, axis=0)
    size = round(float(shares[0].sum()))
    for block, due in enumerate(due_in_all):
        owed = due - total
        quota = np.floor(np.maximum(owed, 0)).astype(np.int64)
        left = size - int(quota.sum())
        by_need = np.argsort(quota - owed, kind="stable")
        if left >= 0:
            quota[by_need[:left]] += 1
        else:  # sources ahead of their share take nothing, and the others wait for that
            willing = by_need[::-1][quota[by_need[::-1]] > 0]
            quota[willing[:-left]] -= 1
        total = total + quota
        given[block + 1] = total
    return given


def interleave(quotas: Sequence[int], ties: Sequence[int]) -> list[int]:
    """An order of sum(quotas) rows, `quotas[s]` of source s, in which every source has at every place either the floor
    or the ceiling of its share so far.

    Row k of a source may not come before its share reaches k, nor after it reaches k + 1; of the rows that may come, the
    one that must come first does. That such an order exists and that this finds it: Steiner and Yeomans 1993, "Level
    schedules for mixed-model, just-in-time processes", on Tijdeman 1980, "The chairman assignment problem".
    """
    size = sum(quotas)
    waiting = [(0, source) for source, quota in enumerate(quotas) if quota]
    ready: list[tuple[int, int, int]] = []
    placed = [0] * len(quotas)
    order = []
    for place in range(size):
        while waiting and waiting[0][0] <= place:
            source = heapq.heappop(waiting)[1]
            deadline = -(-(placed[source] + 1) * size // quotas[source])
            heapq.heappush(ready, (deadline, ties[source], source))
        source = heapq.heappop(ready)[2]
        order.append(source)
        placed[source] += 1
        if placed[source] < quotas[source]:
            heapq.heappush(waiting, (placed[source] * size // quotas[source], source))
    return order
