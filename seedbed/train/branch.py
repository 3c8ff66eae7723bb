"""Branches of a run: training that goes on from a checkpoint another training kept, on a plateau or into its decay.

`train.start_from` is RUN@STEP or the folder of a kept checkpoint. What it stands for is the checkpoint's content, so a stage's
key holds its checksum and not its place.
"""

import re
from pathlib import Path

from seedbed.errors import InputError
from seedbed.files import sha256_file
from seedbed.run.stages import CHECKPOINTS, KEPT

SUMS_FILE = "SHA256SUMS"  # names the checksum of every file of a checkpoint


def find_checkpoint(start_from: str) -> Path:
    """The folder of the checkpoint that `train.start_from` names."""
    run, at, step = start_from.rpartition("@")
    if not at:
        if not (Path(start_from) / SUMS_FILE).is_file():
            raise InputError(f"train.start_from: {start_from} is no checkpoint: give RUN@STEP or a folder step-NNN")
        return Path(start_from)
    name = f"step-{int(step):09d}"
    stages = sorted(Path(run, "stages").glob("train-*"))
    found = [path for stage in stages for path in (stage / KEPT / name, stage / CHECKPOINTS / name) if path.is_dir()]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"train.start_from: {run} has more than one: give one of {', '.join(map(str, found))}")
    kept = sorted({path.name for stage in stages for path in (stage / KEPT).glob("step-*")})
    steps = (
        ", ".join(str(int(name.removeprefix("step-"))) for name in kept) or "none: train.keep_every_steps keeps some"
    )
    raise InputError(f"train.start_from: {run} kept no checkpoint of step {step} (kept: {steps})")


def fingerprint(start_from: str | None) -> str | None:
    """What stands for the checkpoint in a stage's key."""
    return None if start_from is None else sha256_file(find_checkpoint(start_from) / SUMS_FILE)


def saved_steps(checkpoint: Path) -> int:
    """The horizon, in steps, of the training that wrote it."""
    from seedbed.train.checkpoints.format import Damaged, read_manifest

    try:
        return read_manifest(checkpoint)[0].tensors["history/losses"].shape[0]
    except Damaged as error:
        raise InputError(f"train.start_from: checkpoint {checkpoint} is damaged ({error}): give another") from None


def keep_checkpoints(stage: Path, every_steps: int | None) -> None:
    """Move the checkpoints at multiples of these steps to where they outlive the stage's end."""
    for path in sorted((stage / CHECKPOINTS).glob("step-*")) if every_steps else []:
        match = re.fullmatch(r"step-(\d+)", path.name)
        if match and int(match[1]) % (every_steps or 1) == 0:
            (stage / KEPT).mkdir(exist_ok=True)
            path.replace(stage / KEPT / path.name)
