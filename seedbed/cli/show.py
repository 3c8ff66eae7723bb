"""What a finished command says: where things are, and what came out."""

import json as json_module

from seedbed.files import read_json
from seedbed.run.folder import RunFolder


def show_finished(folder: RunFolder, json: bool, fresh: bool) -> None:
    """Print a finished run: one JSON object, or a few lines."""
    stages = folder.index()
    scores = {}
    if "evaluate" in stages:
        scores = read_json(folder.stage_path("evaluate") / "evaluation.json")["bits_per_byte"]
    if json:
        receipt = read_json(folder.receipt_path) if folder.receipt_path.is_file() else None
        found = {"run": str(folder.path), "stages": stages, "bits_per_byte": scores, "receipt": receipt}
        print(json_module.dumps(found))
        return
    print(f"{folder.path}: {'done' if fresh else 'nothing to do, every stage is finished'}")
    if scores:
        everything = scores["all"]
        print(
            f"  {everything['model']:.3f} bits per byte on {everything['bytes'] / 1e6:.2f} MB of held-out text"
            f" (xz {everything['xz']:.3f}, gzip {everything['gzip']:.3f}, byte n-gram {everything['ngram']:.3f})"
        )
        print(f"  read      {folder.report_path}")
        print(f'  try       seedbed generate {folder.path} "The people"')
        print(f"  check     seedbed verify {folder.path}")
