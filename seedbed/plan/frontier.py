"""All plans at once: sizes, devices, kinds of device and regions in arrays, how far the caps let each train, and which are best.

Everything a plan spends grows with its tokens, so each cell (size, devices, ...) has a most of tokens under each cap, found
by bisection; the least of them is the cell's, and more of anything is never worse. Pareto: no other plan is as good in all.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedbed.errors import InputError
from seedbed.plan.chips import Chip
from seedbed.plan.footprint import Building, footprint
from seedbed.plan.inference import Load, Serving, serve
from seedbed.plan.losses import LossModel
from seedbed.plan.money import Costs, Terms, programme_costs, storage_usd
from seedbed.plan.roofline import training_rate
from seedbed.plan.served import Served, served_of_size
from seedbed.plan.tables import Tables

Array = NDArray[np.float64]
SIZES = 10.0 ** np.arange(6.0, 12.51, 0.1)  # active parameters
DEVICES = np.unique([d for power in range(18) for d in (2**power, 3 * 2**power // 2)]).astype(float)
LEAST_RATIO, MOST_TOKENS = 2.0, 1e15  # tokens a parameter at least; tokens at most
FEED_FORWARD_SHARE = 2 / 3  # of a dense layer's weights, which experts multiply (12 L W^2: 8 of 12)
BLOCK = 1024
SAMPLES = 8  # of tokens a cell, for the Pareto set
CAPS = ("usd", "days", "kwh", "kg", "litres", "lifetime_usd")


@dataclass(frozen=True)
class Setting:
    """What a search is made in: devices with their terms, buildings by region, the law, the traffic."""

    chips: tuple[Chip, ...]
    terms: dict[str, Terms]  # by device
    buildings: tuple[Building, ...]
    losses: LossModel
    tables: Tables
    mfu: float
    experts: tuple[int, ...] = (1,)  # 1: dense
    load: Load | None = None
    months: float = 12.0  # of serving
    least_devices: int = 1
    most_devices: float = 131_072.0
    sizes: Array = field(default_factory=lambda: SIZES)


@dataclass(frozen=True)
class Cells:
    """Columns of equal length, one entry a cell."""

    active: Array
    total: Array
    devices: Array
    rate: Array  # tokens a second that count
    mfu: Array
    goodput: Array
    tp: Array
    pp: Array
    batch_tokens: Array
    experts: NDArray[np.int64]
    chip: NDArray[np.int64]
    building: NDArray[np.int64]
    serving_usd: Array  # over the months of serving, 0 without traffic
    usd_hour: Array  # of the programme, for an hour of a device in the final run; the next five as well
    usd_day: Array  # of staff, for a day of the final run
    usd_token: Array  # of data
    kwh_hour: Array  # facility
    kg_hour: Array  # operational, location-based, by the yearly mean
    kg_market_hour: Array
    kg_embodied_hour: Array
    litres_hour: Array
    multiplier: Array

    def __len__(self) -> int:
        return len(self.active)

    def take(self, rows: Any) -> "Cells":
        return Cells(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def total_parameters(active: Any, experts: int) -> Any:
    """Of a mixture of so many experts, one of them a token's, with these active parameters."""
    return active * (1 + FEED_FORWARD_SHARE * (experts - 1))


def served_cell(active: float, experts: int) -> Served:
    if experts == 1:
        return served_of_size(active)
    return served_of_size(active, experts, 1, total_parameters(active, experts))


