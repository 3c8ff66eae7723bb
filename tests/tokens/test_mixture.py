import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.tokens.loader import DataOrder, Loader
from seedbed.tokens.mixture import Mixture, Weight, apportion, effective_tokens, interleave, weight_at
from seedbed.tokens.reader import ShardReader
from seedbed.tokens.shards import ShardWriter

NAMES = ("web", "books", "code")


def mixture(
    weights: dict[str, Weight], caps: dict[str, float] | None = None, num_rows: int = 10_000, epoch_rows: int = 1000
) -> Mixture:
    names = list(weights)
    return Mixture(names, [epoch_rows] * len(names), weights, caps or {}, num_rows, context=8, seed=1)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=9).filter(any), st.randoms())
def test_an_interleaving_is_never_a_row_off_its_shares(quotas: list[int], random: object) -> None:
    ties = list(range(len(quotas)))
    random.shuffle(ties)  # type: ignore[attr-defined]
    order = np.array(interleave(quotas, ties))
    assert np.bincount(order, minlength=len(quotas)).tolist() == quotas
    counts = np.cumsum(order[:, None] == np.arange(len(quotas)), axis=0)
    due = np.outer(np.arange(1, len(order) + 1), np.array(quotas) / len(order))
    assert np.abs(counts - due).max() < 1


@given(st.integers(1, 40), st.integers(1, 8), st.sampled_from([8, 64, 4096]), st.integers(0, 2**32))
def test_whole_rows_of_each_block_stay_within_about_a_row_of_the_shares(
    blocks: int, sources: int, size: int, seed: int
) -> None:
    """Shares that jump from block to block, many of them 0."""
    rng = np.random.default_rng(seed)
    shares = rng.random((blocks, sources)) ** 3 * (rng.random((blocks, sources)) < 0.7)
    shares[:, 0] += 1e-3
    shares *= size / shares.sum(axis=1, keepdims=True)
    given_rows = apportion(shares)
    assert (np.diff(given_rows, axis=0).sum(axis=1) == size).all()
    assert (np.diff(given_rows, axis=0) >= 0).all()
    assert np.abs(given_rows[1:] - np.cumsum(shares, axis=0)).max() < 1.5  # and under 1 in nearly all draws


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(0.001, 10), min_size=1, max_size=6),
    st.lists(st.floats(0.001, 10), min_size=6, max_size=6),
    st.integers(1, 3000),
    st.data(),
)
def test_counts_are_the_sums_of_what_rows_are_given_and_stay_near_the_weights(
    start: list[float], end: list[float], num_rows: int, data: st.DataObject
) -> None:
    """Weights that change in straight lines over training."""
    weights = {str(n): [(0.0, a), (1.0, b)] for n, (a, b) in enumerate(zip(start, end, strict=False))}
    plan = mixture(weights, num_rows=num_rows)  # type: ignore[arg-type]
    sources, numbers = plan.locate(0, num_rows)
    for source in range(len(start)):
        assert numbers[sources == source].tolist() == list(range(int((sources == source).sum())))
    row = data.draw(st.integers(0, num_rows))
    assert plan.counts(row).tolist() == np.bincount(sources[:row], minlength=len(start)).tolist()
    fractions = (np.arange(num_rows) + 0.5) / num_rows
    shares = np.stack([weight_at(weight, fractions) for weight in weights.values()], axis=1)  # type: ignore[arg-type]
    shares /= shares.sum(axis=1, keepdims=True)
    counts = np.cumsum(sources[:, None] == np.arange(len(start)), axis=0)
    # a row for the order within a block, one for the rounding of blocks, and the block's share being that of its middle
    assert np.abs(counts - np.cumsum(shares, axis=0)).max() < 2 + plan.block_rows**2 / num_rows


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 20_000), st.lists(st.integers(1, 5000), min_size=1, max_size=5))
def test_any_way_of_asking_gives_the_same_rows(first: int, parts: list[int]) -> None:
    plan = mixture({"web": 3.0, "books": 1.0, "code": 0.37}, num_rows=9000)
    whole = plan.locate(first, sum(parts))
    starts = [first, *(first + np.cumsum(parts)).tolist()]
    pieces = [plan.locate(a, b - a) for a, b in pairwise(starts)]
    for index in (0, 1):
        assert np.array_equal(whole[index], np.concatenate([piece[index] for piece in pieces]))


