"""The evaluation as text: a row a domain, the least bits of each row marked."""

from typing import Any

from seedbed.corpus.yields import align
from seedbed.quantities import byte_size, counted

METHODS = {"model": "model", "transformer": "transformer", "ngram": "n-gram", "xz": "xz", "gzip": "gzip"}


def evaluation_text(evaluation: dict[str, Any]) -> str:
    """The table of all held-out text, then of each split where there are several."""
    if "bits_per_masked_token" in evaluation:
        return encoder_text(evaluation)
    order = evaluation["ngram_order"]
    blocks = [score_table("", evaluation["bits_per_byte"])]
    if len(evaluation.get("splits", {})) > 1:
        blocks += [score_table(name, scores) for name, scores in evaluation["splits"].items()]
    blocks.append(
        f"bits per byte, less is better (* least); context {evaluation['context']:,}, slid by {evaluation['slide']:,}\n"
        f"xz and gzip see only this text; the n-gram model ({order} bytes) has seen training text, as the model has"
    )
    return "\n\n".join(blocks)


def score_table(name: str, scores: dict[str, dict[str, Any]]) -> str:
    """`scores`: {"all": entry, DOMAIN: entry}. The transformer's column is left out where it is the model."""
    methods = [
        method
        for method in METHODS
        if method != "transformer" or any(entry[method] != entry["model"] for entry in scores.values())
    ]
    rows = [[name or "domain", "text", "documents", "characters", *(METHODS[method] for method in methods)]]
    for domain in [*(domain for domain in scores if domain != "all"), "all"]:
        entry = scores[domain]
        least = min(entry[method] for method in methods)
        cells = [f"{'*' if entry[method] == least else ''}{entry[method]:.3f}" for method in methods]
        rows.append(
            [domain, byte_size(entry["bytes"]), counted(entry["documents"]), counted(entry["characters"]), *cells]
        )
    if len(rows) == 3:  # one domain and its sum say the same
        del rows[2]
    return align(rows)


def encoder_text(evaluation: dict[str, Any]) -> str:
    """An encoder's tables: of all held-out text, then of each split where there are several."""
    tables = [("", evaluation["bits_per_masked_token"])]
    if len(evaluation.get("splits", {})) > 1:
        tables += list(evaluation["splits"].items())
    blocks = []
    for name, scores in tables:
        rows = [[name or "domain", "text", "masked tokens", "model", "unigram", "right", "pseudo bits/byte"]]
        for domain in [*(domain for domain in scores if domain != "all"), "all"]:
            entry = scores[domain]
            cells = [f"{entry[key]:.3f}" for key in ("model", "unigram")]
            cells += [f"{entry['accuracy']:.1%}", f"{entry['pseudo_bits_per_byte']:.3f}"]
            rows.append([domain, byte_size(entry["bytes"]), counted(entry["asked"]), *cells])
        if len(rows) == 3:  # one domain and its sum say the same
            del rows[2]
        blocks.append(align(rows))
    words = " in whole words" if evaluation["mask_whole_words"] else ""
    blocks.append(
        f"bits per masked token, less is better: {evaluation['mask_fraction']:.0%} of the tokens masked{words}, context "
        f"{evaluation['context']:,}; unigram: by the tokens' frequencies in training text\n"
        "pseudo bits/byte: each token masked alone with all others in sight, on the first tokens of a domain; an encoder sees\n"
        "what comes after a token, so neither number compares with a causal model's bits per byte"
    )
    return "\n\n".join(blocks)
