"""seedbed why RUN DOC: why a document was kept, removed, merged or quarantined."""

from pathlib import Path
from typing import Annotated

import typer


def why(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    document: Annotated[str, typer.Argument(help="A document's id, its beginning, or a part that only it has.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Why a document was kept or not: every score by its threshold."""
    from json import dumps

    from seedbed.corpus.inspect import explain
    from seedbed.corpus.inspect_text import explanation_json, explanation_text

    explanation = explain(run, document)
    print(dumps(explanation_json(explanation), ensure_ascii=False) if json else explanation_text(explanation))
