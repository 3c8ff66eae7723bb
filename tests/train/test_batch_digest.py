"""A batch's digest: the same for any split of its rows, another for any other rows."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.train.batch_digest import MODULUS, batch_digest


def rows(seed: int = 1) -> torch.Tensor:
    return torch.randint(0, 50, (6, 8), generator=torch.Generator().manual_seed(seed))


@given(st.lists(st.integers(1, 3), min_size=2, max_size=6))
def test_any_split_sums_to_the_whole(sizes: list[int]) -> None:
    parts, start = [], 0
    for size in sizes:
        parts.append(batch_digest(rows()[start : start + size], start))
        start += size
    assert sum(parts) % MODULUS == batch_digest(rows()[:start], 0)


def test_every_other_batch_has_another_digest() -> None:
    """One token changed, rows or tokens exchanged, a row repeated in another's place, other rows of the epoch."""
    whole, seen = rows(), {batch_digest(rows(), 0), batch_digest(rows(), 6), batch_digest(rows(2), 0)}
    assert len(seen) == 3
    changed = []
    for r in range(6):
        for t in range(8):
            other = whole.clone()
            other[r, t] += 1
            changed.append(other)
        changed.append(whole[[r, *range(1, 6)]] if r else whole[[1, 0, 2, 3, 4, 5]])
        changed.append(whole.roll(r + 1, 1) if r < 5 else whole.flip(0))
    digests = [batch_digest(other, 0) for other in changed if not torch.equal(other, whole)]
    assert len(set(digests) | seen) == len(digests) + 3
    zeros = torch.zeros(2, 3, dtype=torch.int64)
    assert batch_digest(zeros, 0) != batch_digest(torch.zeros(2, 2, dtype=torch.int64), 0)


@given(st.integers(0, 2**40), st.integers(1, 4), st.integers(1, 9))
@settings(max_examples=30)
def test_a_digest_is_the_formula_in_plain_integers(first: int, count: int, length: int) -> None:
    def mix(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        return x ^ x >> 31

    tokens = torch.randint(0, 2**17, (count, length))
    total = 0
    for r, row in enumerate(tokens.tolist()):
        h = sum((token + 1) * (mix(t + 2**32) | 1) for t, token in enumerate(row)) % 2**64
        total += mix(h ^ mix(first + r)) >> 32
    assert batch_digest(tokens, first) == total % MODULUS
