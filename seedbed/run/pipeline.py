"""The whole path: which stages there are, in which order, and a run of them all in one folder."""

import time
from importlib import import_module
from pathlib import Path
from typing import Any

from seedbed.corpus.executors import Execution, close_executors
from seedbed.errors import InputError, Interrupted
from seedbed.files import read_json, write_json
from seedbed.recipe.layout import AUTO
from seedbed.recipe.schema import HORIZONS, Recipe
from seedbed.run.cost import CostRecorder
from seedbed.run.events import EventLog, Listener
from seedbed.run.folder import RunFolder
from seedbed.run.machine import describe
from seedbed.run.receipt import write_report
from seedbed.run.sinks import open_sinks
from seedbed.run.stages import Stage, StageOutput, load_output, run_stage
from seedbed.run.stop import StopSignal
from seedbed.tokens.data_order import check_mixture

STAGE_NAMES = (
    "collect",
    "score",
    "compare",
    "curate",
    "tokenizer",
    "tokenize",
    "count",
    "measure",
    "train",
    "evaluate",
)

STAGE_MODULES = {
    "collect": ("seedbed.corpus.collect", "COLLECT"),
    "score": ("seedbed.corpus.score", "SCORE"),
    "compare": ("seedbed.corpus.compare", "COMPARE"),
    "curate": ("seedbed.corpus.curate", "CURATE"),
    "tokenizer": ("seedbed.tokens.train_tokenizer", "TOKENIZER"),
    "tokenize": ("seedbed.tokens.tokenize_corpus", "TOKENIZE"),
    "evaluate": ("seedbed.evaluate.stage", "EVALUATE"),
}


def load_stage(name: str) -> Stage:
    """The stage of that name. Imported when it is needed: a data machine has no use for torch."""
    if name in ("count", "measure", "train"):
        from seedbed.train.stages import STAGES

        return STAGES[name]
    module, constant = STAGE_MODULES[name]
    stage = getattr(import_module(module), constant)
    assert isinstance(stage, Stage)
    return stage


def apply_measured(recipe: Recipe, measured: dict[str, Any]) -> Recipe:
    """The recipe with the measured values in it: from here on it depends on no clock and no guess."""
    updates: dict[str, Any] = {name: None for name in HORIZONS}
    updates |= {"steps": measured["steps"], "precision": measured["precision"], "threads": measured["threads"]}
    updates |= {"compile": "on" if measured["compile"] else "off", "micro_batch_rows": measured["micro_batch_rows"]}
    updates |= {"recompute": measured["recompute"]}
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=updates)})


def outputs_up_to(folder: RunFolder, recipe: Recipe, last: str) -> dict[str, StageOutput] | None:
    """The finished outputs of all stages, or None when one of them has to be run. Touches nothing."""
    outputs: dict[str, StageOutput] = {}
    for name in STAGE_NAMES[: STAGE_NAMES.index(last) + 1]:
        path = folder.stages_path / folder.index().get(name, "-")
        output = load_output(path)
        if output is None or output.key != load_stage(name).key(recipe, outputs):
            return None
        outputs[name] = output
        if name == "measure":
            recipe = apply_measured(recipe, output.summary)
    return outputs


def run_pipeline(
    recipe: Recipe,
    out: Path,
    listener: Listener,
    last: str = STAGE_NAMES[-1],
    command: str = "",
    execution: Execution | None = None,
) -> RunFolder:
    """Run every stage up to `last` that the folder does not hold yet, then write the report and the receipt."""
    from seedbed.run.workers import follow_rank_zero, settle_layout, share_with_ranks, this_rank, with_parallel

    asked, recipe = recipe, settle_layout(recipe)
    if this_rank() > 0:
        if "train" in STAGE_NAMES[: STAGE_NAMES.index(last) + 1]:
            follow_rank_zero(load_stage("train"), out)
        return RunFolder(out)
    folder = RunFolder.for_recipe(out, asked)
    stop = StopSignal()
    with folder.lock(), stop.installed():
        check_request(folder, asked)
        check_beforehand(recipe, out, last)
        recorder = CostRecorder(recipe)
        sinks = open_sinks(folder.path, recipe)
        events = EventLog(folder.events_path, (listener, recorder, *sinks))
        started = time.monotonic()
        status = "failed"
        try:
            events.emit("run_start", command=command, recipe=recipe.name, machine=describe())
            recorder.attach(events.emit)
            if recipe.train.parallel != AUTO:
                events.emit("note", message=f"the model is spread over devices as {recipe.train.parallel}")
            outputs: dict[str, StageOutput] = {}
            state: dict[str, Any] = {}
            for name in STAGE_NAMES[: STAGE_NAMES.index(last) + 1]:
                if name == "train":
                    share_with_ranks(recipe, folder.path, outputs)
                outputs[name] = run_stage(
                    load_stage(name), folder, recipe, outputs, events, stop.check, state, execution
                )
                if name == "curate":
                    close_executors()
                if name == "measure":
                    recipe = apply_measured(recipe, outputs[name].summary)
                # the layout belongs to these ranks, not to what is trained
                folder.write_recipe(with_parallel(recipe, asked.train.parallel))
                folder.write_index({done: output.path.name for done, output in outputs.items()})
            status = "done"
        except Interrupted:
            status = "interrupted"
            raise
        except KeyboardInterrupt:
            status = "interrupted"
            raise Interrupted("stopped at once: run the same command again to go on from what is whole") from None
        finally:
            close_executors()
            events.emit("run_end", seconds=round(time.monotonic() - started, 3), status=status)
            events.close()
            for sink in sinks:
                sink.close()
        write_report(folder)
    return folder


def check_beforehand(recipe: Recipe, out: Path, last: str) -> None:
    """Refuse before a corpus is read, which may take days, and not after: files that cannot be used, and what the machine
    cannot train.
    """
    for run in recipe.curate.dedup.against:
        if Path(run).resolve() == out.resolve():
            raise InputError(f"curate.dedup.against: {run} is the folder of this run: name earlier ones only")
    wanted = STAGE_NAMES[: STAGE_NAMES.index(last) + 1]
    for name in (*(("score", "compare", "curate") if recipe.corpus.sources else ()), "tokenizer", "measure"):
        if name in wanted:
            load_stage(name).config(recipe)
    if "measure" in wanted:
        from seedbed.train.measure import check_machine

        check_machine(recipe)


def check_request(folder: RunFolder, recipe: Recipe) -> None:
    """Keep beside the run what was asked for; the complete recipe follows when everything is measured."""
    check_mixture(recipe)
    path = folder.request_path
    asked = recipe.model_dump(mode="json")
    if not path.is_file() or read_json(path) != asked:
        try:
            write_json(path, asked)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}): choose another --out folder") from None
    if not folder.recipe_path.is_file():
        folder.write_recipe(recipe)
