"""A model folder: config.json, model.safetensors, tokenizer.json and, with an n-gram expert, ngram.safetensors."""

import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from seedbed.errors import InputError, SeedbedError
from seedbed.files import read_json, write_json
from seedbed.model.config import TransformerConfig
from seedbed.model.language_model import LanguageModel
from seedbed.model.ngram import NgramExpert
from seedbed.model.transformer import Transformer
from seedbed.run.stages import check_files
from seedbed.train.checkpoints import merge_tensors

MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "ngram.safetensors")


def live_weights(model: Transformer) -> dict[str, torch.Tensor]:
    """Every weight once, in the memory that training writes to: a tied head is its embedding."""
    state: dict[str, torch.Tensor] = model.state_dict()
    if model.config.tied_head:
        state.pop("head.weight", None)  # a pipeline's stage may hold neither
    return state


def weights_of(model: Transformer) -> dict[str, torch.Tensor]:
    """The same, on the CPU and contiguous, as they are saved."""
    return {name: value.detach().cpu().contiguous() for name, value in live_weights(model).items()}


def load_weights(model: Transformer, state: dict[str, torch.Tensor]) -> None:
    if model.config.tied_head:
        state = {**state, "head.weight": state["embedding.weight"]}
    model.load_state_dict(state)


def save_model(
    folder: Path, model: Transformer, tokenizer: Path, expert: Path | None, checkpoint: Path | None = None
) -> None:
    """Fill `folder`; the caller publishes it. `expert`: the counted tables' file, hard-linked or copied.

    `checkpoint`: the weights are merged from its pieces, where they are spread over ranks and `model` does not hold them all.
    """
    write_json(folder / "config.json", model.config.to_json())
    if checkpoint is None:
        save_file(weights_of(model), folder / "model.safetensors")
    else:
        merge_tensors(checkpoint, "model/", folder / "model.safetensors")
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    if expert is not None:
        target = folder / "ngram.safetensors"
        target.unlink(missing_ok=True)
        try:
            target.hardlink_to(expert)
        except OSError:
            shutil.copyfile(expert, target)


def save_expert(path: Path, expert: NgramExpert) -> None:
    save_arrays({name: np.ascontiguousarray(array) for name, array in expert.arrays().items()}, path)


def load_expert(path: Path) -> NgramExpert:
    return NgramExpert.from_arrays(load_arrays(path))


def load_model(folder: Path, device: str = "cpu") -> LanguageModel:
    """The model that `save_model` wrote. In a run's folder its files are held against their checksums first."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is not a model folder (it has no config.json): give a run that finished training")
    if (folder / "stage.json").is_file():
        check_files(folder, MODEL_FILES, "run `seedbed run` on the run again")
    config = TransformerConfig.from_json(read_json(folder / "config.json"))
    with torch.device("meta"):
        model = Transformer(config)
    model.to_empty(device=device)
    model.tie_head()
    try:
        load_weights(model, load_file(folder / "model.safetensors", device=device))
        expert = load_expert(folder / "ngram.safetensors") if config.prior_order else None
    except (SafetensorError, OSError, RuntimeError) as error:
        line = str(error).splitlines()[0]
        raise SeedbedError(f"{folder}: damaged weights ({line}): delete the folder and run again") from None
    model.set_rope_tables(config.context)
    return LanguageModel(model, expert)
