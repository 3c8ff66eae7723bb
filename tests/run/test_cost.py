"""Energy from counters and rules, and the sum over processes that were killed and continued."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.recipe.resolve import load_recipe
from seedbed.run import energy
from seedbed.run.cost import CostRecorder, price, total_cost
from seedbed.run.energy import EnergyMeter
from seedbed.run.events import EventLog


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def zone(root: Path, number: str, name: str, energy_uj: int, wraps_at: int = 1_000_000) -> Path:
    path = root / f"intel-rapl:{number}"
    path.mkdir(parents=True)
    (path / "name").write_text(name + "\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{wraps_at}\n")
    return path


def test_rapl_counts_packages_and_memory_but_no_part_twice(tmp_path: Path) -> None:
    package = zone(tmp_path, "0", "package-0", 100)
    core = zone(tmp_path, "0:0", "core", 100)
    dram = zone(tmp_path, "0:1", "dram", 100)
    whole = zone(tmp_path, "1", "psys", 100)
    meter = EnergyMeter(num_gpus=0, powercap=tmp_path)
    meter.start()
    for path, value in ((package, 500_100), (core, 300_100), (dram, 200_100), (whole, 900_100)):
        (path / "energy_uj").write_text(str(value))
    reading = meter.read()
    assert (reading.joules, reading.kind) == (0.7, "measured")


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 999_999), max_size=20))
def test_a_counter_that_wraps_loses_nothing(spent: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = zone(Path(folder), "0", "package-0", 990_000)
        meter = EnergyMeter(num_gpus=0, powercap=Path(folder))
        meter.start()
        counter = 990_000
        for microjoules in spent:
            counter = (counter + microjoules) % 1_000_000
            (path / "energy_uj").write_text(str(counter))
            meter.read()
        assert meter.read().joules == pytest.approx(sum(spent) / 1e6)


def test_a_counter_only_root_may_read_falls_back_to_the_rule(tmp_path: Path) -> None:
    path = zone(tmp_path, "0", "package-0", 1)
    (path / "energy_uj").unlink()
    meter = EnergyMeter(num_gpus=0, powercap=tmp_path)
    meter.start()
    assert meter.read().kind == "estimated"


def test_a_counter_that_goes_away_leaves_the_last_reading(tmp_path: Path) -> None:
    path = zone(tmp_path, "0", "package-0", 0)
    meter = EnergyMeter(num_gpus=0, powercap=tmp_path)
    meter.start()
    (path / "energy_uj").write_text("500000")
    before = meter.read()
    (path / "energy_uj").unlink()
    assert meter.read() == before


def test_the_rule_charges_idle_time_and_busy_seconds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(energy, "describe", lambda: {"logical_cores": 4, "memory_bytes": 10e9})
    clock, cpu = Clock(), Clock()
    meter = EnergyMeter(num_gpus=0, powercap=tmp_path, clock=clock, cpu_seconds=cpu)
    meter.start()
    clock.now += 100
    cpu.now += 30
    # Cloud Carbon Footprint: idle 0.74 W a core and 0.392 W a GB; a busy core draws 3.5 W.
    assert meter.read().joules == pytest.approx(100 * (4 * 0.74 + 10 * 0.392) + 30 * (3.5 - 0.74))
    assert meter.read().kind == "estimated"


def test_stated_watts_replace_every_other_source(tmp_path: Path) -> None:
    zone(tmp_path, "0", "package-0", 0)
    clock = Clock()
    meter = EnergyMeter(watts=40, powercap=tmp_path, clock=clock)
    meter.start()
    clock.now += 10
    assert meter.read().joules == 400
    assert "cost.watts" in meter.read().method


class FakeNvml:
    """Three GPUs whose counters start at 1, 2 and 3 J."""

    def __init__(self) -> None:
        self.millijoules = {0: 1000, 1: 2000, 2: 3000}

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:
        return {"GPU-c": 2}[uuid]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        return self.millijoules[handle]


@pytest.mark.parametrize(
    ("visible", "num_gpus", "expected"),
    [(None, 1, 10.0), (None, 2, 30.0), ("1", 1, 20.0), ("2,0", 1, 40.0), ("GPU-c", 8, 40.0), ("", 1, None)],
)
def test_nvml_counts_the_gpus_at_work(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, num_gpus: int, expected: float | None
) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(__import__("sys").modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    source = energy.gpu_source(num_gpus, Clock())
    nvml.millijoules = {0: 11_000, 1: 22_000, 2: 43_000}
    if expected is None:
        assert source is None
    else:
        assert source is not None and source.read().joules == expected and source.read().kind == "measured"


def test_a_gpu_without_counter_is_estimated_and_one_without_datasheet_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    monkeypatch.setattr(energy, "gpus", lambda: [{"name": "NVIDIA H200"}, {"name": "Mystery 9"}])
    clock = Clock()
    source = energy.gpu_source(2, clock)
    assert source is not None
    clock.now += 10
    reading = source.read()
    assert reading.joules == pytest.approx(0.75 * 700 * 10)
    assert reading.kind == "estimated" and "Mystery 9" in reading.method


def test_a_measured_part_beside_an_estimated_one_is_an_estimate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", FakeNvml())
    meter = EnergyMeter(num_gpus=1, powercap=tmp_path)
    meter.start()
    reading = meter.read()
    assert reading.kind == "estimated"
    assert "NVML" in reading.method and "by rule" in reading.method


def record(recipe: Any, path: Path, story: list[tuple[float, str, str, dict[str, Any]]]) -> None:
    """One process's run: (seconds later, kind, stage, fields) events, at 10 W."""
    clock = Clock()
    recorder = CostRecorder(recipe, EnergyMeter(watts=10, clock=clock), clock)
    log = EventLog(path, (recorder,))
    recorder.attach(log.emit)
    for later, kind, stage, fields in story:
        clock.now += later
        log.emit(kind, stage, **fields)
    log.close()


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_total_is_the_sum_over_processes_of_their_last_snapshot(tmp_path: Path) -> None:
    recipe, path = load_recipe(), tmp_path / "events.jsonl"
    start = (0.0, "stage_start", "train", {"key": "k"})
    killed = [start, *((1.0, "step", "train", {"step": s, "flops": s * 100.0}) for s in range(1, 11))]
    resume = (0.0, "resume", "train", {"step": 5, "flops": 500.0})
    continued = [start, resume, *((1.0, "step", "train", {"step": s, "flops": s * 100.0}) for s in range(6, 21))]
    end = (0.0, "stage_end", "train", {"key": "k", "seconds": 15, "summary": {}})
    record(recipe, path, killed)
    record(recipe, path, [*continued, end])
    cost = total_cost(read(path), recipe)
    assert cost.seconds.value == 10 + 15
    assert cost.joules.value == 250
    assert cost.flops.value == 10 * 100 + 15 * 100  # steps 6 to 10 were paid for twice
    assert cost.kwh.value == pytest.approx(250 / 3.6e6)


