"""What a finished run reports: results.json, predictions, pictures and the final table."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np
import rich.box
import rich.table

from dtn_jax.errors import UserError, told
from dtn_jax.metrics.selected import first_metric
from dtn_jax.parallel import processes
from dtn_jax.report import screen
from dtn_jax.report import terminal as report
from dtn_jax.run import outcome
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.evaluate import calibration, write_predictions
from dtn_jax.run.records import mean_exchange, median_rate, nested
from dtn_jax.run.run import Run, measure, score_split
from dtn_jax.run.selection import Progress, best_step, selected_value
from dtn_jax.run.state import State
from dtn_jax.run.workdir import Workdir
from dtn_jax.schema import Schema


def conclude(
    run: Run,
    folder: Workdir,
    checkpoints: Checkpoints,
    state: State,
    progress: Progress,
    test: bool,
) -> dict:
    """Writes results.json and the pictures; where it scores test, it consumes the state."""
    best = {name: entry["step"] for name, entry in progress.best.items()}
    chosen = best[run.config.train.select]
    history = folder.history()
    validations = {r["step"]: nested(r) for r in history if r["kind"] == "validation"}
    held = step = run.step_of(state)
    validation = progress.validation or validations.get(chosen)
    if not validation:
        print(
            f"warning: {folder.path / 'metrics.jsonl'} lacks the validation of step {chosen}: its "
            "best state is scored again"
        )
        held, state = at_step(checkpoints, state, step, chosen)
        validation = measure(run, score_split(run, state, "validation"))
    results = {
        "dataset": run.schema.name,
        "architecture": run.config.model.architecture,
        "experts": run.experts,
        "seed": run.config.seed,
        "parameters": run.size.parameters,
        "table_parameters": run.table_parameters,
        "flops_per_example": run.size.flops_per_example,
        "steps": step,
        "selected_by": run.config.train.select,
        "best_steps": best,
        "examples_per_second": median_rate(history),
        "validation": validation,
    }
    if progress.by_day:
        results["by_day"] = progress.by_day
    if run.started:
        results["started_from"] = dataclasses.asdict(run.started)
    if progress.skipped:
        results["skipped_steps"] = progress.skipped
    if exchanged := mean_exchange(history):
        results["exchange"] = exchanged
    if test:
        results |= read_test(run, folder, checkpoints, state, held, best)
    if processes.is_first():
        from dtn_jax.report import plots  # late, since matplotlib takes its time

        plots.learning_curves(history, folder.path / "learning_curves.png")
        if progress.by_day:
            plots.by_day(progress.by_day, folder.path / "by_day.png")
    folder.finish(results)
    return results


def read_test(
    run: Run,
    folder: Workdir,
    checkpoints: Checkpoints,
    state: State,
    held: int,
    best: dict[str, int],
) -> dict:
    """Scores test once with the best state by `train.select`, and once with each task's best.

    Args:
      state: the run's last one, or one to score with. It is consumed: there is never more than
        one set of tables.
      held: the step of its weights.
      best: {`train.select` and each task: its best step}.
    """
    measured, chosen = {}, best[run.config.train.select]
    for step in sorted(set(best.values()), reverse=True):  # the last state may be the best
        held, state = at_step(checkpoints, state, held, step)
        scores = score_split(run, state, "test")
        measured[step] = measure(run, scores)
        if step == chosen and processes.is_first():
            write_predictions(folder.path / outcome.PREDICTIONS, scores, run.schema)
            from dtn_jax.report import plots

            options_ = run.config.evaluate
            curves = calibration(scores, run.schema, options_.ece_bins, options_.sample_weights)
            plots.reliability(curves, folder.path / "reliability.png")
        if step == chosen:
            scores = score_split(run, state, "validation")
            if processes.is_first():
                write_predictions(folder.path / outcome.VALIDATION, scores, run.schema)
    per_task = {}
    for task in run.schema.tasks:
        own = measured[best[task.name]]
        per_task |= {f"{task.name}@{space}": own[f"{task.name}@{space}"] for space in task.spaces}
    return {"test": measured[chosen], "test_per_task_best": per_task}


def at_step(checkpoints: Checkpoints, state: State, held: int, step: int) -> tuple[int, State]:
    """`step`, and a state to score with that has the weights of this best step.

    Args:
      checkpoints: have the best states.
      state: it is consumed.
      held: the step of its weights. If it is `step`, they are not read, but saved where what reads
        the run later must find them.
      step: the best step that is wanted.
    """
    free(state.slots)
    state = state.to_score()
    if step == held:
        checkpoints.save_best(step, state)
        return step, state
    free(state.tables)
    return step, checkpoints.restore_best(step, state)


def mend_predictions(run: Run, folder: Workdir, results: dict) -> None:
    """Makes a finished run's predictions anew where they are missing or damaged.

    Where the best state is gone, too, a warning says so.
    """
    lost = {name: outcome.lost_scores(folder.path, name) for name in outcome.SCORED}
    lost = {name: problem for name, problem in lost.items() if problem}
    if not lost:
        return
    problem = "; ".join(lost.values())
    try:
        with contextlib.closing(Checkpoints(folder.path, run.plan)) as checkpoints:
            state = checkpoints.restore_best(best_step(results), run.unfilled_state())
        for name in lost:
            scores = score_split(run, state, outcome.SCORED[name])
            if processes.is_first():
                write_predictions(folder.path / name, scores, run.schema)
        if processes.is_first():
            outcome.seal(folder.path)
    except OSError as error:
        print(f"warning: {problem}, and it cannot be made anew: {told(error)}")
    except UserError as error:
        print(
            f"warning: {problem}, and it cannot be made anew: {error}\nTo train the run again, "
            f"move {folder.path} away, or name another workdir"
        )
    else:
        print(f"{problem}: scored again from the best state, at step {best_step(results)}")


def free(arrays) -> None:
    """Gives up the memory of a pytree of arrays, whoever else holds them."""
    for array in jax.tree.leaves(arrays):
        if isinstance(array, jax.Array):
            array.delete()


def show(results: dict, schema: Schema, folder: pathlib.Path) -> None:
    """Prints the final table, and says where the rest is."""
    defined = selected_value(results, schema) is not None
    experts = f" ({results['experts']})" if results["experts"] else ""
    title = (
        f"{results['architecture']}{experts} on {results['dataset']}, at step "
        f"{best_step(results)} of {results['steps']}, the {'best by' if defined else 'last'} "
        "validation"
    )
    rate = results.get("examples_per_second")
    speed = "speed not measured" if rate is None else f"{rate:,.0f} examples/s"
    splits = {k: results[k] for k in ("validation", "test") if k in results}
    screen.show(report.splits_table(splits, schema, title))
    screen.say(
        f"{results['parameters']:,} dense parameters, {results['flops_per_example']:,} forward "
        f"FLOPs an example, {speed} in training."
    )
    kept = "Predictions, pictures" if "test" in results else "Pictures"
    print(f"{kept}, logs and checkpoints are in {folder}")


def show_replicas(
    results: Sequence[dict], settings: Sequence[Mapping[str, str]], run: Run, root: pathlib.Path
) -> None:
    """Prints a row per replica: its settings, and the metric by which each task selects.

    Of replicas that differ in their seed alone it gives the mean and the standard deviation too.

    Args:
      results: those of each replica.
      settings: {option: value} of each replica.
      run: that of the first replica; the others select by the same metrics.
      root: the folder of the replicas' folders.
    """
    title = f"{run.config.model.architecture}, by replica"
    table = rich.table.Table(title=title, box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("replica")
    table.add_column("with")
    table.add_column("best step", justify="right")
    split = "test" if "test" in results[0] else "validation"
    metrics = {}
    for key, own in results[0][split].items():
        task, _, space = key.partition("@")
        metrics[key] = run.selection.metrics.get(task, first_metric(own))
        table.add_column(f"{split} {metrics[key].title}\n{task}\n@{space}", justify="right")
    for i, (own, given) in enumerate(zip(results, settings)):
        told = "\n".join(f"{key}={value}" for key, value in given.items())
        cells = (m.text(own[split][key].get(m.name)) for key, m in metrics.items())
        table.add_row(f"{i}", told, f"{best_step(own)} of {own['steps']}", *cells)
    if len(results) > 1 and all(set(given) == {"seed"} for given in settings):
        table.add_section()
        values = [[own[split][key].get(m.name) for own in results] for key, m in metrics.items()]
        for name, take in (("mean", np.mean), ("s.d.", functools.partial(np.std, ddof=1))):
            cells = ("n/d" if None in found else f"{take(found):.4f}" for found in values)
            table.add_row(name, "", "", *cells)
    screen.show(table)
    print(f"Each replica's results are in {root / 'replica_0'}, …")
