"""Points: what runs reached. Read from CSV with columns named as people name them, and refused where a fit would mislead.

A header is matched without case or punctuation; a unit at its end multiplies (`params_m`, `Tokens (B)`). A value may carry one
too (`400M`). Tokens may be left out where FLOPs are given: D = C / 6N.
"""

import csv
import difflib
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seedbed.errors import InputError
from seedbed.laws.forms import Array, Inputs

NAMES = {
    "params": ("params", "parameters", "n", "model_size", "size", "num_params", "n_params", "nparams", "matrix_params"),
    "tokens": ("tokens", "d", "d_total", "training_tokens", "train_tokens", "num_tokens", "n_tokens", "data"),
    "flops": ("flops", "flop", "c", "compute", "training_flop", "training_flops", "train_flops", "budget"),
    "loss": ("loss", "val_loss", "validation_loss", "final_loss", "test_loss", "bits_per_byte", "bpb", "l"),
    "unique_tokens": ("unique_tokens", "u", "u_unique", "unique", "d_unique"),
    "experts": ("experts", "num_experts", "n_experts", "e"),
    "active_fraction": ("active_fraction", "activation_ratio", "active"),
    "learning_rate": ("learning_rate", "lr", "max_lr", "peak_lr"),
    "batch_tokens": ("batch_tokens", "batch_size", "batch", "bs"),
}
COUNTS = ("params", "tokens", "flops", "unique_tokens")
UNITS = {"k": 1e3, "m": 1e6, "million": 1e6, "millions": 1e6, "b": 1e9, "bn": 1e9, "billion": 1e9, "billions": 1e9}
UNITS |= {"g": 1e9, "t": 1e12, "trillion": 1e12, "trillions": 1e12}
LEAST = {"params": 1e3, "tokens": 1e3, "flops": 1e7, "unique_tokens": 1e3}
MOST_COUNT = 1e40  # of parameters, tokens or FLOPs: their products stay numbers
MOST_LOSS = 30.0  # nats: a uniform guess over 2^43 tokens; perplexities are above it sooner or later
FLOPS_AGREE = 6.0  # C / 6ND beyond this factor in the median is a wrong unit, not another way to count


