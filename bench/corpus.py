"""Seconds, processor seconds and memory of collect and curate.

python bench/corpus.py [PATH ...]      default: the embedded corpus
"""

import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

from seedbed.corpus.builtin import NAMES, PREFIX
from seedbed.corpus.collect import COLLECT
from seedbed.corpus.compare import COMPARE
from seedbed.corpus.curate import CURATE
from seedbed.corpus.score import SCORE
from seedbed.corpus.yields import Tokens
from seedbed.corpus.yields_text import make_yields, yields_text
from seedbed.files import read_json
from seedbed.recipe.schema import Recipe
from seedbed.run.events import EventLog
from seedbed.run.folder import RunFolder
from seedbed.run.stages import StageOutput, run_stage


def main() -> None:
    sources = sys.argv[1:] or [PREFIX + name for name in NAMES]
    recipe = Recipe.model_validate({"name": "bench", "corpus": {"sources": sources}, "train": {"steps": 1}})
    result: dict[str, object] = {
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
        "date": time.strftime("%F"),
    }
    result["sources"] = [Path(source).name for source in sources]
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder.for_recipe(Path(scratch), recipe)
        outputs: dict[str, StageOutput] = {}
        for stage in (COLLECT, SCORE, COMPARE, CURATE):
            wall, processor = time.perf_counter(), time.process_time()
            outputs[stage.name] = run_stage(stage, folder, recipe, outputs, EventLog(None), lambda: None, {})
            result[f"{stage.name}_seconds"] = round(time.perf_counter() - wall, 2)
            result[f"{stage.name}_processor_seconds"] = round(time.process_time() - processor, 2)
        entries = read_json(outputs["curate"].path / "yields.json")
        print(yields_text(make_yields(entries, recipe.curate, Tokens())), file=sys.stderr)
    summary = outputs["curate"].summary
    result |= {key: summary[key] for key in ("read", "kept", "bytes_read", "bytes_kept")}
    result["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
