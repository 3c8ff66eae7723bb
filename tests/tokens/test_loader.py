import hashlib
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.tokens.batch_plan import BatchPlan
from seedbed.tokens.loader import Loader
from seedbed.tokens.permutation import ROUNDS, permute
from seedbed.tokens.reader import ShardReader
from seedbed.tokens.shards import ShardWriter
from seedbed.tokens.tokenizer import Tokenizer

# Ids tell their place: document n is [10 n, 10 n + 1, ...]; 999 ends it.
COUNTING = [[10 * n + i for i in range(n % 7)] for n in range(90)]


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(0, 2**63))
def test_the_permutation_takes_every_place_once(size: int, key: int) -> None:
    keys = np.array([[key + i] for i in range(ROUNDS)], np.uint64)
    assert sorted(permute(np.arange(size), size, keys).tolist()) == list(range(size))


def test_the_permutation_of_a_number_does_not_depend_on_its_company() -> None:
    keys = np.arange(ROUNDS, dtype=np.uint64).reshape(ROUNDS, 1)
    size = 10**12 + 39
    numbers = np.random.default_rng(0).integers(0, size, 1000)
    together = permute(numbers, size, keys)
    assert together.tolist() == [int(permute(np.array([n]), size, keys)[0]) for n in numbers]
    assert len(set(together.tolist())) == len(set(numbers.tolist()))
    assert together.min() >= 0
    assert together.max() < size


