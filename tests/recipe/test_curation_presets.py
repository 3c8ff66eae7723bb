"""Curation presets: each is whole, fields given win over it, and a written recipe reads back the same."""

from pathlib import Path
from typing import get_args

import pytest

from seedbed.corpus.chain import judgements
from seedbed.errors import InputError
from seedbed.recipe.curation import CurateConfig, CurationPreset
from seedbed.recipe.dump import dump_recipe, load_resolved
from seedbed.recipe.resolve import load_recipe


@pytest.mark.parametrize("name", get_args(CurationPreset))
def test_a_preset_is_whole_and_reads_back(name: CurationPreset, tmp_path: Path) -> None:
    recipe = load_recipe(settings=[f"curate.preset={name}"])
    assert recipe.curate.preset == name
    assert recipe.curate == CurateConfig(preset=name)
    assert judgements(recipe.curate)
    path = tmp_path / "recipe.toml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_resolved(path) == recipe


def test_a_field_wins_over_the_preset_and_stays_off(tmp_path: Path) -> None:
    settings = ["curate.preset=fineweb", "curate.language.allowed=none", "curate.gopher_quality.min_words=30"]
    recipe = load_recipe(settings=settings)
    assert recipe.curate.language.allowed is None and recipe.curate.gopher_quality.min_words == 30
    assert recipe.curate.c4.terminal_punctuation is False
    path = tmp_path / "recipe.toml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_resolved(path) == recipe


def test_presets_differ_as_their_papers_do() -> None:
    fineweb, dclm, code = (CurateConfig(preset=name) for name in ("fineweb", "dclm", "code"))
    order = ("url", "language", "gopher_repetition", "gopher_quality", "c4", "fineweb", "scrub")
    assert [step for step in fineweb.steps if step in order] == list(order)
    assert "refinedweb_lines" in dclm.steps and "c4" not in dclm.steps
    assert "code" in code.steps and code.language.allowed is None


def test_a_wrong_preset_or_step_is_one_line() -> None:
    with pytest.raises(InputError, match=r"curate\.preset: expected 'basic'.*found 'finweb'"):
        load_recipe(settings=["curate.preset=finweb"])
    with pytest.raises(InputError, match=r"curate\.steps: no step 'gopher'"):
        load_recipe(settings=['curate.steps=["gopher"]'])
    with pytest.raises(InputError, match=r"did you mean curate\.gopher_quality\.min_words"):
        load_recipe(settings=["curate.gopher_quality.min_word=3"])


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("words")
    (tmp_path / "recipe.toml").write_text(
        '[corpus]\nsources = "text.txt"\n[curate.url]\nlists = ["adult"]\n[curate.dedup]\nagainst = ["old"]\n'
        '[curate.classifier]\nmodel = "judge"\n[curate.decontaminate]\nsets = ["a.jsonl", "/b.jsonl"]\n'
    )
    recipe = load_recipe(str(tmp_path / "recipe.toml"))
    assert recipe.corpus.sources[0].path == str(tmp_path / "text.txt")
    assert recipe.curate.url.lists == (str(tmp_path / "adult"),)
    assert recipe.curate.dedup.against == (str(tmp_path / "old"),)
    assert recipe.curate.classifier.model == str(tmp_path / "judge")
    assert recipe.curate.decontaminate.sets == (str(tmp_path / "a.jsonl"), "/b.jsonl")
