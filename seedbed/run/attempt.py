"""One attempt at the `train` stage in a folder of its own, on inputs read where they lie: what `seedbed verify --resume` kills.

    python -m seedbed.run.attempt FOLDER     FOLDER/recipe.toml, FOLDER/inputs.json: stage -> its finished folder

Several ranks are started as torchrun would, by their environment.
"""

import sys
from pathlib import Path

from seedbed.errors import SeedbedError
from seedbed.files import read_json
from seedbed.run.events import EventLog
from seedbed.run.folder import RunFolder
from seedbed.run.pipeline import load_stage
from seedbed.run.stages import SOUND, load_output, run_stage
from seedbed.run.stop import StopSignal
from seedbed.run.workers import follow_rank_zero, share_with_ranks, this_rank

INPUTS_FILE = "inputs.json"


def attempt(path: Path) -> None:
    stage = load_stage("train")
    if this_rank() > 0:
        follow_rank_zero(stage, path)
        return
    folder = RunFolder(path)
    outputs = {}
    for name, place in read_json(path / INPUTS_FILE).items():
        output = load_output(Path(place))
        assert output is not None, place
        outputs[name] = output
    recipe = folder.recipe()
    events, stop = EventLog(folder.events_path), StopSignal()
    with folder.lock(), stop.installed():
        share_with_ranks(recipe, path, outputs)
        # whoever starts attempts has checked the inputs, once
        state = {SOUND: {output.path for output in outputs.values()}}
        output = run_stage(stage, folder, recipe, outputs, events, stop.check, state)
        folder.write_index({"train": output.path.name})
        events.emit("run_end", seconds=0.0, status="done")
    events.close()


if __name__ == "__main__":
    try:
        attempt(Path(sys.argv[1]))
    except SeedbedError as error:
        print(f"seedbed: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
