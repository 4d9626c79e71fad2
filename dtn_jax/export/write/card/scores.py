"""What a card says of a model's scores: metrics with intervals, and calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dtn_jax.export.write.card.measured import Measured, Metrics
from dtn_jax.export.write.card.subject import Subject
from dtn_jax.export.write.encoder_files import weight_of
from dtn_jax.export.write.fixed import value_text
from dtn_jax.metrics import METRICS
from dtn_jax.report.markdown import escaped, table
from dtn_jax.run import Run

LISTED = ("auc", "gauc", "logloss", "ece", "predicted_observed", "rmse", "xauc")
NAMES = {name: METRICS[name].title for name in LISTED} | {"ece": "ECE"}
SHOWN = ("auc", "logloss", "rmse")  # what is compared as trained and as exported


FIXED = "Fields that only training knows"  # a section's title


def test(measured: Measured, run: Run, model: Subject) -> Iterator[str]:
    if model.facts.fixed:
        names = ", ".join(escaped(name) for name in model.facts.fixed)
        where = "stand" if measured.fixed else "were not measured: see"
        yield (
            f"These are scores of rows as they were logged. A served model has one value for "
            f"{names}, and other scores, which {where} under “{FIXED}”."
        )
    units = "groups" if run.schema.group else "rows"
    yield metrics_table(measured.calibrated["test"], measured.intervals)
    yield (
        f"With 95 % intervals over samples of test's {units}; none where they are too few. The "
        "chance of training with another seed is not in them. Predicted/observed is the mean "
        "prediction over the rate of positives. Test was read to be reported; nothing was picked "
        "by it."
    )
    if run.schema.group:
        yield (
            f"GAUC is the AUC within each {escaped(run.schema.group)}, averaged by rows, over "
            "those with both classes."
        )
    if run.config.evaluate.sample_weights and (column := weight_of(run.data)):
        yield (
            f"Rows count by their weights ({escaped(column)}), on validation and in calibration "
            "too: these are scores of the weighted population, whose rows they stand for."
        )


def metrics_table(
    found: Metrics, intervals: Mapping[str, Mapping[str, tuple[float, float]]]
) -> str:
    """A row a task@space; a metric that none has is left out."""
    shown = [
        name for name in NAMES if any(metrics.get(name) is not None for metrics in found.values())
    ]
    rows = []
    for key, metrics in found.items():
        cells = [with_interval(metrics.get(n), intervals.get(key, {}).get(n)) for n in shown]
        positives = metrics.get("positives")
        counts = (f"{metrics['examples']:,}", "" if positives is None else f"{positives:,}")
        rows.append((key, *counts, *cells))
    return table(("task@space", "rows", "positives", *(NAMES[n] for n in shown)), rows)


def with_interval(found: float | None, ends: tuple[float, float] | None) -> str:
    if found is None:
        return ""
    return f"{found:.4f}" + (f" ({ends[0]:.4f} to {ends[1]:.4f})" if ends else "")


def validation(measured: Measured, model: Subject) -> Iterator[str]:
    yield metrics_table(measured.calibrated["validation"], {})
    yield "Validation has picked the state and the calibration, so it flatters the model."
    if not model.stored:
        return
    tables, rows = model.stored["tables"], []
    for key, before in tables["exact_metrics"].items():
        after = tables["stored_metrics"][key]
        for name in SHOWN:
            if before.get(name) is not None and after.get(name) is not None:
                change = f"{after[name] - before[name]:+.2g}"
                title = METRICS[name].title
                rows.append((key, title, f"{before[name]:.5f}", f"{after[name]:.5f}", change))
    yield (
        f"Tables are stored as {tables['stored']}, and were trained as {tables['trained']}. What "
        "that changes on validation, without calibration:"
    )
    header = ("task@space", "metric", tables["trained"], tables["stored"], "change")
    yield table(header, rows, left=2)
    yield (
        "ECE is left out. Its equally filled bins are cut between rows of nearly equal "
        "predictions; where a row changes its bin, ECE moves by more than any prediction does."
    )


def fixed(model: Subject, measured: Measured) -> Iterator[str]:
    """What fields that only training knows do to the metrics."""
    facts = model.facts
    if not facts.fixed:
        return
    yield f"## {FIXED}"
    names = ", ".join(f"{escaped(n)} (as {escaped(value_text(v))})" for n, v in facts.fixed.items())
    yield f"Inputs in training, with one value when rows are scored: {names}."
    if not measured.fixed:
        yield "A cross reads one of them, so scores with its fixed value were not measured here."
        return
    rows = []
    for key, logged in measured.calibrated["test"].items():
        own = measured.fixed[key]
        for name in NAMES:
            if logged.get(name) is not None and own.get(name) is not None:
                rows.append((key, NAMES[name], f"{logged[name]:.4f}", f"{own[name]:.4f}"))
    yield table(("task@space", "metric", "as logged", "as scored"), rows, left=2)
    yield (
        "On test. As scored is what a served model says; its probabilities are of the fixed value, "
        "so that on the rows as they were logged predicted/observed need not be 1."
    )
