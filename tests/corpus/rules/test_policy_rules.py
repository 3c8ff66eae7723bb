"""Licences become names a recipe can state; opt-outs remove; what is stated decides, and what is not is "unknown"."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus.rules import load_group
from seedbed.corpus.rules.group import Check, threshold_of
from seedbed.corpus.rules.policy import licence_label
from seedbed.corpus.view import TextView
from seedbed.recipe.curation import CurateConfig
from seedbed.recipe.judging import PolicyRules


def removed_by(section: PolicyRules, licence: str = "", opt_out: str = "") -> list[str]:
    """The rules of the section that remove a document with these facts."""
    group = load_group("policy")
    scores, spans = group.start(section, CurateConfig()).examine(
        TextView("text"), {"licence": licence, "opt_out": opt_out}
    )
    assert not spans
    by_name = dict(zip((score.name for score in group.scores), scores, strict=True))
    checks = [Check("policy", rule, "w", by_name[rule.score], threshold_of(rule, section)) for rule in group.rules]
    return [check.rule.name for check in checks if not check.passed]


@pytest.mark.parametrize(
    ("stated", "label"),
    [
        ("CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        ("CC BY-SA 4.0", "CC-BY-SA-4.0"),
        ("Creative Commons Attribution-ShareAlike 3.0 Unported", "CC-BY-SA-3.0"),
        ("https://creativecommons.org/licenses/by-nc-nd/3.0/de/", "CC-BY-NC-ND-3.0"),
        ("//creativecommons.org/licenses/by/4.0/legalcode", "CC-BY-4.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("cc by", "CC-BY"),
        ("MIT License", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("GPL-2.0-or-later", "GPL-2.0-or-later"),
        ("(MIT OR Apache-2.0)", "MIT, Apache-2.0"),
        ("MIT/Apache-2.0", "MIT, Apache-2.0"),
        ("MIT AND BSD-3-Clause", "MIT AND BSD-3-Clause"),
        ("US public domain (17 USC 105)", "US public domain (17 USC 105)"),
        ("Ask us, please", "Ask us and please"),
        ("", "unknown"),
        ("NOASSERTION", "unknown"),
    ],
)
def test_a_licence_has_one_name(stated: str, label: str) -> None:
    assert licence_label(stated) == label


@pytest.mark.parametrize("piece", ["cc-by-", "-", " ", "nc", "/", " or ", "(", "creativecommons.org/licenses/"])
def test_an_endless_licence_has_a_short_name(piece: str) -> None:
    assert len(licence_label("CC-BY" + piece * 10**5)) < 500


@pytest.mark.parametrize(
    ("allowed", "licence", "stays"),
    [
        ("any", "All rights reserved", True),
        ("permissive", "CC BY 4.0", True),
        ("permissive", "CC BY-NC 4.0", False),
        ("permissive", "CC BY-SA 4.0", False),
        ("permissive", "mit", True),
        ("permissive", "US public domain (17 USC 105)", True),
        ("permissive", "GPL-3.0 OR MIT", True),  # one may choose
        ("permissive", "GPL-3.0 AND MIT", False),
        ("copyleft", "LGPL-2.1", True),
        ("cc-*", "CC BY-ND 4.0", True),  # capitals are no difference
        ("CC-*", "", False),
    ],
)
def test_a_list_of_licences_keeps_what_it_covers(allowed: str, licence: str, stays: bool) -> None:
    assert removed_by(PolicyRules(licences=(allowed,)), licence) == ([] if stays else ["licences"])


def test_unknown_licences_are_kept_or_removed_by_name() -> None:
    assert removed_by(PolicyRules()) == []
    assert removed_by(PolicyRules(licences=("permissive", "unknown"))) == []
    assert removed_by(PolicyRules(refuse_licences=("unknown",))) == ["refuse_licences"]
    assert removed_by(PolicyRules(refuse_licences=("non-commercial",)), "CC BY-NC-SA 2.0") == ["refuse_licences"]
    assert removed_by(PolicyRules(refuse_licences=("non-commercial",)), "CC BY-SA 2.0") == []


def test_opt_out_signals_remove_where_the_recipe_names_them() -> None:
    assert removed_by(PolicyRules(), opt_out="noindex tdm") == ["refuse_opt_out"]
    assert removed_by(PolicyRules(), opt_out="noindex") == removed_by(PolicyRules()) == []
    assert removed_by(PolicyRules(refuse_opt_out=("noindex",)), opt_out="tdm noai") == []
    assert removed_by(PolicyRules.model_validate({"refuse_opt_out": "none"}), opt_out="noai") == []


def test_a_recipe_written_out_reads_as_the_same_policy() -> None:
    section = PolicyRules.model_validate({"licences": "permissive"})
    assert "CC-BY-[0-9]*" in (section.licences or ()) and PolicyRules.model_validate(section.model_dump()) == section


PIECES = (
    "CC",
    "by",
    "-",
    " OR ",
    "/",
    "4.0",
    "(",
    ")",
    "MIT",
    ", ",
    ";",
    " ",
    ".",
    "creativecommons.org/licenses/",
    "zero",
)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_any_text_has_names_that_commas_separate(text: str) -> None:
    for name in licence_label(text).split(", "):
        assert name and name == name.strip() and "," not in name
