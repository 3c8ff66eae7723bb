"""What a run costs: energy, money, carbon and water, summed over every process that worked on its folder.

A run may be killed and resumed, so no process knows the total. Each process writes `cost` events with what it has spent
since its own start; the total is the sum over processes of the last one (`total_cost`).
"""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from seedbed.recipe.schema import CostConfig, Recipe
from seedbed.run.energy import EnergyMeter, Kind

__all__ = ["Cost", "CostRecorder", "EnergyMeter", "Figure", "price", "total_cost"]

JOULES_PER_KWH = 3.6e6
# Water that a kWh of grid electricity consumes, world mean, in EcoLogits' electricity mixes (MPL-2.0).
LITRES_PER_KWH = 3.908
SNAPSHOT_SECONDS = 5.0


class CostRecorder:
    """A listener that writes `cost` events: what this process spent so far, at a bounded rate and at each stage's end.

    Use: `recorder = CostRecorder(recipe); log = EventLog(path, (progress, recorder)); recorder.attach(log.emit)`.
    """

    def __init__(
        self, recipe: Recipe, meter: EnergyMeter | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        on_cpu = recipe.train.device == "cpu"
        self._meter = meter or EnergyMeter(recipe.cost.watts, num_gpus=0 if on_cpu else None)
        self._clock = clock
        self._emit: Callable[..., None] | None = None
        self._session = f"{os.getpid()}-{time.time_ns()}"
        self._next = 0.0
        self._flops_before, self._flops_base, self._flops_now = 0.0, 0.0, 0.0

    def attach(self, emit: Callable[..., None]) -> None:
        """Start the meter; from now on every event is a chance to write a snapshot through `emit`."""
        self._meter.start()
        self._emit = emit
        self.snapshot("")

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind == "cost" or self._emit is None:
            return
        if kind == "stage_start":
            self._flops_before += self._flops_now - self._flops_base
            self._flops_base = self._flops_now = 0.0
        elif kind == "resume":
            self._flops_base = self._flops_now = event["flops"]
        elif kind == "step":
            self._flops_now = event["flops"]
        if self._clock() >= self._next or kind in ("stage_end", "run_end"):
            self.snapshot(event["stage"])

    def snapshot(self, stage: str) -> None:
        assert self._emit is not None, "attach first"
        self._next = self._clock() + SNAPSHOT_SECONDS
        reading = self._meter.read()
        self._emit(
            "cost",
            stage,
            session=self._session,
            seconds=round(self._meter.seconds(), 3),
            joules=round(reading.joules, 3),
            energy=reading.kind,
            method=reading.method,
            flops=self._flops_before + self._flops_now - self._flops_base,
        )


@dataclass(frozen=True)
class Figure:
    value: float
    unit: str
    kind: Kind
    method: str


@dataclass(frozen=True)
class Cost:
    """What all processes of a run folder have spent, repeated and abandoned work included."""

    seconds: Figure
    flops: Figure
    joules: Figure
    kwh: Figure
    dollars: Figure
    kg_co2: Figure
    litres_water: Figure

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def last_snapshots(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last `cost` event of every process, in order of their first."""
    last: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.get("kind") == "cost":
            last[event["session"]] = event
    return list(last.values())


def price(joules: float, seconds: float, flops: float, kind: Kind, method: str, config: CostConfig) -> Cost:
    """Money, carbon and water of so many joules and seconds, by the recipe's constants."""
    kwh = joules / JOULES_PER_KWH * config.pue
    rent = seconds / 3600 * config.dollars_per_hour
    electricity = kwh * config.dollars_per_kwh
    priced = f"{config.dollars_per_kwh:g} $/kWh" + (
        f" + {config.dollars_per_hour:g} $/h" if config.dollars_per_hour else ""
    )
    litres = joules / JOULES_PER_KWH * config.pue * LITRES_PER_KWH
    kwh_kind: Kind = kind if config.pue == 1 else "estimated"
    building = "" if config.pue == 1 else f" x PUE {config.pue:g}"
    return Cost(
        seconds=Figure(seconds, "s", "measured", "wall clock of every process on this folder"),
        flops=Figure(
            flops, "FLOP", "estimated", "training's matrix products counted from their shapes, repeated steps included"
        ),
        joules=Figure(joules, "J", kind, method),
        kwh=Figure(kwh, "kWh", kwh_kind, f"joules / 3.6e6{building}"),
        dollars=Figure(electricity + rent, "$", "estimated", priced),
        kg_co2=Figure(
            kwh * config.grid_kg_co2_per_kwh,
            "kg CO2e",
            "estimated",
            f"{config.grid_kg_co2_per_kwh:g} kg/kWh of the grid",
        ),
        litres_water=Figure(
            litres,
            "L",
            "estimated",
            f"{LITRES_PER_KWH:g} L/kWh of the grid (world mean, EcoLogits); cooling on site not counted",
        ),
    )


def total_cost(events: Iterable[dict[str, Any]], recipe: Recipe, least_flops: float = 0.0) -> Cost:
    """The sum over processes of their last snapshot. A killed process loses at most the seconds since its last one.

    `least_flops`: what the model at hand is known to have taken, should such losses put the sum below it.
    """
    snapshots = last_snapshots(events)
    methods = dict.fromkeys(snapshot["method"] for snapshot in snapshots)
    return price(
        joules=sum(snapshot["joules"] for snapshot in snapshots),
        seconds=sum(snapshot["seconds"] for snapshot in snapshots),
        flops=max(least_flops, sum(snapshot["flops"] for snapshot in snapshots)),
        kind="measured" if snapshots and all(s["energy"] == "measured" for s in snapshots) else "estimated",
        method=" | ".join(methods) or "nothing was recorded",
        config=recipe.cost,
    )