def make_cells(setting: Setting) -> Cells:
    """Every combination that fits its devices. Raises InputError where none does."""
    devices = DEVICES[(setting.most_devices >= DEVICES) & (setting.least_devices <= DEVICES)][None, :]
    parts: list[list[Any]] = []
    for c, chip in enumerate(setting.chips):
        terms = setting.terms[chip.name]
        mfu = setting.mfu if chip.mfu != chip.mfu else chip.mfu
        for experts in setting.experts:
            active = setting.sizes[:, None]
            total = total_parameters(active, experts)
            rate = training_rate(active, total, devices, chip, mfu, terms.goodput, setting.tables)
            fits = rate.tokens_second > 0
            serving = np.array([serving_life(setting, float(n), experts, chip) for n in setting.sizes])[:, None]
            for b in worthwhile(setting.buildings):
                columns = [
                    active, total, devices, rate.tokens_second, rate.mfu, rate.goodput, rate.tp, rate.pp, rate.batch_tokens,
                    experts, c, b, serving, *unit_costs(chip, terms, setting.buildings[b], setting.tables), terms.multiplier,
                ]  # fmt: skip
                parts.append([np.broadcast_to(column, fits.shape)[fits] for column in columns])
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    if not len(joined[0]):
        names = ", ".join(chip.name for chip in setting.chips)
        raise InputError(f"--chips: no model fits {setting.most_devices:g} x {names}: allow more devices, or others")
    return Cells(*joined)


def worthwhile(buildings: tuple[Building, ...]) -> list[int]:
    """Those that no other is better than in carbon and water: all else is alike in all regions. All, where months count."""
    if any(b.month and b.grid.monthly for b in buildings):
        return list(range(len(buildings)))
    points = np.array([(b.grid.kg_co2_kwh * b.pue, b.grid.litres_kwh * b.pue) for b in buildings])
    return sorted(int(row) for row in pareto_rows(points))


def unit_costs(chip: Chip, terms: Terms, building: Building, tables: Tables) -> list[float]:
    """(dollars, ...) as `Cells` has them from `usd_hour` to `litres_hour`."""
    hour = programme_costs(chip, terms, 1.0, 0.0, 0.0, 0.0, tables).total
    day = programme_costs(chip, terms, 0.0, 1.0, 0.0, 0.0, tables).staff
    token = terms.data_usd_a_billion_tokens / 1e9
    made = footprint(chip, terms.multiplier, replace(building, month=None), tables)
    carbon = (made.kg_location, made.kg_market, made.kg_embodied)
    return [float(x) for x in (hour, day, token, made.facility_kwh, *carbon, made.litres)]


def serving_life(setting: Setting, active: float, experts: int, chip: Chip) -> float:
    """Dollars of serving over the months; infinite where no server can. A region changes none of it."""
    if setting.load is None:
        return 0.0
    model, terms = served_cell(active, experts), setting.terms[chip.name]
    try:
        day = serve(model, chip, setting.load, terms, setting.buildings[0], setting.tables)
    except InputError:
        return np.inf
    return day.usd_day * setting.months * 30.4375


@dataclass(frozen=True)
class Spent:
    """Of cells at so many tokens, for the whole programme; `days` are the final run's."""

    days: Array
    usd: Array
    kwh: Array
    kg: Array  # location-based and embodied
    kg_market: Array  # market-based and embodied
    litres: Array
    lifetime_usd: Array
    device_hours: Array  # of the final run


def spend(cells: Cells, tokens: Array, setting: Setting) -> Spent:
    days = tokens / cells.rate / 86_400
    hours = days * 24 * cells.devices
    kept = storage_usd(tokens, cells.total, days, cells.multiplier, setting.tables)
    usd = hours * cells.usd_hour + days * cells.usd_day + tokens * cells.usd_token + kept
    months, made = month_shares(cells, days, setting), hours * cells.kg_embodied_hour
    kg, market = (hours * rate * months + made for rate in (cells.kg_hour, cells.kg_market_hour))
    kwh, litres = hours * cells.kwh_hour, hours * cells.litres_hour
    return Spent(days, usd, kwh, kg, market, litres, usd + cells.serving_usd, hours)


def month_shares(cells: Cells, days: Array, setting: Setting) -> Array:
    """Carbon of a kWh in the months of the final run over the yearly mean; 1 where no month was asked or none is known."""
    shares = np.ones(len(cells))
    for number, building in enumerate(setting.buildings):
        if building.month is not None and building.grid.monthly is not None:
            at = cells.building == number
            shares[at] = building.grid.month_share(building.month, days[at] * 24)
    return shares


def costs_of(cells: Cells, tokens: Array, setting: Setting) -> Costs:
    """By part, of the first cell."""
    chip = setting.chips[int(cells.chip[0])]
    spent = spend(cells, tokens, setting)
    terms = setting.terms[chip.name]
    return programme_costs(chip, terms, spent.device_hours, spent.days, tokens, cells.total, setting.tables)


