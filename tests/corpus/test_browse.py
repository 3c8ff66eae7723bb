"""The local page: whole answers in pages, thresholds that decide as curation does, and hostile text that stays text."""

import http.client
import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.corpus.browse.pages import mark, marked_text
from seedbed.corpus.browse.server import Server
from seedbed.corpus.chain import apply_spans
from seedbed.corpus.redecide import Redecider
from seedbed.corpus.rules.group import Span
from seedbed.errors import InputError

CHROMIUM = next((name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)), None)
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u202eevil\u202c"
)
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of some 60 documents: kept, too short, equal, similar, hostile, unreadable."""
    from seedbed.corpus.collect import COLLECT
    from seedbed.corpus.compare import COMPARE
    from seedbed.corpus.curate import CURATE
    from seedbed.corpus.score import SCORE
    from seedbed.recipe.schema import Recipe
    from seedbed.run.events import EventLog
    from seedbed.run.folder import RunFolder
    from seedbed.run.stages import run_stage

    base = tmp_path_factory.mktemp("browse")
    draw = random.Random(2)
    rows = []
    for number in range(40):
        words = ["".join(draw.choices("abcdefgh", k=5)) for _ in range(10 + 5 * number)]
        text = "\n".join(" ".join(words[at : at + 10]) + "." for at in range(0, len(words), 10))
        rows.append(
            {"text": text, "url": f"https://site{number % 3}.org/{number}", "title": f"Page {number} {HOSTILE}"}
        )
    rows += [{**rows[39], "text": rows[39]["text"]}, {**rows[38], "text": rows[38]["text"] + "\nOne more line."}]
    other = "\n".join(
        "The lantern of " + " ".join(draw.choices(["river", "stone", "quiet", "harbour"], k=7)) for _ in range(20)
    )
    rows.append({"text": f"{HOSTILE}\n{other}\nWrite to a.person@harbourmaster.org.", "title": HOSTILE})
    (base / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    recipe = Recipe.model_validate(
        {
            "name": "test",
            "corpus": {"sources": [str(base / "web.jsonl")]},
            "curate": {"steps": ["basic", "scrub"], "dedup": {"near": True}},
            "train": {"steps": 1},
        }
    )
    folder = RunFolder.for_recipe(base / "run", recipe)
    folder.write_recipe(recipe)
    outputs: dict[str, Any] = {}
    for stage in (COLLECT, SCORE, COMPARE, CURATE):
        outputs[stage.name] = run_stage(stage, folder, recipe, outputs, EventLog(None), lambda: None, {})
    folder.write_index({name: output.path.name for name, output in outputs.items()})
    return folder.path


@pytest.fixture(scope="module")
def server(finished: Path) -> Iterator[Server]:
    with Server(finished, 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def get(server: Server, path: str, host: str = "") -> tuple[int, Any, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request("GET", path, headers={"Host": host} if host else {})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, json.loads(data) if "json" in response.headers["Content-Type"] else data, response


@pytest.fixture
def ask(server: Server) -> Ask:
    def question(path: str, status: int = 200, **parameters: Any) -> Any:
        parameters = {name.rstrip("_"): value for name, value in parameters.items()}
        got, value, _ = get(server, f"/api/{path}?{urlencode(parameters, doseq=True)}")
        assert got == status, value
        return value

    return question


def test_pages_follow_each_other_until_every_record_was_shown_once(ask: Ask) -> None:
    for filters in ({}, {"verdict": "kept"}, {"rule": "basic.min_characters"}, {"find": "SITE1.org", "in_": "url"}):
        whole = ask("documents", limit=500, **filters)
        assert whole["finished"] and whole["rows"]
        seen, cursor = [], ""
        while cursor is not None:
            answer = ask("documents", limit=7, cursor=cursor, **filters)
            assert len(answer["rows"]) <= 7
            seen += answer["rows"]
            cursor = answer["next"]
        assert seen == whole["rows"]
    assert len(ask("documents", limit=500)["rows"]) == ask("run")["documents"] == 44


def test_filters_keep_what_they_say(ask: Ask) -> None:
    rows = ask("documents", verdict="removed", limit=500)["rows"]
    assert {row["verdict"] for row in rows} == {"removed"}
    rows = ask("documents", score="score.basic.words", low=30, high=60, limit=500)["rows"]
    assert rows and all(30 <= row["score"] <= 60 for row in rows)
    assert [row["id"] for row in ask("documents", find="harbourmaster", in_="text")["rows"]] == ["web#43"]
    assert ask("documents", find="harbourmaster", in_="id")["rows"] == []
    assert [row["verdict"] for row in ask("documents", verdict="quarantined")["rows"]] == ["quarantined"]


def test_a_threshold_decides_as_curation_would(ask: Ask, finished: Path) -> None:
    set_ = "basic.min_words=100"
    expected = Redecider.of(finished).ask([set_])
    answer = ask("redecide", set_=set_)
    assert answer["kept"] == list(expected.verdicts()["kept"]) and answer["lost"] == len(expected.lost()) > 0
    assert ask("redecide")["lost"] == 0
    assert "no threshold" in ask("redecide", 400, set_="words=white-space")["error"]


def test_the_nearest_stand_on_the_right_side_of_a_moved_threshold(ask: Ask) -> None:
    near = ask("near", rule="basic.min_words", n=4, set_="basic.min_words=100")
    kept, removed = ([row["score"] for row in near[side]] for side in ("kept", "removed"))
    assert len(kept) == len(removed) == 4
    assert kept == sorted(kept) and kept[0] >= 100
    assert removed == sorted(removed, reverse=True) and 90 <= removed[0] < 100
    counts = ask("histogram", rule="basic.min_words")
    assert sum(map(sum, counts["counts"])) == 43 and counts["edges"] == sorted(counts["edges"])


def test_clusters_have_their_members_with_similarity_and_differences(ask: Ask) -> None:
    found = ask("clusters")
    assert found["merged"] == 2 and [row["documents"] for row in found["rows"]] == [2, 2]
    near = ask("cluster", id="web#42")
    [member] = near["members"]
    assert member["id"] == "web#39" and 0.9 < member["similarity"] < 1
    compared = ask("compare", at=member["at"], with_=near["kept"]["at"])
    assert compared["changes"] == [{"kept": "One more line.", "here": ""}]


def test_a_document_is_explained_with_its_text_in_pieces(ask: Ask) -> None:
    found = ask("document", id="web#43")
    text = "".join(piece["text"] for piece in found["text"])
    assert "a.person@harbourmaster.org" in text and "<script>" in text and "\u202e" not in text
    [edit] = [piece for piece in found["text"] if piece["became"]]
    assert edit["text"] == "a.person@harbourmaster.org" and edit["marks"][0].startswith("scrub: ")
    assert any(row["rule"] == "basic.min_words" for row in found["scores"])
    assert ask("document", at="-1:0")["verdict"] == "quarantined"


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12), st.sampled_from([None, "", "<X>"])), max_size=6),
    st.data(),
)
def test_pieces_hold_the_whole_text_and_become_the_edited_one(cuts: list[Any], data: Any) -> None:
    text = "".join(chr(97 + at % 26) for at in range(40))
    texts, present = [], text
    for _ in range(data.draw(st.integers(1, 3))):
        spans, at = [], 0
        for start, length, replacement in sorted(cuts, key=lambda cut: cut[0]):
            if start >= at and start + length <= len(present) and length:
                spans.append(Span(start, start + length, "kind", replacement))
                at = start + length
        texts.append(("step", present, spans))
        present = apply_spans(present, spans)
    pieces = marked_text([*texts, ("", present, [])], 0, [], "")
    assert "".join(piece["text"] for piece in pieces) == text
    if len(texts) == 1:
        assert "".join(p["text"] if p["became"] is None else p["became"] for p in pieces) == present


def test_a_mark_within_a_mark_keeps_both() -> None:
    pieces: list[dict[str, Any]] = [{"text": "abcdef", "marks": [], "became": None}]
    mark(pieces, Span(1, 5, "x"), "outer")
    mark(pieces, Span(2, 3, "x"), "inner")
    assert [(p["text"], p["marks"]) for p in pieces] == [
        ("a", []), ("b", ["outer"]), ("c", ["outer", "inner"]), ("de", ["outer"]), ("f", [])
    ]  # fmt: skip


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    path=st.sampled_from(["documents", "document", "near", "redecide", "cluster", "clusters", "compare", "histogram"]),
    parameters=st.dictionaries(
        st.sampled_from(
            ["at", "with", "id", "cursor", "rule", "set", "score", "low", "n", "limit", "start", "in", "find"]
        ),
        st.one_of(
            st.text(max_size=12), st.sampled_from(["0:0", "-1:0", "9:9", "0.0.0", "0.9.9", "basic.min_words=5", "1e9"])
        ),
        max_size=4,
    ),
)
def test_no_question_breaks_the_server(server: Server, path: str, parameters: dict[str, str]) -> None:
    query = urlencode({name: value.encode("utf-8", "surrogatepass") for name, value in parameters.items()})
    status, value, _ = get(server, f"/api/{path}?{query}")
    assert status == 200 or (status == 400 and value["error"]), value


def test_only_this_machine_is_answered_and_nothing_is_written(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert get(server, "/api/run", host="evil.example")[0] == 403
    assert get(server, "/../../etc/passwd")[0] == 404
    status, _, response = get(server, "/")
    assert status == 200 and "default-src 'none'" in response.headers["Content-Security-Policy"]
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request("POST", "/api/run")
    assert connection.getresponse().status == 501
    with pytest.raises(InputError, match="--port"):
        Server(server.pages.run, server.server_port)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("documents?find=web", ["web#43", "44 documents"]),
        ("document?id=web%2343", ["&lt;img src=x", "a.person@harbourmaster.org", "basic.min_words"]),
        ("thresholds?rule=basic.min_words", ["of 43 kept", "Nearest that it lets pass", "<rect"]),
        ("duplicates?id=web%2342", ["web#39", "similarity 0."]),
    ],
)
def test_a_browser_shows_every_view_and_runs_nothing_of_the_corpus(
    server: Server, tmp_path: Path, view: str, expected: list[str]
) -> None:
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --virtual-time-budget=8000"
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run([*command, f"{server.url}#{view}"], capture_output=True, text=True, timeout=120)
    assert "<title>Seedbed · browse</title>" in done.stdout and "<img" not in done.stdout
    for text in expected:
        assert text in done.stdout, done.stdout[-3000:]
