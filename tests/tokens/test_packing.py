from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import SeedbedError
from seedbed.tokens import packing
from seedbed.tokens.loader import PADDING, DataOrder, Loader
from seedbed.tokens.packing import best_fit, write_best_fit
from seedbed.tokens.permutation import ROUNDS, BlockOrder
from seedbed.tokens.reader import ShardReader
from seedbed.tokens.shards import ShardWriter

EOS = 999
DOCUMENTS = st.lists(st.integers(0, 40), min_size=1, max_size=60)


def write(folder: Path, lengths: list[int], shard_tokens: int = 10**8) -> ShardReader:
    """Documents of these lengths whose tokens count up through the whole corpus, so that each tells its place."""
    writer = ShardWriter(folder, 2**20, 2**20 - 1, "0" * 64, shard_tokens)
    first = 0
    for number, length in enumerate(lengths):
        writer.add(np.arange(first, first + length), str(number), "s", "d", length)
        first += length
    writer.finish()
    return ShardReader(folder)


@given(st.lists(st.integers(2, 50), min_size=1, max_size=80), st.integers(50, 60))
def test_best_fit_puts_every_piece_in_one_row_that_holds_it(lengths: list[int], capacity: int) -> None:
    order, sizes = best_fit(np.array(lengths), capacity)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    rows = np.split(np.array(lengths)[order], np.cumsum(sizes)[:-1])
    assert max(row.sum() for row in rows) <= capacity
    assert all(len(row) for row in rows)


@given(st.lists(st.integers(2, 30), min_size=1, max_size=60), st.integers(30, 40))
def test_best_fit_is_the_plain_algorithm(lengths: list[int], capacity: int) -> None:
    """Against the definition, a search through all rows: as many rows, filled alike."""
    room: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [r for r in room if r >= length]
        if fitting:
            room.remove(min(fitting))
        room.append((min(fitting) if fitting else capacity) - length)
    order, sizes = best_fit(np.array(lengths), capacity)
    rows = np.split(np.array(lengths)[order], np.cumsum(sizes)[:-1])
    # room for a single token is room for none: no piece is shorter than two
    assert sorted(capacity - int(row.sum()) for row in rows) == sorted(room)


@settings(deadline=None, max_examples=40)
@given(DOCUMENTS, st.integers(8, 16), st.integers(10, 200), st.sampled_from([30, 10**9]))
def test_an_epoch_of_best_fit_asks_for_every_target_once_and_cuts_only_long_documents(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], context: int, shard_tokens: int, block_tokens: int
) -> None:
    lengths = [*lengths, context + 1]  # at least one row
    shards = write(tmp_path_factory.mktemp("shards"), lengths, shard_tokens)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "BLOCK_TOKENS", block_tokens)
        patch.setattr(packing, "BLOCK_ROWS", 1)
        write_best_fit(shards, context)
    loader = Loader(shards, context, 1, seed=3, order=DataOrder(packing="best-fit", document_masks=True))
    ends = np.cumsum([length + 1 for length in lengths])
    owner = np.repeat(np.arange(len(lengths)), [length + 1 for length in lengths])
    asked: Counter[int] = Counter()
    num_targets = 0
    for step in range(loader.num_rows):
        rows = loader.read(step, 0, 1)
        assert rows.documents is not None
        documents, places = rows.documents[0], loader.positions(step, 0, 1)[0]
        inside = (documents[1:] == documents[:-1]) & (documents[1:] != PADDING)
        asked.update(places[1:][inside].tolist())
        num_targets += loader.num_targets(step)
        assert np.array_equal(documents == PADDING, places == PADDING)
        assert (rows.tokens[0][places == PADDING] == 2**20 - 1).all()
        assert np.array_equal(rows.tokens[0][places != PADDING], shards.read(0, shards.num_tokens)[places[places >= 0]])
        for number in range(documents.max() + 1):
            piece = places[documents == number]
            assert len(set(owner[piece].tolist())) == 1
            if len(piece) <= context and lengths[owner[piece[0]]] <= context:  # it fits a row: it is whole
                assert piece[0] in {0, *ends.tolist()}
                assert piece[-1] + 1 in ends
    starts = {0, *ends.tolist()}
    assert asked == Counter(place for place in range(shards.num_tokens) if place not in starts)
    assert num_targets == sum(lengths)


