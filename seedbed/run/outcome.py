"""What came of a stage, in a few words for the line that says it is done."""

from collections.abc import Callable
from typing import Any

from seedbed.quantities import byte_size, counted
from seedbed.run.events import SCORES, scores_of


def outcome(stage: str, summary: dict[str, Any]) -> str:
    """From the stage's own summary; "" for a stage that has nothing to say."""
    return SAYINGS[stage](summary) if stage in SAYINGS else ""


def collected(summary: dict[str, Any]) -> str:
    found = (
        f"{counted(summary['documents'])} document{'s' * (summary['documents'] != 1)}, {byte_size(summary['bytes'])}"
    )
    if not summary["quarantined"]:
        return found
    rules: dict[str, int] = {}
    for source in summary["sources"].values():
        for rule, number in source["rules"].items():
            rules[rule] = rules.get(rule, 0) + number
    causes = ", ".join(
        f"{rule} {counted(number)}" for rule, number in sorted(rules.items(), key=lambda x: (-x[1], x[0]))
    )
    return f"{found}; {counted(summary['quarantined'])} could not be read ({causes})"


def curated(summary: dict[str, Any]) -> str:
    refused = summary["removed"] + summary["merged"]
    return f"kept {counted(summary['kept'])}, refused {counted(refused)}"


def tokenized(summary: dict[str, Any]) -> str:
    splits = {name: split["num_tokens"] for name, split in summary["splits"].items()}
    held_out = sum(number for name, number in splits.items() if name != "train")
    return f"{counted(splits['train'])} tokens to train on, {counted(held_out)} held out"


def measured(summary: dict[str, Any]) -> str:
    compiled = "compiled" if summary["compile"] else "not compiled"
    return f"{counted(summary['steps'])} step{'s' * (summary['steps'] != 1)} in {summary['precision']}, {compiled}"


def evaluated(summary: dict[str, Any]) -> str:
    name, scores = scores_of(summary)
    return f"{scores['all']:.3f} {SCORES[name]}"


SAYINGS: dict[str, Callable[[dict[str, Any]], str]] = {
    "collect": collected,
    "curate": curated,
    "tokenizer": lambda summary: f"{counted(summary['vocab_size'])} entries",
    "tokenize": tokenized,
    "measure": measured,
    "evaluate": evaluated,
}
