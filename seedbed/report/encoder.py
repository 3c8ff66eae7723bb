"""The page's sections on an encoder: its scores on masked tokens, and masks it filled."""

from typing import Any

from seedbed.quantities import byte_size, counted
from seedbed.report.html import esc, section, table


def encoder_evaluation(evaluation: dict[str, Any]) -> str:
    words = ", whole words at a time" if evaluation["mask_whole_words"] else ""
    lead = (
        f"Bits needed for a masked token of text the model never trained on, with {evaluation['mask_fraction']:.0%} of the "
        f"tokens masked{words}; lower is better. The pseudo-log-likelihood masks each token alone. An encoder sees what comes "
        "after a token, so neither compares with a causal model's bits per byte."
    )
    splits = evaluation.get("splits", {})
    more = splits.items() if len(splits) > 1 else ()
    tables = [f"<h3>{esc(name)}</h3>{masked_table(rows)}" for name, rows in more]
    return section("evaluation", "Evaluation", lead, masked_table(evaluation["bits_per_masked_token"]), *tables)


def masked_table(scores: dict[str, dict[str, Any]]) -> str:
    rows = []
    for domain in [*(name for name in scores if name != "all"), *(name for name in scores if name == "all")]:
        entry = scores[domain]
        rows.append(
            [
                esc(domain),
                byte_size(entry["bytes"]),
                counted(entry["asked"]),
                f"{entry['model']:.3f}",
                f"{entry['unigram']:.3f}",
                f"{entry['accuracy']:.1%}",
                f"{entry['pseudo_bits_per_byte']:.3f}",
            ]
        )
    header = ["domain", "held out", "masked", "this model", "token frequencies", "right", "pseudo bits/byte"]
    return table(header, rows, numeric=len(header) - 1, total="all" in scores)


def filled(sample: dict[str, Any]) -> str:
    """A text with its masks, and the guesses for each."""
    right = sample.get("right")
    who = f"{right} of {len(sample['fills'])} right" if right is not None else "a prompt"
    rows = []
    for item in sample["fills"]:
        guesses = ", ".join(
            f"<b>{esc(text if text.strip() else repr(text))}</b> {share:.0%}" for text, share in item["guesses"]
        )
        rows.append([esc("–" if item["truth"] is None else item["truth"]), guesses])
    guessed = table(["stood there", "guesses"], rows, numeric=0)
    return (
        f'<div class="doc"><div class="who">{who}</div><div class="text">{esc(sample["prompt"])}</div>{guessed}</div>'
    )
