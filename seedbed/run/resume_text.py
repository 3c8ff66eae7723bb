"""A check of resume as text."""

from seedbed.corpus.yields import align
from seedbed.quantities import counted
from seedbed.run.resume_check import ResumeCheck


def resume_text(result: ResumeCheck) -> str:
    """Every attempt as a row, then what was compared."""
    rows = [["training", "ranks", "from step", "killed after", "killed at step"]]
    for done in result.attempts:
        killed = done.killed_after_seconds is not None
        rows.append(
            [
                done.chain,
                str(done.ranks),
                str(done.from_step),
                f"{done.killed_after_seconds:.2f} s" if killed else "-",
                str(done.killed_at_step) if killed else "to the end",
            ]
        )
    verdict = f"{len(result.problems)} DIFFERENCES" if result.problems else "resumes exactly"
    lines = [
        align(rows),
        "",
        f"{verdict}: {plural(result.kills, 'kill')}, {plural(result.chains, 'training')} of {counted(result.steps)} steps to "
        f"the end, compared with the unbroken one bit for bit: losses, {counted(result.weights)} weights, the digests of "
        f"{counted(result.rows)} rows from {counted(result.documents)} documents",
    ]
    if result.not_checked:
        lines.append(f"not checked: {result.not_checked}")
    elif result.loss_difference is not None and result.weight_difference is not None:
        lines.append(
            f"over 1 and {result.ranks} ranks: the same batches; losses within {result.loss_difference:.1e} "
            f"(allowed {result.loss_tolerance:g}), weights within {result.weight_difference:.1e} of their norm "
            f"(allowed {result.weight_tolerance:g})"
        )
    if result.kept:
        lines.append(f"the trainings are kept in {result.kept}")
    return "\n".join(lines)


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
