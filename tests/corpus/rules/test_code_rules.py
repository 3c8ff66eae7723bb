"""StarCoder's rules: what each language is judged by, comments by hand and by Python's own tokenizer."""

import io
import math
import sys
import tokenize
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.corpus.rules.code import CODE, Code, reads
from seedbed.corpus.rules.comments import LANGUAGES, find_comments, visible_text
from seedbed.corpus.view import TextView
from seedbed.errors import InputError
from seedbed.recipe.curation import CodeRules


def scores(text: str, language: str = "python") -> dict[str, float]:
    values, spans = Code(CodeRules()).examine(TextView(text), {"domain": f"code:{language}"})
    assert not spans
    return dict(zip([score.name for score in CODE.scores], values, strict=True))


@pytest.mark.parametrize(
    ("name", "language", "text", "expected"),
    [
        ("longest_line", "c", "ab\nabcd\n", 4),
        ("mean_line", "c", "ab\nabcd\n", 3),
        ("alphanumeric", "c", "a1+-é", 3 / 5),
        ("comments", "python", "x = 1  # why\n", 5 / 13),
        ("comments", "c", "/* no threshold was published */", math.nan),
        ("xml", "svg", '\n<?xml version="1.0"?>', 1),
        ("xml", "svg", " " * 100 + '<?xml version="1.0"?>', 0),
        ("html_characters", "html", "<p>one &amp; two</p><script>x</script>", 9),
        ("html_text", "html", "<b>abc</b>", 0.3),
        ("html_text", "python", "<b>abc</b>", math.nan),
        ("data_characters", "json", '{"a": 1}', 8),
        ("data_characters", "python", '{"a": 1}', math.nan),
        ("python_characters_per_token", "python", "x = 1", math.nan),  # no tokenizer was named
    ],
)
def test_scores(name: str, language: str, text: str, expected: float) -> None:
    assert scores(text, language)[name] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("python", 's = "# no"  # yes\n', ["# yes"]),
        ("python", 'def f():\n    """Docs # here."""\n    x = """data"""\n', ['    """Docs # here."""']),
        ("java", 's = "// no"; // yes\n/* and\nthis */ c = \'"\'; // too', ["// yes", "/* and\nthis */", "// too"]),
        ("javascript", "a = `// no ${b}`; // yes", ["// yes"]),
        ("java", "/* never closed", ["/* never closed"]),
    ],
)
def test_comments(language: str, text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in find_comments(text, language)] == expected


@pytest.mark.parametrize("module", ["argparse", "textwrap", "json.decoder"])
def test_comments_are_those_of_pythons_tokenizer(module: str) -> None:
    __import__(module)
    path = sys.modules[module].__file__
    assert path is not None
    text = Path(path).read_text(encoding="utf-8")
    expected = [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT]
    found = [text[start:end] for start, end in find_comments(text, "python")]
    assert [comment for comment in found if comment.startswith("#")] == expected


@given(st.text(alphabet="\"'#/*\\\n `<>ax", max_size=200), st.sampled_from(sorted(LANGUAGES)))
def test_any_text_has_comments_in_order(text: str, language: str) -> None:
    spans = find_comments(text, language)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert [at for span in spans for at in span] == sorted(at for span in spans for at in span)


@given(
    st.lists(st.sampled_from(["<", ">", "<script>", "</SCRIPT", "<!--", "-->", "text", "İ", "&lt;", "<style"])).map(
        "".join
    )
)
def test_visible_text_of_any_page(page: str) -> None:
    assert len(visible_text(page)) <= len(page)


@given(st.text(), st.sampled_from(["python", "java", "html", "json", "c"]))
def test_any_text_has_scores(text: str, language: str) -> None:
    assert all(math.isnan(value) or 0 <= value < math.inf for value in scores(text, language).values())


def test_a_missing_tokenizer_is_the_recipes_fault(tmp_path: Path) -> None:
    section = CodeRules(tokenizer=str(tmp_path / "none.json"))
    for work in (Code, reads):
        with pytest.raises(InputError, match=r"curate\.code\.tokenizer"):
            work(section)


def test_characters_per_token_with_a_tokenizer(tmp_path: Path) -> None:
    from seedbed.tokens.tokenizer import Tokenizer

    Tokenizer.train(iter(["x = 1\n" * 50]), 300, "gpt4").save(tmp_path / "tokenizer.json")
    worker = Code(CodeRules(tokenizer=str(tmp_path / "tokenizer.json")))
    text = "x = 1\n"
    values, _ = worker.examine(TextView(text), {"domain": "code:java"})
    found = dict(zip([score.name for score in CODE.scores], values, strict=True))
    tokens = len(Tokenizer.load(tmp_path / "tokenizer.json").encode(text))
    assert found["java_characters_per_token"] == len(text) / tokens
    assert math.isnan(found["python_characters_per_token"])