def test_best_fit_leaves_little_padding_and_cuts_far_fewer_documents(tmp_path: Path) -> None:
    """Lengths as of web text (log-normal, median 400 tokens): as the paper's table 1, under a thousandth is padding."""
    lengths = np.minimum(np.random.default_rng(0).lognormal(6.0, 1.0, 4000).astype(int) + 1, 5000).tolist()
    shards = write(tmp_path, lengths)
    found = write_best_fit(shards, 1024)
    assert found["padding"] < 0.001
    assert found["cut_documents"] == sum(length + 1 > 1025 for length in lengths)
    loader = Loader(shards, 1024, 1, seed=1)
    ends = np.cumsum(np.array(lengths) + 1)
    cut = {
        int(np.searchsorted(ends, first, side="right"))
        for step in range(loader.num_rows)
        for ((first, _), *_) in loader.pieces(step, 0, 1)
        if first not in {0, *ends.tolist()}
    }
    assert len(cut) > 1.5 * found["cut_documents"]


def test_masks_of_concatenated_windows_number_the_documents(tmp_path: Path) -> None:
    """Against the owner of each token, over shards and past the end of the ring."""
    lengths = [3, 0, 12, 1, 40, 2, 2, 7]
    shards = write(tmp_path, lengths, 20)
    owner = np.repeat(np.arange(len(lengths)), [length + 1 for length in lengths])
    loader = Loader(shards, 30, 4, seed=2, order=DataOrder(document_masks=True))
    wrapped = 0
    for step in range(12):
        rows = loader.read(step, 0, 4)
        assert rows.documents is not None
        total = 0
        for documents, places in zip(rows.documents, loader.positions(step, 0, 4), strict=True):
            changes = (np.diff(owner[places]) != 0) | (np.diff(places) < 0)
            wrapped += int((np.diff(places) < 0).sum())
            assert documents.tolist() == [0, *np.cumsum(changes).tolist()]
            total += int((~changes).sum())
        assert loader.num_targets(step) == total
    assert wrapped


def test_masks_change_no_token(tmp_path: Path) -> None:
    shards = write(tmp_path, [5, 9, 30, 2] * 9)
    plain, masked = Loader(shards, 16, 8, 1), Loader(shards, 16, 8, 1, DataOrder(document_masks=True))
    for step in range(5):
        assert np.array_equal(plain.batch(step), masked.batch(step))
        assert plain.read(step, 0, 8).documents is None
    assert plain.num_targets(3) == 8 * 16 > masked.num_targets(3)


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 400), st.integers(0, 2**62))
def test_an_order_by_blocks_takes_every_place_once_and_stays_in_its_block(size: int, block: int, key: int) -> None:
    order = BlockOrder(size, block, np.arange(key, key + ROUNDS, dtype=np.uint64).reshape(ROUNDS, 1))
    found = order.at(np.arange(size))
    assert sorted(found.tolist()) == list(range(size))
    for turn in range(order.count):
        part = found[order.first_place[turn] : order.first_place[turn + 1]]
        assert part.max() - part.min() < len(part)
    assert max(np.diff(order.bounds)) - min(np.diff(order.bounds)) <= 1


@pytest.mark.parametrize("kind", ["concatenate", "best-fit"])
def test_shuffling_by_blocks_shows_the_same_rows_in_an_epoch(tmp_path: Path, kind: str) -> None:
    shards = write(tmp_path, [n % 60 for n in range(300)])
    write_best_fit(shards, 16)
    orders = [DataOrder(packing=kind, shuffle_tokens=shuffle) for shuffle in (None, 320)]
    rows = [[tuple(map(tuple, p)) for p in loader.pieces(0, 0, loader.num_rows)] for loader in
            (Loader(shards, 16, 1, 5, order) for order in orders)]  # fmt: skip
    if kind == "best-fit":
        assert sorted(rows[0]) == sorted(rows[1])
    assert rows[0] != rows[1]
    starts = np.array([parts[0][0] for parts in rows[1]])
    steps = np.abs(np.diff(starts))
    assert np.median(steps) < 40 * 16  # neighbours in time are neighbours in the stream


@pytest.mark.parametrize("damage", ["none", "short", "empty"])
def test_a_packing_that_is_missing_or_damaged_is_refused(make_shards: Callable[..., Path], damage: str) -> None:
    folder = make_shards([[1] * 30, [2] * 5])
    if damage != "none":
        write_best_fit(ShardReader(folder), 8)
        path = folder / "packing-8" / ("rows" if damage == "empty" else "pieces")
        path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:-12])
    with pytest.raises(SeedbedError, match=r"packing-8 is missing or damaged: delete the folder"):
        Loader(folder, 8, 2, seed=1, order=DataOrder(packing="best-fit"))
