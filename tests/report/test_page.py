"""The page is whole, safe whatever the corpus says, and readable in a real browser."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from seedbed.report.html import esc
from seedbed.report.page import scores_as_bars
from seedbed.run.folder import RunFolder
from seedbed.run.receipt import write_report

MakeRun = Callable[..., RunFolder]
CHROMIUM = next((name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)), None)
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Outline(HTMLParser):
    """Text outside scripts and styles, ids, outside references, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.counts: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href"):
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)


def outline(folder: RunFolder) -> Outline:
    write_report(folder)
    parsed = Outline()
    parsed.feed(folder.report_path.read_text(encoding="utf-8"))
    parsed.close()
    assert parsed.open == []
    return parsed


def test_a_finished_run_shows_every_part(make_run: MakeRun) -> None:
    page = outline(make_run(resumed=True))
    text = " ".join(page.text)
    for part in (
        "1.79 bits",
        "10,2",
        "public domain",
        "PSF-2.0",
        "exact_dedup",
        "4,096 tokens",
        "byte n-gram",
        "2.93",
        "float32, compiled",
    ):
        assert part in text
    for part in (
        "at step 600",
        "Test CPU",
        "training continued from step 250",
        "25% copied",
        "transformer alone",
        "seedbed run recipe.toml --out again",
    ):
        assert part in text
    sections = ["data", "tokens", "training", "evaluation", "samples", "receipt", "again"]
    assert [name for name in page.ids if name in sections] == sections
    assert {"loss", "validation", "throughput", "mfu", "rate"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_a_mixture_shows_what_was_read_of_each_source(make_run: MakeRun) -> None:
    folder = make_run(until="train")
    assert "What training read" not in " ".join(outline(folder).text)
    path = folder.stage_path("train") / "stage.json"
    record = json.loads(path.read_text())
    source = {
        "name": "kjv<b>",
        "rows": 6,
        "tokens": 600,
        "unique_tokens": 200,
        "epochs": 3.0,
        "effective_tokens": 577.9,
    }
    other = {"name": "code", "rows": 2, "tokens": 200, "unique_tokens": 900, "epochs": 0.22, "effective_tokens": 200.0}
    record["summary"] |= {"epochs": 1.25, "sources": [source, other]}
    path.write_text(json.dumps(record))
    text = " ".join(outline(folder).text)
    assert "What training read" in text and "kjv<b> 75.0% 600 200 3.00 578 code 25.0% 200 900 0.22 200" in text
    assert "600 steps, 1.2 epochs" in text


def test_it_reaches_for_nothing_outside_itself(make_run: MakeRun) -> None:
    folder = make_run()
    page = outline(folder)
    assert page.links and all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    style = re.search(r"<style>(.*?)</style>", folder.report_path.read_text(encoding="utf-8"), re.S)
    assert style is not None and "url(" not in style[1] and "@import" not in style[1]


def test_hostile_text_stays_text(make_run: MakeRun) -> None:
    page = outline(make_run())
    assert page.counts["script"] == 3  # the figures, Plotly and the page's own: none of the corpus's
    assert "</script><script>document.title='owned'</script>" in "".join(page.text)
    assert "\u202e" not in "".join(page.text)


@pytest.mark.parametrize("until", ["collect", "curate", "tokenizer", "tokenize", "measure", "train"])
def test_an_unfinished_run_shows_what_there_is(make_run: MakeRun, until: str) -> None:
    page = outline(make_run(until=until))
    assert "This run is not finished" in " ".join(page.text)
    assert ("loss" in page.ids) == (until == "train")
    assert ("data" in page.ids) == (until != "collect")
    assert "evaluation" not in page.ids and "receipt" in page.ids


def test_a_training_under_way_is_drawn_from_the_events(make_run: MakeRun) -> None:
    folder = make_run(until="train")
    stages = folder.index()
    shutil.rmtree(folder.stages_path / stages["train"])
    page = outline(folder)
    assert {"loss", "validation"} <= set(page.ids)
    assert "in the making" in " ".join(page.text)


def test_the_same_folder_gives_the_same_page(make_run: MakeRun) -> None:
    folder = make_run()
    pages = []
    for _ in range(2):
        write_report(folder)
        pages.append(folder.report_path.read_bytes())
    assert pages[0] == pages[1]


def test_escaping() -> None:
    assert (
        esc("<b a='1'>&\x00\ud800")
        == "&lt;b a=&#x27;1&#x27;&gt;&amp;\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    )


PROBE = """<!doctype html><meta charset=utf-8><body>
<iframe src="report.html" width="{width}" height="900"></iframe>
<pre id=out></pre>
<script>onload = () => setTimeout(() => {{
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  const found = {{ scroll: root.scrollWidth, width: root.clientWidth, title: page.title,
    charts: [...page.querySelectorAll(".chart:not(#waterfall)")]
      .map((c) => c.querySelectorAll(".scatterlayer .js-line").length) }};
  found.bars = page.querySelectorAll("#waterfall .bars .point").length;
  page.querySelector('button[data-measure="tokens"]').click();
  page.querySelector('button[data-unit="seconds"]').click();
  setTimeout(() => {{
    found.measured = page.querySelector("#waterfall .xtitle").textContent;
    found.axis = page.querySelector("#loss .xtitle").textContent;
    found.ticks = page.querySelector("#loss .xtick text").textContent;
    document.getElementById("out").textContent = JSON.stringify(found);
  }}, 500);
}}, 1500)</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("width", [1440, 390])
def test_a_browser_draws_it_without_sideways_scrolling(make_run: MakeRun, tmp_path: Path, width: int) -> None:
    folder = make_run()
    write_report(folder)
    (folder.path / "probe.html").write_text(PROBE.format(width=width), encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --allow-file-access-from-files --virtual-time-budget=20000"
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    url = (folder.path / "probe.html").as_uri()
    done = subprocess.run([*command, url], capture_output=True, text=True, timeout=120)
    found = re.search(r"<pre id=\"out\">(.+?)</pre>", done.stdout)
    assert found is not None, done.stderr[-2000:]
    seen = json.loads(found[1])
    assert seen["scroll"] <= seen["width"] and seen["width"] > width - 40
    assert seen["charts"] == [2, 3, 1, 1, 1]
    assert seen["bars"] == 7 and seen["measured"] == "tokens"
    assert seen["title"] == "first-light · Seedbed"
    assert seen["axis"] == "training time" and seen["ticks"] == "0 s"


def test_a_bar_is_no_longer_than_its_track_and_the_best_comes_first() -> None:
    page = scores_as_bars({"this model": 7.72, "token frequencies": 4.95})
    assert re.findall(r"width:([\d.]+)%", page) == ["64.12", "100.00"]
    assert page.index("token frequencies") < page.index("this model")
