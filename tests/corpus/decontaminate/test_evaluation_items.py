"""Evaluation files as items: which fields are question and answer, and what is refused."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.corpus.decontaminate.items import Item, item_of
from seedbed.corpus.decontaminate.sets import read_items, set_files
from seedbed.errors import InputError

BUNDLE = Path(__file__).parents[4] / "shared" / "data" / "evals" / "evals_bundle.tar.xz"


def parts(record: dict[str, Any]) -> tuple[str, str, list[str]]:
    item = item_of(1, record)
    assert item is not None
    return (
        " ".join(item.main[: item.answer_start]),
        " ".join(item.main[item.answer_start :]),
        [" ".join(o) for o in item.others],
    )


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"context": "The cat sat on the", "continuation": " mat."}, ("the cat sat on the", "mat", [])),
        (
            {"choices": ["no", "yes"], "query": "Question: Is it so?\nAnswer:", "gold": 1},
            ("is it so", "yes", ["no"]),
        ),
        (
            {"context_options": ["Ann thanked Bea since Ann", "Ann thanked Bea since Bea"], "continuation": "helped.", "gold": 1},
            ("ann thanked bea since bea", "helped", ["ann thanked bea since ann"]),
        ),
        (
            {"question": "How many?", "answer": "3 + 4 = <<3+4=7>>7\n#### 7", "id": 5},
            ("how many", "3 4 3 4 7 7 7", []),
        ),
        ({"prompt": "def f(x):", "canonical_solution": "    return x", "task_id": "H/1"}, ("def f x", "return x", ["h 1"])),
        ({"sentence_good": "Who left?", "sentence_bad": "Left who was it?"}, ("left who was it", "", ["who left"])),
        ({"text": {"en": ["Ein Satz."]}}, ("ein satz", "", [])),
        ({"query": "Q: One?", "choices": ["a"], "gold": 7}, ("one", "", ["a"])),
        (  # AI2's ARC, CommonsenseQA and OpenBookQA
            {"question": "Which?", "choices": {"text": ["dry", "wet"], "label": ["A", "B"]}, "answerKey": "B"},
            ("which", "wet", ["dry"]),
        ),
        ({"sentence": "The _ fell.", "option1": "cup", "option2": "tea", "answer": "2"}, ("the fell", "tea", ["cup"])),
        ({"goal": "Open it", "sol1": "push", "sol2": "pull", "label": 0}, ("open it", "push", ["pull"])),
        ({"premise": "It rained.", "choice1": "dry", "choice2": "wet", "label": 1}, ("it rained", "wet", ["dry"])),
        ({"ctx": "She", "endings": ["sat.", "ran."], "label": "1"}, ("she", "ran", ["sat"])),
        ({"question": "Which?", "choices": ["dry", "wet"], "answer": 1}, ("which", "wet", ["dry"])),
        ({"question": "Which?", "options": ["dry", "wet"], "answer": "A"}, ("which", "dry", ["wet"])),
        ({"question": "Who?", "answer": {"value": "Ann", "aliases": ["Anna"]}}, ("who", "", ["ann", "anna"])),
        ({"context": "Who?", "answer": "Ann", "aliases": ["Ann", "Anna"]}, ("who", "ann", ["ann", "anna"])),
        ({"text": "One two three."}, ("one two three", "", [])),
    ],
)  # fmt: skip
def test_question_and_answer_by_the_fields_names(record: dict[str, Any], expected: tuple[str, str, list[str]]) -> None:
    assert parts(record) == expected


def test_a_record_without_text_is_no_item() -> None:
    assert item_of(1, {"id": 7, "gold": 1}) is None


def test_mmlus_csv_and_packed_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "virology_test.csv").write_text('"Which virus,\nand when?",flu,cold,pox,none,C\n', encoding="utf-8")
    [item] = read_items(tmp_path / "virology_test.csv")
    assert item == Item(1, ["which", "virus", "and", "when", "pox"], 4, [["flu"], ["cold"], ["none"]])
    packed = tmp_path / "easy.jsonl.gz"
    packed.write_bytes(gzip.compress(b'\n{"query": "One two?"}\n'))
    assert [item.number for item in read_items(packed)] == [2]


def test_parquet_text_and_csv_with_a_header_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["One?", "Two?"], "answer": ["a", "b"], "n": [1, 2]}), tmp_path / "x.parquet")
    assert [item.main for item in read_items(tmp_path / "x.parquet")] == [["one", "a"], ["two", "b"]]
    (tmp_path / "wiki.txt").write_text(" \n = A title = \n\n Some text . \n")
    assert [(item.number, item.main) for item in read_items(tmp_path / "wiki.txt")] == [
        (2, ["a", "title"]),
        (4, ["some", "text"]),
    ]
    (tmp_path / "x.csv").write_text('id,prompt,target\n7,"Who,\nthen?",Ann\n')
    [item] = read_items(tmp_path / "x.csv")
    assert item == Item(2, ["who", "then", "ann"], 2, [["7"]])


def test_sets_are_named_after_their_files(tmp_path: Path) -> None:
    for name in ("a/test.jsonl", "b/test.jsonl", "b/other.jsonl.xz", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(set_files((str(tmp_path),))) == ["a/test", "other", "b/test"]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("x.jsonl", b'{"query": "a"}\nnot json\n', "line 2"),
        ("x.jsonl", b"[1]\n", "expected a JSON object"),
        ("x.jsonl", b'{"query": "\xff"}\n', "line 1"),
        ("x.csv", b"a,b,c\n", "3 columns"),
        ("x.csv", b"question,answer\nWho?\n", "line 2: 1 columns under a header of 2"),
        ("x.parquet", b"PAR1", "no Parquet"),
        ("x.jsonl", b'\n\n{"query": "a"}\n\nnot json\n', "line 5"),
        ("x.jsonl.gz", b"no gzip at all", "damaged"),
        ("x.jsonl", b"[" * 100_000, "line 1"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=says) as caught:
        list(read_items(path))
    assert str(path) in str(caught.value)


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        set_files((str(tmp_path / "nowhere"),))
    with pytest.raises(InputError, match="holds no"):
        set_files((str(tmp_path),))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = [
    "query",
    "context",
    "context_options",
    "choices",
    "gold",
    "label",
    "answer",
    "continuation",
    "question",
    "other",
]


@given(st.dictionaries(st.sampled_from(NAMES), values))
def test_any_record_is_taken_and_loses_no_word(record: dict[str, Any]) -> None:
    item = item_of(1, record)
    if item is not None:
        assert 0 <= item.answer_start <= len(item.main)


@given(
    st.lists(st.binary(max_size=60) | st.just(b'{"query": "a b c"}'), max_size=5).map(b"\n".join),
    st.sampled_from(["jsonl", "csv"]),
)
def test_any_bytes_are_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, ending: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{ending}"
    path.write_bytes(data)
    try:
        items = list(read_items(path))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert all(item.main or item.others or item.answer_start == 0 for item in items)


def test_every_file_of_a_real_bundle_is_read(tmp_path: Path) -> None:
    import tarfile

    if not BUNDLE.exists():
        pytest.skip(f"{BUNDLE} is not here")
    expected = {
        "arc_easy": 2376, "lambada_openai_small": 8, "winograd_wsc": 273, "copa": 100, "human_eval_return_simple": 37,
        "svamp": 300, "virology_test": 166, "jeopardy_small": 16,
    }  # fmt: skip
    with tarfile.open(BUNDLE) as bundle:
        for member in bundle:
            if member.isfile() and Path(member.name).stem in expected and member.name.endswith((".jsonl", ".csv")):
                file = bundle.extractfile(member)
                assert file is not None
                (tmp_path / Path(member.name).name).write_bytes(file.read())
    counts = {name: len(list(read_items(path))) for name, path in set_files((str(tmp_path),)).items()}
    assert counts == expected