def most_tokens_of(cells: Cells, name: str, cap: float, setting: Setting) -> Array:
    """Most tokens of each cell under one cap, by bisection; 0 where even the least are too many."""
    least = np.log(LEAST_RATIO * cells.active)
    low, high = least.copy(), np.full(len(cells), np.log(MOST_TOKENS))
    for _ in range(44):
        middle = (low + high) / 2
        fits = getattr(spend(cells, np.exp(middle), setting), name) <= cap
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    allowed = getattr(spend(cells, np.exp(least), setting), name) <= cap
    return np.where(allowed, np.exp(low), 0.0)


def most_tokens(cells: Cells, caps: dict[str, float], setting: Setting) -> Array:
    """Most tokens of each cell under all caps; 0 where none are allowed."""
    return np.min([most_tokens_of(cells, name, cap, setting) for name, cap in caps.items()], axis=0)


def within(spent: Spent, caps: dict[str, float]) -> Any:
    found: Any = True
    for name, cap in caps.items():
        found = found & (getattr(spent, name) <= cap)
    return found


@dataclass(frozen=True)
class Best:
    """A cell, its tokens, and by how much a tenth more of each cap would help (loss, or dollars where the loss is the target)."""

    cells: Cells  # of one
    tokens: float
    gains: dict[str, float]

    @property
    def binding(self) -> str:
        """The cap that holds the plan most; "" where none does."""
        helpful = {name: gain for name, gain in self.gains.items() if gain > 1e-9}
        return max(helpful, key=lambda name: helpful[name]) if helpful else ""


def least_loss(cells: Cells, tokens: Array, setting: Setting) -> tuple[int, float, float]:
    """(cell, its tokens, its loss) of the least loss where each cell has so many tokens; -1 where none has any."""
    allowed = np.flatnonzero(tokens > 0)
    if not len(allowed):
        return -1, 0.0, np.inf
    losses = loss_of(cells.take(allowed), tokens[allowed], setting)
    row = int(losses.argmin())
    return int(allowed[row]), float(tokens[allowed[row]]), float(losses[row])


def cheapest(
    cells: Cells, loss: float, caps: dict[str, float], setting: Setting, by: str = "usd"
) -> tuple[int, float, float]:
    """(cell, its tokens, dollars) of the cheapest plan that reaches the loss under the caps; -1 where none does."""
    tokens = tokens_for(cells, loss, setting)
    reach = np.flatnonzero(np.isfinite(tokens) & (tokens <= MOST_TOKENS))
    if not len(reach):
        return -1, 0.0, np.inf
    tokens = np.maximum(tokens[reach], LEAST_RATIO * cells.active[reach])
    spent = spend(cells.take(reach), tokens, setting)
    price = np.where(within(spent, caps), getattr(spent, by), np.inf)
    row = int(price.argmin())
    if not np.isfinite(price[row]):
        return -1, 0.0, np.inf
    return int(reach[row]), float(tokens[row]), float(price[row])


def loss_of(cells: Cells, tokens: Array, setting: Setting) -> Array:
    found = np.zeros(len(cells))
    for experts in np.unique(cells.experts):
        at = cells.experts == experts
        found[at] = setting.losses.loss(cells.active[at], tokens[at], int(experts))
    return found


def tokens_for(cells: Cells, loss: float, setting: Setting) -> Array:
    """By size, since devices and regions change nothing of it."""
    found = np.zeros(len(cells))
    for experts in np.unique(cells.experts):
        at = np.flatnonzero(cells.experts == experts)
        sizes, back = np.unique(cells.active[at], return_inverse=True)
        found[at] = setting.losses.tokens_for(sizes, loss, int(experts))[back]
    return found


