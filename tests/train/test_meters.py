"""Meters tell the truth: every second has one kind, work done twice is useful once, norms and losses are those of the tensors."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from prepared import Prepared

from seedbed.files import read_json
from seedbed.train.batch import IGNORED
from seedbed.train.engine import Engine
from seedbed.train.meters import Meters
from seedbed.train.norms import Norms
from seedbed.train.parallel import Ranks
from seedbed.train.source_losses import SourceLosses


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def make_meters(clock: Clock) -> Meters:
    return Meters(lambda step: 1000 * step, 6.0, 1e5, 4e5, clock=clock)


def run_step(meters: Meters, clock: Clock, seconds: float, waited: float = 0.0, how: str = "trained") -> None:
    with meters.step() as done:
        clock.now += seconds
        done.how, done.waited = how, waited  # type: ignore[assignment]


def test_each_second_has_one_kind() -> None:
    clock = Clock()
    meters = make_meters(clock)
    run_step(meters, clock, 7.0, waited=1.0)  # compiles
    run_step(meters, clock, 3.0, waited=1.0)
    with meters.time("record"):
        clock.now += 0.5
        with meters.time("look"):
            clock.now += 2.0
    with meters.step() as done:
        clock.now += 1.0
        with meters.time("guard"):
            clock.now += 0.25
        done.how = "passed"
    assert meters.spent == {"step": 4.0, "data": 2.0, "compile": 4.0, "record": 0.5, "look": 2.0, "guard": 1.25}
    assert sum(meters.spent.values()) == clock.now - 100.0 == meters.seconds


def test_work_that_is_done_again_is_useful_once() -> None:
    clock = Clock()
    meters = make_meters(clock)
    for _ in range(6):
        run_step(meters, clock, 2.0)
    assert meters.useful == 12.0
    meters.restart(3, 6.0, 6.0)  # back to the checkpoint after three steps
    for _ in range(3):
        run_step(meters, clock, 2.0)
    assert meters.useful == 12.0 and meters.times() == {"useful_seconds": 12.0, "spent": meters.spent}
    assert meters.spent["step"] == 18.0
    other_process = make_meters(clock)
    other_process.restart(3, 6.0, 6.0)
    run_step(other_process, clock, 2.0)
    assert other_process.useful == 8.0 and other_process.seconds == 8.0


def test_rates_leave_out_the_work_beside_the_steps() -> None:
    clock = Clock()
    meters = make_meters(clock)
    run_step(meters, clock, 2.0)
    run_step(meters, clock, 2.0)
    with meters.time("look"):
        clock.now += 100.0
    assert meters.rate(2) == {"tokens_per_second": 500.0, "mfu": 0.03, "mfu_datasheet": 0.0075}
    run_step(meters, clock, 1.0, waited=0.5)
    assert meters.rate(3)["tokens_per_second"] == 1000.0  # waiting for data is no less a part of it


def test_norms_are_those_of_the_tensors(prepare: Callable[..., Prepared]) -> None:
    from seedbed.train.engine import Execution
    from seedbed.train.measure import model_config, open_data

    prepared = prepare()
    config = model_config(prepared.recipe, prepared.outputs["tokenizer"].summary["vocab_size"])
    data = open_data(prepared.context("engine"))
    engine = Engine(config, prepared.recipe.train, 100, 1, Execution("cpu", "float32", False, 1, 4), data, Ranks())
    norms = Norms(engine, 100)
    for step in range(2):
        outcome = engine.gradients(step)
        gradients = {name: dense(p.grad) for name, p in engine.model.named_parameters()}
        weights = {name: p.detach().double().clone() for name, p in engine.model.named_parameters()}
        before = norms.before()
        engine.update(step, outcome)
        found = norms.after(before)
        now = {name: p.detach().double() for name, p in engine.model.named_parameters()}
        for group, parameters in norms.groups.items():
            own = list(parameters)
            expected = {
                "gradient": total([gradients[name] for name in own]),
                "weight": total([now[name] for name in own]),
                "update": total([now[name] - weights[name] for name in own]),
            }
            assert found[group] == pytest.approx(expected, rel=1e-4, abs=1e-12), group
        everything = total([gradients[name] for group in norms.groups.values() for name in group])
        assert outcome.gradient_norm == pytest.approx(everything, rel=1e-5)
    assert set(norms.groups) == {"tables", "matrices", "head", "scalars"}


def dense(gradient: torch.Tensor | None) -> torch.Tensor:
    assert gradient is not None
    return (gradient.to_dense() if gradient.is_sparse else gradient).double().clone()


def total(values: list[torch.Tensor]) -> float:
    return float(torch.cat([value.flatten() for value in values]).norm())


def test_losses_are_summed_by_source_and_those_of_a_dropped_step_are_forgotten() -> None:
    groups = [SimpleNamespace(name=name) for name in ("books", "code", "unseen")]
    loader = SimpleNamespace(mixture=object(), shards=SimpleNamespace(groups=groups))
    losses = SourceLosses(loader, "cpu")  # type: ignore[arg-type]
    targets = torch.tensor([[5, 6, 7], [5, IGNORED, IGNORED], [1, 2, IGNORED]])
    sources = torch.tensor([1, 0, 1])
    losses.add(sources, targets, torch.tensor([6.0, 4.0, 11.0]))
    losses.keep()
    losses.add(sources, targets, torch.full((3,), float("nan")))
    losses.drop()
    assert losses.take(lambda sums: sums) == {"books": 4.0, "code": 3.4}
    assert losses.take(lambda sums: sums) == {}
    assert losses.take(lambda sums: sums + 2) == {"books": 1.0, "code": 1.0, "unseen": 1.0}  # other ranks' share


def test_training_records_times_norms_and_memory(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare({"train.steps": 55})
    path = prepared.train("run")
    history = read_json(path / "history.json")
    assert [entry["step"] for entry in history["norms"]] == [1, 51]
    assert [event["groups"] for event in prepared.of_kind("norms")] == [entry["groups"] for entry in history["norms"]]
    last = history["steps"][-1]
    assert last["memory_bytes"] > 10_000_000 and last["gradient_norm"] > 0
    times = prepared.of_kind("time")[-1]
    assert set(times["spent"]) >= {"step", "data", "record", "resume"}
    assert times["useful_seconds"] == pytest.approx(times["spent"]["step"], abs=1e-3)
    assert np.isfinite(times["useful_seconds"])
