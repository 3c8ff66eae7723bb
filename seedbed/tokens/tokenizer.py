"""Text to token ids and back: one class over a Hugging Face tokenizer.json."""

import codecs
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.errors import InputError
from seedbed.files import write_bytes
from seedbed.tokens import hf_format
from seedbed.tokens.encoders import HuggingFaceEncoder, choose_encoder
from seedbed.tokens.patterns import PATTERNS

BYTES_AND_END = 257  # the smallest vocabulary: every byte and the end-of-text token
ESCAPED = re.compile("([\udc80-\udcff]+)")  # what Python's "surrogateescape" makes of bytes that are not UTF-8
NOT_UNICODE = (
    UnicodeEncodeError,
    TypeError,
)  # how the engines refuse a str with a lone surrogate, which UTF-8 cannot hold


class Tokenizer:
    """A tokenizer whose documents never contain a special token, whatever they spell.

    `exact`: decode_bytes(encode_bytes(x)) == x for any bytes. True for byte-level BPE without a normaliser, and so for
    every trained one.
    `vocab_size`: 1 + the largest id. `eos_id`: the end-of-text token. `special`: the ids of all special tokens by name.
    `sha256`: of the tokenizer.json that `save` writes.
    """

    def __init__(self, document: dict[str, Any], data: bytes | None = None) -> None:
        """`document`: a tokenizer.json with an end-of-text token; `data`: its bytes on disk, if it came from there."""
        self._data = data if data is not None else hf_format.dump(document)
        eos_id = find_end_of_text(document)
        if eos_id is None:
            raise ValueError("no end-of-text token")
        self.eos_id = eos_id
        self.sha256 = hashlib.sha256(self._data).hexdigest()
        self.byte_level = hf_format.is_byte_level_bpe(document)
        self.exact = self.byte_level and hf_format.keeps_every_byte(document)
        special = [token for token in document.get("added_tokens") or [] if token.get("special")]
        self.special = {token["content"]: int(token["id"]) for token in special}
        model = document["model"]
        self._continuing = model.get("continuing_subword_prefix") if model.get("type") == "WordPiece" else None
        self._encoder = choose_encoder(document) if self.byte_level else HuggingFaceEncoder(document)
        if self.byte_level:
            self._bytes = hf_format.token_bytes(document)
            vocab = document["model"]["vocab"]
            self._byte_ids = np.array([vocab[character] for character in hf_format.byte_characters()], np.uint32)
            self.vocab_size = len(self._bytes)
        else:
            import tokenizers

            self._decoder = tokenizers.Tokenizer.from_str(json.dumps(document))
            self.vocab_size = 1 + max(self._decoder.get_vocab(with_added_tokens=True).values())

    @classmethod
    def train(cls, texts: Iterator[str], vocab_size: int, pattern: str, special: Sequence[str] = ()) -> "Tokenizer":
        """Byte-level BPE of at most `vocab_size` tokens, the end-of-text token and `special` ones among them; fewer where
        `texts` has too few pairs.

        `pattern`: a key of PATTERNS. The result depends on the texts only, not on threads or hash seeds.
        """
        from seedbed.tokens import bpe_training

        if vocab_size < BYTES_AND_END + len(special):
            raise ValueError(f"vocab_size {vocab_size}: at least {BYTES_AND_END + len(special)}")
        tokens, merges = bpe_training.train(texts, vocab_size - 1 - len(special), PATTERNS[pattern])
        return cls(hf_format.build(tokens, merges, pattern, special))

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Any tokenizer.json; one without an end-of-text token gets `<|endoftext|>`. Raises InputError."""
        document, data = read_document(path)
        try:
            if find_end_of_text(document) is None:
                return cls(add_end_of_text(document))
            return cls(document, data)
        except Exception as error:  # `tokenizers` raises bare Exception for a file it cannot use
            reason = next(iter(str(error).splitlines()), "no reason given")
            raise InputError(
                f"tokenizer {path}: the tokenizers library refuses it ({reason}): export it again"
            ) from None

    def save(self, path: Path) -> None:
        write_bytes(path, self._data)

    def special_id(self, names: Sequence[str]) -> int:
        """The id of the special token with one of these names. Raises InputError."""
        found = next((self.special[name] for name in names if name in self.special), None)
        if found is None:
            raise InputError(
                f"tokenizer.path: this tokenizer has no special token {' or '.join(names)}, which train.objective needs: "
                "add it to its added_tokens, or leave tokenizer.path out to train one that has it"
            )
        return found

    def is_ordinary(self) -> np.ndarray:
        """bool [vocab_size]: whether the id stands for text. False for special tokens and ids in gaps."""
        ordinary = np.zeros(self.vocab_size, bool)
        if self.byte_level:
            ordinary[[number for number, data in enumerate(self._bytes) if data]] = True
        else:
            ordinary[list(self._decoder.get_vocab(with_added_tokens=True).values())] = True
            ordinary[list(self.special.values())] = False
        return ordinary

    def token_texts(self) -> list[str]:
        """The text of each token as it stands in a text: a word's first token with what separates it from the one before.

        A part of a character shows as a lone surrogate.
        """
        if self.byte_level:
            return [data.decode(errors="surrogateescape") for data in self._bytes]
        texts = [""] * self.vocab_size
        for token, number in self._decoder.get_vocab(with_added_tokens=True).items():
            if self._continuing:
                token = token.removeprefix(self._continuing) if token.startswith(self._continuing) else f" {token}"
            texts[number] = token
        return texts

    def encode(self, text: str) -> np.ndarray:
        """uint32 ids of the text, without an end-of-text token."""
        try:
            return self._encoder.encode(text)
        except NOT_UNICODE:
            return self.encode_bytes(text.encode("utf-8", "surrogatepass"))

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """`encode` of each text; the fast way for many documents."""
        try:
            return self._encoder.encode_batch(texts)
        except NOT_UNICODE:
            return [self.encode(text) for text in texts]

    def encode_bytes(self, data: bytes) -> np.ndarray:
        """uint32 ids of any bytes. Stretches that are UTF-8 encode as text, the others byte by byte."""
        if not self.byte_level:
            return self.encode(data.decode(errors="replace"))
        try:
            return self._encoder.encode(data.decode())
        except UnicodeDecodeError:
            parts = ESCAPED.split(data.decode(errors="surrogateescape"))
        ids = [
            self._byte_ids[np.frombuffer(part.encode(errors="surrogateescape"), np.uint8)]
            if i % 2
            else self._encoder.encode(part)
            for i, part in enumerate(parts)
        ]
        return np.concatenate(ids).astype(np.uint32)

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The bytes behind ids. Special tokens give none; ids beyond the vocabulary (padded rows) give U+FFFD."""
        numbers = np.asarray(ids, dtype=np.int64).tolist()
        if self.byte_level:
            table, size = self._bytes, self.vocab_size
            return b"".join([table[number] if 0 <= number < size else b"\xef\xbf\xbd" for number in numbers])
        known = [number for number in numbers if 0 <= number < self.vocab_size]
        return str(self._decoder.decode(known, skip_special_tokens=True)).encode()

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text behind ids; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode(errors="replace")

    def stream_decoder(self) -> "StreamDecoder":
        return StreamDecoder(self)


