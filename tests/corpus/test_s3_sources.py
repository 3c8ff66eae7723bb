"""Sources in an S3 bucket, on moto's stand-in for the service. Skipped where s3fs and moto are not installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbed import remote
from seedbed.corpus.sources import read_source, source_fingerprint
from seedbed.errors import InputError
from seedbed.recipe.schema import SourceConfig

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
moto_server = pytest.importorskip("moto.server", reason="moto[server] is not installed")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    values = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**values, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "READ_AHEAD_BYTES", 1000)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("crawl")
    yield "s3://crawl"
    server.stop()


def test_a_bucket_is_read_as_a_folder_is(bucket: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.jsonl").write_text("".join(f'{{"text": "line {n}"}}\n' for n in range(500)))
    (folder / "sub" / "b.txt").write_text("text of b")
    for name in ("a.jsonl", "sub/b.txt"):
        s3fs.S3FileSystem().put(str(folder / name), f"crawl/data/{name}")
    source = SourceConfig(path=f"{bucket}/data", name="s")
    here = list(read_source(SourceConfig(path=str(folder), name="s")))
    assert [(r.id, getattr(r, "text", "")) for r in read_source(source)] == [
        (r.id, getattr(r, "text", "")) for r in here
    ]
    before = source_fingerprint(source)
    s3fs.S3FileSystem().pipe_file("crawl/data/a.jsonl", b"another")
    s3fs.S3FileSystem.clear_instance_cache()
    assert source_fingerprint(source) != before
    with pytest.raises(InputError, match="no such file or folder"):
        list(read_source(SourceConfig(path=f"{bucket}/nothing")))
