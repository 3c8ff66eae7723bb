"""The page's sections on data, tokens, evaluation and samples. Each is "" where its stage is missing."""

from typing import Any

from seedbed.corpus.yields import totals
from seedbed.quantities import byte_size, counted
from seedbed.report.contamination import contamination_part
from seedbed.report.curation import curation_parts
from seedbed.report.encoder import encoder_evaluation, filled
from seedbed.report.gather import RunData
from seedbed.report.html import esc, section, table
from seedbed.run.events import SCORES, scores_of

NUM_REFUSALS = 5
PREDICTORS = {
    "model": "this model",
    "transformer": "transformer alone",
    "ngram": "byte n-gram",
    "xz": "xz",
    "gzip": "gzip",
}


def data_section(data: RunData) -> tuple[dict[str, Any], str]:
    """(figures by the id of their place, the section)."""
    if data.yields is None:
        return {}, ""
    read, kept = data.yields.read, data.yields.kept
    lead = (
        f"{counted(read.documents)} documents were read and {counted(kept.documents)} kept: "
        f"{byte_size(kept.bytes)} of {byte_size(read.bytes)}. "
        "Every document has a row in the decision table with all its scores; "
        "<code>seedbed why RUN DOCUMENT</code> explains any of them."
    )
    figures, parts = curation_parts(data.yields)
    parts += contamination_part(data.contamination)
    body = section("data", "Data", lead, parts, source_table(data), refusal_table(data), example_list(data))
    return figures, body


def entries(data: RunData) -> list[dict[str, Any]]:
    assert data.yields is not None
    return data.yields.entries


