"""What was in a batch that was not trained on: its documents and their sources, and which of them carry the loss.

The losses are computed once more, with the weights as the batch met them. Losses that are finite now and were not then speak
for a fault of the machine rather than of the text.
"""

from pathlib import Path
from typing import Any

import numpy as np

from seedbed.files import write_json
from seedbed.train.engine import Engine
from seedbed.train.objectives import Causal, Masked

FOLDER = "autopsies"
NUM_SUSPECTS = 5


def examine(folder: Path, engine: Engine, step: int, trouble: str, writes: bool) -> tuple[str, list[dict[str, Any]]]:
    """Write `folder/autopsies/step-STEP.json`; give its name and the documents that carry most of the loss.

    Called on all ranks, between the gradients of `step` and their end. Rank 0 `writes`; the others give no documents.
    """
    name = f"{FOLDER}/step-{step:09d}.json"
    broken = broken_gradients(engine)
    losses_RT, asked_RT = engine.token_losses(step)
    if not writes:
        return name, []
    rows = describe_rows(engine, step, losses_RT, asked_RT)
    known = losses_RT[asked_RT & np.isfinite(losses_RT)]
    documents = by_document(rows, float(np.median(known)) if known.size else 0.0)
    (folder / FOLDER).mkdir(exist_ok=True)
    value = {
        "step": step,
        "trouble": trouble,
        "loss_computed_again": mean(losses_RT[asked_RT]),
        "gradients_not_finite": broken,
        "documents": documents,
        "rows": rows,
    }
    write_json(folder / name, value)
    return name, documents[:NUM_SUSPECTS]


def broken_gradients(engine: Engine) -> list[str]:
    """Names of the parameters whose gradients hold what is not finite."""
    found = []
    for name, parameter in engine.model.named_parameters():
        gradient = parameter.grad
        if gradient is not None:
            values = gradient._values() if gradient.is_sparse else gradient
            if hasattr(values, "to_local"):  # spread over ranks: this one's part
                values = values.to_local()
            if not bool(values.isfinite().all()):
                found.append(name)
    return found


def describe_rows(engine: Engine, step: int, losses_RT: np.ndarray, asked_RT: np.ndarray) -> list[dict[str, Any]]:
    """For each row its loss, and the targets and loss of each document in it (null where targets stand in another order)."""
    loader = engine.data.loader
    in_order = isinstance(engine.data.objective, (Causal, Masked))
    # the token that target t asks for: the next one, or the one that was masked in its place
    shift = loader.context + 1 - losses_RT.shape[1]
    rows = []
    for row, spans in enumerate(loader.documents(step)):
        documents, at = [], -shift
        for span in spans:
            first, last = max(0, at), at + span.stop - span.start
            at = last
            record = loader.shards.record(span.document)
            entry = {
                "id": record.id,
                "source": record.source,
                "domain": record.domain,
                "tokens": span.stop - span.start,
            }
            if in_order:
                values = losses_RT[row, first:last][asked_RT[row, first:last]]
                entry |= {"targets": len(values), "loss": mean(values)}
            documents.append(entry)
        rows.append({"row": row, "loss": mean(losses_RT[row][asked_RT[row]]), "documents": documents})
    return rows


def by_document(rows: list[dict[str, Any]], usual: float) -> list[dict[str, Any]]:
    """Each document once, those first that are not finite or carry most loss above the `usual` one of a target."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        for part in row["documents"]:
            entry = found.setdefault(
                part["id"],
                {name: part[name] for name in ("id", "source", "domain")} | {"targets": 0, "sum": 0.0, "rows": []},
            )
            targets, loss = part.get("targets", part["tokens"]), part.get("loss", row["loss"])
            entry["targets"] += targets
            entry["sum"] += targets * (np.nan if loss is None and targets else loss or 0.0)
            entry["rows"].append(row["row"])
    documents = []
    for entry in found.values():
        total, targets = entry.pop("sum"), entry["targets"]
        loss = number(total / targets) if targets else None
        excess = number(total - usual * targets) if targets else 0.0
        documents.append({**entry, "loss": loss, "nats_above_usual": excess})
    return sorted(
        documents, key=lambda d: np.inf if d["nats_above_usual"] is None else d["nats_above_usual"], reverse=True
    )


def mean(values: np.ndarray) -> float | None:
    return number(values.mean(dtype=np.float64)) if values.size else None


def number(value: float) -> float | None:
    """JSON has no nan."""
    return round(float(value), 4) if np.isfinite(value) else None