class StreamDecoder:
    """Text as tokens arrive: a character comes out with its last byte. The parts joined are `decode` of all ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._ids: list[int] = []
        self._shown = 0

    def push(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text these ids complete."""
        if self._tokenizer.byte_level:
            return self._utf8.decode(self._tokenizer.decode_bytes(ids))
        self._ids += [int(number) for number in ids]
        text = self._tokenizer.decode(self._ids)
        held = len(text) - len(
            text.rstrip("\ufffd")
        )  # other kinds join tokens by context: decode all, hold an unfinished end
        return self._show(text[: len(text) - held])

    def finish(self) -> str:
        """What is left; half a character becomes U+FFFD."""
        if self._tokenizer.byte_level:
            return self._utf8.decode(b"", final=True)
        return self._show(self._tokenizer.decode(self._ids))

    def _show(self, text: str) -> str:
        new, self._shown = text[self._shown :], max(self._shown, len(text))
        return new


def read_document(path: Path) -> tuple[dict[str, Any], bytes]:
    """The parsed tokenizer.json and its bytes. Raises InputError for what is none, or is byte-level and lacks bytes."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror
        raise InputError(f"tokenizer {path}: cannot be read ({reason}): give a Hugging Face tokenizer.json") from None
    try:
        document = json.loads(data)
        vocab = document["model"]["vocab"]
        if not isinstance(vocab, (dict, list)):
            raise TypeError
        byte_level = hf_format.is_byte_level_bpe(document)
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"tokenizer {path}: not a Hugging Face tokenizer.json (no JSON object with model.vocab): "
            "export one with `save_pretrained` or `tokenizers`' `save`"
        ) from None
    missing = [byte for byte, character in enumerate(hf_format.byte_characters()) if character not in vocab]
    if byte_level and missing:
        raise InputError(
            f"tokenizer {path}: lacks {len(missing)} of the 256 byte tokens, so text would be lost: "
            "train it with the full byte alphabet (initial_alphabet=ByteLevel.alphabet())"
        )
    return document, data


def find_end_of_text(document: dict[str, Any]) -> int | None:
    """The id of the end-of-text token: a special token with one of the known names."""
    special = {
        token["content"]: int(token["id"]) for token in document.get("added_tokens") or [] if token.get("special")
    }
    return next((special[name] for name in hf_format.END_OF_TEXT_NAMES if name in special), None)


def add_end_of_text(document: dict[str, Any]) -> dict[str, Any]:
    """The document with `<|endoftext|>` as a special token, after the largest id in use."""
    vocab = document["model"]["vocab"]
    added = [token for token in document.get("added_tokens") or [] if token["content"] != hf_format.END_OF_TEXT]
    known = dict(vocab) if isinstance(vocab, dict) else {token: number for number, (token, _) in enumerate(vocab)}
    known.update({token["content"]: int(token["id"]) for token in document.get("added_tokens") or []})
    number = known.get(hf_format.END_OF_TEXT, 1 + max(known.values(), default=-1))
    return {**document, "added_tokens": [*added, hf_format.added_token(hf_format.END_OF_TEXT, number)]}