def test_the_permutation_mixes() -> None:
    """Neighbours land apart and the halves share out evenly: the order is not a drift through the corpus."""
    keys = np.array([[11], [22], [33], [44]], np.uint64)
    size = 100_000
    places = permute(np.arange(size), size, keys)
    assert abs(np.corrcoef(places[:-1], places[1:])[0, 1]) < 0.02  # 6 standard errors of independent draws
    assert abs(np.corrcoef(places, np.arange(size))[0, 1]) < 0.02
    assert abs((places[: size // 2] < size // 2).mean() - 0.5) < 0.02
    assert (places != permute(np.arange(size), size, keys + np.uint64(1))).mean() > 0.99


def test_a_batch_follows_from_the_step_alone(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(COUNTING, max_shard_tokens=50)
    forward, other = Loader(folder, 8, 5, seed=3), Loader(folder, 8, 5, seed=3)
    batches = [forward.batch(step) for step in range(30)]
    for step in reversed(range(30)):
        assert np.array_equal(other.batch(step), batches[step])
    assert batches[0].shape == (5, 9)
    assert batches[0].dtype == np.int64
    assert not np.array_equal(Loader(folder, 8, 5, seed=4).batch(0), batches[0])


def test_the_default_stream_is_the_one_that_runs_of_the_past_were_trained_on(make_shards: Callable[..., Path]) -> None:
    """SHA-256 of 40 batches as version 0.1 gave them, before packing and mixtures: a recipe still means the same run."""
    loader = Loader(make_shards(COUNTING, max_shard_tokens=50), 8, 5, seed=3)
    digest = hashlib.sha256(b"".join(loader.batch(step).astype("<i8").tobytes() for step in range(40))).hexdigest()
    assert digest == "0a39e20977d0abf3917c5fcfbaddc9149502b438bf6100279a406b4c30892e68"


@pytest.mark.parametrize("batch_rows", [1, 4, 100])
def test_an_epoch_shows_every_window_once(make_shards: Callable[..., Path], batch_rows: int) -> None:
    """100 rows: a batch of several epochs, as in a corpus smaller than a batch."""
    loader = Loader(make_shards(COUNTING), 8, batch_rows, seed=1)
    windows = loader.num_rows
    rows = 6 * windows
    steps = range(-(-rows // batch_rows))
    positions = [pieces[0][0] for step in steps for pieces in loader.pieces(step, 0, batch_rows)]
    orders, origins = set(), set()
    for epoch in range(6):
        seen = positions[epoch * windows : (epoch + 1) * windows]
        origin = loader.packings[0].order.draw(epoch)[0] % loader.num_tokens  # type: ignore[attr-defined]
        assert sorted(seen) == sorted((origin + 8 * i) % loader.num_tokens for i in range(windows))
        orders.add(tuple((p - origin) % loader.num_tokens for p in seen))
        origins.add(origin)
    assert len(orders) == 6
    assert len(origins) > 3


def test_every_token_is_a_target_as_often_as_any_other_over_many_epochs(make_shards: Callable[..., Path]) -> None:
    documents = [[n] for n in range(50)]
    loader = Loader(make_shards(documents), 7, 14, seed=1)
    targets = Counter(np.concatenate([loader.batch(step)[:, 1:].ravel() for step in range(400)]).tolist())
    counts = [targets[n] for n in range(50)]
    assert max(counts) - min(counts) < 0.1 * np.mean(counts)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1000), st.integers(1, 12), st.data())
def test_ranks_and_micro_batches_share_out_the_same_batch(
    tmp_path_factory: pytest.TempPathFactory, step: int, batch_rows: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "shared_out"
    if not folder.exists():
        writer = ShardWriter(folder, 1000, 999, "", 60)
        for number, document in enumerate(COUNTING):
            writer.add(np.array(document, np.uint32), str(number), "s", "d", 0)
        writer.finish()
    loader = Loader(folder, 8, batch_rows, seed=1)
    cuts = sorted(data.draw(st.lists(st.integers(0, batch_rows), max_size=4)))
    bounds = [0, *cuts, batch_rows]
    parts = [loader.rows(step, a, b) for a, b in pairwise(bounds)]
    assert np.array_equal(np.concatenate(parts), loader.batch(step))
    spans = [row for a, b in pairwise(bounds) for row in loader.documents(step, a, b)]
    assert spans == loader.documents(step)


def test_rows_that_cross_shards_hold_the_stream(make_shards: Callable[..., Path]) -> None:
    one = Loader(make_shards(COUNTING, name="one"), 40, 8, seed=2)
    many = Loader(make_shards(COUNTING, max_shard_tokens=12, name="many"), 40, 8, seed=2)
    assert len(many.shards.tokens) > 20
    for step in range(10):
        assert np.array_equal(one.batch(step), many.batch(step))


def test_lineage_leads_from_a_row_to_the_text_of_its_documents(
    tmp_path: Path, tokenizer: Tokenizer, texts: list[str]
) -> None:
    paragraphs = {f"s/{n}": part for n, part in enumerate("\n".join(texts).split("\n\n")) if part}
    writer = ShardWriter(tmp_path, tokenizer.vocab_size, tokenizer.eos_id, tokenizer.sha256, 5000)
    for name, text in paragraphs.items():
        writer.add(tokenizer.encode(text), name, "s", "d", len(text.encode()))
    writer.finish()
    loader = Loader(tmp_path, 64, 6, seed=5)
    whole = 0
    for step in range(0, 60, 3):
        for row, spans in zip(loader.batch(step), loader.documents(step), strict=True):
            assert sum(span.stop - span.start for span in spans) == 65
            at = 0
            for span in spans:
                taken = row[at : at + span.stop - span.start]
                at += len(taken)
                tokens = [*tokenizer.encode(paragraphs[span.id]).tolist(), tokenizer.eos_id]
                assert taken.tolist() == tokens[span.start : span.stop]
                assert tokenizer.decode_bytes(taken) in paragraphs[span.id].encode()
                if (span.start, span.stop) == (0, len(tokens)):
                    assert tokenizer.decode(taken) == paragraphs[span.id]
                    whole += 1
    assert whole > 20


@pytest.mark.parametrize("length", [1, 7, 8])
def test_a_corpus_shorter_than_a_window_is_refused(make_shards: Callable[..., Path], length: int) -> None:
    folder = make_shards([list(range(length - 1))])
    with pytest.raises(InputError, match=rf"holds {length} tokens and a window of model\.context = 8 needs 9"):
        Loader(folder, 8, 2, seed=1)


def test_the_smallest_corpus_fills_any_batch(make_shards: Callable[..., Path]) -> None:
    folder = make_shards([list(range(8))])
    loader = Loader(folder, 8, 3, seed=1)
    ring = ShardReader(folder).read(0, 9).tolist()
    for row in loader.batch(7):
        turned = ring.index(row[0])
        assert row.tolist() == ring[turned:] + ring[:turned]
    assert loader.epochs(7) == 21.0


def test_batches_that_grow_read_the_same_rows_in_the_same_order(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(COUNTING)
    growing, steady = Loader(folder, 8, BatchPlan(6, ((2, 1), (1, 3))), seed=3), Loader(folder, 8, 1, seed=3)
    assert [len(growing.batch(step)) for step in range(5)] == [1, 1, 3, 6, 6]
    shown = np.concatenate([growing.batch(step) for step in range(5)])
    assert np.array_equal(shown, np.concatenate([steady.batch(step) for step in range(17)]))
    assert growing.epochs(4) == steady.epochs(11)
    assert growing.documents(2) == [spans for step in (2, 3, 4) for spans in steady.documents(step)]
