"""What a finished command says: where things are, and what came out."""

import json as json_module
from typing import Any

from seedbed.files import read_json
from seedbed.run.events import scores_of
from seedbed.run.folder import RunFolder


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
                f"  {everything['model']:.3f} bits per masked token on {everything['bytes'] / 1e6:.2f} MB of held-out text"
                f" (token frequencies {everything['unigram']:.3f}; {everything['accuracy']:.0%} right)"
            )
            print(f"  read      {folder.report_path}")
            print(f"  check     seedbed verify {folder.path}")
            return
        print(
            f"  {everything['model']:.3f} bits per byte on {everything['bytes'] / 1e6:.2f} MB of held-out text"
            f" (xz {everything['xz']:.3f}, gzip {everything['gzip']:.3f}, byte n-gram {everything['ngram']:.3f})"
        )
        print(f"  read      {folder.report_path}")
        print(f'  try       seedbed generate {folder.path} "The people"')
        print(f"  check     seedbed verify {folder.path}")