def rules(data: RunData) -> list[tuple[tuple[str, str], tuple[int, int]]]:
    """((verdict, rule), (documents, bytes_in)) of every refusal, largest first."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for entry in entries(data):
        if entry["verdict"] != "kept":
            name = entry["verdict"], entry["rule"]
            documents, size = sums.get(name, (0, 0))
            sums[name] = documents + entry["documents"], size + entry["bytes_in"]
    return sorted(sums.items(), key=lambda item: (-item[1][1], item[0]))


def source_table(data: RunData) -> str:
    collected = data.summary("collect").get("sources", {})
    rows = []
    for source in [*dict.fromkeys(entry["source"] for entry in entries(data)), ""]:
        read, bytes_read, _ = totals(entries(data), "", source)
        kept, bytes_kept, _ = totals(entries(data), "kept", source)
        licence = collected.get(source, {}).get("licence", "")
        share = f"{bytes_kept / bytes_read:.1%}" if bytes_read else "–"
        counts = [counted(read), counted(kept), byte_size(bytes_read), byte_size(bytes_kept)]
        rows.append([esc(source or "all"), esc(licence), *counts, share])
    header = ["source", "licence", "documents read", "of them kept", "bytes read", "of them kept", "share of bytes"]
    return "<h3>Where the text comes from</h3>" + table(header, rows, numeric=5, total=True)


def refusal_table(data: RunData) -> str:
    rows = []
    for name, (documents, size) in rules(data):
        example = data.examples.refused.get(name, {})
        rows.append(
            [esc(name[1] or name[0]), name[0], esc(example.get("reason", "")), counted(documents), byte_size(size)]
        )
    if not rows:
        return "<h3>What was refused</h3><p>Nothing.</p>"
    return "<h3>What was refused, and why</h3>" + table(
        ["rule", "verdict", "for example", "documents", "bytes"], rows, numeric=2
    )


def example_list(data: RunData) -> str:
    refused = [data.examples.refused[name] for name, _ in rules(data) if name in data.examples.refused]
    parts = [document(row, "refused") for row in refused if row.get("excerpt")][:NUM_REFUSALS]
    shown = "<h3>Examples of refused documents</h3>" + "".join(parts) if parts else ""
    kept = "".join(document(row, "kept") for row in data.examples.kept if row.get("excerpt"))
    return shown + (f"<h3>Examples of kept documents</h3>{kept}" if kept else "")


def document(row: dict[str, Any], kind: str) -> str:
    why = f": {esc(row['reason'])}" if kind == "refused" else f" · {esc(row['domain'])}"
    who = f'<div class="who"><b>{esc(row["id"])}</b>{why}</div>'
    return f'<div class="doc {kind}">{who}<div class="text">{esc(row["excerpt"])}</div></div>'


def tokens_section(data: RunData) -> str:
    if not data.splits:
        return ""
    summary = data.summary("tokenizer")
    origin = (
        "imported"
        if summary.get("imported")
        else f"trained on {byte_size(summary.get('trained_on_bytes', 0))} of the kept text"
    )
    lead = f"A byte-level BPE of {counted(summary.get('vocab_size', 0))} tokens, {origin}."
    rows = []
    for name, split in sorted(data.splits.items(), key=lambda item: -item[1]["num_tokens"]):
        each = f"{split['num_bytes'] / split['num_tokens']:.2f}" if split["num_tokens"] else "–"
        counts = [counted(split["num_documents"]), counted(split["num_tokens"]), byte_size(split["num_bytes"])]
        rows.append([esc(name), *counts, each])
    return section(
        "tokens", "Tokens", lead, table(["split", "documents", "tokens", "bytes", "bytes a token"], rows, numeric=4)
    )


def evaluation_section(data: RunData) -> str:
    if not data.evaluation:
        return ""
    if "bits_per_masked_token" in data.evaluation:
        return encoder_evaluation(data.evaluation)
    scores = data.evaluation["bits_per_byte"]
    lead = (
        "Bits needed for a byte of text the model never trained on, beside general compressors and a byte n-gram model "
        "on the same text; lower is better."
    )
    context, slide = data.evaluation.get("context"), data.evaluation.get("slide")
    if context and slide:
        lead += f" Each token saw up to {counted(context)} tokens before it; the window slid by {counted(slide)}."
    if scores.get("all", {}).get("transformer") is not None:
        lead += " The model mixes what its transformer predicts with n-grams counted in the training text."
    splits = data.evaluation.get("splits", {})
    more = splits.items() if len(splits) > 1 else ()
    tables = [f"<h3>{esc(name)}</h3>{score_table(rows)}" for name, rows in more]
    return section("evaluation", "Evaluation", lead, score_table(scores), *tables)


def score_table(scores: dict[str, dict[str, Any]]) -> str:
    """A row a domain and one for all, the least bits of each marked."""
    names = [name for name in PREDICTORS if any(row.get(name) is not None for row in scores.values())]
    rows = []
    for domain in [*(name for name in scores if name != "all"), *(name for name in scores if name == "all")]:
        values = [scores[domain].get(name) for name in names]
        least = min((value for value in values if value is not None), default=None)
        cells = ["–" if v is None else f"{'*' if v == least else ''}{v:.3f}" for v in values]
        rows.append([esc(domain), byte_size(scores[domain]["bytes"]), *cells])
    header = ["domain", "held out", *(PREDICTORS[name] for name in names)]
    return table(header, rows, numeric=len(header) - 1, total="all" in scores)


def samples_section(data: RunData) -> str:
    over_time: dict[str, list[dict[str, Any]]] = {}
    for sample in data.history.get("samples", []):
        over_time.setdefault(sample["prompt"], []).append(sample)
    if not over_time and not data.samples:
        return ""
    parts = []
    if data.samples:
        rows = "".join(
            filled(s) if "fills" in s else f'<div class="doc"><div class="who">{drawn(s)}</div>{writing(s)}</div>'
            for s in data.samples
        )
        parts.append(f"<h3>The finished model</h3>{rows}")
    if over_time:
        scores = {entry["step"]: scores_of(entry) for entry in data.history.get("validations", [])}
        parts.append("<h3>The same prompt while it learned</h3>")
        for index, (prompt, samples) in enumerate(over_time.items()):
            rows = "".join(f'<div class="when">{moment(s, scores)}</div>{writing(s)}' for s in samples)
            opened = " open" if index == 0 else ""
            parts.append(
                f'<details{opened}><summary>{esc(prompt.strip())}</summary><div class="grow">{rows}</div></details>'
            )
    if data.recipe.train.objective == "masked":
        lead = "What the model puts where tokens are masked; none was picked."
    else:
        lead = (
            "What the model writes after a prompt (strong), or between what stands before and after; none was picked."
        )
    shared = ((data.evaluation or {}).get("copied") or {}).get("held_out")
    if shared is not None:
        lead += (
            " Copied is the share of a text's runs of 8 tokens that stand word for word in the training text; "
            f"of held-out text {shared:.0%} do."
        )
    return section("samples", "Samples", lead, *parts)


def drawn(sample: dict[str, Any]) -> str:
    copied = f", {sample['copied']:.0%} copied" if sample.get("copied") is not None else ""
    return f"temperature {esc(sample['temperature'])}, seed {esc(sample['seed'])}{copied}"


def moment(sample: dict[str, Any], scores: dict[int, Any]) -> str:
    name, found = scores.get(sample["step"], ("", {}))
    score = f"<br>{found['all']:.3f} {SCORES[name]}" if "all" in found else ""
    return f"step {counted(sample['step'])}{score}"


def writing(sample: dict[str, Any]) -> str:
    after = f"<b>{esc(sample['suffix'])}</b>" if sample.get("suffix") else ""
    return f'<div class="text"><b>{esc(sample["prompt"])}</b>{esc(sample["text"])}{after}</div>'
