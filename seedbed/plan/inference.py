"""What it takes to serve a model: a roofline of prefill and decoding on a chip, then the cheapest servers for a load.

Prefill is bound by products: 2 N_active a token and attention over half the prompt. A decoding step of a batch B reads the
weights that B tokens touch and B caches, or makes B tokens' products, whichever takes longer; tensor parallelism adds two
collectives a layer. A server does both in turn, so an answer's token waits for others' prompts as well.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from seedbed.errors import InputError
from seedbed.plan.chips import COLLECTIVE_SECONDS, USABLE_FRACTION, Chip
from seedbed.plan.footprint import Building, Footprint, of_energy
from seedbed.plan.money import Terms, network_over_devices, owned_usd_hour
from seedbed.plan.served import Served
from seedbed.plan.tables import Tables

BATCHES = 2.0 ** np.arange(0, 13)
MOST_DEVICES = 64  # of one server
DAY = 86_400.0


@dataclass(frozen=True)
class Load:
    """Requests of `prompt` tokens read and `answer` tokens written, together `tokens_day` tokens a day on average."""

    tokens_day: float
    prompt: float = 1000.0
    answer: float = 250.0
    peak_over_mean: float = 2.0  # what servers are bought for; an assumption
    token_ms: float = 50.0  # most milliseconds between tokens of an answer
    first_token_s: float = 2.0  # most seconds before the first

    @property
    def requests_second(self) -> float:
        return self.tokens_day / (self.prompt + self.answer) / DAY


@dataclass(frozen=True)
class Serving:
    """The servers that were chosen, a day of them, and a million tokens (read and written) of that day."""

    devices_a_server: int
    batch: int
    servers: int
    busy: float  # share of the time
    first_token_s: float
    token_ms: float
    tokens_second_a_server: float  # read and written, at full load
    device_hours_day: float
    usd_day: float
    footprint_day: Footprint
    usd_million: float
    kwh_million: float  # facility
    kg_million: float  # location-based
    litres_million: float
    bound: str  # what holds the decoding step: weights, cache or products

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def prefill_seconds(model: Served, chip: Chip, devices: Any, prompt: float, share: float) -> Any:
    """Of one prompt: (2 N_active s + attention over s/2 keys) / (devices x peak x share)."""
    keys = model.keys_seen(prompt / 2) if not model.windows else model.keys_seen(prompt)
    flops = 2 * model.active * prompt + model.attention_flops * prompt * keys
    return flops / (devices * chip.bfloat16_flops * share)


def decode_parts(
    model: Served, chip: Chip, devices: Any, batch: Any, context: float, bandwidth: float, share: float
) -> tuple[Any, Any, Any, Any]:
    """Seconds of one step by what it waits for: (weights, cache, products, collectives)."""
    rate = devices * chip.memory_bandwidth * bandwidth
    weights = model.touched_parameters(batch) * model.weight_bytes / rate
    cache = batch * model.kv_bytes(context) / (rate if model.sharded_kv else rate / devices)
    flops = batch * (2 * model.active + model.attention_flops * model.keys_seen(context))
    products = flops / (devices * chip.bfloat16_flops * share)
    collectives = np.where(np.asarray(devices) > 1, 2 * model.layers * COLLECTIVE_SECONDS, 0.0)
    collectives = np.where(np.asarray(devices) > chip.devices, 3 * collectives, collectives)
    return weights, cache, products, collectives


def hour_price(chip: Chip, terms: Terms, watts: float) -> float:
    """Dollars of a device for an hour at so many watts of its server."""
    if terms.mode == "rent":
        return terms.rent_usd_hour
    hardware = owned_usd_hour(terms.price_usd, terms.age_years, terms.depreciation_orders_year)
    return hardware * (1 + network_over_devices(terms.network_share)) + watts / 1000 * terms.pue * terms.usd_kwh


def serve(model: Served, chip: Chip, load: Load, terms: Terms, building: Building, tables: Tables) -> Serving:
    """The cheapest servers that hold the model, answer in time and carry the load. Raises InputError where none can."""
    rules = tables.prices["utilisation"]
    bandwidth, share = rules["decode_bandwidth"], rules["prefill"]
    devices = 2.0 ** np.arange(0, 1 + int(np.log2(MOST_DEVICES)))[:, None]
    batch = BATCHES[None, :]
    context = load.prompt + load.answer / 2
    copies = 1.0 if model.sharded_kv else devices
    held = model.held_bytes + copies * batch * model.kv_bytes(load.prompt + load.answer)
    fits = held <= USABLE_FRACTION * devices * chip.memory_bytes
    if not fits.any():
        raise InputError(
            f"--chip {chip.name}: {model.held_bytes / 1e9:,.0f} GB of weights do not fit {MOST_DEVICES} devices of "
            f"{chip.memory_bytes / 1e9:.0f} GB: choose a device with more memory or a smaller model"
        )
    prefill = prefill_seconds(model, chip, devices, load.prompt, share)
    parts = np.broadcast_arrays(*decode_parts(model, chip, devices, batch, context, bandwidth, share))
    step = np.maximum(parts[0] + parts[1], parts[2]) + parts[3]
    token = step + batch / load.answer * prefill  # every answer's prompt is read between the steps of others
    in_time = (token * 1e3 <= load.token_ms) & (prefill <= load.first_token_s)
    if not (fits & in_time).any():
        fastest = float(np.where(fits, token, np.inf).min()) * 1e3
        first = float(np.where(fits, np.broadcast_to(prefill, fits.shape), np.inf).min())
        raise InputError(
            f"--token-ms {load.token_ms:g}, --first-token {load.first_token_s:g}s: {chip.name} needs {fastest:.1f} ms a token "
            f"and {first:.2f} s for the first at least: allow that, or choose a faster device"
        )
    requests = batch / (load.answer * token)  # of one server, a second
    servers = np.maximum(1.0, np.ceil(load.requests_second * load.peak_over_mean / requests))
    busy = load.requests_second / (servers * requests)
    idle = tables.prices["building"]["idle_draw"]
    draw = busy * chip.mean_draw + (1 - busy) * idle
    watts = chip.watts * chip.server_factor * draw
    hours = servers * devices * 24
    price = np.array([[hour_price(chip, terms, float(w)) for w in row] for row in np.broadcast_to(watts, fits.shape)])
    usd = np.where(fits & in_time, hours * price, np.inf)
    row, column = np.unravel_index(int(np.argmin(usd)), usd.shape)
    at = (row, column)
    kwh = float(hours[at]) * chip.watts * float(draw[at]) / 1000
    lasting = replace(building, month=None)  # over all months, whichever a training run began in
    day = of_energy(kwh, kwh * chip.server_factor, float(hours[at]), chip, lasting, tables, 24.0)
    millions = load.tokens_day / 1e6
    held_by = {"weights": parts[0][at], "cache": parts[1][at], "products": parts[2][at]}
    memory = held_by["weights"] + held_by["cache"] >= held_by["products"]
    bound = max(("weights", "cache"), key=lambda name: held_by[name]) if memory else "products"
    return Serving(
        devices_a_server=int(devices[row, 0]),
        batch=int(batch[0, column]),
        servers=int(servers[at]),
        busy=float(busy[at]),
        first_token_s=float(prefill[row, 0]),
        token_ms=float(token[at]) * 1e3,
        tokens_second_a_server=float(requests[at]) * (load.prompt + load.answer),
        device_hours_day=float(hours[at]),
        usd_day=float(usd[at]),
        footprint_day=day,
        usd_million=float(usd[at]) / millions,
        kwh_million=float(day.facility_kwh) / millions,
        kg_million=float(day.kg_location) / millions,
        litres_million=float(day.litres) / millions,
        bound=bound,
    )
