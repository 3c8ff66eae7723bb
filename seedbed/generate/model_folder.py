"""From what a user names to a model that can be asked: a run folder whose training is finished, or a model folder."""

from pathlib import Path

from seedbed.errors import InputError
from seedbed.files import read_json
from seedbed.run.folder import RunFolder
from seedbed.run.stages import check_files


def find_decoder(path: Path) -> Path:
    """`find_model`, of a model that can continue text. Raises InputError for an encoder, SeedbedError where a run's files differ
    from its record (the weights are held against it when they are loaded).
    """
    folder = find_model(path)
    if (folder / "stage.json").is_file():
        check_files(folder, ("config.json", "tokenizer.json"), "run `seedbed run` on the run again")
    if read_json(folder / "config.json").get("causal") is False:
        raise InputError(
            f"{path} holds an encoder, which fills masks and cannot continue text: see the samples in its report, "
            "or train a decoder with train.objective = 'causal'"
        )
    return folder


def find_model(path: Path) -> Path:
    """The model folder that `path` is, or that the run at `path` trained. Raises InputError."""
    if (path / "config.json").is_file():
        return path
    if not path.is_dir():
        raise InputError(
            f"{path}: no such folder: give a run's folder, or a folder with config.json and model.safetensors"
        )
    if not (path / "recipe.toml").is_file():
        raise InputError(f"{path} is neither a run's folder (no recipe.toml) nor a model folder (no config.json)")
    return RunFolder.existing(path).stage_path("train")