def best_plan(
    setting: Setting, caps: dict[str, float], target: float | None, cells: Cells | None = None
) -> Best | None:
    """The plan of least loss, or the cheapest that reaches the target, and what a tenth more of each cap gives. None: none is."""
    cells = make_cells(setting) if cells is None else cells
    by = "lifetime_usd" if setting.load else "usd"

    most = {} if target else {name: most_tokens_of(cells, name, cap, setting) for name, cap in caps.items()}

    def solve(limits: dict[str, float]) -> tuple[int, float, float]:
        if target is not None:
            return cheapest(cells, target, limits, setting, by)
        changed = {name: cap for name, cap in limits.items() if cap != caps[name]}
        known = [most[name] for name in caps if name not in changed]
        known += [most_tokens_of(cells, name, cap, setting) for name, cap in changed.items()]
        return least_loss(cells, np.min(known, axis=0), setting)

    row, tokens, value = solve(caps)
    if row < 0:
        return None
    gains = {name: value - solve({**caps, name: 1.1 * cap})[2] for name, cap in caps.items()}
    return Best(cells.take(slice(row, row + 1)), tokens, gains)


def pareto_rows(points: NDArray[Any]) -> NDArray[np.int64]:
    """Rows of [P, K] that no other row is at least as good as in all columns; less is better, of equal rows the first stays."""
    order = np.lexsort(points.T[::-1])  # no row is beaten by a later one
    kept = np.zeros(0, dtype=np.int64)
    earlier = np.tri(BLOCK, k=-1, dtype=bool)
    for start in range(0, len(order), BLOCK):
        rows = order[start : start + BLOCK]
        for part in np.array_split(kept, -(-len(kept) // BLOCK)) if len(kept) else ():
            rows = rows[~beaten(points[rows], points[part]).any(-1)]
        inside = beaten(points[rows], points[rows]) & earlier[: len(rows), : len(rows)]
        kept = np.concatenate([kept, rows[~inside.any(-1)]])
    return kept


def beaten(points: NDArray[Any], by: NDArray[Any]) -> NDArray[np.bool_]:
    """[P, Q]: whether `by` is at least as good in every column."""
    found = by[None, :, 0] <= points[:, None, 0]
    for column in range(1, points.shape[1]):
        found &= by[None, :, column] <= points[:, None, column]
    return found


def pareto(
    setting: Setting, caps: dict[str, float], axes: tuple[str, ...], cells: Cells | None = None
) -> tuple[Cells, Array, Spent, Array]:
    """(cells, tokens, what they spend, losses) of the plans under the caps that none is better than in loss and all `axes`.

    Of each cell, tokens from its most down to a hundredth. What differs by less than a step (5% of an axis and 0.003 of loss; 20%
    and 0.015 where there are more than three axes) counts as equal, of which the first stays.
    """
    cells = make_cells(setting) if cells is None else cells
    most = most_tokens(cells, caps, setting)
    allowed = cells.take(most > 0)
    most = most[most > 0]
    least = np.maximum(LEAST_RATIO * allowed.active, most / 100)
    shares = np.linspace(0, 1, SAMPLES)[:, None]
    tokens = np.exp(np.log(least) * (1 - shares) + np.log(most) * shares).reshape(-1)
    many = allowed.take(np.tile(np.arange(len(allowed)), SAMPLES))
    spent, losses = spend(many, tokens, setting), loss_of(many, tokens, setting)
    points = np.stack([getattr(spent, axis) for axis in axes], -1)
    loss_step, step = (0.003, 0.05) if len(axes) <= 3 else (0.015, 0.2)
    levels = np.column_stack([losses / loss_step, np.log(np.maximum(points, 1e-300)) / step])
    rounded, first = np.unique(np.floor(np.clip(levels, -32_000, 32_000)).astype(np.int16), axis=0, return_index=True)
    rows = first[pareto_rows(rounded)]  # small integers are compared four times as fast
    chosen = Spent(*(getattr(spent, name)[rows] for name in Spent.__dataclass_fields__))
    return many.take(rows), tokens[rows], chosen, losses[rows]


def serving_of(cells: Cells, setting: Setting) -> Serving | None:
    """The servers of the first cell's model."""
    if setting.load is None:
        return None
    chip, building = setting.chips[int(cells.chip[0])], setting.buildings[int(cells.building[0])]
    model = served_cell(float(cells.active[0]), int(cells.experts[0]))
    return serve(model, chip, setting.load, setting.terms[chip.name], building, setting.tables)
