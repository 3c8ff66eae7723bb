from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prepared import Prepared

from seedbed.recipe.schema import Recipe
from seedbed.run.pipeline import STAGE_NAMES, apply_measured, run_pipeline
from seedbed.run.stages import load_output


@pytest.fixture(autouse=True)
def short_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed.train.trials.MEASURED_SECONDS", 0.0)


@pytest.fixture
def prepare(small_recipe: Callable[..., Recipe], tmp_path: Path) -> Callable[..., Prepared]:
    """prepare(changes) -> a run of `small_recipe(changes)` that has come as far as training."""

    def make(changes: dict[str, Any] | None = None) -> Prepared:
        recipe = small_recipe(changes)
        folder = run_pipeline(recipe, tmp_path / "data", lambda event: None, last="measure")
        outputs = {
            name: load_output(folder.stage_path(name)) for name in STAGE_NAMES[: STAGE_NAMES.index("measure") + 1]
        }
        return Prepared(apply_measured(recipe, outputs["measure"].summary), outputs, tmp_path, [])  # type: ignore[union-attr]

    return make
