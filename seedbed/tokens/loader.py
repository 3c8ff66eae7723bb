"""batch(step): which tokens a step sees follows from the folder, the seed and the step number alone.

    the stream of shards, closed to a ring of N tokens
        | cut into N // context windows of context + 1 tokens, from a point drawn from (seed, epoch); the rest sits
        this epoch out
    windows of the epoch
        | put in an order drawn from (seed, epoch): a permutation that is computed, not stored
    row = rows before step + r  ->  epoch = row // windows, place = row % windows  ->  window  ->  tokens

Nothing is kept between steps, so there is nothing to restore; any rank or micro-batch asks for its own rows and gets
what the whole batch holds there. Neighbouring windows share one token: the last target of the one is the first input
of the next.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from seedbed.errors import InputError
from seedbed.tokens.batch_plan import BatchPlan
from seedbed.tokens.permutation import ROUNDS, permute
from seedbed.tokens.reader import DocumentSpan, ShardReader


class Loader:
    """Batches of windows of `context` + 1 tokens, as many as `plan` says. Memory does not grow with the corpus."""

    def __init__(self, folder: Path, context: int, plan: BatchPlan | int, seed: int) -> None:
        self.shards = ShardReader(folder)
        self.plan = BatchPlan(plan) if isinstance(plan, int) else plan
        self.context, self.batch_rows, self.seed = context, self.plan.rows, seed
        self.num_tokens = self.shards.num_tokens
        self.num_windows = self.num_tokens // context
        if self.num_tokens < context + 1:
            raise InputError(
                f"{folder} holds {self.num_tokens:,} tokens and a window of model.context = {context:,} "
                f"needs {context + 1:,}: "
                "add text or lower model.context"
            )
        self._draws = lru_cache(maxsize=64)(self._draw)

    def batch(self, step: int) -> np.ndarray:
        """int64 [rows of the step, context + 1]: inputs are [:, :-1], targets [:, 1:]."""
        return self.rows(step, 0, self.plan.rows_at(step))

    def rows(self, step: int, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) of the batch: int64 [stop - start, context + 1]."""
        out = np.empty((stop - start, self.context + 1), np.int64)
        for row, position in zip(out, self.positions(step, start, stop), strict=True):
            self.shards.read_into(row, position)
        return out

    def documents(self, step: int, start: int = 0, stop: int | None = None) -> list[list[DocumentSpan]]:
        """For each row the documents its context + 1 tokens came from, in order, with the tokens taken of each."""
        stop = self.plan.rows_at(step) if stop is None else stop
        return [self.shards.spans(position, self.context + 1) for position in self.positions(step, start, stop)]

    def epochs(self, step: int) -> float:
        """How many times the corpus has been seen before this step."""
        return self.plan.rows_before(step) / self.num_windows

    def positions(self, step: int, start: int, stop: int) -> list[int]:
        """Where in the stream rows [start, stop) of the batch begin."""
        before = self.plan.rows_before(step)
        first, last = before + start, before + stop
        found: list[int] = []
        while first < last:
            epoch, place = divmod(first, self.num_windows)
            count = min(last - first, self.num_windows - place)
            origin, keys = self._draws(epoch)
            windows = permute(np.arange(place, place + count), self.num_windows, keys)
            found += ((origin + windows * self.context) % self.num_tokens).tolist()
            first += count
        return found

    def _draw(self, epoch: int) -> tuple[int, np.ndarray]:
        """The epoch's first cut and the keys of its order."""
        digest = hashlib.blake2b(f"{self.seed}/windows/{epoch}".encode(), digest_size=8 * (ROUNDS + 1)).digest()
        numbers = np.frombuffer(digest, "<u8")
        return int(numbers[0]) % self.num_tokens, numbers[1:].reshape(ROUNDS, 1).astype(np.uint64)
