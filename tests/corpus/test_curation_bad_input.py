"""Wrong recipes of the corpus side: refused in one line, and before anything is read that may take days."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from seedbed.errors import InputError
from seedbed.recipe.layers import validate
from seedbed.run.folder import RunFolder
from seedbed.run.pipeline import run_pipeline


def refused(texts: Path, out: Path, curate: dict[str, Any]) -> str:
    """The sentence with which `seedbed curate` refuses this section."""
    values = {"name": "x", "corpus": {"sources": [str(texts)]}, "train": {"steps": 1}, "curate": curate}
    with pytest.raises(InputError) as caught:
        run_pipeline(validate(values, [("x.toml", values)]), out, lambda event: None, "curate")
    assert "\n" not in str(caught.value)
    assert not list((out / "stages").glob("collect-*"))
    return str(caught.value)


@pytest.fixture
def texts(tmp_path: Path, make_text: Any) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.txt").write_text(make_text(number))
    return folder


@pytest.mark.parametrize(
    ("curate", "says"),
    [
        ({"steps": ["basc"]}, "no step 'basc': did you mean 'basic'"),
        ({"basic": {"mean_word_length": [9, 3]}}, r"mean_word_length: give the least before the greatest.*\[3.*9"),
        ({"code": {"data_characters": [9, 3]}}, "the least before the greatest"),
        ({"policy": {"licences": ["permisive"]}}, "did you mean 'permissive'"),
        ({"policy": {"refuse_licences": "unkown"}}, "did you mean 'unknown'"),
        ({"language": {"allowed": ["english"]}}, "no code of a language 'english': give codes such as 'en'"),
        ({"steps": ["url"], "url": {"lists": ["/nowhere"]}}, "/nowhere: no such file"),
        ({"steps": ["classifier"]}, "no folder is named"),
        ({"steps": ["classifier"], "classifier": {"model": "OTHER"}}, "card.json: no card of a classifier, or of another"),
        ({"steps": ["decontaminate"]}, "no evaluation sets"),
        ({"steps": ["decontaminate"], "decontaminate": {"sets": ["/nowhere"]}}, "/nowhere does not exist"),
        ({"steps": ["code"], "code": {"tokenizer": "/nowhere.json"}}, "no file /nowhere.json"),
        ({"dedup": {"against": ["/nowhere"]}}, "/nowhere holds no finished stage"),
        ({"dedup": {"keep": "best score", "keep_score": "basic.nothing"}}, "not in this recipe: scores are basic.char"),
        (
            {"steps": ["basic", "language"], "dedup": {"keep": "best score", "keep_score": "language.language"}},
            "'language.language' is a label, and has no best",
        ),
    ],
)  # fmt: skip
def test_what_a_rule_cannot_use_is_refused_before_the_corpus_is_read(
    texts: Path, tmp_path: Path, curate: dict[str, Any], says: str
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "card.json").write_text('{"version": 99}')
    given = json.loads(json.dumps(curate).replace("OTHER", str(tmp_path / "other")))
    assert re.search(says, refused(texts, tmp_path / "run", given))


@pytest.mark.parametrize("value", ["en", "ceb", "any", "z*", "code:python"])
def test_codes_and_globs_of_languages_are_taken(value: str) -> None:
    values = {
        "name": "x",
        "corpus": {"sources": ["x"]},
        "train": {"steps": 1},
        "curate": {"language": {"allowed": value}},
    }
    assert validate(values, [("x.toml", values)]).curate.language.allowed in (None, (value, "code:*"), (value,))


def test_a_run_is_not_compared_with_itself(texts: Path, curate: Any) -> None:
    done = curate([str(texts)])
    folder: RunFolder = done.folder
    recipe = folder.recipe().model_dump(mode="json") | {"train": {"steps": 1}}
    recipe["curate"]["dedup"]["against"] = [os.path.relpath(folder.path)]
    with pytest.raises(InputError, match="is the folder of this run: name earlier ones only"):
        run_pipeline(validate(recipe, [("x.toml", recipe)]), folder.path, lambda event: None, "curate")


def test_names_of_files_that_are_no_utf8_do_not_stop_a_run(texts: Path, curate: Any) -> None:
    try:
        shutil.copy(texts / "0.txt", texts / os.fsdecode(b"caf\xe9\n\x1b[31m.txt"))
    except OSError:
        pytest.skip("this file system takes no such name")
    (texts / "0.txt").unlink()
    decisions = curate([str(texts)]).decisions
    assert "texts/caf\\xe9\n\x1b[31m.txt" in decisions and len(decisions) == 4
