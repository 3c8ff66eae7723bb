"""How large each global batch is: a few stated phases of smaller batches, then one size to the end. Closed forms of the step."""

from dataclasses import dataclass

from seedbed.recipe.schema import Recipe


@dataclass(frozen=True)
class BatchPlan:
    """`rows` of a global batch after `phases`: pairs (steps, rows), taken in order from step 0."""

    rows: int
    phases: tuple[tuple[int, int], ...] = ()

    @property
    def warmup_steps(self) -> int:
        """The first step of full size."""
        return sum(steps for steps, _ in self.phases)

    def rows_at(self, step: int) -> int:
        """Rows of the global batch of `step`."""
        for steps, rows in self.phases:
            if step < steps:
                return rows
            step -= steps
        return self.rows

    def rows_before(self, step: int) -> int:
        """Rows of all batches before `step`: where in the order of rows its batch begins."""
        before = 0
        for steps, rows in self.phases:
            if step <= steps:
                return before + step * rows
            before += steps * rows
            step -= steps
        return before + step * self.rows

    @classmethod
    def of(cls, recipe: Recipe) -> "BatchPlan":
        """The plan of a resolved recipe."""
        context, train = recipe.model.context, recipe.train
        assert context and train.batch_tokens
        return cls(
            train.batch_tokens // context, tuple((steps, tokens // context) for steps, tokens in train.batch_warmup)
        )

    def steps_for(self, rows: float) -> int:
        """The number of steps, at least one, whose rows come nearest to `rows`."""
        before = 0
        for steps, each in self.phases:
            if rows <= steps * each:
                return max(1, before + round(rows / each))
            before, rows = before + steps, rows - steps * each
        return max(1, before + round(rows / self.rows))
