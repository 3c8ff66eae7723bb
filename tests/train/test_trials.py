"""A candidate that runs out of memory leaves nothing behind; one that cannot be compiled is left."""

import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from seedbed.errors import SeedbedError
from seedbed.model.config import TransformerConfig, seedbed_config
from seedbed.train import trials
from seedbed.train.execution import Execution
from seedbed.train.trials import Trials

CONFIG = seedbed_config(TransformerConfig(64, 2, 32, 2, 2, 64, 4096))


class Pretended:
    """An engine whose model fits with 4 rows at most, made of parts that refer to each other as a compiled model's do."""

    alive: ClassVar[weakref.WeakSet["Pretended"]] = weakref.WeakSet()
    failed: bool

    def __init__(
        self, config: object, train: object, steps: int, seed: int, execution: Execution, *rest: object
    ) -> None:
        gc.disable()  # it is for the search itself to let go
        assert not [engine for engine in self.alive if engine.failed], "an engine that did not fit is still held"
        self.execution, self.failed, self.itself = execution, False, self
        self.alive.add(self)

    def step(self, step: int) -> None:
        if self.execution.micro_batch_rows > 4:
            self.failed = True
            raise torch.OutOfMemoryError("no memory")


class Uncompilable(Pretended):
    def step(self, step: int) -> None:
        if self.execution.compile:
            raise RuntimeError("Failed to find C compiler.\nPlease set CC.")
        super().step(step)


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setattr(trials, "Engine", Pretended)
    monkeypatch.setattr(trials, "MEASURED_SECONDS", 0.0)
    Pretended.alive.clear()
    yield []
    gc.enable()


def trials_of(notes: list[str]) -> Trials:
    context: Any = SimpleNamespace(
        progress=lambda *_: None,
        check_stop=lambda: None,
        emit=lambda kind, message: notes.append(message),
        recipe=SimpleNamespace(train=SimpleNamespace(recompute="auto"), seed=1),
    )
    data: Any = SimpleNamespace(loader=SimpleNamespace(plan=SimpleNamespace(warmup_steps=0)))
    return Trials(context, CONFIG, data)


def test_an_engine_that_did_not_fit_is_gone_before_the_next(notes: list[str]) -> None:
    held = trials_of(notes)
    held.attempt(Execution("cpu", "float32", False, 1, 32))
    assert held.tried[0]["micro_batch_rows"] == 4 and held.tried[0]["recompute"] == "none"
    assert held.best is not None and held.best[1].micro_batch_rows == 4


def test_without_a_lighter_way_left_it_says_so(notes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "lighter", lambda *_: None)
    with pytest.raises(SeedbedError, match="does not fit"):
        trials_of(notes).attempt(Execution("cpu", "float32", False, 1, 32))


def test_a_compiler_that_fails_is_left_unless_the_recipe_insists(
    notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "Engine", Uncompilable)
    held = trials_of(notes)
    held.attempt(Execution("cpu", "float32", False, 1, 4))
    assert not held.attempt_compiled(Execution("cpu", "float32", True, 1, 4))
    assert held.best is not None and not held.best[1].compile
    assert notes == ["torch.compile failed here (Failed to find C compiler.): training goes on without it"]
    with pytest.raises(SeedbedError, match=r"train.compile: .*Failed to find C compiler.*use off"):
        trials_of(notes).attempt_compiled(Execution("cpu", "float32", True, 1, 4))
