"""The embedded corpora are there, readable, licensed, and free of the markup they came in."""

import re
from pathlib import Path

import pytest

from seedbed.corpus import builtin
from seedbed.corpus.records import Document
from seedbed.corpus.sources import read_source, source_fingerprint
from seedbed.recipe.schema import SourceConfig

# documents, least bytes of text, a passage
EXPECTED = {
    "sotu": (249, 12_000_000, "the state of the Union"),
    "factbook": (256, 6_000_000, "GEOGRAPHY\nLocation: "),
    "kjv": (1189, 4_000_000, "In the beginning God created the heaven and the earth."),
    "python-stdlib": (300, 5_000_000, "class JSONEncoder"),
}


@pytest.mark.parametrize("name", builtin.NAMES)
def test_a_builtin_corpus(name: str) -> None:
    records = list(read_source(SourceConfig(path=f"builtin:{name}")))
    documents = [record for record in records if isinstance(record, Document)]
    number, least, passage = EXPECTED[name]
    assert len(documents) == number if name != "python-stdlib" else len(documents) >= number
    assert len(documents) == len(records)
    assert sum(len(d.text.encode()) for d in documents) >= least
    assert any(passage in d.text for d in documents)
    assert len({d.id for d in documents}) == len(documents)
    assert all(d.licence and d.domain and d.origin and d.id.startswith(f"{name}/") for d in documents)
    assert {d.language for d in documents} == {"code:python" if name == "python-stdlib" else "en"}
    if name in ("factbook", "kjv"):
        assert not [d.id for d in documents if re.search(r"&[a-z]+;|</?[a-z]+>|\[|\]", d.text) and name == "kjv"]
        assert not [d.id for d in documents if re.search(r"&[a-z]+;|</?(br|p|em|strong|b)\b", d.text)]


def test_packed_files_are_small_and_their_licences_are_told() -> None:
    folder = builtin.packed_path("sotu").parent
    assert sum(path.stat().st_size for path in folder.glob("*.xz")) < 6_000_000
    told = (folder / "LICENCES.md").read_text(encoding="utf-8")
    assert all(f"builtin:{name}" in told for name in builtin.NAMES)


def test_standard_library_ids_hold_no_path_of_this_machine() -> None:
    for record in read_source(SourceConfig(path="builtin:python-stdlib")):
        assert isinstance(record, Document)
        assert record.origin.startswith("python-3.")
        assert not Path(record.id).is_absolute()
        assert "site-packages" not in record.id


def test_fingerprints_differ() -> None:
    prints = [str(source_fingerprint(SourceConfig(path=f"builtin:{name}"))) for name in builtin.NAMES]
    assert len(set(prints)) == len(prints)
