"""Shards behind URLs: fetched, checked, kept within bounds. The servers are real ones on this machine; S3 was not tried."""

import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seedbed.errors import InputError, SeedbedError
from seedbed.files import sha256_file, write_json
from seedbed.recipe.schema import ShardsConfig
from seedbed.run.stages import StageContext
from seedbed.tokens import linked, remote
from seedbed.tokens.loader import DataOrder, Loader
from seedbed.tokens.prefetch import Prefetcher
from seedbed.tokens.reader import ShardReader, verify_shards
from seedbed.tokens.remote import RemoteFolder, ShardCache, shard_cache
from seedbed.tokens.shards import ShardWriter
from seedbed.tokens.tokenizer import Tokenizer

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, whole or in the range asked for; `failures` counts down requests that get a 503 instead."""

    failures = 0
    asked: list[tuple[str, str]] = []  # noqa: RUF012 (all requests of all connections)

    def do_GET(self) -> None:
        type(self).asked.append((self.path.rpartition("/")[2], self.headers.get("Range", "")))
        if type(self).failures:
            type(self).failures -= 1
            self.send_error(503)
            return
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if not match or not path.is_file():
            super().do_GET()
            return
        data, first, last = path.read_bytes(), int(match[1]), int(match[2])
        if first >= len(data):
            self.send_error(416)
            return
        part = data[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class NoRanges(http.server.SimpleHTTPRequestHandler):
    """Python's own server: it sends a file whole, whatever range was asked for."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    servers = []

    def start(folder: Path, handler: type[http.server.SimpleHTTPRequestHandler] = Ranges) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    Ranges.failures, Ranges.asked = 0, []
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def small_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An own cache, and requests so small that a shard takes several."""
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "FETCH_BYTES", 700)
    monkeypatch.setattr(remote, "FIRST_PAUSE_SECONDS", 0.0)
    shard_cache.cache_clear()


@pytest.fixture
def made(tmp_path: Path, tokenizer: Tokenizer, texts: list[str]) -> Path:
    """Shards as a run of Seedbed leaves them: real text in about ten shards of 2 kB."""
    folder = tmp_path / "made" / "corpus"
    writer = ShardWriter(folder, tokenizer.vocab_size, tokenizer.eos_id, tokenizer.sha256, 1000)
    for number, text in enumerate("\n".join(texts[:2]).split("\n\n")[:60]):
        writer.add(tokenizer.encode(text), f"test/{number}", "test", "prose", len(text.encode()))
    writer.finish()
    return folder


def make_link(out: Path, tokenizer: Tokenizer, *paths: str | Path, cache_bytes: int = 10**9) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    folders = [(f"source{n}", ShardsConfig(path=str(path))) for n, path in enumerate(paths)]
    write_json(out / "manifest.json", linked.link(folders, tokenizer, cache_bytes))
    return out


def upload(folder: Path, name: str) -> str:
    files = fsspec.filesystem("memory")
    for path in folder.iterdir():
        files.pipe_file(f"/{name}/{path.name}", path.read_bytes())
    return f"memory://{name}"


@pytest.mark.parametrize("kind", ["local", "memory", "file", "http", "http without ranges"])
def test_shards_read_alike_wherever_they_lie(
    made: Path, tmp_path: Path, tokenizer: Tokenizer, serve: Callable[..., str], kind: str
) -> None:
    urls: dict[str, Callable[[], str]] = {
        "local": lambda: str(made),
        "memory": lambda: upload(made, "alike"),
        "file": lambda: f"file://{made}",
        "http": lambda: serve(made),
        "http without ranges": lambda: serve(made, NoRanges),
    }
    folder = make_link(tmp_path / "link", tokenizer, urls[kind]())
    there, here = Loader(folder, 32, 8, seed=1, steps=20), Loader(made, 32, 8, seed=1)
    for step in range(20):
        assert np.array_equal(there.batch(step), here.batch(step))
    assert there.documents(3) == here.documents(3)
    verify_shards(folder)
    if kind == "http":
        assert ("00000.bin", "bytes=700-1399") in Ranges.asked


def test_folders_join_to_one_stream_whose_documents_keep_their_ids(
    made: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    joined = ShardReader(make_link(tmp_path / "link", tokenizer, made, upload(made, "second")))
    alone = ShardReader(made)
    assert joined.num_tokens == 2 * alone.num_tokens
    assert np.array_equal(joined.read(alone.num_tokens, joined.num_tokens), alone.read(0, alone.num_tokens))
    number = alone.num_documents + 7
    assert joined.record(number) == alone.record(7)._replace(document=number)
    assert [group.name for group in joined.groups] == ["source0", "source1"]
    counted = [(first, batch.column("id")[0].as_py()) for first, batch in joined.sidecar_batches(["id"])]
    assert counted == [(0, "test/0"), (alone.num_documents, "test/0")]


def test_a_connection_that_fails_is_tried_again_and_then_named(
    made: Path, tmp_path: Path, serve: Callable[..., str]
) -> None:
    url = serve(made)
    pauses: list[float] = []
    place = RemoteFolder(url, ShardCache(tmp_path / "c", 10**9), pauses.append)
    Ranges.failures = 3
    entry = ShardReader(made).shards[0]
    path = place.path("00000.bin", entry["sha256"], (made / "00000.bin").stat().st_size)
    assert path.read_bytes() == (made / "00000.bin").read_bytes()
    assert len(pauses) == 3
    Ranges.failures = 1000
    with pytest.raises(SeedbedError, match=r"00001\.bin cannot be fetched \(.*503.*\): check the network") as caught:
        place.path("00001.bin", "0" * 64, 1)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "gone"])
def test_a_damaged_shard_is_found_when_it_is_fetched_and_nothing_of_it_is_kept(
    made: Path, tmp_path: Path, tokenizer: Tokenizer, serve: Callable[..., str], damage: str
) -> None:
    folder = make_link(tmp_path / "link", tokenizer, serve(made))
    path = made / "00003.bin"
    data = bytearray(path.read_bytes())
    data[5] ^= 4
    changed = {"flipped": bytes(data), "cut": bytes(data[:-2]), "longer": bytes(data) + b"\0\0"}
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    shards = ShardReader(folder)
    shards.tokens[2]
    message = {"flipped": "is corrupted", "gone": "there is no 00003.bin"}.get(damage, r"bytes where the manifest says")
    with pytest.raises(SeedbedError, match=message) as caught:
        shards.tokens[3]
    assert "00003.bin" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not list((tmp_path / "cache" / "shards").glob("*.partial"))
    assert len([p for p in (tmp_path / "cache" / "shards").iterdir() if not p.suffix]) == 1


def test_a_copy_that_was_damaged_in_the_cache_is_fetched_again(
    made: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    folder = make_link(tmp_path / "link", tokenizer, upload(made, "again"))
    first = ShardReader(folder)
    expected = first.tokens[0].tolist()
    copy = tmp_path / "cache" / "shards" / first.shards[0]["sha256"]
    data = bytearray(copy.read_bytes())
    data[0] ^= 1
    copy.write_bytes(bytes(data))
    shard_cache.cache_clear()  # as in another process
    assert ShardReader(folder).tokens[0].tolist() == expected
    assert sha256_file(copy) == first.shards[0]["sha256"]


def test_the_cache_stays_within_its_bytes_and_lets_go_of_what_was_used_longest_ago(
    made: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    """Ten shards of 2 kB through 6 kB; arrays that are still in use stay readable."""
    limit = 6500
    folder = make_link(tmp_path / "link", tokenizer, upload(made, "bounded"), cache_bytes=limit)
    shards, plain = ShardReader(folder), ShardReader(made)
    held = shards.tokens[0]
    for number in range(len(shards.shards)):
        assert np.array_equal(shards.tokens[number], plain.tokens[number])
        copies = [path for path in (tmp_path / "cache" / "shards").iterdir() if not path.suffix]
        assert sum(path.stat().st_size for path in copies) <= limit
        assert shards.shards[number]["sha256"] in {path.name for path in copies}
    assert shards.shards[0]["sha256"] not in {path.name for path in copies}
    assert np.array_equal(held, plain.tokens[0])


def test_a_cache_too_small_for_what_is_read_at_a_time_is_refused_with_the_size_it_needs(
    made: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    folder = make_link(tmp_path / "link", tokenizer, upload(made, "small"), cache_bytes=9000)
    with pytest.raises(
        InputError, match=r"tokens\.cache_bytes: 9,000 bytes, and training reads .* set it to [\d,]+, or"
    ):
        Loader(folder, 32, 8, seed=1)
    loader = Loader(folder, 32, 8, seed=1, order=DataOrder(shuffle_tokens=200))
    plain = Loader(made, 32, 8, seed=1, order=DataOrder(shuffle_tokens=200))
    for step in range(30):
        assert np.array_equal(loader.batch(step), plain.batch(step))
    with pytest.raises(InputError, match="cannot hold a shard of 2,000"):
        ShardCache(tmp_path / "c", 1000).get("0" * 64, 2000, lambda: iter([b""]))


def test_ids_beyond_the_vocabulary_are_found_when_a_shard_arrives_though_its_checksum_is_right(
    made: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    manifest = json.loads((made / "manifest.json").read_text())
    tokens = np.fromfile(made / "00001.bin", "<u2")
    tokens[4] = tokenizer.vocab_size
    tokens.tofile(made / "00001.bin")
    manifest["shards"][1]["sha256"] = sha256_file(made / "00001.bin")
    (made / "manifest.json").write_text(json.dumps(manifest))
    shards = ShardReader(make_link(tmp_path / "link", tokenizer, upload(made, "liar")))
    shards.tokens[0]
    with pytest.raises(SeedbedError, match=r"00001\.bin holds ids beyond the vocabulary of 1,000"):
        shards.tokens[1]


@pytest.fixture
def check_link(
    tmp_path: Path, tokenizer: Tokenizer, make_context: Callable[..., StageContext]
) -> Callable[..., dict[str, Any]]:
    """Links and checks folders as the stage does."""
    tokenizer.save(tmp_path / "tokenizer.json")

    def go(*paths: str | Path, validation: Path) -> dict[str, Any]:
        fields = {"shards": [str(path) for path in paths], "validation": [str(validation)]}
        values = {"tokens": fields, "tokenizer": {"path": str(tmp_path / "tokenizer.json")}, "corpus": {}}
        return linked.link_shards(make_context("tokenize", {}, **values), tokenizer)

    return go


def test_linking_gives_each_split_its_counts_and_refuses_nothing_sound(
    made: Path, check_link: Callable[..., dict[str, Any]], serve: Callable[..., str]
) -> None:
    plain = ShardReader(made)
    summary = check_link(made, serve(made), upload(made, "ok"), validation=made)
    assert summary["train"]["num_tokens"] == 3 * plain.num_tokens
    assert summary["corpus"]["num_documents"] == plain.num_documents


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        *product(("local", "memory"), ("cut", "gone", "cut index", "manifest", "tokenizer", "counts", "dtype")),
        *product(("http",), ("cut", "gone", "tokenizer")),
    ],
)
def test_what_can_be_known_before_training_is_refused_when_shards_are_linked(
    made: Path,
    tmp_path: Path,
    check_link: Callable[..., dict[str, Any]],
    serve: Callable[..., str],
    kind: str,
    damage: str,
) -> None:
    sound = tmp_path / "sound"
    sound.mkdir()
    for path in made.iterdir():
        (sound / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((made / "manifest.json").read_text())
    if damage == "cut":
        (made / "00004.bin").write_bytes((made / "00004.bin").read_bytes()[:-2])
    elif damage == "cut index":
        (made / "00004.idx").write_bytes((made / "00004.idx").read_bytes()[:-8])
    elif damage == "gone":
        (made / "00004.bin").unlink()
    elif damage == "manifest":
        (made / "manifest.json").write_text("{")
    elif damage == "tokenizer":
        (made / "manifest.json").write_text(json.dumps({**manifest, "tokenizer_sha256": "ab" * 32}))
    elif damage == "counts":
        (made / "manifest.json").write_text(json.dumps({**manifest, "num_tokens": 5}))
    else:
        (made / "manifest.json").write_text(json.dumps({**manifest, "dtype": "uint32"}))
    says = {
        "cut": r"00004\.bin has [\d,]+ bytes where", "cut index": r"00004\.idx has [\d,]+ bytes where",
        "gone": r"00004\.bin is missing", "manifest": r"manifest\.json is not valid JSON",
        "tokenizer": "made by another tokenizer .* set tokenizer.path", "counts": "totals that are not the sums",
        "dtype": r"says dtype is uint32, and its tokenizer's is uint16",
    }  # fmt: skip
    urls = {"local": lambda: str(made), "memory": lambda: upload(made, damage), "http": lambda: serve(made)}
    if kind == "memory":
        fsspec.filesystem("memory").store.clear()
    with pytest.raises(SeedbedError, match=says[damage]) as caught:
        check_link(urls[kind](), validation=sound)
    assert len(str(caught.value).splitlines()) == 1
    assert "delete" not in str(caught.value)  # they are the user's


def test_a_flipped_bit_of_a_local_shard_is_found_before_training(
    made: Path, check_link: Callable[..., dict[str, Any]]
) -> None:
    data = bytearray((made / "00002.bin").read_bytes())
    data[9] ^= 1
    (made / "00002.bin").write_bytes(bytes(data))
    with pytest.raises(SeedbedError, match=r"00002\.bin is corrupted .*: copy the folder again"):
        check_link(made, validation=made)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nowhere/at/all", r"/nowhere/at/all: there is no manifest\.json"),
        ("memory://nothing", r"memory://nothing: there is no manifest\.json"),
        ("nosuch://x/y", r"nosuch://x/y: Protocol not known"),
        ("s3://bucket/folder", r"s3://bucket/folder: .*s3fs"),
    ],
)
def test_paths_that_lead_nowhere_are_refused(
    made: Path, check_link: Callable[..., dict[str, Any]], path: str, message: str
) -> None:
    if path.startswith("s3:"):
        try:
            import s3fs  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("s3fs is installed")
    with pytest.raises(InputError, match=message):
        check_link(path, validation=made)


def test_what_the_next_step_reads_is_fetched_before_it_asks(made: Path) -> None:
    """At each step, without being asked for the next; never a shard that no step reads, nor more than the room at a time."""
    loader = Loader(made, 32, 4, seed=1, order=DataOrder(shuffle_tokens=2000), steps=60)
    needed = [loader._shards_of(step, 0, 4) for step in range(60)]
    fetched: set[int] = set()
    arrived = threading.Condition()

    def fetch(shard: int) -> None:
        with arrived:
            fetched.add(shard)
            arrived.notify_all()

    said: list[str] = []
    ahead = Prefetcher(loader._shards_of, fetch, lambda shard: 2000, room=6 * 2000, tell=said.append)
    for step in range(59):
        ahead.at(step, 0, 4)
        with arrived:
            assert arrived.wait_for(lambda step=step: needed[step + 1] <= fetched, timeout=60)
            # the room, and the step with which it was passed
            assert len(fetched - set().union(*needed[: step + 1])) <= 6 + 5
    assert fetched <= set().union(*needed)
    assert loader._shards_of(60, 0, 4) == set()  # training ends
    assert not said


def test_a_prefetcher_that_gives_up_says_so_once(made: Path) -> None:
    said: list[str] = []
    told = threading.Event()

    def tell(message: str) -> None:
        said.append(message)
        told.set()

    def shards_of(step: int, start: int, stop: int) -> set[int]:
        if step == 3:
            raise OSError("the list of pieces is gone")
        return {step}

    ahead = Prefetcher(shards_of, lambda shard: None, lambda shard: 1, room=100, tell=tell)
    ahead.at(0, 0, 4)
    assert told.wait(timeout=60)
    ahead.at(1, 0, 4)
    assert said == [
        "shards are no longer fetched ahead of step 3 (OSError: the list of pieces is gone): training waits for each"
    ]