def test_a_second_training_in_one_process_counts_from_its_own_zero(tmp_path: Path) -> None:
    recipe, path = load_recipe(), tmp_path / "events.jsonl"
    training = [
        (0.0, "stage_start", "train", {"key": "k"}),
        (9.0, "step", "train", {"step": 7, "flops": 700.0}),
        (0.0, "stage_end", "train", {"key": "k", "seconds": 9, "summary": {}}),
    ]
    record(recipe, path, [*training, *training])
    assert total_cost(read(path), recipe).flops.value == 1400


def test_snapshots_come_at_a_bounded_rate(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    record(load_recipe(), path, [(0.01, "progress", "curate", {"done": i}) for i in range(10_000)])
    assert 20 <= len(read(path)) <= 22  # 100 seconds, one in five


def test_nothing_recorded_costs_nothing_and_says_so() -> None:
    cost = total_cost([], load_recipe())
    assert cost.joules.value == 0 and "nothing" in cost.joules.method


def test_prices_follow_the_recipe_and_say_how() -> None:
    settings = ["cost.dollars_per_kwh=0.5", "cost.dollars_per_hour=2.0", "cost.grid_kg_co2_per_kwh=0.1", "cost.pue=1.5"]
    config = load_recipe(settings=settings).cost
    cost = price(joules=7.2e6, seconds=1800, flops=1.0, kind="measured", method="counter", config=config)
    assert cost.kwh.value == pytest.approx(3.0)
    assert cost.dollars.value == pytest.approx(3.0 * 0.5 + 1.0)
    assert cost.kg_co2.value == pytest.approx(0.3)
    assert cost.litres_water.value == pytest.approx(3.0 * 3.908)  # EcoLogits' world mean
    assert (cost.joules.kind, cost.kwh.kind, cost.dollars.kind) == ("measured", "estimated", "estimated")
    assert "PUE" in cost.kwh.method and "$/h" in cost.dollars.method


def test_on_the_cpu_no_gpu_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", SimpleNamespace(nvmlInit=lambda: pytest.fail("asked")))
    CostRecorder(load_recipe(settings=["train.device=cpu"])).attach(lambda *_, **__: None)
