"""`seedbed corpus browse RUN`: a local page to look into a curated run."""

from pathlib import Path
from typing import Annotated

import typer

from seedbed.cli.run import JsonOption


def browse(
    run: Annotated[Path, typer.Argument(help="A run's folder, its curate stage finished.")],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8017,
    json: JsonOption = False,
) -> None:
    """Serve a page to look into a corpus. Search, thresholds and what lies near, duplicates, one document; Ctrl-C ends it."""
    from json import dumps

    from seedbed.corpus.browse.server import Server

    with Server(run, port) as server:
        print(dumps({"url": server.url}) if json else f"{server.url}   (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
