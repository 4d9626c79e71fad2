"""The labels, groups and weights of a file that `dtn-jax score` wrote, as its model has them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dtn_jax.comparison.scored_rows import ScoredRows
from dtn_jax.errors import UserError
from dtn_jax.export.log_labels import WEIGHT
from dtn_jax.export.scored_by import Label, ScoredBy

NONE = "none"  # --group=none, --weight=none
AGAIN = "score the rows again with --labels, which writes it"
ASK = (
    "nothing says whether several rows of these files belong together, such as those of one user "
    "or request: without groups p-values would be too small. Give --group=COLUMN, or "
    f"--group={NONE}, which says that rows are independent"
)


def label(there: Collection[str], task: str, given: Sequence[str], known: Label) -> str:
    """The column of a task's label, in the unit of its score.

    Args:
      there: the columns of the file.
      task: its name.
      given: the columns that `--columns` names for it.
      known: what the model says of it.

    Raises:
      UserError: there is none, or only what the label is computed from.
    """
    written = f"label/{task}"
    for name in given:
        if name in there:
            if name in known.reads and name != known.column:
                raise UserError(
                    f"column {name!r} is not the label of {task!r}: the model was trained on "
                    f"`{known.text}`, and its scores are in that unit; {AGAIN} as {written!r}"
                )
            return name
    for name in filter(None, (written, known.column)):
        if name in there:
            return name
    wanted = f"{written!r} or {known.column!r}" if known.column else repr(written)
    raise UserError(
        f"no label of task {task!r}, which is `{known.text}`: expected a column {wanted}; {AGAIN}, "
        f"or name a column that holds it: --columns={task}=SCORE:LABEL"
    )


def extra(there: Collection[str], by: ScoredBy, group: str, weight: str) -> tuple[str, str]:
    """The columns of the groups, or "" (see `check`), and of the weights by which rows count.

    Args:
      there: the columns of the file.
      by: its model.
      group, weight: the columns that `--group` and `--weight` name; "" are those of the model.

    Raises:
      UserError: the model's metrics count rows by weights that the file lacks.
    """
    if by.weight and not weight and by.weight_column not in there:
        raise UserError(
            f"the metrics of model {by.model!r} count rows by their weights, and there is no "
            f"column {by.weight_column!r}; {AGAIN} as {WEIGHT!r}, or name it: --weight=COLUMN"
        )
    known = by.group_column if by.group_column in there else ""
    return group or known, weight or by.weight_column


def check(rows: Sequence[ScoredRows], group: str, weight: str) -> None:
    """Refuses to compare what is not in the same unit, or whose groups nothing gives.

    Args:
      rows: of both sides.
      group, weight: of `--group` and `--weight`.

    Raises:
      UserError: labels or groups are others in one file's model than in another's, or are
        missing.
    """
    scored = [(r.name, r.by) for r in rows if r.by is not None]
    for name, by in scored[1:]:
        first, other = scored[0]
        for task in by.labels.keys() & other.labels.keys():
            one, two = other.labels[task].text, by.labels[task].text
            if one != two:
                raise UserError(
                    f"{first} and {name} cannot be compared: the label of {task!r} is `{one}` in "
                    f"the model of the one and `{two}` in that of the other, so that their scores "
                    "are in different units"
                )
        if not group and by.group and other.group and by.group != other.group:
            raise UserError(
                f"the rows of {first} are in groups by {other.group!r}, and those of {name} by "
                f"{by.group!r}, as their models have them; choose one: --group=COLUMN"
            )
        if not weight and by.weight != other.weight:
            raise UserError(
                f"{first} and {name} cannot be compared: the metrics of the one count rows by "
                f"{other.weight or 'no weight'}, those of the other by {by.weight or 'no weight'}, "
                "as their models have them"
            )
    if group or any(r.group is not None for r in rows):
        return
    for name, by in scored:
        if by.group:
            again = f"{AGAIN}; or give another column of the file" if by.labels else "name it"
            raise UserError(
                f"{name}: model {by.model!r} has its rows in groups by {by.group!r}, and there is "
                f"no column {by.group_column!r}. Without groups p-values are too small: {again}: "
                f"--group=COLUMN. --group={NONE} says that rows are independent."
            )
    if not any(r.ungrouped for r in rows):
        raise UserError(ASK)
