"""A page of figures that stands alone: one file, no network, the pictures drawn by the Plotly that travels in it."""

import json
from collections.abc import Iterable
from typing import Any

from seedbed import __version__
from seedbed.report.html import esc
from seedbed.report.page import POLICY, asset


def document(title: str, header: str, sections: Iterable[str], figures: dict[str, Any], command: str) -> str:
    """`header` and `sections` are HTML; `figures` by the name of their place; `command` gives the same as JSON."""
    footer = f"Written by Seedbed {esc(__version__)}. The same for programs: {esc(command)} --json."
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{esc(title)} · Seedbed</title><style>{asset('style.css')}</style></head><body>",
            header,
            f"<main>{''.join(sections)}</main>",
            f"<footer>{footer}</footer>",
            scripts(figures),
            "</body></html>\n",
        ]
    )


def scripts(figures: dict[str, Any]) -> str:
    """The figures, Plotly and the script that draws them; nothing where there is nothing to draw."""
    if not figures:
        return ""
    from plotly.offline import get_plotlyjs

    values = json.dumps(figures, separators=(",", ":")).replace("<", "\\u003c")
    library = get_plotlyjs().replace("</script", "<\\/script")
    drawn = f"<script>{library}</script><script>{asset('figures.js')}</script>"
    return f'<script type="application/json" id="figures">{values}</script>{drawn}'
