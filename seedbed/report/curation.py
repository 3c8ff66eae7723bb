"""The page's part on curation: the waterfall from text read to text kept, beside published yields, with its alarms."""

from typing import Any

from seedbed.corpus.published import comparison_rows
from seedbed.corpus.yields import COLLECT, TEXT, Amount, count_text, share_text, size_text
from seedbed.corpus.yields_text import Yields
from seedbed.quantities import counted
from seedbed.report.html import esc, table

FIGURE = "waterfall"
MEASURES = {"documents": "Documents", "bytes": "Bytes", "tokens": "Tokens"}
ROW_PIXELS = 27
GROUPS_SHOWN = 20
LABELS = {
    COLLECT: "could not be read",
    TEXT: "markup, spaces, edits",
    "empty": "empty",
    "dedup": "duplicates",
    "cuts": "repeated passages",
    "validation": "as held out",
}


def label(step: str) -> str:
    return LABELS.get(step, step)


def waterfall_figure(found: Yields) -> dict[str, Any]:
    """One bar a step, which hangs where the one before ended. `meta` has the lengths in documents, bytes and tokens."""
    read, kept = found.read, found.kept
    steps = [step for step in found.steps if step.taken != Amount()]
    text = next(step for step in found.steps if step.name == TEXT)
    names = ["read", *(label(step.name) for step in steps), "kept"]
    per_token = found.tokens.bytes_per_token
    taken = [step.taken for step in steps]
    no_text = [step.name in (COLLECT, TEXT) for step in steps]  # no tokens are lost where there is no text yet
    lengths = {
        "documents": [read.documents, *(-amount.documents for amount in taken), kept.documents],
        "bytes": [read.bytes, *(-amount.bytes for amount in taken), kept.bytes],
        "tokens": [
            round(text.left.bytes / per_token),
            *(0 if none else -round(a.bytes / per_token) for a, none in zip(taken, no_text, strict=True)),
            found.tokens.kept(kept)[0],
        ],
    }
    shares = {
        name: ["", *(share_text(-v, values[0]) if v else "" for v in values[1:-1]), share_text(values[-1], values[0])]
        for name, values in lengths.items()
    }
    ends = {
        name: [values[0], *(sum(values[:at]) for at in range(1, len(values) - 1)), values[-1]]
        for name, values in lengths.items()
    }  # of the bars, where their shares are written
    spaced = {name: [f"\N{NO-BREAK SPACE}{text}" for text in texts] for name, texts in shares.items()}
    return {
        "data": [
            {
                "type": "waterfall",
                "orientation": "h",
                "measure": ["absolute", *("relative" for _ in steps), "total"],
                "y": names,
                "x": lengths["documents"],
                "text": shares["documents"],
                "textposition": "none",
                "hovertemplate": "%{y}: %{delta:,.4~s} (%{text} of what was read)<extra></extra>",
                "connector": {"line": {"color": "rule", "width": 1}},
                "decreasing": {"marker": {"color": "warn"}},
                "increasing": {"marker": {"color": "faint"}},
                "totals": {"marker": {"color": "accent"}},
                "meta": lengths,
                "customdata": shares,
            },
            {
                "type": "scatter",
                "mode": "text",
                "y": names,
                "x": ends["documents"],
                "text": spaced["documents"],
                "textposition": "middle right",
                "cliponaxis": False,
                "hoverinfo": "skip",
                "meta": ends,
                "customdata": spaced,
            },
        ],
        "layout": {
            "xaxis": {"tickformat": ".3~s", "zeroline": False, "rangemode": "tozero", "fixedrange": True},
            "yaxis": {"autorange": "reversed", "automargin": True, "ticksuffix": " ", "fixedrange": True},
            "showlegend": False,
            "margin": {"l": 8, "r": 52, "t": 6, "b": 46},
        },
    }


def curation_parts(found: Yields) -> tuple[dict[str, Any], str]:
    """({id: figure}, the HTML) of the waterfall with what belongs to it."""
    figure = waterfall_figure(found)
    height = ROW_PIXELS * (len(figure["data"][0]["y"]) + 2)
    buttons = "".join(
        f'<button type="button" data-measure="{name}" aria-pressed="{str(name == "documents").lower()}">{title}</button>'
        for name, title in MEASURES.items()
    )
    place = (
        f'<figure><div class="switch" role="group" aria-label="Measure">{buttons}</div>'
        f'<div class="chart" id="{FIGURE}" style="height:{height}px"></div></figure>'
    )
    parts = ["<h3>From text read to text kept</h3>", alarm_list(found), place, step_table(found)]
    parts += [published_table(found), group_table(found, "source"), group_table(found, "language")]
    return {FIGURE: figure}, "".join(parts)


