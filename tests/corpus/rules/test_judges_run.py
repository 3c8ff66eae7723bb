"""Address, policy and language in a whole curation: the rule that removed is named, with the list, licence or language."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed.corpus.chain import scoring_config
from seedbed.errors import InputError
from seedbed.recipe.curation import CurateConfig

ENGLISH = "The ship left the harbour before the storm came up from the south, and nobody on the quay saw it again. " * 4
GERMAN = "Das Schiff verließ den Hafen, bevor der Sturm aus dem Süden heraufzog, und niemand am Kai sah es wieder. " * 4


def test_documents_outside_go_with_a_reason_and_are_counted(tmp_path: Path, curate: Callable[..., Any]) -> None:
    rows = {
        "fine": {"text": f"One. {ENGLISH}", "license": "CC BY 4.0", "url": "https://good.example/a"},
        "listed": {"text": f"Two. {ENGLISH}", "license": "MIT", "url": "https://www.bad.example/a"},
        "licensed": {"text": f"Three. {ENGLISH}", "license": "CC BY-NC 4.0"},
        "silent": {"text": f"Four. {ENGLISH}"},
        "german": {"text": f"Fünf. {GERMAN}", "license": "mit"},
        "two ways": {"text": f"Six. {ENGLISH}", "license": "GPL-3.0 OR MIT"},
    }
    (tmp_path / "pages.jsonl").write_text("\n".join(json.dumps(row) for row in rows.values()))
    (tmp_path / "adult.txt").write_text("bad.example\n")
    found = curate(
        [{"path": str(tmp_path / "pages.jsonl"), "name": "pages"}],
        steps=["url", "policy", "language"],
        url={"lists": [str(tmp_path / "adult.txt")]},
        policy={"licences": ["permissive"]},
        language={"allowed": ["en"]},
    ).decisions
    by_name = dict(zip(rows, (found[f"pages#{line}"] for line in range(1, len(rows) + 1)), strict=True))
    assert {name: row["rule"] for name, row in by_name.items()} == {
        "fine": "",
        "listed": "url.refuse",
        "licensed": "policy.licences",
        "silent": "policy.licences",
        "german": "language.allowed",
        "two ways": "",
    }
    assert "adult: bad.example" in by_name["listed"]["reason"]
    assert "CC-BY-NC-4.0" in by_name["licensed"]["reason"] and "unknown" in by_name["silent"]["reason"]
    assert by_name["german"]["score.language.language"] == "de" and by_name["german"]["score.policy.licence"] == "MIT"


def test_another_list_or_model_is_another_scoring_and_another_policy_is_not(tmp_path: Path) -> None:
    """The files that a section names are part of what scores depend on; thresholds are not."""
    listed = tmp_path / "adult.txt"
    listed.write_text("bad.example\n")

    def scored_by(**sections: Any) -> Any:
        steps = ["url", "policy"]
        return scoring_config(CurateConfig.model_validate({"steps": steps, "url": {"lists": str(listed)}, **sections}))

    before = scored_by()
    assert scored_by(policy={"licences": "permissive"}) == before
    listed.write_text("worse.example\n")
    assert scored_by() != before
    with pytest.raises(InputError, match=r"curate\.classifier\.model"):
        scoring_config(CurateConfig.model_validate({"steps": ["classifier"]}))
