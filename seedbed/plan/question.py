"""What a user asks of the planner, from text with units to a setting to search in and the caps of the search."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from seedbed.errors import InputError
from seedbed.laws import PUBLISHED, Law, load_law
from seedbed.plan import units
from seedbed.plan.calibration import read_records
from seedbed.plan.chips import Chip, find_chip, known_chip
from seedbed.plan.footprint import Building
from seedbed.plan.frontier import Setting
from seedbed.plan.grids import find_grid
from seedbed.plan.inference import Load
from seedbed.plan.losses import LossModel
from seedbed.plan.money import Terms, data_usd
from seedbed.plan.tables import Tables, load_tables, nearest

ASSUMED = {"chip": "h100", "region": "USA", "deadline": "90d", "law": "besiroglu"}  # each is said in the answer
MOST_REGIONS = 60


@dataclass(frozen=True)
class Question:
    """As given on the command line; None and () are not given."""

    budget: str | None = None
    lifetime: str | None = None
    deadline: str | None = None
    energy: str | None = None
    carbon: str | None = None
    water: str | None = None
    target_loss: str | None = None
    devices: int | None = None
    chip: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    start_month: int | None = None
    own: bool = False
    rent: float | None = None
    price: float | None = None
    age_years: float = 0.0
    multiplier: float | None = None
    pue: float | None = None
    clean_share: float = 0.0
    people: float = 0.0
    data_usd: float | None = None
    curation_mb_s: float | None = None
    law: str | None = None
    unique_tokens: str | None = None
    experts: tuple[int, ...] = ()
    traffic: str | None = None
    months: float = 12.0
    growth: float = 0.0
    prompt: float = 1000.0
    answer: float = 250.0
    token_ms: float = 50.0
    first_token: float = 2.0
    mfu: float | None = None
    tables: Path | None = None


@dataclass(frozen=True)
class Asked:
    """The question in numbers: what to search, under which caps, and every assumption in words."""

    setting: Setting
    caps: dict[str, float]
    target: float | None
    growth: float
    assumptions: list[str] = field(default_factory=list)


LIMITS = {
    "multiplier": (1.0, 100.0, "1.5"),
    "pue": (1.0, 3.0, "1.2"),
    "clean_share": (0.0, 1.0, "0.5"),
    "people": (0.0, 1e5, "6"),
    "rent": (1e-3, 1e4, "2.5"),
    "price": (1.0, 1e7, "30000"),
    "age_years": (0.0, 20.0, "1"),
    "data_usd": (0.0, 1e6, "6"),
    "curation_mb_s": (1e-4, 1e4, "4.3"),
    "months": (0.1, 240.0, "12"),
    "growth": (-0.9, 2.0, "0.05"),
    "prompt": (1.0, 1e7, "1000"),
    "answer": (1.0, 1e6, "250"),
    "token_ms": (0.1, 1e5, "50"),
    "first_token": (0.01, 1e4, "2"),
    "mfu": (0.001, 1.0, "0.45"),
    "start_month": (1, 12, "6"),
    "devices": (1, 1e6, "64"),
}
SERVING = ("months", "growth", "prompt", "answer", "token_ms", "first_token")
NEEDS = (  # (the field without which these have no effect, what to say, these)
    ("own", "rented devices have neither price nor age: add --own, or leave it out", ("price", "age_years")),
    ("traffic", "it says how a model is served: add --traffic, such as 2e9/day, or leave it out", SERVING),
)
OPTIONS = {
    "price": "price-usd",
    "curation_mb_s": "curation-mb-s",
    "devices": "chips",
    "data_usd": "data-usd",
    "rent": "rent",
}


def check_limits(question: Question) -> None:
    """Raises InputError for a number that cannot be, and for an option that the others leave without any effect."""
    for name, (low, high, example) in LIMITS.items():
        value = getattr(question, name)
        if value is not None and not low <= value <= high:
            raise InputError(
                f"{option_of(name)}: {value:g} is not between {low:g} and {high:g}: give one such as {example}"
            )
    given = {name for name in Question.__dataclass_fields__ if getattr(question, name) != getattr(Question(), name)}
    for needed, why, names in NEEDS:
        idle = [name for name in names if name in given and needed not in given]
        if idle:
            raise InputError(f"{option_of(idle[0])}: {why}")
    if question.data_usd is not None and question.curation_mb_s is not None:
        raise InputError(
            "--data-usd, --curation-mb-s: the price of data is given or follows from a rate: leave one out"
        )
    for name in ("chip", "region"):
        names = getattr(question, name)
        if names and not names_in(names):
            raise InputError(f"--{name}: no name is given: give one such as {ASSUMED[name]}, or leave the option out")


def option_of(name: str) -> str:
    """The option of a field, as it is written on the command line."""
    return "--" + OPTIONS.get(name, name.replace("_", "-"))


def names_in(given: tuple[str, ...]) -> list[str]:
    """("h100,h200", "b200") -> the three names."""
    return [part.strip() for each in given for part in each.split(",") if part.strip()]


def interpret(question: Question) -> Asked:
    """Raises InputError for a quantity, a name or a cap that cannot be."""
    check_limits(question)
    tables = load_tables(question.tables)
    said: list[str] = []
    caps, target = caps_of(question, said)
    chips = chips_of(question, tables, said)
    terms = {chip.name: terms_of(question, chip, tables, said) for chip in chips}
    buildings = buildings_of(question, tables, said)
    law, name = law_of(question.law)
    said.append(f"law {name}: {law.source}" + (" (assumed: --law)" if question.law is None else ""))
    if target is not None and (floor := law.parameters.get("E")) is not None and target <= floor:
        raise InputError(f"--target-loss {target:g}: law {name} never goes below {floor:.4g}: ask for more than that")
    unique = None
    if question.unique_tokens is not None:
        unique = units.count("--unique-tokens", question.unique_tokens)
        if "unique_tokens" not in law.form.columns:
            raise InputError(
                f"--unique-tokens: law {name} knows no repetition: leave it out, or give --law muennighoff"
            )
    load = None
    if question.traffic is not None:
        load = Load(
            units.tokens_day("--traffic", question.traffic),
            question.prompt, question.answer, token_ms=question.token_ms, first_token_s=question.first_token,
        )  # fmt: skip
        said.append(
            f"traffic counts tokens read and written, {question.prompt:g} and {question.answer:g} a request, at most "
            f"{question.token_ms:g} ms a token; servers for {load.peak_over_mean:g} times the mean; {question.months:g} months"
        )
    mfu = question.mfu or tables.prices["utilisation"]["mfu"][1]
    said.append(
        f"{mfu:.0%} of the bfloat16 peak before messages, bubbles and faults" + ("" if question.mfu else " (assumed)")
    )
    for experts in question.experts:
        if not 2 <= experts <= 256:
            raise InputError(f"--experts: {experts} is not between 2 and 256: give numbers such as 8,32")
    if question.experts:
        said.append(
            "mixtures of experts: one expert a token, loss by the leverage of Ludziejewski et al. 2025, at most 7"
        )
    setting = Setting(
        chips=chips,
        terms=terms,
        buildings=buildings,
        losses=LossModel(law, unique, "nats a token" if name in PUBLISHED else "the law's own unit"),
        tables=tables,
        mfu=mfu,
        experts=(1, *question.experts),
        load=load,
        months=question.months,
        most_devices=question.devices or 131_072,
    )
    return Asked(setting, caps, target, question.growth, said)


def caps_of(question: Question, said: list[str]) -> tuple[dict[str, float], float | None]:
    caps: dict[str, float] = {}
    for name, value, read, option in (
        ("usd", question.budget, units.dollars, "--budget-usd"),
        ("lifetime_usd", question.lifetime, units.dollars, "--lifetime-usd"),
        ("kwh", question.energy, units.kwh, "--energy"),
        ("kg", question.carbon, units.kilograms, "--carbon"),
        ("litres", question.water, units.litres, "--water"),
        ("days", question.deadline, units.days, "--deadline"),
    ):
        if value is not None:
            caps[name] = read(option, value)
    target = units.plain("--target-loss", question.target_loss, "2.1") if question.target_loss else None
    if not (set(caps) - {"days"} or question.devices or target):
        raise InputError(
            "give at least one of --budget-usd, --energy, --carbon, --water, --chips or --target-loss: a plan needs an end"
        )
    if "lifetime_usd" in caps and question.traffic is None:
        raise InputError("--lifetime-usd: serving is part of it: give --traffic, such as 2e9/day")
    if "days" not in caps:
        caps["days"] = units.days("--deadline", ASSUMED["deadline"])
        said.append("final run in 90 days (assumed: --deadline)")
    return caps, target


def chips_of(question: Question, tables: Tables, said: list[str]) -> tuple[Chip, ...]:
    names = names_in(question.chip) or [ASSUMED["chip"]]
    if not question.chip:
        said.append("device h100 (assumed: --chip)")
    found = {chip.name: chip for chip in (find_chip(name, tables, "--chip") for name in names)}
    for chip in found.values():
        if question.energy or question.carbon or question.water:
            for need in ("watts", "server_factor", "mean_draw"):
                chip.need(need)
    if question.mfu is None:
        found = {name: measured(chip, said) for name, chip in found.items()}
    return tuple(found.values())


def measured(chip: Chip, said: list[str]) -> Chip:
    """With the share of the peak that runs on such a device reached here, where there were any."""
    shares = [r.mfu_datasheet for r in read_records() if r.mfu_datasheet and known_chip(r.device) == chip.name]
    if not shares:
        return chip
    share = sorted(shares)[len(shares) // 2]
    said.append(f"{chip.name} at {share:.0%} of its peak, as {len(shares)} of your runs on it did")
    return replace(chip, mfu=share)


def terms_of(question: Question, chip: Chip, tables: Tables, said: list[str]) -> Terms:
    prices = tables.prices
    multiplier = question.multiplier or prices["programme"]["multiplier"][1]
    pue = question.pue or prices["building"]["pue"][1]
    rent = price = float("nan")
    usd_kwh = prices["electricity_usd_kwh"]["latest"]
    if question.own:
        if question.rent is not None:
            raise InputError("--rent: devices are owned: leave out --own or --rent")
        price = question.price or chip.need("price_usd")
        for need in ("watts", "server_factor", "mean_draw"):
            chip.need(need)
        note = f"{chip.name} owned at ${price:,.0f} with its server, {question.age_years:g} years old"
        said.append(f"{note}; electricity ${usd_kwh} a kWh (US industrial mean 2025)")
    else:
        rent = question.rent or chip.need("rent_usd_hour")[1]
        dated = (
            "as given"
            if question.rent
            else f"quotes of {chip.dated}, from {chip.need('rent_usd_hour')[0]:g} to {chip.need('rent_usd_hour')[2]:g}"
        )
        said.append(f"{chip.name} rented at ${rent:g} an hour ({dated})")
    if question.people:
        said.append(
            f"{question.people:g} people at ${prices['staff']['usd_year']:,} a year, for {multiplier:g} times the final run"
        )
    data, how = data_price(question, tables)
    if not said or not any(line.startswith("programme") for line in said):
        low, _, high = prices["programme"]["multiplier"]
        origin = "assumed: --multiplier" if question.multiplier is None else "as given"
        said.append(f"programme {multiplier:g} times the final run's compute ({origin}; published {low:g} to {high:g})")
        said.append(f"data ${data:.3g} a billion tokens ({how})")
    return Terms(
        mode="own" if question.own else "rent",
        rent_usd_hour=rent,
        usd_kwh=usd_kwh,
        pue=pue,
        multiplier=multiplier,
        goodput=prices["programme"]["goodput"][1],
        price_usd=price,
        age_years=question.age_years,
        people=question.people,
        usd_person_year=prices["staff"]["usd_year"],
        data_usd_a_billion_tokens=data,
        depreciation_orders_year=prices["own"]["depreciation_orders_year"],
        network_share=prices["own"]["network_share"],
    )


def data_price(question: Question, tables: Tables) -> tuple[float, str]:
    """(dollars a billion tokens, where they come from): a quote, a measured rate, or the table."""
    if question.data_usd is not None:
        return question.data_usd, "as given"
    if question.curation_mb_s is None:
        return tables.prices["data"]["usd_a_billion_tokens"][1], "assumed: --data-usd"
    kept = tables.prices["data"]["kept_share"]
    return data_usd(question.curation_mb_s, tables), f"{question.curation_mb_s:g} MB a core and second, {kept:.0%} kept"


def buildings_of(question: Question, tables: Tables, said: list[str]) -> tuple[Building, ...]:
    names = names_in(question.region)
    if "any" in [name.lower() for name in names]:
        if len(names) > 1:
            raise InputError("--region: any is all of the table: give it alone, or names such as FRA,USA")
        names = [name for name in tables.grids if name != "WOR"]
    if not names:
        names = [ASSUMED["region"]]
        said.append("region USA (assumed: --region)")
    if len(names) > MOST_REGIONS:
        raise InputError(f"--region: {len(names)} regions: give at most {MOST_REGIONS}")
    pue = question.pue or tables.prices["building"]["pue"][1]
    site = tables.prices["building"]["litres_site_kwh"][1]
    said.append(f"PUE {pue:g}, {site:g} L a kWh evaporated on site" + ("" if question.pue else " (assumed: --pue)"))
    grids = {grid.name: grid for grid in (find_grid(name, tables) for name in names)}
    if question.start_month:
        without = [grid.name for grid in grids.values() if grid.monthly is None]
        if without:
            named = ", ".join(without) if len(without) <= 3 else f"{len(without)} regions"
            said.append(f"the month of start changes nothing in {named}: no months in the table (--tables takes them)")
    return tuple(Building(pue, site, grid, question.clean_share, question.start_month) for grid in grids.values())


def law_of(name: str | None) -> tuple[Law, str]:
    """A published law by name, or one that `seedbed laws fit` wrote."""
    wanted = name or ASSUMED["law"]
    if wanted in PUBLISHED:
        return PUBLISHED[wanted], wanted
    if "/" in wanted or wanted.endswith(".json") or Path(wanted).is_file():
        return load_law(Path(wanted)), wanted
    raise InputError(f"--law: {wanted!r} is neither a file nor published: {nearest(wanted, PUBLISHED)}")


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """ "8,32" -> (8, 32)."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(f"{option}: {text!r}: give whole numbers such as 8,32") from None
