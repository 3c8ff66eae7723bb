"""A verification as text and as JSON."""

from typing import Any

from seedbed.corpus.yields import align
from seedbed.quantities import byte_size, counted, printable
from seedbed.run.lineage import TraceResult
from seedbed.run.verify import Verification

DOCUMENT_CHARACTERS = 40
SIDE_CHARACTERS = 18  # of text on either side of a token


def verification_json(result: Verification) -> dict[str, Any]:
    return {
        "sound": not result.problems,
        "problems": result.problems,
        "stages": result.stages,
        "files": result.files,
        "bytes": result.bytes,
        "records": result.records,
        "tokens": result.tokens,
        "traces": [found.to_json() for found in result.traces],
    }


def verification_text(result: Verification) -> str:
    """The traced tokens as a table, then what was checked in one line."""
    blocks = []
    if result.traces:
        header = ["step", "row", "position", "document", "bytes", "text", "licence"]
        blocks.append(align([header, *(trace_row(found) for found in result.traces)], left=len(header)))
    checked = [f"{len(result.stages)} stages", f"{counted(result.files)} files of {byte_size(result.bytes)}"]
    if result.records:
        checked.append(f"{counted(result.records)} records accounted for")
    if result.tokens:
        checked.append(f"{counted(result.tokens)} tokens in shards")
    if result.traces:
        checked.append(f"{len(result.traces)} training tokens traced to their text")
    verdict = f"NOT SOUND, {len(result.problems)} wrong" if result.problems else "sound"
    blocks.append(f"{verdict}: {', '.join(checked)}")
    return "\n\n".join(blocks)


def trace_row(found: TraceResult) -> list[str]:
    place = f"{found.byte_start:,}-{found.byte_stop:,}" if found.byte_start >= 0 else "-"
    document = found.document
    if len(document) > DOCUMENT_CHARACTERS:
        document = f"...{document[3 - DOCUMENT_CHARACTERS :]}"
    text = f"{found.before[-SIDE_CHARACTERS:]}[{found.text}]{found.after[:SIDE_CHARACTERS]}"
    return [
        str(found.step),
        str(found.row),
        str(found.position),
        printable(document),
        place,
        printable(text).replace("\n", "\\n").replace("\t", "\\t"),
        found.licence,
    ]
