"""Hugging Face's tokenizer.json: how a byte-level BPE is written down, and what can be read out of one.

{"version": "1.0", "added_tokens": [special tokens], "normalizer": null,
 "pre_tokenizer": split pattern, then bytes -> printable characters,
 "decoder": the way back, "model": {"type": "BPE", "vocab": {token: id}, "merges": [[left, right], ...]}}
"""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from seedbed.tokens.patterns import PATTERNS, byte_level, pre_tokenizer

END_OF_TEXT = "<|endoftext|>"
# Names under which published tokenizers keep their end-of-text token, in order of preference.
END_OF_TEXT_NAMES = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]", "<｜end▁of▁sentence｜>")


@cache
def byte_characters() -> tuple[str, ...]:
    """The printable character that stands for each byte (`bytes_to_unicode` of openai/gpt-2 encoder.py)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    characters, shift = [], 0
    for byte in range(256):
        if byte in printable:
            characters.append(chr(byte))
        else:
            characters.append(chr(256 + shift))
            shift += 1
    return tuple(characters)


@cache
def character_bytes() -> dict[str, int]:
    return {character: byte for byte, character in enumerate(byte_characters())}


def written(token: bytes) -> str:
    """A token's bytes as tokenizer.json writes them."""
    characters = byte_characters()
    return "".join(characters[byte] for byte in token)


def build(
    tokens: list[bytes], merges: list[tuple[bytes, bytes]], pattern: str, special: Sequence[str] = ()
) -> dict[str, Any]:
    """tokenizer.json for `tokens` (id = position) with `merges` in order of rank; then end-of-text and `special` tokens."""
    names = (END_OF_TEXT, *special)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(name, number) for number, name in enumerate(names, len(tokens))],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer(pattern),
        "post_processor": None,
        "decoder": byte_level(use_regex=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {written(token): number for number, token in enumerate(tokens)},
            "merges": [[written(left), written(right)] for left, right in merges],
        },
    }


def added_token(content: str, number: int) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": number, "content": content, **flags}


def dump(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def is_byte_level_bpe(document: dict[str, Any]) -> bool:
    steps = parts(document.get("pre_tokenizer"), "pretokenizers")
    return (
        document["model"].get("type", "BPE") == "BPE"
        and isinstance(document["model"].get("merges"), list)
        and any(step.get("type") == "ByteLevel" for step in steps)
        and any(step.get("type") == "ByteLevel" for step in parts(document.get("decoder"), "decoders"))
    )


def keeps_every_byte(document: dict[str, Any]) -> bool:
    """Whether a byte-level BPE changes nothing before it encodes: no normaliser, no added space, no part removed."""
    steps = parts(document.get("pre_tokenizer"), "pretokenizers")
    return (
        document.get("normalizer") is None
        and not any(step.get("add_prefix_space") for step in steps)
        and not any(step.get("behavior", "Isolated") == "Removed" for step in steps)
        and all(step["type"] in ("ByteLevel", "Split", "Digits", "Punctuation") for step in steps)
    )


def is_standard(document: dict[str, Any]) -> bool:
    """Whether the file is of the form `build` writes: the form in which gigatoken is tested against `tokenizers`."""
    model = document["model"]
    plain = (
        "dropout",
        "unk_token",
        "continuing_subword_prefix",
        "end_of_word_suffix",
        "byte_fallback",
        "ignore_merges",
    )
    return (
        document.get("normalizer") is None
        and all(token.get("special") for token in document.get("added_tokens") or [])
        and document.get("pre_tokenizer") in [pre_tokenizer(name) for name in PATTERNS]
        and not any(model.get(field) for field in plain)
    )


def parts(entry: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """The steps of a pre-tokenizer or decoder, whether or not they are wrapped in a Sequence."""
    if entry is None:
        return []
    return [step for part in entry[key] for step in parts(part, key)] if entry.get("type") == "Sequence" else [entry]


def token_bytes(document: dict[str, Any]) -> list[bytes]:
    """id -> the bytes the token stands for. Special tokens and ids in gaps stand for none."""
    added = {int(token["id"]): token for token in document.get("added_tokens") or []}
    vocab: dict[str, int] = document["model"]["vocab"]
    table = [b""] * (1 + max([*vocab.values(), *added], default=-1))
    to_byte = character_bytes()
    for text, number in vocab.items():
        try:
            table[number] = bytes([to_byte[character] for character in text])
        except KeyError:
            table[number] = text.encode()
    for number, token in added.items():
        table[number] = b"" if token.get("special") else token["content"].encode()
    return table


def without_special_tokens(document: dict[str, Any]) -> dict[str, Any]:
    """The same tokenizer for documents: text that spells a special token is plain text."""
    kept = [token for token in document.get("added_tokens") or [] if not token.get("special")]
    return {**document, "added_tokens": kept, "post_processor": None}
