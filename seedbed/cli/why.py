"""seedbed why RUN DOC: why a document was kept, removed, merged or quarantined."""

from pathlib import Path
from typing import Annotated

import typer


def why(
    run: Annotated[Path, typer.Argument(help="run folder")],
    document: Annotated[str, typer.Argument(help="a document's id, its beginning, or a part that only it has")],
    json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Why a document was kept, removed, merged or quarantined, with every score."""
    from json import dumps

    from seedbed.corpus.inspect import explain
    from seedbed.corpus.inspect_text import explanation_json, explanation_text

    explanation = explain(run, document)
    print(dumps(explanation_json(explanation), ensure_ascii=False) if json else explanation_text(explanation))
