"""Candidates for how a step is executed: each trains for a moment on the real batches, made lighter until it fits."""

import gc
import statistics
import time
from dataclasses import replace
from typing import Any

import torch

from seedbed.errors import SeedbedError
from seedbed.model.config import TransformerConfig
from seedbed.run.stages import StageContext
from seedbed.train.data import TrainingData
from seedbed.train.engine import Engine
from seedbed.train.execution import Execution, lighter
from seedbed.train.parallel import Ranks

WARM_STEPS = 3
MEASURED_SECONDS = 2.0


class Trials:
    """The candidates that were tried, and the fastest: seconds a step, how it is executed, and its engine where that is kept."""

    def __init__(self, context: StageContext, config: TransformerConfig, data: TrainingData) -> None:
        self.context, self.config, self.data = context, config, data
        self.tried: list[dict[str, Any]] = []
        self.best: tuple[float, Execution, Engine | None] | None = None

    def attempt(self, execution: Execution) -> None:
        self.context.progress(len(self.tried), 3, "candidates")
        if self.best is not None and execution.device != "cpu":
            self.best = (*self.best[:2], None)  # a GPU need not hold two models
            free_memory(execution)
        engine, entry = self.measured(execution)
        self.tried.append(entry)
        if self.best is None or entry["step_seconds"] < self.best[0]:
            self.best = (entry["step_seconds"], entry_execution(execution, entry), engine)
        elif execution.device != "cpu":
            del engine
            free_memory(execution)

    def attempt_compiled(self, execution: Execution) -> bool:
        """Whether torch.compile worked. Where it does not, training goes on without, unless the recipe insists."""
        try:
            self.attempt(execution)
        except (SeedbedError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever the compiler, Triton or a C compiler it calls may raise
            said = next(iter(str(error).splitlines()), "") or type(error).__name__
            if self.best is None:
                raise SeedbedError(f"train.compile: torch.compile failed here ({said}): use off") from error
        else:
            return True
        free_memory(execution)
        self.context.emit("note", message=f"torch.compile failed here ({said}): training goes on without it")
        return False

    def measured(self, execution: Execution) -> tuple[Engine, dict[str, Any]]:
        """An engine for `execution`, made `lighter` until it fits, and the mean of its step times after warming up.

        The mean, not the median: a run takes the sum of its steps, the slow ones of a shared machine included.
        """
        recipe = self.context.recipe
        full = max(1, self.data.loader.plan.warmup_steps)  # the first step with a batch at its full size
        while (begun := self.begin(execution, full)) is None:
            free_memory(execution)
            smaller = lighter(execution, self.config.context, recipe.train.recompute == "auto")
            if smaller is None:
                raise SeedbedError("model.size: the model does not fit this GPU's memory: choose a smaller one")
            execution = smaller
        engine, first_step = begun
        times: list[float] = []
        step = full + 1
        while len(times) < WARM_STEPS + 3 or sum(times[WARM_STEPS:]) < MEASURED_SECONDS:
            self.context.check_stop()
            began = time.perf_counter()
            engine.step(step)
            times.append(time.perf_counter() - began)
            step += 1
        return engine, {
            "precision": execution.precision,
            "compile": execution.compile,
            "micro_batch_rows": execution.micro_batch_rows,
            "recompute": execution.recompute,
            "first_step_seconds": round(first_step, 2),
            "step_seconds": round(statistics.mean(times[WARM_STEPS:]), 5),
        }

    def begin(self, execution: Execution, full: int) -> tuple[Engine, float] | None:
        """An engine after its first step and one of full size, and the first one's seconds; None where memory ran out.

        With this call ends what holds the tensors of a step that failed: the engine's name and the exception's frames.
        """
        recipe = self.context.recipe
        began = time.monotonic()
        try:
            engine = Engine(self.config, recipe.train, 10**6, recipe.seed, execution, self.data, Ranks())
            engine.step(0)
            seconds = time.monotonic() - began
            engine.step(full)
        except torch.OutOfMemoryError:
            return None
        return engine, seconds


def free_memory(execution: Execution) -> None:
    """Give back what engines held that nothing names any more: their parts refer to each other, and the compiler to them."""
    if execution.compile:
        torch.compiler.reset()
    gc.collect()
    if execution.device == "cuda":
        torch.cuda.empty_cache()


def entry_execution(execution: Execution, entry: dict[str, Any]) -> Execution:
    return replace(execution, micro_batch_rows=entry["micro_batch_rows"], recompute=entry["recompute"])
