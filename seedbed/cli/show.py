"""What a finished command says: where things are, and what came out."""

import json as json_module
from pathlib import Path
from typing import Any

from seedbed.files import read_json
from seedbed.quantities import byte_size
from seedbed.recipe.dump import dump_recipe
from seedbed.recipe.schema import Recipe
from seedbed.run.events import scores_of
from seedbed.run.folder import RunFolder
from seedbed.run.pipeline import STAGE_NAMES, outputs_up_to


def show_finished(folder: RunFolder, json: bool, fresh: bool) -> None:
    """Print a finished run: one JSON object, or a few lines."""
    stages = folder.index()
    name, scores = "bits_per_byte", dict[str, Any]()
    if "evaluate" in stages:
        name, scores = scores_of(read_json(folder.stage_path("evaluate") / "evaluation.json"))
    if json:
        receipt = read_json(folder.receipt_path) if folder.receipt_path.is_file() else None
        found = {"run": str(folder.path), "stages": stages, name: scores, "receipt": receipt}
        print(json_module.dumps(found))
        return
    print(f"{folder.path}: {'done' if fresh else 'nothing to do, every stage is finished'}")
    if scores:
        everything = scores["all"]
        if name == "bits_per_masked_token":
            print(
                f"  {everything['model']:.3f} bits per masked token on {byte_size(everything['bytes'])} of held-out text"
                f" (token frequencies {everything['unigram']:.3f}; {everything['accuracy']:.0%} right)"
            )
            print(f"  read      {folder.report_path}")
            print(f"  check     seedbed verify {folder.path}")
            return
        print(
            f"  {everything['model']:.3f} bits per byte on {byte_size(everything['bytes'])} of held-out text"
            f" (xz {everything['xz']:.3f}, gzip {everything['gzip']:.3f}, byte n-gram {everything['ngram']:.3f})"
        )
        print(f"  read      {folder.report_path}")
        print(f'  try       seedbed generate {folder.path} "The people"')
        print(f"  check     seedbed verify {folder.path}")


def show_intended(recipe: Recipe, path: Path, json: bool) -> None:
    """Print what a run would do: the complete recipe, and of each stage whether its output is there already."""
    folder = RunFolder(path)
    done = {name: path.is_dir() and outputs_up_to(folder, recipe, name) is not None for name in STAGE_NAMES}
    if json:
        stages = {name: "done" if there else "to do" for name, there in done.items()}
        print(json_module.dumps({"run": str(path), "recipe": recipe.model_dump(mode="json"), "stages": stages}))
        return
    print(dump_recipe(recipe))
    print(f"# {path}")
    print(f"# done   {', '.join(name for name, there in done.items() if there) or 'nothing'}")
    print(f"# to do  {', '.join(name for name, there in done.items() if not there) or 'nothing'}")
    print("# What it takes of devices: seedbed plan")
