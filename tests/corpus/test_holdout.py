"""The held-out split: a share by hash, never nothing and never everything, and stable."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from seedbed.corpus.holdout import DOMAIN_MINIMUM, Text, choose_held_out


def texts(count: int, num_bytes: int = 1000, domain: str = "prose") -> list[Text]:
    return [Text(hashlib.md5(f"{domain}{i}".encode()).digest(), domain, num_bytes) for i in range(count)]


@given(
    st.integers(2, 60),
    st.integers(0, 2**31 - 1),
    st.sampled_from([0, 0.02, 0.5, 0.99]),
    st.sampled_from([1, 5000, 10**9]),
)
def test_of_two_or_more_at_least_one_is_on_either_side(count: int, seed: int, fraction: float, max_bytes: int) -> None:
    chosen = texts(count)
    held = choose_held_out(chosen, seed, fraction, max_bytes)
    assert 1 <= len(held) < count
    assert held == choose_held_out(reversed(chosen), seed, fraction, max_bytes)


def test_the_share_is_about_the_fraction() -> None:
    assert 150 <= len(choose_held_out(texts(10_000), 1, 0.02, 10**9)) <= 250


def test_the_cap_holds_per_domain() -> None:
    both = texts(1000) + texts(1000, domain="code")
    held = choose_held_out(both, 1, 0.5, 50_000)
    for domain in ("prose", "code"):
        assert sum(t.num_bytes for t in both if t.digest in held and t.domain == domain) == 50_000


def test_a_seed_draws_other_texts() -> None:
    assert choose_held_out(texts(1000), 1, 0.02, 10**9) != choose_held_out(texts(1000), 2, 0.02, 10**9)


def test_more_documents_move_none_across_the_line() -> None:
    few, many = texts(500), texts(1000)
    held = choose_held_out(many, 1, 0.1, 10**9)
    assert choose_held_out(few, 1, 0.1, 10**9) == held & {t.digest for t in few}


def test_a_small_domain_still_has_a_text_to_be_measured_on() -> None:
    small = texts(DOMAIN_MINIMUM, domain="poems")
    held = choose_held_out(texts(1000) + small, 1, 0.001, 10**9)
    assert len(held & {t.digest for t in small}) == 1
