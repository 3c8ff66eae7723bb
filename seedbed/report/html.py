"""Small pieces of HTML. Everything that comes from outside passes through `esc`."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

from seedbed.quantities import printable


def esc(value: Any) -> str:
    """Escaped for HTML, without the control characters a browser would refuse or obey."""
    return html.escape(printable(str(value)))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numeric: int, total: bool = False) -> str:
    """A table of ready-made cells, the last `numeric` columns to the right; `total` sets the last row apart."""
    first_number = len(header) - numeric

    def cell(tag: str, index: int, content: str) -> str:
        best = content.startswith("*")
        names = [name for name, holds in (("n", index >= first_number), ("best", best)) if holds]
        attribute = f' class="{" ".join(names)}"' if names else ""
        return f"<{tag}{attribute}>{content.removeprefix('*')}</{tag}>"

    head = "".join(cell("th", index, name) for index, name in enumerate(header))
    lines = ["".join(cell("td", index, content) for index, content in enumerate(row)) for row in rows]
    marks = ["" for _ in lines]
    if total and marks:
        marks[-1] = ' class="total"'
    body = "".join(f"<tr{mark}>{line}</tr>" for mark, line in zip(marks, lines, strict=True))
    prose = (
        ' class="prose"' if len(header) > 3 and len(header) - numeric > 1 else ""
    )  # words need room that a phone has not
    return f'<div class="scroll"><table{prose}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(items: Iterable[tuple[str, str, str]]) -> str:
    """(label, value, small print) as a grid. All three are HTML."""
    cells = "".join(f"<div><dt>{label}</dt><dd>{value}<small>{note}</small></dd></div>" for label, value, note in items)
    return f'<dl class="facts">{cells}</dl>'


def bars(rows: Iterable[tuple[str, float, float, str, str]], wide: bool = False) -> str:
    """(name, start, length, value, kind) as horizontal bars; start and length are shares of the track, kind a class."""
    cells = []
    for name, start, length, value, kind in rows:
        style = f"margin-left:{100 * start:.2f}%;width:{100 * length:.2f}%"
        cells.append(
            f'<div class="row {kind}"><div class="name">{name}</div>'
            f'<div class="track"><div class="fill" style="{style}"></div></div><div class="value">{value}</div></div>'
        )
    return f'<div class="bars{" wide" if wide else ""}">{"".join(cells)}</div>'


def chart(identifier: str, title: str, note: str = "") -> str:
    """The place where the page's script draws the figure of that name."""
    small = f" <span>{note}</span>" if note else ""
    return f'<figure><figcaption>{title}{small}</figcaption><div class="chart" id="{identifier}"></div></figure>'


def tag(kind: str) -> str:
    return f'<span class="tag {kind}">{kind}</span>'


def section(identifier: str, title: str, lead: str, *parts: str) -> str:
    body = "".join(parts)
    return f'<section id="{identifier}"><h2>{title}</h2><p class="lead">{lead}</p>{body}</section>'
