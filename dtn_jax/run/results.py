"""What a finished run reports: results.json, predictions, pictures and the final table."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from dtn_jax.metrics.calibration import calibration_curve
from dtn_jax.metrics.scores import Scores, write_predictions
from dtn_jax.metrics.selected import first_metric
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.parallel import processes
from dtn_jax.report import screen
from dtn_jax.report import terminal as report
from dtn_jax.report.grid import Grid
from dtn_jax.run import outcome
from dtn_jax.run.checkpoint import Checkpoints
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
    history, step = outcome.read_log(folder.path), run.step_of(state)
    rates = [record.get("examples_per_second") for record in history if record["kind"] == "train"]
    rates = [rate for rate in rates if rate is not None]
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
        "examples_per_second": float(np.median(rates)) if rates else None,
        "validation": progress.validation,
    }
    if progress.by_day:
        results["by_day"] = progress.by_day
    if progress.skipped:
        results["skipped_steps"] = progress.skipped
    if run.started:
        results["started_from"] = dataclasses.asdict(run.started)
    if test:
        results |= read_test(run, folder, checkpoints, state, best)
    if processes.is_first():
        from dtn_jax.report import plots  # late, since matplotlib takes its time

        plots.learning_curves(history, folder.path / "learning_curves.png")
        if progress.by_day:
            plots.by_day(progress.by_day, folder.path / "by_day.png")
    folder.finish(results)
    return results


def read_test(
    run: Run, folder: Workdir, checkpoints: Checkpoints, state: State, best: dict[str, int]
) -> dict:
    """Scores test once with the best state by `train.select`, and once with each task's best.

    Args:
      state: the run's last one. It is consumed: there is never more than one set of tables.
      best: {`train.select` and each task: its best step}.
    """
    measured, chosen, held = {}, best[run.config.train.select], run.step_of(state)
    for step in sorted(set(best.values()), reverse=True):  # the last state may be the best
        free(state.slots)
        state = state.to_score()
        if step == held:
            checkpoints.save_best(step, state)  # where it was lost
        else:
            free(state.tables)
            state, held = checkpoints.restore_best(step, state), step
        scores = score_split(run, state, "test")
        measured[step] = measure(run, scores)
        if step == chosen:
            write_scores(run, folder.path, scores, score_split(run, state, "validation"))
    per_task = {
        f"{task.name}@{space}": measured[best[task.name]][f"{task.name}@{space}"]
        for task in run.schema.tasks
        for space in task.spaces
    }
    return {"test": measured[chosen], "test_per_task_best": per_task}


def write_scores(run: Run, folder: pathlib.Path, test: Scores, validation: Scores) -> None:
    """Writes the predictions of two splits, and how well those of test are calibrated."""
    if not processes.is_first():
        return
    from dtn_jax.report import plots

    write_predictions(folder / outcome.PREDICTIONS, test, run.schema)
    write_predictions(folder / outcome.VALIDATION, validation, run.schema)
    given, curves = run.config.evaluate, {}
    for task in run.schema.tasks:
        for space in task.spaces if task.kind == "binary" else ():
            logits, labels, weights, _ = test.of(task.name, space, run.schema)
            rows = sigmoid(logits), labels, given.ece_bins
            weights = weights if given.sample_weights else None
            curves[f"{task.name}@{space}"] = calibration_curve(*rows, weights)
    plots.reliability(curves, folder / "reliability.png")


def free(arrays) -> None:
    """Gives up the memory of a pytree of arrays, whoever else holds them."""
    for array in jax.tree.leaves(arrays):
        if isinstance(array, jax.Array):
            array.delete()


def show(results: dict, schema: Schema, folder: pathlib.Path) -> None:
    """Prints the final table, and says where the rest is."""
    defined = selected_value(results) is not None
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
    if "by_day" in results:
        screen.show(report.days_table(results["by_day"], schema))
    screen.say(
        f"{results['parameters']:,} dense parameters, {results['flops_per_example']:,} forward "
        f"FLOPs per example, {speed} in training."
    )
    print(f"Predictions, pictures, logs and checkpoints are in {folder}")


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
    split = "test" if "test" in results[0] else "validation"
    metrics = {
        key: run.selection.metrics.get(key.partition("@")[0], first_metric(result))
        for key, result in results[0][split].items()
    }
    titles = (f"{split} {m.title}\n" + key.replace("@", "\n@") for key, m in metrics.items())
    header, rows = ["replica", "with", "best step", *titles], []
    for i, (result, given) in enumerate(zip(results, settings)):
        setting = ", ".join(f"{key}={value}" for key, value in given.items())
        cells = (m.text(result[split][key].get(m.name)) for key, m in metrics.items())
        rows.append([f"{i}", setting, f"{best_step(result)} of {result['steps']}", *cells])
    if len(results) > 1 and all(set(given) == {"seed"} for given in settings):
        values = [
            [result[split][key].get(m.name) for result in results] for key, m in metrics.items()
        ]
        for name, take in (("mean", np.mean), ("s.d.", functools.partial(np.std, ddof=1))):
            cells = ("n/d" if None in column else f"{take(column):.4f}" for column in values)
            rows.append([name, "", "", *cells])
    title = f"{run.config.model.architecture}, by replica"
    screen.show(Grid(header, rows, title, left=2, rules=[len(results)]).terminal())
    print(f"Each replica's results are in {root / 'replica_0'}, …")