@dataclass(frozen=True)
class Points:
    """`inputs` and `loss` [P]; `origin` names them in messages; `extra` holds other numeric columns that a law may use."""

    inputs: Inputs
    loss: Array
    origin: str
    extra: dict[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def flops(self) -> Array:
        return 6 * self.inputs.params * self.inputs.tokens

    def take(self, rows: NDArray[np.int64]) -> "Points":
        extra = {name: column[rows] for name, column in self.extra.items()}
        return Points(self.inputs.take(rows), self.loss[rows], self.origin, extra)

    def split_largest(self, share: float = 0.2) -> tuple["Points", "Points"]:
        """(the rest, the points of most compute: this share of them, one at least)."""
        order = np.argsort(self.flops, kind="stable")
        count = max(1, round(share * len(self)))
        return self.take(np.sort(order[:-count])), self.take(np.sort(order[-count:]))


def read_points(path: Path, where: Iterable[str] = ()) -> Points:
    """The points of a CSV file. `where`: conditions COLUMN=VALUE on its rows.

    Raises InputError with the line and the remedy for anything that is not a point: NaN, a size in billions, a loss of 0.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text: give a CSV file with a header") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: give a CSV file of runs (params, tokens or flops, loss)") from None
    return parse_points(text, str(path), where)


def parse_points(text: str, origin: str, where: Iterable[str] = ()) -> Points:
    try:
        reader = csv.reader(io.StringIO(text.replace("\0", "")))
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise InputError(f"{origin}: not CSV ({error}): give a header line and a line a run") from None
    rows = [(number, row) for number, row in rows if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise InputError(f"{origin}: no runs: give a header line and a line a run")
    header, table = [cell.strip() for cell in rows[0][1]], rows[1:]
    for condition in where:
        table = chosen(table, header, condition, origin)
    columns = find_columns(header)
    require(columns, header, origin)
    values = {
        name: read_column(name, index, factor, table, header, origin) for name, (index, factor) in columns.items()
    }
    if "tokens" not in values:
        values["tokens"] = values["flops"] / 6 / values["params"]
    elif "flops" in values:
        check_flops(values, origin)
    extra_names = ("learning_rate", "batch_tokens", "flops")
    inputs = Inputs(
        values["params"],
        values["tokens"],
        values.get("unique_tokens"),
        values.get("experts"),
        values.get("active_fraction"),
    )
    return Points(inputs, values["loss"], origin, {n: values[n] for n in extra_names if n in values})


def plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def find_columns(header: list[str]) -> dict[str, tuple[int, float]]:
    """Quantity -> (column, factor). The first column that bears a quantity's name; names earlier in NAMES come first."""
    found: dict[str, tuple[int, float]] = {}
    for quantity, names in NAMES.items():
        for name in names:
            for index, title in enumerate(header):
                stem, _, unit = plain(title).rpartition("_")
                factor = 1.0
                if plain(title) != name:
                    if stem != name or unit not in UNITS or quantity not in COUNTS:
                        continue
                    factor = UNITS[unit]
                found.setdefault(quantity, (index, factor))
    return found


def require(columns: dict[str, tuple[int, float]], header: list[str], origin: str) -> None:
    missing = [name for name in ("params", "loss") if name not in columns]
    if "tokens" not in columns and "flops" not in columns:
        missing.append("tokens")
    if not missing:
        return
    nearest = difflib.get_close_matches(missing[0], [plain(title) for title in header], 1, cutoff=0.5)
    other = " (or flops)" if missing[0] == "tokens" else ""
    hint = f"is it {nearest[0]!r}? rename it" if nearest else f"rename one of {', '.join(map(repr, header[:8]))}"
    raise InputError(f"{origin}: no column {missing[0]}{other}: {hint}")


def chosen(
    table: list[tuple[int, list[str]]], header: list[str], condition: str, origin: str
) -> list[tuple[int, list[str]]]:
    """The rows that a condition COLUMN=VALUE leaves."""
    name, equals, value = condition.partition("=")
    if not equals:
        raise InputError(f"--where {condition}: expected COLUMN=VALUE, such as dataset=nemotron")
    if name not in header:
        nearest = difflib.get_close_matches(name, header, 1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"columns: {', '.join(header[:12])}"
        raise InputError(f"--where {condition}: {origin} has no column {name!r}: {hint}")
    index = header.index(name)
    kept = [(number, row) for number, row in table if index < len(row) and row[index].strip() == value]
    if not kept:
        there = sorted({row[index].strip() for _, row in table if index < len(row)})
        nearest = difflib.get_close_matches(value, there, 1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"it holds {', '.join(map(repr, there[:8]))}"
        raise InputError(f"--where {condition}: no row of {origin} has it: {hint}")
    return kept


def read_column(
    name: str, index: int, factor: float, table: list[tuple[int, list[str]]], header: list[str], origin: str
) -> Array:
    return np.array(
        [
            read_value(name, row[index] if index < len(row) else "", factor, f"{origin} line {n}: {header[index]}")
            for n, row in table
        ]
    )


def read_value(name: str, text: str, factor: float, place: str) -> float:
    """One number in single units, or InputError with the remedy."""
    text = text.strip().replace(",", "").replace("_", "")
    unit = text[-1:].lower()
    try:
        if name in COUNTS and unit in ("k", "m", "b", "t"):
            value = float(text[:-1]) * UNITS[unit] * factor
        else:
            value = float(text) * factor
    except ValueError:
        raise InputError(f"{place}: {text!r} is not a number: give one, or take the line out") from None
    if not math.isfinite(value):
        raise InputError(f"{place}: {text!r}: a run without a finite value cannot be fitted: take the line out")
    if value <= 0:
        raise InputError(f"{place}: {text!r}: must be above 0: give the count, or take the line out")
    if value < LEAST.get(name, 0):
        raise InputError(
            f"{place}: {value:g} is too small to be a count: write it singly (4e8), or name its unit in the header "
            f"({name}_b, {name}_m)"
        )
    if value > MOST_COUNT:
        raise InputError(f"{place}: {text!r} is too large to be a count: give it singly, or take the line out")
    if name == "loss" and value > MOST_LOSS:
        raise InputError(f"{place}: {value:g} looks like a perplexity: give the loss, its logarithm")
    if name == "active_fraction" and value > 1:
        raise InputError(f"{place}: {value:g}: the active share of all parameters lies between 0 and 1")
    return value


def check_flops(values: dict[str, Array], origin: str) -> None:
    ratio = float(np.median(values["flops"] / (6 * values["params"] * values["tokens"])))
    if not 1 / FLOPS_AGREE < ratio < FLOPS_AGREE:
        raise InputError(
            f"{origin}: flops are {ratio:.3g} times 6 x params x tokens: one of the three columns has another unit: name it in "
            "the header, such as params_m, tokens_b"
        )
