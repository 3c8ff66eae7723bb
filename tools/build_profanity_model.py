"""Build seedbed/corpus/rules/data/profanity.safetensors from the wheel of alt-profanity-check (MIT).

python tools/build_profanity_model.py alt_profanity_check-1.9.1-py3-none-any.whl

The wheel holds two pickles (joblib), which this reads without running anything in them: every class they name becomes an
inert record, and only arrays and plain values are taken. Result: the vocabulary, its inverse document frequencies, and of
each of the five linear models (a calibrated ensemble) weights, intercept and the two numbers of its sigmoid.
"""

import io
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors.numpy import save_file

TARGET = Path(__file__).resolve().parents[1] / "seedbed" / "corpus" / "rules" / "data" / "profanity.safetensors"
ARRAY = "joblib.numpy_pickle.NumpyArrayWrapper"


class Record:
    """What stands for an object of any class: its attributes as pickled."""

    kind = ""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["state"][name]
        except KeyError:
            raise AttributeError(name) from None


class InertUnpickler(pickle._Unpickler):  # type: ignore[name-defined]
    """Builds Records alone, and reads the arrays that joblib writes between the pickle's own bytes."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]

    def __init__(self, data: bytes) -> None:
        self.stream = io.BytesIO(data)
        super().__init__(self.stream)

    def find_class(self, module: str, name: str) -> Any:
        return type(name, (Record,), {"kind": f"{module}.{name}"})

    def load_build(self) -> None:
        state = self.stack.pop()
        record = self.stack[-1]
        record.state = state if isinstance(state, dict) else {"state": state}
        if record.kind == ARRAY:
            self.stack[-1] = self.read_array(record)

    dispatch[pickle.BUILD[0]] = load_build

    def read_array(self, wrapper: Record) -> np.ndarray:
        kind = np.dtype(wrapper.dtype.arguments[0])
        if kind.hasobject:
            raise ValueError("an array of objects")
        if wrapper.state.get("numpy_array_alignment_bytes") is not None:
            self.stream.read(self.stream.read(1)[0])
        count = int(np.prod(wrapper.shape, dtype=np.int64))
        data = np.frombuffer(self.stream.read(count * kind.itemsize), dtype=kind)
        return data.reshape(wrapper.shape, order=wrapper.order)


def scalar(value: Any) -> float:
    """A plain number, or the NumPy scalar that was pickled as (dtype, bytes)."""
    if isinstance(value, Record):
        return float(np.frombuffer(value.arguments[1], dtype=value.arguments[0].arguments[0])[0])
    return float(np.asarray(value).reshape(-1)[0])


def main(wheel: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        model, vectorizer = (
            InertUnpickler(archive.read(f"profanity_check/data/{name}.joblib")).load()
            for name in ("model", "vectorizer")
        )
    settings = {
        name: vectorizer.state.get(name)
        for name in (
            "analyzer",
            "lowercase",
            "token_pattern",
            "ngram_range",
            "binary",
            "norm",
            "sublinear_tf",
            "stop_words",
        )
    }
    print(settings, vectorizer._tfidf.state.keys())
    words = sorted(vectorizer.vocabulary_, key=lambda word: scalar(vectorizer.vocabulary_[word]))
    idf = np.asarray(vectorizer._tfidf.state.get("idf_", vectorizer._tfidf.state.get("_idf_diag")))
    weights, scales = [], []
    for one in model.calibrated_classifiers_:
        sigmoid = one.calibrators[0]
        weights.append(one.estimator.coef_[0])
        scales.append([scalar(one.estimator.intercept_), scalar(sigmoid.a_), scalar(sigmoid.b_)])
    tensors = {
        "words": np.frombuffer("\n".join(words).encode(), dtype=np.uint8),
        "idf": idf.astype(np.float32),
        "weights": np.stack(weights, axis=1).astype(np.float32),  # [words, models]
        "scales": np.array(scales, dtype=np.float32),  # [models, (intercept, a, b)]: p = 1 / (1 + exp(a f + b))
    }
    TARGET.parent.mkdir(exist_ok=True)
    save_file(tensors, TARGET, metadata={"source": Path(wheel).name, "licence": "MIT"})
    print({name: array.shape for name, array in tensors.items()}, TARGET.stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1])