def test_under_constant_weights_a_longer_run_begins_as_the_shorter_one() -> None:
    weights: dict[str, Weight] = {"web": 2.0, "books": 1.0}
    short, long = mixture(weights, num_rows=5000), mixture(weights, num_rows=80_000)
    for index in (0, 1):
        assert np.array_equal(short.locate(0, 5000)[index], long.locate(0, 5000)[index])


def test_a_weight_is_straight_between_its_points_and_steps_where_two_share_a_fraction() -> None:
    at = np.array([0.0, 0.1, 0.2, 0.5, 0.75, 1.0])
    assert weight_at([(0.1, 1.0), (0.5, 3.0), (0.5, 10.0), (1.0, 0.0)], at).tolist() == [1, 1, 1.5, 10, 5, 0]
    assert weight_at(2, at).tolist() == [2] * 6


def test_a_step_in_the_schedule_changes_the_mixture_there() -> None:
    plan = mixture({"web": 1.0, "books": [(0.0, 0.0), (0.8, 0.0), (0.8, 1.0), (1.0, 1.0)]}, num_rows=10_000)
    assert plan.counts(8000).tolist() == [8000, 0]
    assert plan.counts(10_000).tolist() == [9000, 1000]


def test_effective_tokens_are_the_papers() -> None:
    """Muennighoff et al. 2023, section 3.1: without repetition all count; at R* repetitions they are worth 1 - 1/e each;
    in the limit U (1 + R*).
    """
    assert effective_tokens(100, 60) == 60
    assert effective_tokens(100, 100) == 100
    assert effective_tokens(1, 1 + 15.387756) == pytest.approx(1 + 15.387756 * (1 - 1 / math.e))
    assert effective_tokens(1, 4) == pytest.approx(3.72567, abs=1e-5)
    assert effective_tokens(1, 1e9) == pytest.approx(16.387756)


def test_a_cap_binds_the_rest_is_shared_out_and_it_says_so() -> None:
    plan = mixture({"web": 1.0, "books": 1.0, "code": 2.0}, {"code": 2.0}, num_rows=10_000)
    counts = dict(zip(plan.names, plan.counts(10_000).tolist(), strict=True))
    assert counts == {"web": 4000, "books": 4000, "code": 2000}
    assert np.abs(plan.counts(5000) - [2000, 2000, 1000]).max() <= 1  # even over training, not until it runs dry
    assert plan.notes == [
        "mixture: code would be read 5.0 times and its cap is 2.0: it fills 0.40 of what its weight asked, and the other "
        "sources share the rest"
    ]
    assert mixture({"web": 1.0, "books": 1.0}, {"web": 9.0}, num_rows=1000).notes == []


def test_caps_that_bind_one_after_another_are_all_kept() -> None:
    """Taking from one source pushes the next over its own cap."""
    plan = mixture({"web": 1.0, "books": 4.0, "code": 5.0}, {"code": 2.0, "books": 3.5, "web": 9.0}, num_rows=10_000)
    counts = dict(zip(plan.names, plan.counts(10_000).tolist(), strict=True))
    assert counts == {"web": 4500, "books": 3500, "code": 2000}


def test_repetition_beyond_four_epochs_is_noticed_with_what_it_is_worth() -> None:
    plan = mixture({"web": 1.0, "books": 1.0}, num_rows=10_000)
    assert [source.epochs for source in plan.taken(10_000)] == [5.0, 5.0]
    worth = round(effective_tokens(8000, 40_000))
    assert plan.notes[0] == (
        f"mixture: web is read 5.0 times: its 40,000 tokens are worth about {worth:,} new ones (Muennighoff et al. 2023)"
    )
    assert mixture({"web": 1.0, "books": 1.0}, num_rows=7000).notes == []


