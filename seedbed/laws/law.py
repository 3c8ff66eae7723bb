"""A law: a form with its parameters, their uncertainty, and the range it was fitted on. It predicts, and says how far it reaches.

Compute is 6 N D throughout, N the parameters that the points were counted by.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed.errors import InputError
from seedbed.files import write_text
from seedbed.laws.forms import FORMS, MOST_LOG, Array, Form, Inputs, make_inputs

if TYPE_CHECKING:
    from seedbed.laws.points import Points

LEVEL = 0.9
FORMAT = 1
GRID = 281  # sizes tried for an optimum, a tenth apart in their logarithm: the parabola then errs by less than 1e-3
SLACK = 1.05  # a point this near the fitted range counts as inside
Ends = tuple[float, float]


@dataclass(frozen=True)
class FittedRange:
    """Least and most of what the fitted points hold."""

    params: Ends
    tokens: Ends
    flops: Ends
    tokens_per_param: Ends

    @classmethod
    def of(cls, points: "Points") -> "FittedRange":
        n, d = points.inputs.params, points.inputs.tokens
        ends = [(float(x.min()), float(x.max())) for x in (n, d, 6 * n * d, d / n)]
        return cls(*ends)

    def warnings(self, params: Array, tokens: Array) -> tuple[str, ...]:
        """A sentence for compute and for tokens per parameter where they leave what was fitted."""
        found = []
        for name, values, ends in (
            ("compute", 6 * params * tokens, self.flops),
            ("tokens per parameter", tokens / params, self.tokens_per_param),
        ):
            most, least = float(np.max(values)), float(np.min(values))
            if most > ends[1] * SLACK:
                found.append(f"{name} {most:.3g} is {most / ends[1]:,.3g} times beyond the most fitted ({ends[1]:.3g})")
            if least < ends[0] / SLACK:
                found.append(
                    f"{name} {least:.3g} is {ends[0] / least:,.3g} times below the least fitted ({ends[0]:.3g})"
                )
        return tuple(found)


@dataclass(frozen=True)
class Prediction:
    """Loss with its interval: floats, or arrays as long as what was asked. NaN ends: the law has no known uncertainty."""

    loss: Any
    low: Any
    high: Any
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Optimum:
    """The parameters and tokens of least loss at a compute budget, each with (low, high)."""

    flops: float
    params: float
    tokens: float
    loss: float
    params_range: Ends
    tokens_range: Ends
    loss_range: Ends
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Law:
    """`theta` [T] and `draws` [B, T]: parameters as the form holds them; `residuals` [P] of log loss, as large as a new run's.

    `widening` multiplies the intervals of losses, as the largest points asked for when told from the others (`fit.widening_of`).
    """

    form: Form
    theta: Array
    draws: Array
    residuals: Array
    fitted: FittedRange | None
    source: str
    method: str = ""
    notes: tuple[str, ...] = field(default=())
    widening: float = 1.0

    @property
    def parameters(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.form.natural(self.theta).items()}

    def intervals(self, level: float = LEVEL) -> dict[str, Ends]:
        """Of each parameter, from the draws; NaN without draws."""
        if len(self.draws) == 0:
            return dict.fromkeys(self.form.parameters, (math.nan, math.nan))
        return {name: ends_of(values, level) for name, values in self.form.natural(self.draws).items()}

    def loss(
        self,
        params: float | Array,
        tokens: float | Array,
        unique_tokens: float | Array | None = None,
        experts: float | Array | None = None,
        active_fraction: float | Array | None = None,
    ) -> Any:
        """The loss alone, without interval or warnings: a float, or an array where one was asked."""
        inputs = make_inputs(params, tokens, unique_tokens, experts, active_fraction)
        return shaped(np.exp(self.form.log_loss(self.theta, inputs)[0]), params, tokens)

    def predict(
        self,
        params: float | Array,
        tokens: float | Array,
        unique_tokens: float | Array | None = None,
        experts: float | Array | None = None,
        active_fraction: float | Array | None = None,
        level: float = LEVEL,
    ) -> Prediction:
        """The loss of one run of `params` parameters on `tokens` tokens.

        The interval holds the parameters' uncertainty and the spread of single runs about the law, times `widening` for how
        the form extrapolated within the points. How it does beyond them is not known: compare forms.
        """
        inputs = make_inputs(params, tokens, unique_tokens, experts, active_fraction)
        check_positive(inputs)
        loss = np.exp(self.form.log_loss(self.theta, inputs)[0])
        low, high = self.ends(inputs, level)
        warnings = self.notes + (self.fitted.warnings(inputs.params, inputs.tokens) if self.fitted else ())
        if len(self.draws) == 0:
            warnings += ("this law was published without its uncertainty: no interval",)
        loss, low, high = (shaped(x, params, tokens) for x in (loss, low, high))
        return Prediction(loss, low, high, warnings)

    def log_draws(self, inputs: Inputs) -> Array:
        """[B, P]: log loss of a single run under each draw of the parameters, widened about the law's own."""
        values = self.form.log_loss(self.draws, inputs)
        if len(self.residuals):
            generator = np.random.default_rng(len(self.draws))
            values = values + generator.choice(self.residuals, values.shape)
        here = self.form.log_loss(self.theta, inputs)[0]
        return np.clip(here + self.widening * (values - here), -MOST_LOG, MOST_LOG)

    def ends(self, inputs: Inputs, level: float) -> tuple[Array, Array]:
        if len(self.draws) == 0:
            nothing = np.full(len(inputs), math.nan)
            return nothing, nothing
        low, high = np.exp(np.quantile(self.log_draws(inputs), [(1 - level) / 2, (1 + level) / 2], axis=0))
        return low, high

    def optimum(
        self,
        flops: float,
        unique_tokens: float | None = None,
        experts: float | None = None,
        active_fraction: float | None = None,
        level: float = LEVEL,
    ) -> Optimum:
        """The split of 6 N D = `flops` with the least loss, with intervals over the draws."""
        if not (math.isfinite(flops) and flops > 0):
            raise InputError(f"a budget of {flops:g} FLOPs: give a number above 0, such as 1e21")
        extra = {"unique_tokens": unique_tokens, "experts": experts, "active_fraction": active_fraction}
        best, losses = self.least(self.theta[None], flops, extra)
        params, tokens = float(best[0]), flops / 6 / float(best[0])
        ranges: list[Ends] = [(math.nan, math.nan)] * 3
        if len(self.draws):
            spread, spread_losses = self.least(self.draws, flops, extra)
            ranges = [ends_of(x, level) for x in (spread, flops / 6 / spread)]
            ends = np.log(np.array(ends_of(spread_losses, level)) / losses[0]) * self.widening
            low, high = losses[0] * np.exp(np.clip(ends, -MOST_LOG, MOST_LOG))
            ranges.append((float(low), float(high)))
        warnings = self.notes + (self.fitted.warnings(np.array([params]), np.array([tokens])) if self.fitted else ())
        return Optimum(flops, params, tokens, float(losses[0]), ranges[0], ranges[1], ranges[2], warnings)

    def least(self, theta: Array, flops: float, extra: dict[str, float | None]) -> tuple[Array, Array]:
        """(N [B], loss [B]) by a grid of sizes, twelve decades about the even split, and a parabola through the three best."""
        middle = math.log(math.sqrt(flops / 6))
        log_n = np.linspace(middle - 14, middle + 14, GRID)
        inputs = make_inputs(np.exp(log_n), flops / 6 / np.exp(log_n), **extra)
        values = np.concatenate(
            [self.form.log_loss(part, inputs) for part in np.array_split(theta, -(-len(theta) // 64))]
        )
        at = np.clip(values.argmin(-1), 1, len(log_n) - 2)
        left, here, right = (np.take_along_axis(values, (at + k)[:, None], 1)[:, 0] for k in (-1, 0, 1))
        bend = left - 2 * here + right
        shift = np.where(bend > 0, np.clip(0.5 * (left - right) / np.where(bend > 0, bend, 1), -1, 1), 0)
        step = log_n[1] - log_n[0]
        return np.exp(log_n[at] + shift * step), np.exp(here - 0.25 * (left - right) * shift)

    def to_json(self) -> str:
        """The text that `load_law` reads."""
        fitted = vars(self.fitted) if self.fitted else None
        values = {
            "format": FORMAT,
            "form": self.form.name,
            "equation": self.form.equation,
            "parameters": self.parameters,
            "theta": self.theta.tolist(),
            "draws": np.round(self.draws, 10).tolist(),
            "residuals": self.residuals.tolist(),
            "fitted": fitted,
            "source": self.source,
            "method": self.method,
            "notes": list(self.notes),
            "widening": self.widening,
        }
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"

    def save(self, path: Path) -> None:
        write_text(path, self.to_json())


def load_law(path: Path) -> Law:
    """Read a law that `Law.save` wrote; InputError for anything else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}: write one with `seedbed laws fit POINTS.csv --out {path}`"
        ) from None
    except ValueError:
        raise InputError(f"{path}: not a law: write one with `seedbed laws fit POINTS.csv --out LAW.json`") from None
    try:
        form = FORMS[values["form"]]
        theta = np.array(values["theta"], np.float64)
        draws = np.array(values["draws"], np.float64).reshape(-1, len(theta))
        if values["format"] != FORMAT or theta.shape != (len(form.parameters),) or not np.isfinite(theta).all():
            raise ValueError
        fitted = values["fitted"] and FittedRange(**{name: tuple(ends) for name, ends in values["fitted"].items()})
        residuals = np.array(values["residuals"], np.float64)
        texts = values["source"], values["method"], tuple(values["notes"])
        return Law(form, theta, draws, residuals, fitted, *texts, float(values["widening"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{path}: not a law of this version: fit it again with `seedbed laws fit`") from None


def check_positive(inputs: Inputs) -> None:
    for name in ("params", "tokens"):
        values = getattr(inputs, name)
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise InputError(f"{name}: found {values.min():g}: give numbers above 0, such as 7e9")


def ends_of(values: Array, level: float) -> Ends:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def shaped(values: Array, params: float | Array, tokens: float | Array) -> Any:
    """A float where numbers were asked, else an array of their common shape."""
    shape = np.broadcast_shapes(np.shape(params), np.shape(tokens))
    return float(values[0]) if shape == () else values.reshape(shape)
