"""Files of a finished run that were cut short, overwritten or deleted: one line with file and remedy, whoever reads them."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed.corpus.browse.pages import Pages
from seedbed.corpus.inspect import explain
from seedbed.corpus.redecide import Redecider
from seedbed.errors import SeedbedError
from seedbed.run.folder import RunFolder

FILES = {
    "curate/documents-00000-00000.parquet": {"later crawl"},
    "curate/decisions-00000.parquet": {"why", "redecide", "browse", "later crawl"},
    "curate/cuts-00000.parquet": {"why", "browse"},
    "score/scored-00000.parquet": {"redecide", "browse", "later crawl"},
    "score/spans-00000.parquet": {"why", "redecide", "browse", "later crawl"},
    "score/bands-00000.npy": {"later crawl"},
    "compare/ranks.npy": {"redecide", "browse"},
    "collect/documents-00000-000.parquet": {"why", "redecide", "browse", "later crawl"},
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:20] + random.Random(1).randbytes(len(data) - 40) + data[-20:])


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [cut, overwrite, delete])
def test_a_damaged_file_is_named_in_one_line(
    tmp_path: Path, make_text: Any, curate: Any, damage: Callable[[Path], None]
) -> None:
    dedup = {"near": True, "substrings": True, "substring_words": 20}
    for name, numbers in (("old", range(6)), ("new", range(4, 10))):
        (tmp_path / name).mkdir()
        for number in numbers:
            (tmp_path / name / f"{number}.txt").write_text(make_text(number) + "contact: someone@harbourmaster.org\n")
    sound: RunFolder = curate([str(tmp_path / "old")], dedup=dedup, steps=["basic", "scrub"]).folder
    for file, readers in FILES.items():
        run = tmp_path / "damaged"
        shutil.copytree(sound.path, run)
        stage, _, name = file.partition("/")
        damage(RunFolder(run).stage_path(stage) / name)

        def redecide(run: Path = run) -> Any:
            decider = Redecider.of(run)
            return decider.with_cuts(decider.ask(["basic.min_words=10"]))

        def browse(run: Path = run) -> Any:
            pages = Pages(run)
            asked = ("/api/documents", "/api/documents", "/api/clusters", "/api/document", "/api/near")
            given = ({}, {"find": "river", "in": "text"}, {}, {"at": "0:1"}, {"rule": "basic.min_words"})
            return [pages.paths[path]({k: [v] for k, v in p.items()}) for path, p in zip(asked, given, strict=True)]

        calls: dict[str, Callable[[], Any]] = {
            "why": lambda run=run: explain(run, "old/1"),
            "redecide": redecide,
            "browse": browse,
            "later crawl": lambda run=run: curate([str(tmp_path / "new")], dedup=dedup | {"against": [str(run)]}),
        }
        if file.startswith("curate/cuts") and damage is delete:
            readers = set()  # a run that cuts nothing has no such file
        for reader in readers:
            with pytest.raises(SeedbedError, match="run the same command again") as caught:
                calls[reader]()
            assert "\n" not in str(caught.value)
            assert name in str(caught.value) or f"no {name.partition('-')[0]}-*" in str(caught.value), reader
        shutil.rmtree(run)
