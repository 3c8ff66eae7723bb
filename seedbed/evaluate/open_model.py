"""A finished model with its tokenizer, on the device and the number of threads that the recipe asks for."""

from pathlib import Path

import torch

from seedbed.model.language_model import LanguageModel
from seedbed.recipe.schema import TrainConfig
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.train.store import load_model


def open_model(folder: Path, train: TrainConfig) -> tuple[LanguageModel, Tokenizer]:
    if train.threads:
        torch.set_num_threads(train.threads)
    device = "cuda" if torch.cuda.is_available() and train.device != "cpu" else "cpu"
    return load_model(folder, device), Tokenizer.load(folder / "tokenizer.json")
