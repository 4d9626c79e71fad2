"""Progressive validation: each day of train is scored before it is trained on.

Every row is scored once, by a model that has seen only the days before its own, as in production
(Blum, Kalai and Langford, "Beating the hold-out", COLT 1999; on click logs McMahan et al., "Ad
click prediction: a view from the trenches", KDD 2013, section 5). Where `sample_negatives` has left
out rows of train, the others' weights make up for them, so that metrics are those of the whole log.
"""

from __future__ import annotations

from dtn_jax.data.epochs.day_order import date
from dtn_jax.evaluate import read_groups, score
from dtn_jax.report.progress_bar import ProgressBar
from dtn_jax.run import Run, measure
from dtn_jax.selection import Progress, check_scores
from dtn_jax.state import State
from dtn_jax.workdir import Workdir
from dtn_jax.workdir.history import flat

KIND = "day"  # of the records in metrics.jsonl


def score_day(
    run: Run,
    folder: Workdir,
    state: State,
    step: int,
    progress: Progress,
    bar: ProgressBar | None = None,
) -> None:
    """Scores the day of train that begins after this step, measures it, and keeps what it found.

    Nothing happens where none begins, where `train.evaluate_first` is not set, or where the day's
    metrics are in `progress` already.

    Raises:
      UserError: scores are not finite.
    """
    if step not in run.at_steps.first_steps:
        return
    day = run.days.known[run.at_steps.first_steps.index(step)]
    if date(day) in progress.by_day:
        return
    if bar:
        bar.tell(f"scoring {date(day)} before it is trained on")
    rows, size = run.days.rows(day), run.config.data.eval_batch_size
    groups = read_groups(run.data, "train", rows)
    scores = score(run.score_step, state.to_score(), run.data, "train", size, run.at, groups, rows)
    check_scores(scores, step)
    results = measure(run, scores, sampled=bool(run.data.notes.get("sample_negatives")))
    progress.by_day[date(day)] = results
    record = {"kind": KIND, "step": step, "epoch": step / run.steps_per_epoch, "day": day}
    folder.log(record | flat(results))
