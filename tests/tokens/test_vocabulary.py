import pytest

from seedbed.tokens.vocabulary import SMALLEST, vocab_for_corpus, vocab_for_model


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (100_000, 4096),
        (1_000_000, 4096),
        (2_000_000, 4096),
        (100_000_000, 32_768),
        (10**9, 65_536),
        (70 * 10**9, 65_536),
    ],
)
def test_the_rule_passes_through_its_anchors(parameters: int, expected: int) -> None:
    assert vocab_for_model(parameters) == expected


def test_the_vocabulary_grows_with_model_and_corpus_in_multiples_of_64() -> None:
    by_model = [vocab_for_model(int(1.3**i)) for i in range(40, 90)]
    by_corpus = [vocab_for_corpus(int(1.3**i)) for i in range(0, 90)]
    for sizes in (by_model, by_corpus):
        assert sizes == sorted(sizes)
        assert all(size % 64 == 0 and size >= SMALLEST for size in sizes)


def test_a_small_corpus_gets_a_small_vocabulary() -> None:
    assert [vocab_for_corpus(size) for size in (2**20, 2**24, 2**32)] == [1024, 4096, 65_536]