@pytest.mark.parametrize(
    ("weights", "caps", "message"),
    [
        ({"web": 1.0, "books": 1.0}, {"web": 1.0, "books": 2.0}, r"give at most 3,000 rows and training reads 10,000"),
        ({"web": 0.0, "books": 0.0}, {}, r"all are 0 at 0\.\d+ of training"),
        ({"web": [(0.0, 1.0), (0.9, 0.0)], "books": [(0.0, 0.0), (0.9, 0.0), (1.0, 1.0)]}, {"web": 1.0, "books": 99.0},
         "only web has a weight"),
    ],
)  # fmt: skip
def test_mixtures_that_cannot_be_are_refused(weights: dict[str, Weight], caps: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mixture(weights, caps)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> ShardReader:
    """Three sources of 3,000, 600 and 1,200 tokens; each token tells its source: ids 0-99, 100-199, 200-299."""
    folder = tmp_path_factory.mktemp("grouped")
    writer = ShardWriter(folder, 1000, 999, "0" * 64, 500)
    for source, (name, documents) in enumerate(zip(NAMES, (300, 60, 120), strict=True)):
        writer.begin_group(name)
        for number in range(documents):
            writer.add(np.full(9, 100 * source + number % 100), f"{name}/{number}", name, "prose", 9)
    writer.finish()
    return ShardReader(folder)


@pytest.mark.parametrize("packing", ["concatenate", "best-fit"])
def test_rows_come_from_their_source_alone_and_each_source_goes_through_its_own_epochs(
    grouped: ShardReader, packing: str
) -> None:
    from seedbed.tokens.packing import write_best_fit

    write_best_fit(grouped, 29)
    order = DataOrder(packing=packing, weights={"web": 1.0, "books": 4.0})
    loader = Loader(grouped, 29, 16, seed=7, order=order, steps=40)
    assert loader.mixture is not None
    seen: dict[int, Counter[tuple[tuple[int, int], ...]]] = {0: Counter(), 1: Counter(), 2: Counter()}
    for step in range(40):
        rows = loader.read(step, 0, 16)
        assert rows.sources is not None
        for tokens, source, pieces in zip(rows.tokens, rows.sources.tolist(), loader.pieces(step, 0, 16), strict=True):
            assert set(tokens.tolist()) - {999} <= set(range(100 * source, 100 * source + 100))
            seen[source][tuple(pieces)] += 1
    taken = loader.sources(40)
    assert [source.name for source in taken] == list(NAMES)
    assert [source.rows for source in taken] == [sum(seen[source].values()) for source in range(3)]
    sizes = loader.mixture.epoch_rows.tolist()
    shares = np.array([sizes[0], 4 * sizes[1], sizes[2]]) / (sizes[0] + 4 * sizes[1] + sizes[2])
    assert np.abs(np.array([source.rows for source in taken]) - 640 * shares).max() < 1
    if packing == "best-fit":
        for source in taken:
            counts = seen[NAMES.index(source.name)]
            assert len(counts) == min(source.rows, sizes[NAMES.index(source.name)])
            assert max(counts.values()) - min(counts.values()) <= 1


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 200), st.lists(st.integers(0, 16), max_size=4))
def test_ranks_and_micro_batches_share_out_the_same_mixed_batch(
    grouped: ShardReader, step: int, cuts: list[int]
) -> None:
    order = DataOrder(document_masks=True, weights={"code": [(0.0, 0.1), (1.0, 9.0)]})
    loader = Loader(grouped, 29, 16, seed=7, order=order, steps=100)
    whole = loader.read(step, 0, 16)
    parts = [loader.read(step, a, b) for a, b in pairwise([0, *sorted(cuts), 16])]
    for index in range(3):
        assert np.array_equal(whole[index], np.concatenate([part[index] for part in parts]))  # type: ignore[arg-type]


def test_names_that_are_no_sources_are_refused_with_the_nearest(grouped: ShardReader) -> None:
    with pytest.raises(InputError, match=r"mixture\.weights: no source is called 'boks': did you mean 'books'"):
        Loader(grouped, 29, 16, 1, DataOrder(weights={"boks": 1.0}))
    with pytest.raises(InputError, match=r"mixture\.caps: no source is called 'zz': there are 'web', 'books', 'code'"):
        Loader(grouped, 29, 16, 1, DataOrder(weights={"web": 1.0}, caps={"zz": 1.0}))
    with pytest.raises(InputError, match="code has no share: give every source one"):
        Loader(grouped, 29, 16, 1, DataOrder(weights={"web": 1.0, "books": 1.0}, multiples=False))
    with pytest.raises(InputError, match=r"source 'books' holds 600 tokens and a window of model\.context = 700"):
        Loader(grouped, 700, 16, 1, DataOrder(weights={"web": 1.0}))


def test_a_mixture_by_size_alone_reads_every_source_at_one_pace(grouped: ShardReader, tmp_path: Path) -> None:
    loader = Loader(grouped, 29, 16, 1, DataOrder(weights={"web": 1.0}), steps=100)
    assert max(s.epochs for s in loader.sources(100)) - min(s.epochs for s in loader.sources(100)) < 1 / 20
