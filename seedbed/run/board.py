"""The run as its events tell it: what the live table, the plain log and anything else that watches draw from."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from seedbed.quantities import byte_size, counted, money, quantity, weight
from seedbed.recipe.schema import Recipe
from seedbed.run.cost import price
from seedbed.run.events import SCORES, scores_of
from seedbed.run.outcome import outcome

STAGES = ("collect", "score", "compare", "curate", "tokenizer", "tokenize", "count", "measure", "train", "evaluate")
RATE_SECONDS = 10.0  # the rate is that of the last so many seconds
LAST_LINES = 3  # refusals shown at once


@dataclass
class StageView:
    """What is known of one stage. Times are Unix seconds, as in the events."""

    state: str = "waiting"  # waiting, running, done, kept
    started: float = 0.0
    seconds: float = 0.0
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    outcome: str = ""  # once it is done
    marks: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=64))

    def advance(self, now: float, done: float, total: float, unit: str) -> None:
        if unit != self.unit or (self.marks and done < self.marks[-1][1]):
            self.marks.clear()  # another part of the stage began: its rate has nothing to do with the last one's
        self.done, self.total, self.unit = done, total, unit
        if not self.marks or now - self.marks[-1][0] >= RATE_SECONDS / 50:
            self.marks.append((now, done))
        while len(self.marks) > 2 and now - self.marks[0][0] > RATE_SECONDS:
            self.marks.popleft()

    def rate(self) -> float | None:
        """Units a second of late, or None before two marks."""
        if len(self.marks) < 2 or self.marks[-1][0] <= self.marks[0][0]:
            return None
        return (self.marks[-1][1] - self.marks[0][1]) / (self.marks[-1][0] - self.marks[0][0])

    def seconds_left(self) -> float | None:
        rate = self.rate()
        return (self.total - self.done) / rate if rate and rate > 0 and self.total >= self.done else None

    def amount(self) -> str:
        """How far it is: '12.3 MB of 32.8 MB', '1,200 of 2,400 steps'."""
        if self.unit == "bytes":
            return f"{byte_size(self.done)} of {byte_size(self.total)}"
        return f"{counted(self.done)} of {counted(self.total)} {self.unit}"

    def pace(self) -> str:
        """The rate with its unit, or "" while there is none."""
        rate = self.rate()
        if rate is None:
            return ""
        return f"{byte_size(rate)}/s" if self.unit == "bytes" else f"{quantity(rate).strip()} {self.unit}/s"


@dataclass
class Board:
    """The run as the events so far tell it."""

    recipe: Recipe
    stages: dict[str, StageView] = field(default_factory=lambda: {name: StageView() for name in STAGES})
    current: str = ""
    started: float = 0.0
    now: float = 0.0
    step: dict[str, Any] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)
    cost: str = ""
    kept: int | None = None
    removed: int | None = None
    reasons: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    def update(self, event: dict[str, Any]) -> None:
        kind, name = event["kind"], event.get("stage", "")
        self.now = event["time"]
        self.started = self.started or self.now
        stage = self.stages.setdefault(name, StageView()) if name else StageView()
        if kind == "stage_start":
            self.current = name
            self.stages[name] = StageView("running", started=self.now)
        elif kind == "stage_cached":
            stage.state = "kept"
        elif kind == "stage_end":
            stage.state, stage.seconds, stage.done = "done", event["seconds"], stage.total
            stage.outcome = step_line(self.step) if name == "train" and self.step else outcome(name, event["summary"])
        elif kind == "progress":
            stage.advance(self.now, event["done"], event["total"], event["unit"])
            self.kept, self.removed = event.get("kept", self.kept), event.get("removed", self.removed)
            reason = event.get("last_reason")
            if reason and reason not in self.reasons:
                self.reasons.append(reason)
        elif kind == "step":
            self.step = event
            stage.advance(self.now, event["step"], event["steps"], "steps")
        elif kind == "validation":
            self.validation = event
        elif kind == "cost":
            self.cost = cost_line(event, self.recipe)

    def verdicts(self) -> str:
        """Documents kept and refused so far, or "" before any."""
        if self.kept is None:
            return ""
        return f"kept {counted(self.kept)}, refused {counted(self.removed or 0)}"


def cost_line(event: dict[str, Any], recipe: Recipe) -> str:
    """What this process has spent so far, each figure marked `~` where it is an estimate."""
    cost = price(event["joules"], event["seconds"], event["flops"], event["energy"], event["method"], recipe.cost)
    parts = [
        f"{mark(cost.joules.kind)}{quantity(cost.joules.value)}J",
        f"~{money(cost.dollars.value)}".replace("~<", "<"),
        f"~{weight(cost.kg_co2.value)} CO2e",
    ]
    if cost.flops.value:
        parts.insert(0, f"{quantity(cost.flops.value)}FLOP")
    return "  ".join(parts)


def mark(kind: str) -> str:
    return "" if kind == "measured" else "~"


def step_line(step: dict[str, Any]) -> str:
    """Loss, rate and efficiency of the last training step seen."""
    parts = [f"loss {step['loss']:.3f}"]
    if step.get("tokens_per_second"):
        parts.append(f"{counted(step['tokens_per_second'])} tokens/s")
    if step.get("mfu") is not None:
        parts.append(f"MFU {step['mfu']:.0%}")
    if step.get("lr") is not None:
        parts.append(f"lr {step['lr']:.2g}")
    return "  ".join(parts)


def scores_line(validation: dict[str, Any]) -> str:
    """'1.987 bits/byte held out: code 2.345'; without an overall score the domains' alone."""
    name, scores = scores_of(validation)
    overall = f"{scores['all']:.3f} " if "all" in scores else ""
    domains = "  ".join(f"{domain} {value:.3f}" for domain, value in scores.items() if domain != "all")
    return f"{overall}{SCORES[name]} held out" + (f": {domains}" if domains else "")
