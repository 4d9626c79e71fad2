"""What a log may not exceed: the share of bad rows, and of positives outside of other tasks."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from dtn_jax.data import progress
from dtn_jax.data.clean import outside
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.data.stages import positives
from dtn_jax.data.stages.account import Account
from dtn_jax.data.stages.counts import Counts
from dtn_jax.data.stages.finish import REJECTS, WHERE
from dtn_jax.errors import UserError
from dtn_jax.shared_files import write_whole


def check_rejects(
    spec: Spec, files: Sequence[RawFile], account: Account, home: pathlib.Path, most: float
) -> None:
    """Shows the bad rows; raises UserError where there are too many."""
    if not account.rows:
        raise UserError(f"the raw files of {spec.name} hold no rows: {files[0].address}, …")
    for line in account.summary():
        progress.say(line)
    if account.kept and not account.exceeds(most):
        progress.say(WHERE)
    if account.exceeds(most):
        path = home / REJECTS
        write_whole(path, account.lines())
        hint = _hint(spec, account)
        raise UserError(
            f"{account.rejected:,} of {account.rows:,} rows are bad "
            f"({progress.percent(account.rejected, account.rows)}), more than "
            f"--max_reject_rate={most:g} allows: {account.summary(1)[0]}.{hint} "
            f"No set is written; the first rows of each kind are in {path}"
        )
    if account.rejected == account.rows:
        raise UserError(f"no row of {spec.name} is good: {account.summary(1)[0]}")
    (home / REJECTS).unlink(missing_ok=True)  # of an earlier call, which failed


def check_positives(spec: Spec, counts: Counts) -> None:
    """Raises UserError where a task has more positives outside than the schema file allows."""
    if problem := positives.problem(spec, counts):
        raise UserError(f"{problem}. No set is written")


def check_kept(made: Prepared, spec: Spec, most: float) -> Prepared:
    """Returns a finished set; raises UserError where more rows were rejected, or more positives
    lie outside, than are allowed today. A set of an earlier version has not counted the latter."""
    account = Account(made.notes["read"], made.notes["rejected"])
    if account.exceeds(most):
        raise UserError(
            f"{made.folder} was prepared without {account.rejected:,} of {account.rows:,} rows, "
            f"which are bad ({progress.percent(account.rejected, account.rows)}), more than "
            f"--max_reject_rate={most:g} allows: {made.notes['account'][0]}"
        )
    if problem := positives.problem(spec, made.notes.get(positives.NOTE, {})):
        raise UserError(f"{problem}. It is so in {made.folder}, which stays as it is")
    return made


def _hint(spec: Spec, account: Account) -> str:
    """A label of numbers that stands as one of 0 and 1: most bad rows are bad for that."""
    for task in spec.tasks:
        count = account.counts.get(outside(task), 0)
        if task.kind == "binary" and 2 * count > account.rejected and 100 * count > account.rows:
            return f" Is {task.name!r} a number? Then give it kind: regression."
    return ""
