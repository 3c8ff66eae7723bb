"""The answer to a question as lines to read."""

from typing import Any

from seedbed.plan.query import CAP_OPTIONS, amount
from seedbed.quantities import duration, quantity


def answer_lines(found: dict[str, Any]) -> list[str]:
    best, target = found["best"], found["target_loss"]
    aim = f"the cheapest plan that reaches {target:g}" if target is not None else "the plan of least predicted loss"
    caps = ", ".join(f"{CAP_OPTIONS[name]} {amount(name, cap)}" for name, cap in found["caps"].items())
    lines = [f"{aim}, under {caps}", *best_lines(best), *binding_lines(found)]
    if best["serving"]:
        lines += serving_lines(best, found["life"])
    if found.get("payback"):
        lines += payback_lines(found["payback"])
    lines += front_lines(found["pareto"], bool(best["serving"]))
    lines.append("assumptions")
    lines += [f"  {each}" for each in found["assumptions"]]
    return lines


def model_text(experts: int, active: float) -> str:
    size = quantity(active).strip()
    return size if experts == 1 else f"{size} of {experts} experts"


def whole_model_text(best: dict[str, Any]) -> str:
    active = quantity(best["active_parameters"]).strip()
    if best["experts"] == 1:
        return f"{active} parameters"
    return f"{active} active of {quantity(best['total_parameters']).strip()} parameters ({best['experts']} experts)"


def interval(figure: dict[str, Any], show: Any) -> str:
    """A figure with its interval; "not known" for one that the tables cannot give."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None:
        return "not known (no published watts)"
    return show(value) if low is None or high is None else f"{show(value)} ({show(low)} to {show(high)})"


def best_lines(best: dict[str, Any]) -> list[str]:
    layout, kwh, kg, litres = best["layout"], best["kwh"], best["kg"], best["litres"]
    cut = ", ".join(f"{name}={layout[name]}" for name in ("tp", "pp") if layout[name] > 1) or "no model parallelism"
    known = "90% interval of the law" if best["loss"]["low"] is not None else "no interval: the law has none"
    lines = [
        f"  model         {whole_model_text(best)}, "
        f"{quantity(best['tokens']).strip()} tokens "
        f"({best['tokens_per_parameter']:,.0f} a parameter), {best['flops']:.3g} FLOPs",
        f"  loss          {interval(best['loss'], lambda v: f'{v:.3f}')} {best['loss']['unit']}, {known}",
        f"  devices       {best['devices']:,} x {best['chip']} ({cut}), batches of "
        f"{quantity(layout['batch_tokens']).strip()} tokens: {best['mfu']:.0%} of the peak a step, goodput {best['goodput']:.0%}",
        f"  time          {interval(best['days'], days_text)} for the final run",
        f"  money         {interval(best['usd'], lambda v: amount('usd', v))} for the programme: {parts_text(best['usd_parts'])}",
        f"  energy        {interval(kwh['facility'], lambda v: amount('kwh', v))} at the facility; servers "
        f"{one(kwh['server'], 'kwh')}, chips {one(kwh['chip'], 'kwh')}",
        f"  carbon        {interval(kg['location'], lambda v: amount('kg', v))} location-based ({best['region']}); market-based "
        f"{one(kg['market'], 'kg')}; embodied {one(kg['embodied'], 'kg')}",
        f"  water         {interval(litres['total'], lambda v: amount('litres', v))}: {one(litres['site'], 'litres')} on site, "
        f"{one(litres['grid'], 'litres')} at power plants",
    ]
    return lines + [f"  warning       {warning}" for warning in best["warnings"]]


def one(figure: dict[str, Any], kind: str) -> str:
    return "not known" if figure["value"] is None else amount(kind, figure["value"])


def days_text(days: float) -> str:
    return f"{days:,.1f} days" if days >= 2 else duration(days * 86_400)


def parts_text(parts: dict[str, float]) -> str:
    whole = sum(parts.values())
    shares = {name: value / whole for name, value in parts.items() if value / whole >= 0.005}
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items())


def binding_lines(found: dict[str, Any]) -> list[str]:
    gains, target = found["gains_of_a_tenth_more"], found["target_loss"]
    if not found["binding"]:
        return ["  binding       none of the caps: more of them changes nothing"]
    unit = (lambda v: amount("usd", v)) if target is not None else (lambda v: f"{v:.4f} of loss")
    listed = [
        f"{CAP_OPTIONS[name]} {unit(gain)}" for name, gain in sorted(gains.items(), key=lambda g: -g[1]) if gain > 1e-9
    ]
    more = "a tenth more" + (" (of --chips half as many again)" if "devices" in gains else "")
    return [f"  binding       {CAP_OPTIONS[found['binding']]}: {more} gives {', '.join(listed)}"]


def serving_lines(best: dict[str, Any], life: dict[str, Any]) -> list[str]:
    s = best["serving"]
    crossing = life["crossover"]["usd"]
    month = f"month {crossing:.1f}" if crossing is not None else f"after the {life['months']} months"
    return [
        f"serving: {s['servers']} x {s['devices_a_server']} {best['chip']} in batches of {s['batch']}, busy {s['busy']:.0%}, "
        f"{s['token_ms']:.0f} ms a token, {s['first_token_s']:.2f} s to the first; decoding waits for {s['bound']}",
        f"  a million tokens: ${s['usd_million']:.3g}, {', '.join(spent_a_million(s))} (facility, location-based)",
        f"  serving costs {amount('usd', life['serving']['usd'][-1])} in {life['months']} months and passes training's "
        f"{amount('usd', life['training']['usd'])} in {month}",
    ]


def spent_a_million(s: dict[str, Any]) -> list[str]:
    """Energy, carbon and water of a million tokens."""
    parts = (("kwh_million", 1000, "Wh"), ("kg_million", 1000, "g CO2e"), ("litres_million", 1, "L"))
    return [
        f"{factor * s[name]:.3g} {unit}" if s[name] is not None else f"{unit} not known" for name, factor, unit in parts
    ]


def payback_lines(found: dict[str, Any]) -> list[str]:
    lines = [f"cheapest over the months at loss {found['loss']:.3f}, by traffic"]
    for tokens, row in zip(found["tokens_day"], found["cheapest_first"], strict=True):
        shown = "; ".join(f"{c['kind']} {quantity(c['active']).strip()} {amount('usd', c['usd'])}" for c in row[:3])
        lines.append(f"  {quantity(tokens).strip()} tokens a day: {shown}")
    return lines


def front_lines(rows: list[dict[str, Any]], lifetime: bool) -> list[str]:
    head = f"  {'loss':>6} {'parameters':>20} {'tokens':>8} {'devices':>14} {'days':>7} {'money':>12}"
    lines = [
        "no plan is better in all of these",
        head + (f" {'with serving':>12}" if lifetime else "") + f" {'CO2e':>9}  region",
    ]
    for row in rows[:12]:
        days = f"{row['days']:.2g}" if row["days"] < 10 else f"{row['days']:.0f}"
        line = (
            f"  {row['loss']:>6.3f} {model_text(row['experts'], row['active_parameters']):>20} "
            f"{quantity(row['tokens']).strip():>8} "
            f"{row['devices']:>6} x {row['chip']:<5} {days:>7} {amount('usd', row['usd']):>12}"
        )
        line += f" {amount('usd', row['lifetime_usd']) if row['lifetime_usd'] else '-':>12}" if lifetime else ""
        lines.append(f"{line} {amount('kg', row['kg']) if row['kg'] is not None else '-':>9}  {row['region']}")
    return lines
