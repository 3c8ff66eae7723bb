"""The step `scrub`: edits, scores and switches; time that grows with the text alone; and what it does to code and mathematics."""

import json
import lzma
import math
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.corpus.chain import apply_spans
from seedbed.corpus.rules.scrub import SCRUB
from seedbed.corpus.scrub import KINDS, find, finders
from seedbed.corpus.scrub.characters import Characters
from seedbed.corpus.view import TextView
from seedbed.recipe.curation import CurateConfig, ScrubConfig

CORPUS = Path(__file__).parents[4] / "shared" / "data" / "corpus"
TEXT = "Ask jane@acme.org or +1 415-555-2671. Paid with 4242 4242 4242 4242 to DE89 3704 0044 0532 0130 00 from 85.214.132.117."


def scrubbed(text: str, section: ScrubConfig | None = None) -> tuple[dict[str, float], str]:
    worker = SCRUB.start(section or ScrubConfig(), CurateConfig())
    scores, spans = worker.examine(TextView(text), {})
    names = [score.name for score in SCRUB.scores]
    return dict(zip(names, map(float, scores), strict=True)), apply_spans(text, spans)


def test_each_kind_is_replaced_by_its_placeholder_and_counted() -> None:
    scores, text = scrubbed(TEXT)
    assert text == "Ask <EMAIL> or <PHONE>. Paid with <CARD> to <IBAN> from <IP>."
    assert {kind: scores[kind] for kind in KINDS} == {
        "email": 1, "phone": 1, "card": 1, "iban": 1, "ip": 1, "api_key": 0, "private_key": 0
    }  # fmt: skip
    assert scores["characters"] == len(
        "jane@acme.org+1 415-555-26714242 4242 4242 4242DE89 3704 0044 0532 0130 0085.214.132.117"
    )
    assert scores["per_thousand_characters"] == pytest.approx(5000 / len(TEXT))


def test_kinds_and_placeholders_are_the_recipes() -> None:
    scores, text = scrubbed(TEXT, ScrubConfig(kinds=("email",), placeholders={"email": "[mail]"}))
    assert text.startswith("Ask [mail] or +1 415") and "85.214.132.117" in text
    assert scores["email"] == 1 and math.isnan(scores["phone"])


def test_what_was_scrubbed_holds_nothing_more() -> None:
    _, text = scrubbed(TEXT)
    assert find(text) == []


def test_a_rule_takes_lists_of_people_when_the_recipe_says_so() -> None:
    rule = SCRUB.rules[0]
    assert getattr(ScrubConfig(), rule.name) is None
    assert getattr(ScrubConfig.model_validate({"max_per_thousand_characters": 5}), rule.name) == 5


# Pieces that finders look for, near misses, and what glues them together.
PIECES = [
    "jane@acme.org", "@", "a@b", "+49 30 1234567", "+", "(415) 555-2671", "415-555-2671", "Tel. ", "card ", "4242 4242 4242 4242",
    "4242424242424242", "DE89 3704 0044 0532 0130 00", "DE89370400440532013000", "GB29", "85.214.132.117", "8.8.8.8", "v1.2.3.4",
    "2001:4860:4860::8888", "2001:", "::", "1", "12", "1.2", "AKIAQ3ZT7MPLW2KX5RBN", 'password = "aB3dE5fG7hJ9kL2m"',
    "sk-", "eyJ", "x://u:secr3t@h", "-----BEGIN PRIVATE KEY-----\n", "A1b2" * 16, "\n-----END PRIVATE KEY-----",
    " ", "\n", ".", "-", "é", "漢", "x", "İ",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@given(texts | st.text(max_size=200))
def test_places_are_in_order_and_apart_and_any_text_is_taken(text: str) -> None:
    places = [place for _, place in find(text)]
    assert all(0 <= place.start < place.end <= len(text) for place in places)
    assert all(a.end <= b.start for a, b in pairwise(places))
    apply_spans(text, SCRUB.start(ScrubConfig(), CurateConfig()).examine(TextView(text), {})[1])


class Everywhere(Characters):
    """Looks nowhere in particular: every pattern is put to the whole text."""

    def long_runs(self, num_digits: int) -> list[tuple[int, int]]:
        return [(0, len(self.text))]

    @property
    def dotted(self) -> list[tuple[int, int]]:  # type: ignore[override]
        return [(0, len(self.text))]

    @property
    def account_starts(self) -> list[int]:  # type: ignore[override]
        return list(range(len(self.text)))

    colons_after_four = account_starts  # type: ignore[assignment]

    def long_words(self, size: int) -> list[tuple[int, int, bool]]:
        return [(0, len(self.text), True)] if self.text else []


@given(texts)
def test_looking_where_a_number_can_stand_finds_all_that_looking_everywhere_does(text: str) -> None:
    few = find(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finders, "Characters", Everywhere)
        assert find(text) == few


@pytest.mark.timeout(60)  # with quadratic time any one of these takes many minutes
@pytest.mark.parametrize(
    "piece",
    [
        "@", "a@", "a@b.", "a.", "1", "1 ", "1.", "1.1.1.1.", "1234 ", "4242-", "+1", "(1", "+1 (", "Tel 1 ", "0" * 15 + " ",
        "AB12", "AB12 ", "2001:", "2:", ":", "::", "eyJ", "eyJeyJa.", "ghp_", "sk-", "a_", "=a", '="', "'a1", "://a:", "://a:b@",
        "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY-----\nA1b2", "-----BEGIN ", "password=", "secret_",
        "\\n", " ", "-",
    ],
)  # fmt: skip
def test_the_worst_text_ends_in_time_that_grows_with_its_length(piece: str) -> None:
    for text in (piece * (200_000 // len(piece)), piece * (200_000 // len(piece)) + "é!"):
        find(text)


def counts(name: str, documents: int) -> Counter[str]:
    path = CORPUS / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    total: Counter[str] = Counter()
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in islice(lines, documents):
            total.update(kind for kind, _ in find(json.loads(line)["text"]))
    return total


def test_a_logic_textbook_in_tex_holds_nothing() -> None:
    assert counts("academic_openlogic_tex.jsonl.xz", 722) == {}


def test_textbooks_of_mathematics_and_science_hold_no_accounts_cards_addresses_or_keys() -> None:
    assert set(counts("academic_openstax_ccby.jsonl.xz", 600)) <= {"email", "phone"}


def test_code_keeps_its_numbers_hashes_and_tokens() -> None:
    """The 400 first files: authors' addresses, and one address of a host. bench/scrub.py goes through all of them."""
    found = counts("code_python_permissive.jsonl.xz", 400)
    assert set(found) <= {"email", "ip"} and found["ip"] <= 2