def alarm_list(found: Yields) -> str:
    if not found.alarms:
        return ""
    items = "".join(f"<li>{esc(alarm.sentence)}</li>" for alarm in found.alarms)
    return f'<div class="alarms"><b>Look at these</b><ul>{items}</ul></div>'


def step_table(found: Yields) -> str:
    """What each step took and left; steps that took nothing are named below it."""
    rows = []
    for step in found.steps:
        if step.taken == Amount():
            continue
        most = next(iter(step.rules)) if step.taken.documents else ""
        left = step.left
        shares = [share_text(left.documents, step.reached.documents), share_text(left.documents, found.read.documents)]
        counts = [counted(step.taken.documents), counted(left.documents)]
        name = esc(label(step.name)) + (f"<small>{esc(most)}</small>" if most not in ("", step.name) else "")
        rows.append([name, *counts, *shares, size_text(left.bytes)])
    kept = found.kept
    rows.append(["kept", "", counted(kept.documents), "", share_text(kept.documents, found.read.documents)])
    rows[-1].append(size_text(kept.bytes))
    header = ["step<small>and the rule that took most</small>", "taken", "left", "of what came", "of all", "bytes left"]
    idle = [step.name for step in found.steps if step.taken == Amount() and step.name not in (COLLECT, TEXT)]
    note = f'<p class="lead">Took nothing: {esc(", ".join(idle))}.</p>' if idle else ""
    return table(header, rows, numeric=5, total=True) + note


def published_table(found: Yields) -> str:
    rows = [
        [
            f"{esc(' and '.join(row['steps']))}"
            f"<small>{esc(row['who'])}: {esc(row['what'])} ({esc(row['source'])}, {esc(row['date'])})</small>",
            f"{row['published']:.1%}",
            f"{row['kept']:.1%}",
        ]
        for row in comparison_rows(found.steps, found.near)
    ]
    if not rows:
        return ""
    header = ["steps", "kept there", "kept here"]
    return "<h3>Beside published yields</h3>" + table(header, rows, numeric=2)


def group_table(found: Yields, by: str) -> str:
    """Documents left of every source or language, where there is more than one."""
    groups = found.by_source if by == "source" else found.by_language
    if len(groups) < 2:
        return ""
    names = [step.name for step in found.steps if step.taken.documents]
    rows = []
    for value, steps in list(groups.items())[:GROUPS_SHOWN]:
        read, kept = steps[0].reached.documents, steps[-1].left
        left = {step.name: share_text(step.left.documents, read) for step in steps}
        tokens = (
            found.tokens.kept_text(kept, value) if by == "source" else f"~{count_text(found.tokens.estimate(kept))}"
        )
        rows.append([esc(value or "(none)"), counted(read), *(left[name] for name in names), counted(kept.documents)])
        rows[-1] += [size_text(kept.bytes), tokens]
    header = [by, "read", *(esc(label(name)) for name in names), "kept", "bytes kept", "tokens kept"]
    more = f'<p class="lead">and {len(groups) - GROUPS_SHOWN:,} more</p>' if len(groups) > GROUPS_SHOWN else ""
    return f"<h3>Left of each {by} after each step</h3>" + table(header, rows, numeric=len(header) - 1) + more


def yields_page(found: Yields, name: str) -> str:
    """A page of its own, with nothing to load."""
    from seedbed.report.page import asset, document_head, scripts

    figures, body = curation_parts(found)
    read, kept = found.read, found.kept
    lead = f"{counted(read.documents)} documents were read and {counted(kept.documents)} kept."
    return "\n".join(
        [
            document_head(f"{esc(name)} · yields", asset("style.css")),
            f'<main><section id="data"><h2>{esc(name)}</h2><p class="lead">{lead}</p>{body}</section></main>',
            scripts(figures),
            "</body></html>\n",
        ]
    )
