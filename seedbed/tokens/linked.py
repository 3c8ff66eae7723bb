"""Shards that exist already: the stage `tokenize` links them and checks them, and makes none.

A split's folder gets a manifest that names the places and carries every shard's entry; the shards stay where they are.
Local ones are read once, whole, against their checksums (`tokens.check`); of those behind a URL the sizes are compared, and
each is checked when it is fetched.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seedbed.errors import InputError, SeedbedError
from seedbed.files import read_json, sha256_file, write_json
from seedbed.recipe.schema import Recipe, ShardsConfig
from seedbed.run.stages import StageContext
from seedbed.tokens.places import Place, is_remote, open_place
from seedbed.tokens.reader import ShardReader, expected_sizes, verify_shard, verify_sidecar
from seedbed.tokens.remote import RemoteFolder
from seedbed.tokens.shards import DTYPES, EOS_RULE, FORMAT, MANIFEST_FILE, check_manifest, token_dtype
from seedbed.tokens.tokenizer import Tokenizer

TRAIN = "train"
COUNTS = ("num_tokens", "num_documents", "num_bytes")


def links_key(recipe: Recipe) -> Any:
    """What a stage's key holds of linked shards: paths, and of local ones the content of the manifest."""
    tokens = recipe.tokens
    return [
        [entry.name, entry.path, None if is_remote(entry.path) else manifest_digest(Path(entry.path))]
        for entry in (*tokens.shards, *tokens.validation)
    ]


def manifest_digest(folder: Path) -> str | None:
    path = folder / MANIFEST_FILE
    return sha256_file(path) if path.is_file() else None


def link_shards(context: StageContext, tokenizer: Tokenizer) -> dict[str, Any]:
    """Link the recipe's folders, training ones as one split and each validation one as its own; gives the stage's summary."""
    tokens = context.recipe.tokens
    splits = {TRAIN: list(zip(unique_names(tokens.shards), tokens.shards, strict=True))}
    for name, entry in zip(unique_names(tokens.validation, taken=(TRAIN,)), tokens.validation, strict=True):
        splits[name] = [(name, entry)]
    summary = {}
    for split, folders in splits.items():
        folder = context.path / split
        folder.mkdir()
        manifest = link(folders, tokenizer, tokens.cache_bytes)
        write_json(folder / MANIFEST_FILE, manifest)
        check(context, folder)
        counts = {field: manifest[field] for field in COUNTS}
        rate = round(manifest["num_bytes"] / max(1, manifest["num_tokens"]), 4)
        summary[split] = {"folder": split, **counts, "bytes_per_token": rate}
    return summary


def unique_names(entries: Sequence[ShardsConfig], taken: Sequence[str] = ()) -> list[str]:
    """A name for each folder: its own, or the last part of its path, with a number where that is taken."""
    counts = Counter(taken)
    names = []
    for entry in entries:
        base = entry.name or entry.path.rstrip("/\\").replace("\\", "/").rpartition("/")[2] or "shards"
        name = base
        while counts[name]:
            counts[base] += 1
            name = f"{base}-{counts[base]}"
        counts[name] += 1
        names.append(name)
    return names


def link(folders: Sequence[tuple[str, ShardsConfig]], tokenizer: Tokenizer, cache_bytes: int) -> dict[str, Any]:
    """One manifest over several folders of shards. Raises InputError for what this tokenizer did not make."""
    shards: list[dict[str, Any]] = []
    places: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    totals = dict.fromkeys(COUNTS, 0)
    for number, (name, entry) in enumerate(folders):
        manifest = read_linked(open_place(entry.path, cache_bytes), tokenizer, entry.path)
        shards += [{**shard, "folder": number} for shard in manifest["shards"]]
        places.append({"name": name, "path": entry.path, "documents_sha256": manifest["documents_sha256"]})
        own = manifest.get("groups", [])
        groups += [{**group, "name": f"{name}/{group['name']}"} for group in own] or [
            {"name": name, **{field: manifest[field] for field in ("num_tokens", "num_documents")}}
        ]
        totals = {field: totals[field] + manifest[field] for field in COUNTS}
    return {
        "format": FORMAT,
        "dtype": token_dtype(tokenizer.vocab_size).name,
        "vocab_size": tokenizer.vocab_size,
        "eos_id": tokenizer.eos_id,
        "eos_rule": EOS_RULE,
        "tokenizer_sha256": tokenizer.sha256,
        **totals,
        "cache_bytes": cache_bytes,
        "folders": places,
        "groups": groups,
        "shards": shards,
    }


def read_linked(place: Place, tokenizer: Tokenizer, path: str) -> dict[str, Any]:
    """The manifest of a user's folder, made by this very tokenizer."""
    try:
        found = json.loads(place.read(MANIFEST_FILE))
    except ValueError:
        raise place.damaged(MANIFEST_FILE, "is not valid JSON") from None
    manifest = check_manifest(found, lambda what: place.damaged(MANIFEST_FILE, what))
    if "folders" in manifest:
        raise InputError(f"{path}: its manifest links other folders: give those")
    if not isinstance(manifest.get("documents_sha256"), str):
        raise place.damaged(MANIFEST_FILE, "lacks fields (documents_sha256)")
    if manifest["tokenizer_sha256"] != tokenizer.sha256:
        raise InputError(
            f"{path}: these shards were made by another tokenizer ({manifest['tokenizer_sha256'][:12]}, and "
            f"tokenizer.path is {tokenizer.sha256[:12]}): set tokenizer.path to the tokenizer.json they were made with"
        )
    ours = {
        "vocab_size": tokenizer.vocab_size,
        "eos_id": tokenizer.eos_id,
        "dtype": token_dtype(tokenizer.vocab_size).name,
    }
    for field, value in ours.items():
        if manifest[field] != value:
            raise place.damaged(MANIFEST_FILE, f"says {field} is {manifest[field]}, and its tokenizer's is {value}")
    return manifest


def check(context: StageContext, folder: Path) -> None:
    """Check what can be checked before training; raises SeedbedError with the first file that is not as written."""
    reader = ShardReader(folder)  # compares the sizes of local files
    whole = context.recipe.tokens.check == "content"
    width, done = DTYPES[reader.manifest["dtype"]].itemsize, 0
    total = width * sum(s["num_tokens"] for n, s in enumerate(reader.shards) if not reader.place_of(n).fetched)
    for number, place in enumerate(reader.places):
        own = [n for n, shard in enumerate(reader.shards) if shard["folder"] == number]
        if isinstance(place, RemoteFolder):
            check_remote(place, reader, own)
        elif whole:
            for shard in own:
                context.progress(done, total, "bytes")
                verify_shard(reader, shard)
                done += width * reader.shards[shard]["num_tokens"]
            verify_sidecar(place, reader.manifest["folders"][number]["documents_sha256"])


def check_remote(place: RemoteFolder, reader: ShardReader, shards: Sequence[int]) -> None:
    expected = dict(pair for shard in shards for pair in expected_sizes(reader.shards[shard], reader.dtype.itemsize))
    try:
        found = place.listed_sizes(list(expected))
    except SeedbedError:
        raise
    except Exception as error:  # each file system has its own errors
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise SeedbedError(f"{place.url} cannot be listed ({reason}): check the network and your credentials") from None
    for name, size in expected.items():
        if found[name] is None:
            raise place.damaged(name, "is missing")
        if found[name] != size:
            raise place.damaged(name, f"has {found[name]:,} bytes where the manifest says {size:,}")


def is_linked(folder: Path) -> bool:
    """Whether the shards of a split lie elsewhere."""
    return "folders" in read_json(folder / MANIFEST_FILE)
